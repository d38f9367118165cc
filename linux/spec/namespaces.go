package spec

import (
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

var namespaceTypes = []specs.LinuxNamespaceType{
	specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.IPCNamespace,
	specs.UTSNamespace, specs.UserNamespace, specs.CgroupNamespace, specs.TimeNamespace,
}

func (p *problems) namespaces(s *specs.Spec) {
	const here = "/linux/namespaces"
	seen := map[specs.LinuxNamespaceType]bool{}
	known := map[specs.LinuxNamespaceType]bool{}
	for _, t := range namespaceTypes {
		known[t] = true
	}
	for i, n := range s.Linux.Namespaces {
		switch {
		case n.Type == "":
			p.bad(at(here, i, "type"), "is missing")
		case !known[n.Type]:
			p.bad(at(here, i, "type"), "%q is no namespace: there are pid, network, mount, ipc, uts, user, cgroup and time", n.Type)
		case seen[n.Type]:
			p.bad(at(here, i, "type"), "%s stands in the list before", n.Type)
		}
		seen[n.Type] = true
		if n.Path != "" && !path.IsAbs(n.Path) {
			p.bad(at(here, i, "path"), "%q is not an absolute path", n.Path)
		}
	}
	if seen[specs.MountNamespace] {
		return
	}
	if seen[specs.UserNamespace] {
		p.cannot(here, "has no mount namespace: a user namespace gives no right to mount among the host's mounts")
	}
	const restricts = "unable to restrict sys entries without a private MNT namespace: they would be the host's"
	if len(s.Linux.MaskedPaths) > 0 {
		p.cannot("/linux/maskedPaths", restricts)
	}
	if len(s.Linux.ReadonlyPaths) > 0 {
		p.cannot("/linux/readonlyPaths", restricts)
	}
}

// mappings checks uid and gid maps by the rules of user_namespaces(7).
func (p *problems) mappings(s *specs.Spec) {
	joined, user := Namespace(s, specs.UserNamespace)
	uids, gids := s.Linux.UIDMappings, s.Linux.GIDMappings
	for _, m := range []struct {
		pointer string
		list    []specs.LinuxIDMapping
	}{{"/linux/uidMappings", uids}, {"/linux/gidMappings", gids}} {
		switch {
		case len(m.list) > 0 && !user:
			p.bad(m.pointer, "the container has no user namespace")
			continue
		case len(m.list) == 0 && user && joined == "":
			p.bad(m.pointer, "is missing: a new user namespace needs it")
			continue
		case len(m.list) > maxMappings:
			p.bad(m.pointer, "%d mappings: at most %d", len(m.list), maxMappings)
		}
		p.mapping(m.pointer, m.list)
		if _, ok := ToHost(m.list, 0); !ok && len(m.list) > 0 {
			p.bad(m.pointer, "0 is not mapped: what the runtime makes in the container would have no owner")
		}
	}
	if s.Process == nil || !user || len(uids) == 0 || len(gids) == 0 {
		return
	}
	u := s.Process.User
	if _, ok := ToHost(uids, u.UID); !ok {
		p.bad("/process/user/uid", "%d is not mapped by /linux/uidMappings", u.UID)
	}
	if _, ok := ToHost(gids, u.GID); !ok {
		p.bad("/process/user/gid", "%d is not mapped by /linux/gidMappings", u.GID)
	}
	for i, g := range u.AdditionalGids {
		if _, ok := ToHost(gids, g); !ok {
			p.bad(at("/process/user/additionalGids", i), "%d is not mapped by /linux/gidMappings", g)
		}
	}
}

func (p *problems) mapping(pointer string, list []specs.LinuxIDMapping) {
	overlap := func(a, b, n, m uint32) bool {
		return uint64(a) < uint64(b)+uint64(m) && uint64(b) < uint64(a)+uint64(n)
	}
	for i, m := range list {
		here := at(pointer, i)
		switch {
		case m.Size == 0:
			p.bad(here+"/size", "is 0")
			continue
		case uint64(m.ContainerID)+uint64(m.Size) > idSpace:
			p.bad(here+"/size", "%d ids from %d in the container go beyond 32 bits", m.Size, m.ContainerID)
		case uint64(m.HostID)+uint64(m.Size) > idSpace:
			p.bad(here+"/size", "%d ids from %d on the host go beyond 32 bits", m.Size, m.HostID)
		}
		for j, o := range list[:min(i, maxMappings)] {
			if overlap(m.ContainerID, o.ContainerID, m.Size, o.Size) {
				p.bad(here+"/containerID", "overlaps with mapping %d", j)
				break
			}
			if overlap(m.HostID, o.HostID, m.Size, o.Size) {
				p.bad(here+"/hostID", "overlaps with mapping %d", j)
				break
			}
		}
	}
}

// namespacedSysctls are the settings that belong to a namespace, by name or by a beginning that ends in a slash: any other one would be
// the host's (namespaces(7), ipc_namespaces(7), Documentation/admin-guide/sysctl).
var namespacedSysctls = map[string]specs.LinuxNamespaceType{
	"kernel/msgmax": specs.IPCNamespace, "kernel/msgmnb": specs.IPCNamespace, "kernel/msgmni": specs.IPCNamespace,
	"kernel/msg_next_id": specs.IPCNamespace, "kernel/auto_msgmni": specs.IPCNamespace,
	"kernel/sem": specs.IPCNamespace, "kernel/sem_next_id": specs.IPCNamespace,
	"kernel/shmall": specs.IPCNamespace, "kernel/shmmax": specs.IPCNamespace, "kernel/shmmni": specs.IPCNamespace,
	"kernel/shm_next_id": specs.IPCNamespace, "kernel/shm_rmid_forced": specs.IPCNamespace,
	"fs/mqueue/":        specs.IPCNamespace,
	"net/":              specs.NetworkNamespace,
	"kernel/hostname":   specs.UTSNamespace,
	"kernel/domainname": specs.UTSNamespace,
	"user/":             specs.UserNamespace,
}

// SysctlPath returns the path below /proc/sys of a setting's name, and whether the name is a good one. The first separator counts, as with
// sysctl(8): after a dot, dots separate and slashes stand for dots ("net.ipv4.conf.eth0/7.forwarding"); after a slash it is the path.
func SysctlPath(name string) (string, bool) {
	if i := strings.IndexAny(name, "./"); i >= 0 && name[i] == '.' {
		name = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return "", false
		}
	}
	return name, true
}

