package spec

import (
	"fmt"
	"path"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Limits of the kernel's and the specification's.
const (
	maxHostname = 64        // bytes, __NEW_UTS_LEN (sethostname(2))
	maxMappings = 340       // lines in uid_map (user_namespaces(7), since Linux 4.15)
	maxGroups   = 65536     // NGROUPS_MAX (setgroups(2))
	maxOOMScore = 1000      // and -1000 (proc_pid_oom_score_adj(5))
	maxUmask    = 0o777     // umask(2)
	maxMajor    = 1<<12 - 1 // bits of a device number (MINORBITS in the kernel's kdev_t.h)
	maxMinor    = 1<<20 - 1
	maxConsole  = 1<<16 - 1 // struct winsize has 16 bits each
	idSpace     = 1 << 32   // ids are 32 bits wide
)

// Options are what a check depends on besides the document.
type Options struct {
	// CgroupVersion is 1 or 2, 0 when it does not matter: linux.resources.unified exists on version 2 only.
	CgroupVersion int
	// Usual says that every member is one of the tables by which Parse reads (read.go): all of them are carried out, and their strings hold no NUL.
	Usual bool
}

// Validate checks a configuration. The error is an Errors with every problem, each a *FieldError; nil says that compile can carry all of it out,
// on a machine that has what it asks for.
func Validate(s *specs.Spec, o Options) error {
	p := &problems{o: o, create: true}
	p.version(s.Version)
	if !o.Usual {
		p.fields(reflect.ValueOf(s), "", fieldTree())
	}
	p.root(s)
	if s.Process == nil {
		p.bad("/process", "is missing: there is nothing to run")
	} else {
		p.process("/process", s.Process)
	}
	p.annotations(s.Annotations)
	if s.Linux == nil {
		p.bad("/linux", "is missing: this runtime makes Linux containers")
	} else {
		p.namespaces(s)
		p.mappings(s)
		p.sysctls(s)
		p.timeOffsets(s)
		p.netDevices(s)
		p.personality(s.Linux.Personality)
		p.memoryPolicy(s.Linux.MemoryPolicy)
		p.seccomp(s.Linux.Seccomp)
		p.intelRdt(s.Linux.IntelRdt)
		p.devices(s.Linux.Devices)
		p.propagation(s.Linux.RootfsPropagation)
		p.absolute("/linux/maskedPaths", s.Linux.MaskedPaths)
		p.absolute("/linux/readonlyPaths", s.Linux.ReadonlyPaths)
		if s.Linux.Resources != nil {
			p.resources("/linux/resources", s.Linux.Resources)
		}
	}
	p.hostnames(s)
	p.mounts(s)
	p.hooks(s.Hooks)
	return p.err()
}

// ValidateProcess checks a process of its own, as Exec requests carry it. Pointers begin at the process.
func ValidateProcess(ps *specs.Process, o Options) error {
	p := &problems{o: o}
	if !o.Usual {
		p.fields(reflect.ValueOf(ps), "", fieldTree().find("/process"))
	}
	p.process("", ps)
	return p.err()
}

// ValidateResources checks the resources of an Update request. Pointers begin at the resources.
func ValidateResources(r *specs.LinuxResources, o Options) error {
	p := &problems{o: o}
	p.fields(reflect.ValueOf(r), "", fieldTree().find("/linux/resources"))
	p.resources("", r)
	return p.err()
}

// version: a major version other than 1 may mean anything (config.md, "Specification version"; semver.org).
func (p *problems) version(v string) {
	core, _, _ := strings.Cut(v, "-")
	core, _, _ = strings.Cut(core, "+")
	parts := strings.Split(core, ".")
	ok := len(parts) == 3
	for _, n := range parts {
		_, err := strconv.ParseUint(n, 10, 32)
		ok = ok && err == nil
	}
	switch {
	case v == "":
		p.bad("/ociVersion", "is missing")
	case !ok:
		p.bad("/ociVersion", "%q is no version such as %s", v, specs.Version)
	case parts[0] != strconv.Itoa(specs.VersionMajor):
		p.bad("/ociVersion", "%q: this runtime knows version %d.x only", v, specs.VersionMajor)
	}
}

func (p *problems) root(s *specs.Spec) {
	switch {
	case s.Root == nil:
		p.bad("/root", "is missing")
	case s.Root.Path == "":
		p.bad("/root/path", "is missing")
	}
}

func (p *problems) annotations(a map[string]string) {
	for _, name := range sortedKeys(a) {
		if name == "" {
			p.bad("/annotations", "a name is empty")
		}
	}
}

func (p *problems) hostnames(s *specs.Spec) {
	_, private := Namespace(s, specs.UTSNamespace)
	for _, f := range []struct{ pointer, name string }{{"/hostname", s.Hostname}, {"/domainname", s.Domainname}} {
		if len(f.name) > maxHostname {
			p.bad(f.pointer, "%d bytes: at most %d", len(f.name), maxHostname)
		}
		if f.name != "" && !private {
			p.bad(f.pointer, "would rename the host: the container has no uts namespace")
		}
	}
}

// propagations are the values of linux.rootfsPropagation (config-linux.md, "Rootfs mount propagation").
var propagations = []string{"", "private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"}

func (p *problems) propagation(v string) {
	if !slices.Contains(propagations, v) {
		p.bad("/linux/rootfsPropagation", "%q is none of %s", v, strings.Join(propagations[1:], ", "))
	}
}

// absolute checks paths in the container.
func (p *problems) absolute(pointer string, paths []string) {
	for i, name := range paths {
		switch {
		case !path.IsAbs(name):
			p.bad(at(pointer, i), "%q is not an absolute path", name)
		case path.Clean(name) == "/":
			p.bad(at(pointer, i), "%q is the whole container", name)
		}
	}
}

func (p *problems) devices(devices []specs.LinuxDevice) {
	seen := map[string]specs.LinuxDevice{}
	for i, d := range devices {
		here := at("/linux/devices", i)
		clean := path.Clean(d.Path)
		first, again := seen[clean]
		switch {
		case d.Path == "":
			p.bad(here+"/path", "is missing")
		case !path.IsAbs(d.Path) || clean == "/":
			p.bad(here+"/path", "%q is no absolute path of a file", d.Path)
		case again && (first.Type != d.Type || first.Major != d.Major || first.Minor != d.Minor):
			p.bad(here+"/path", "%q stands in the list before, as another device", d.Path)
		}
		seen[clean] = d
		switch d.Type {
		case "c", "b", "u":
			if d.Major < 0 || d.Major > maxMajor {
				p.bad(here+"/major", "%d is not in 0 to %d", d.Major, maxMajor)
			}
			if d.Minor < 0 || d.Minor > maxMinor {
				p.bad(here+"/minor", "%d is not in 0 to %d", d.Minor, maxMinor)
			}
		case "p":
			if d.Major != 0 || d.Minor != 0 {
				p.bad(here+"/major", "a fifo has no device number")
			}
		default:
			p.bad(here+"/type", "%q is none of c, b, u, p", d.Type)
		}
		// Clients fill in what stat(2) gave them, so the bits of the type may stand in the mode.
		if d.FileMode != nil && *d.FileMode&^0o177777 != 0 {
			p.bad(here+"/fileMode", "%#o has bits that are no permissions", uint32(*d.FileMode))
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func inRange[T int | int64 | uint64 | uint | uint16 | uint32](v, low, high T) string {
	if v < low || v > high {
		return fmt.Sprintf("%d is not in %d to %d", v, low, high)
	}
	return ""
}
