package spec

import "github.com/opencontainers/runtime-spec/specs-go"

// TimeClocks are the clocks that a time namespace has offsets for (time_namespaces(7)), in the order in which they are written.
var TimeClocks = []string{"monotonic", "boottime"}

const maxNanosecs = 999_999_999 // of a second

func (p *problems) timeOffsets(s *specs.Spec) {
	const here = "/linux/timeOffsets"
	if len(s.Linux.TimeOffsets) == 0 {
		return
	}
	switch joined, ok := Namespace(s, specs.TimeNamespace); {
	case !ok:
		p.bad(here, "would be the host's: the container has no time namespace")
	case joined != "":
		p.bad(here, "cannot be set: the time namespace is there already, at %s", joined)
	}
	for _, clock := range sortedKeys(s.Linux.TimeOffsets) {
		if clock != TimeClocks[0] && clock != TimeClocks[1] {
			p.bad(at(here, clock), "is no clock of a time namespace: there are %s and %s", TimeClocks[0], TimeClocks[1])
		}
		if n := s.Linux.TimeOffsets[clock].Nanosecs; n > maxNanosecs {
			p.bad(at(here, clock, "nanosecs"), "%s", inRange(n, 0, maxNanosecs))
		}
	}
}