// SysctlNamespace returns the type of namespace that a setting belongs to; file is its path below /proc/sys. False: to the whole machine.
func SysctlNamespace(file string) (specs.LinuxNamespaceType, bool) {
	if t, ok := namespacedSysctls[file]; ok {
		return t, true
	}
	for n, t := range namespacedSysctls {
		if strings.HasSuffix(n, "/") && strings.HasPrefix(file, n) {
			return t, true
		}
	}
	return "", false
}

func (p *problems) sysctls(s *specs.Spec) {
	seen := map[string]string{}
	for _, name := range sortedKeys(s.Linux.Sysctl) {
		here := at("/linux/sysctl", name)
		file, ok := SysctlPath(name)
		if !ok {
			p.bad(here, "is no name of a setting")
			continue
		}
		if other, again := seen[file]; again {
			p.bad(here, "is the same setting as %q", other)
		}
		seen[file] = name
		t, ok := SysctlNamespace(file)
		if !ok {
			p.bad(here, "belongs to no namespace: it would be set for the whole machine")
			continue
		}
		if _, private := Namespace(s, t); !private {
			p.bad(here, "would be set for the host: the container has no %s namespace", t)
		}
		if file == "kernel/hostname" && s.Hostname != "" || file == "kernel/domainname" && s.Domainname != "" {
			p.bad(here, "contradicts the field /%s", strings.TrimPrefix(file, "kernel/"))
		}
	}
}
