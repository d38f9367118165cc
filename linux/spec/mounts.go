package spec

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
)

// Destination returns where a mount goes in the container: cleaned, below /. A relative one counts from / (the specification wants absolute ones;
// other runtimes take both), and ".." does not lead out.
func Destination(m *specs.Mount) string { return path.Clean("/" + m.Destination) }

// overProc are the files of procfs over which other ones may be mounted: what lxcfs and its like give a container's view of.
var overProc = map[string]bool{
	"cpuinfo": true, "diskstats": true, "meminfo": true, "stat": true, "swaps": true, "uptime": true, "loadavg": true, "slabinfo": true,
	"net/dev": true, "sys/kernel/ns_last_pid": true, "sys/crypto/fips_enabled": true, "pressure/cpu": true, "pressure/io": true, "pressure/memory": true,
}

// ForgesProc says that something mounted at a cleaned destination would stand for a file of procfs that programs, and runtimes, trust (CVE-2019-16884).
func ForgesProc(destination string) bool {
	file, below := strings.CutPrefix(destination, "/proc/")
	return below && !overProc[file]
}

func (p *problems) mounts(s *specs.Spec) {
	for i := range s.Mounts {
		p.mount(at("/mounts", i), &s.Mounts[i])
	}
}

func (p *problems) mount(here string, m *specs.Mount) {
	switch {
	case m.Destination == "":
		p.bad(here+"/destination", "is missing")
	case Destination(m) == "/":
		p.bad(here+"/destination", "%q is the root, which /root/path names", m.Destination)
	}
	if ForgesProc(Destination(m)) {
		p.bad(here+"/destination", "%q: a mount below /proc could forge what the container's programs read there", m.Destination)
	}
	o, err := ParseMountOptions(m.Options)
	var oe *OptionError
	if errors.As(err, &oe) {
		p.bad(at(here, "options", oe.Index), "%q: %s", oe.Option, oe.Msg)
		return
	}
	if len(m.UIDMappings) > 0 != (len(m.GIDMappings) > 0) {
		p.bad(here+"/uidMappings", "both mappings or none")
	}
	p.mapping(here+"/uidMappings", m.UIDMappings)
	p.mapping(here+"/gidMappings", m.GIDMappings)
	if o.TmpCopyUp && (m.Type != "tmpfs" || o.Bind) {
		p.bad(here+"/options", "tmpcopyup is for tmpfs alone")
	}
	if o.Super&abi.MS_I_VERSION != 0 && o.Remount {
		p.cannot(at(here, "options", slices.Index(m.Options, "iversion")), "iversion cannot be added to a file system that is there, without a change of all its other flags (mount(2))")
	}
	if o.Remount {
		if o.IDMap || len(m.UIDMappings) > 0 || o.TmpCopyUp {
			p.bad(here+"/options", "remount changes a mount that is there: neither mappings nor tmpcopyup go with it")
		}
		return
	}
	if o.Bind {
		p.bind(here, m, &o)
		return
	}
	switch m.Type {
	case "bind":
		p.bad(here+"/type", `"bind" needs bind or rbind among the options`)
	case "", "none":
		p.bad(here+"/type", "is missing: neither a file system nor bind or rbind among the options")
	}
}

// bind: the kernel takes neither data nor flags of the file system for a bind mount, and would not say so (mount(2)).
func (p *problems) bind(here string, m *specs.Mount, o *MountOptions) {
	if m.Source == "" {
		p.bad(here+"/source", "is missing: what is to be bound?")
	}
	for _, d := range o.Data {
		p.bad(at(here, "options", d.Index), "%q is neither an option of this runtime nor possible for a bind mount, whose file system is mounted already", d)
	}
	if o.Super&^abi.MS_SILENT == 0 {
		return
	}
	for i, name := range m.Options {
		if e, _ := mountOption(name); e.kind == optSuper && e.flags&o.Super&^abi.MS_SILENT != 0 {
			p.bad(at(here, "options", i), "%q changes the file system, which a bind mount cannot", name)
		}
	}
}
