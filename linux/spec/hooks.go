package spec

import (
	"path"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// maxHookTimeout is 68 years in seconds: what int has on every platform, and less than what time.Duration can hold.
const maxHookTimeout = 1<<31 - 1

// hooks checks what is to be run around a container's life (config.md, "POSIX-platform Hooks").
func (p *problems) hooks(h *specs.Hooks) {
	if h == nil {
		return
	}
	for _, k := range []struct {
		name string
		list []specs.Hook
	}{
		{"prestart", h.Prestart}, //nolint:staticcheck // deprecated, and used
		{"createRuntime", h.CreateRuntime}, {"createContainer", h.CreateContainer}, {"startContainer", h.StartContainer},
		{"poststart", h.Poststart}, {"poststop", h.Poststop},
	} {
		for i, hook := range k.list {
			here := at("/hooks/"+k.name, i)
			switch {
			case hook.Path == "":
				p.bad(here+"/path", "is missing")
			case !path.IsAbs(hook.Path):
				p.bad(here+"/path", "%q is not an absolute path", hook.Path)
			}
			if t := hook.Timeout; t != nil && (*t < 1 || *t > maxHookTimeout) {
				p.bad(here+"/timeout", "%d is not in 1 to %d seconds", *t, maxHookTimeout)
			}
		}
	}
}
