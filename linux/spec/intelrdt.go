package spec

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// DefaultCLOS is the closID that means the group which every process is in at first: the root of resctrl (config-linux.md, "IntelRdt").
const DefaultCLOS = "/"

// intelRdt checks a class of service (Documentation/filesystems/resctrl.rst).
func (p *problems) intelRdt(r *specs.LinuxIntelRdt) {
	const here = "/linux/intelRdt"
	if r == nil {
		return
	}
	if id := r.ClosID; id == "." || id == ".." || id != DefaultCLOS && strings.ContainsAny(id, "/\n") {
		p.bad(here+"/closID", "%q is no name of a group", id)
	}
	line := func(pointer, text, begin string) {
		switch {
		case strings.Contains(text, "\n"):
			p.bad(pointer, "%q: one line is needed", text)
		case text != "" && !strings.HasPrefix(text, begin):
			p.bad(pointer, "%q does not begin with %s", text, begin)
		}
	}
	line(here+"/l3CacheSchema", r.L3CacheSchema, "L3") // or L3CODE, L3DATA
	line(here+"/memBwSchema", r.MemBwSchema, "MB:")
	for i, text := range r.Schemata {
		line(at(here, "schemata", i), text, "")
		if text == "" {
			p.bad(at(here, "schemata", i), "is empty")
		}
	}
}
