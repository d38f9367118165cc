package spec

import (
	"math/bits"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// MemoryModes are the modes of set_mempolicy(2) (include/uapi/linux/mempolicy.h).
var MemoryModes = map[specs.MemoryPolicyModeType]uint64{
	specs.MpolDefault: 0, specs.MpolPreferred: 1, specs.MpolBind: 2, specs.MpolInterleave: 3, specs.MpolLocal: 4, specs.MpolPreferredMany: 5,
	specs.MpolWeightedInterleave: 6,
}

// MemoryFlags are the flags that go with a mode.
var MemoryFlags = map[specs.MemoryPolicyFlagType]uint64{
	specs.MpolFNumaBalancing: 1 << 13, specs.MpolFRelativeNodes: 1 << 14, specs.MpolFStaticNodes: 1 << 15,
}

func (p *problems) memoryPolicy(m *specs.LinuxMemoryPolicy) {
	const here = "/linux/memoryPolicy"
	if m == nil {
		return
	}
	if _, ok := MemoryModes[m.Mode]; !ok {
		p.bad(here+"/mode", "%q is none of %s", m.Mode, names(MemoryModes))
		return
	}
	set, err := NodeSet(m.Nodes)
	none := m.Mode == specs.MpolDefault || m.Mode == specs.MpolLocal
	switch {
	case err != nil:
		p.bad(here+"/nodes", "%v", err)
	case none && set != nil:
		p.bad(here+"/nodes", "%q: this mode requires 0 nodes but got %d: %s has none", m.Nodes, count(set), m.Mode)
	case !none && set == nil && m.Mode != specs.MpolPreferred:
		p.bad(here+"/nodes", "is missing: %s needs some", m.Mode)
	}
	for i, f := range m.Flags {
		if _, ok := MemoryFlags[f]; !ok {
			p.bad(at(here, "flags", i), "%q is none of %s", f, names(MemoryFlags))
		}
	}
	if slices.Contains(m.Flags, specs.MpolFStaticNodes) && slices.Contains(m.Flags, specs.MpolFRelativeNodes) {
		p.bad(here+"/flags", "%s and %s exclude each other", specs.MpolFStaticNodes, specs.MpolFRelativeNodes)
	}
}

// count is how many numbers are in a set.
func count(set []byte) (n int) {
	for _, b := range set {
		n += bits.OnesCount8(b)
	}
	return n
}

// Personalities are the domains of personality(2).
var Personalities = map[specs.LinuxPersonalityDomain]uint64{specs.PerLinux: 0, specs.PerLinux32: 8}

// PersonalityFlags are the flags of personality(2) (include/uapi/linux/personality.h). The specification names no flag; these names are the manual's.
var PersonalityFlags = map[specs.LinuxPersonalityFlag]uint64{
	"UNAME26": 1 << 17, "ADDR_NO_RANDOMIZE": 1 << 18, "FDPIC_FUNCPTRS": 1 << 19, "MMAP_PAGE_ZERO": 1 << 20, "ADDR_COMPAT_LAYOUT": 1 << 21,
	"READ_IMPLIES_EXEC": 1 << 22, "ADDR_LIMIT_32BIT": 1 << 23, "SHORT_INODE": 1 << 24, "WHOLE_SECONDS": 1 << 25, "STICKY_TIMEOUTS": 1 << 26, "ADDR_LIMIT_3GB": 1 << 27,
}

func (p *problems) personality(v *specs.LinuxPersonality) {
	if v == nil {
		return
	}
	for i, f := range v.Flags {
		if _, ok := PersonalityFlags[f]; !ok {
			p.bad(at("/linux/personality/flags", i), "%q is none of %s", f, names(PersonalityFlags))
		}
	}
	if _, ok := Personalities[v.Domain]; !ok {
		p.bad("/linux/personality/domain", "%q is none of %s", v.Domain, names(Personalities))
	}
}

// affinity checks the CPUs of further processes.
func (p *problems) affinity(here string, a *specs.CPUAffinity) {
	for _, f := range []struct{ name, list string }{{"initial", a.Initial}, {"final", a.Final}} {
		if _, err := CPUSet(f.list); err != nil {
			p.bad(here+"/"+f.name, "%v", err)
		}
	}
}
