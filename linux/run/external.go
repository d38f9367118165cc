package run

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/host"
	"example.io/shim/linux/spec"
)

// external is a mount whose content is not the container's: CRIU dumps its place under a name, and a restore says what is mounted there (criu(8),
// --external). The name is where config.json wants it, so that another container of the same configuration finds it.
type external struct {
	name   string // absolute in the container, cleaned
	source string // on the host
	tree   bool   // with what is mounted below the source
	masks  bool   // a tmpfs there is not it, but a masked folder
}

// externals lists the mounts of a configuration that come from the host.
func (c *Container) externals() ([]external, error) {
	var list []external
	for i := range c.spec.Mounts {
		m := &c.spec.Mounts[i]
		opt, err := spec.ParseMountOptions(m.Options)
		if err != nil {
			return nil, fmt.Errorf("/mounts/%d/options: %w", i, err)
		}
		dst := spec.Destination(m)
		switch {
		case opt.Remount:
		case m.Type == "cgroup" || m.Type == "cgroup2":
			list = append(list, c.externalCgroups(dst)...)
		case opt.Bind:
			list = append(list, external{name: dst, source: c.hostPath(m.Source), tree: opt.Recursive})
		}
	}
	for _, p := range c.spec.Linux.MaskedPaths {
		list = append(list, external{name: path.Clean("/" + p), source: os.DevNull, masks: true})
	}
	// Device nodes are binds of the host's where they cannot be made: in a user namespace.
	for _, d := range c.spec.Linux.Devices {
		list = append(list, external{name: path.Clean("/" + d.Path), source: d.Path})
	}
	for _, p := range []string{"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty"} {
		list = append(list, external{name: p, source: p})
	}
	return list, nil
}

// externalCgroups are what the compiler binds below a mount of type cgroup. On v2 with a cgroup namespace it is a file system, which CRIU mounts.
func (c *Container) externalCgroups(dst string) (list []external) {
	for _, d := range c.state.CgroupDirs {
		switch {
		case d.Unified && c.state.Cgroup.Version == 1: // hybrid: it has no controllers
		case !d.Unified:
			name := strings.TrimPrefix(strings.Join(d.Controllers, ","), "name=")
			list = append(list, external{name: path.Join(dst, name), source: d.Path})
		case hasNamespace(c.spec, specs.CgroupNamespace):
		case hasNamespace(c.spec, specs.UserNamespace):
			list = append(list, external{name: dst, source: d.Path})
		default:
			list = append(list, external{name: dst, source: d.Mount})
		}
	}
	return list
}

func hasNamespace(s *specs.Spec, t specs.LinuxNamespaceType) bool {
	_, ok := spec.Namespace(s, t)
	return ok
}

func (c *Container) hostPath(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(c.state.Bundle, p)
}

// dumpMounts says of the mounts that the container has which ones are external.
func (c *Container) dumpMounts(pid int) ([]string, error) {
	list, err := c.externals()
	if err != nil {
		return nil, err
	}
	mounts, err := mountsOf(fmt.Sprintf("/proc/%d/mountinfo", pid))
	if err != nil {
		return nil, err
	}
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the container's root: %w", err)
	}
	defer func() { _ = unix.Close(root) }()
	var out []string
	for _, e := range list {
		at := realPath(root, e.name)
		for _, m := range mounts {
			switch {
			case m.point == at && e.masks && m.fstype != "tmpfs":
				out = append(out, fmt.Sprintf("mnt[%s]:%s", at, os.DevNull)) // what it is, as in runc's
			case m.point == at && !e.masks:
				out = append(out, fmt.Sprintf("mnt[%s]:%s", at, e.name))
			case e.tree && strings.HasPrefix(m.point, at+"/") && !c.mountsAt(m.point):
				out = append(out, fmt.Sprintf("mnt[%s]:%s", m.point, path.Join(e.name, strings.TrimPrefix(m.point, at))))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// mountsAt says that config.json itself mounts something there.
func (c *Container) mountsAt(point string) bool {
	return slices.ContainsFunc(c.spec.Mounts, func(m specs.Mount) bool { return spec.Destination(&m) == point })
}

// restoreMounts says where the content of external mounts is.
func (c *Container) restoreMounts() ([]string, error) {
	list, err := c.externals()
	if err != nil {
		return nil, err
	}
	ours, err := mountsOf("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var out []string
	seen := map[string]bool{}
	add := func(name, source string) {
		if !seen[name] {
			seen[name] = true
			out = append(out, fmt.Sprintf("mnt[%s]:%s", name, source))
		}
	}
	for _, e := range list {
		add(e.name, e.source)
		for _, m := range ours {
			if e.tree && strings.HasPrefix(m.point, e.source+"/") {
				add(path.Join(e.name, strings.TrimPrefix(m.point, e.source)), m.point)
			}
		}
	}
	return out, nil
}

// realPath resolves the links in a path of the container. One that is not there stays as it is.
func realPath(root int, name string) string {
	fd, err := unix.Openat2(root, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return name
	}
	defer func() { _ = unix.Close(fd) }()
	// The path of what is in another mount namespace is told from that one's root (d_path in the kernel's fs/d_path.c).
	at, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	if err != nil {
		return name
	}
	return at
}

// mountPoint is what we need of a line of mountinfo.
type mountPoint struct{ point, fstype string }

// mountsOf parses a mountinfo file (proc_pid_mountinfo(5)).
func mountsOf(file string) ([]mountPoint, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the mounts: %w", err)
	}
	const point = 4 // index of the mount point
	var list []mountPoint
	for line := range bytes.Lines(data) {
		f := strings.Fields(string(line))
		dash := slices.Index(f, "-")
		if len(f) <= point || dash < 0 || dash+1 >= len(f) {
			return nil, fmt.Errorf("%s: %q is no mount", file, line)
		}
		list = append(list, mountPoint{point: host.Unescape(f[point]), fstype: f[dash+1]})
	}
	return list, nil
}
