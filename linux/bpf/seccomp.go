package bpf

import (
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// What a filter returns (linux/seccomp.h, SECCOMP_RET_): an action in the upper 16 bits, its data in the lower ones.
const (
	RetKillProcess = 0x80000000
	RetKillThread  = 0x00000000
	RetTrap        = 0x00030000
	RetErrno       = 0x00050000
	RetNotify      = 0x7fc00000
	RetTrace       = 0x7ff00000
	RetLog         = 0x7ffc0000
	RetAllow       = 0x7fff0000
	RetAction      = 0xffff0000 // mask of the action
)

const eperm, enosys = 1, 38

// ActionNames are the actions that a profile can name.
var ActionNames = []specs.LinuxSeccompAction{
	specs.ActKill, specs.ActKillProcess, specs.ActKillThread, specs.ActTrap, specs.ActErrno, specs.ActTrace, specs.ActAllow, specs.ActLog, specs.ActNotify,
}

// Action returns what a filter returns for an action, and whether there is such an action. errno, nil for none, counts for SCMP_ACT_ERRNO and SCMP_ACT_TRACE.
func Action(name specs.LinuxSeccompAction, errno *uint) (uint32, bool) {
	data := uint32(eperm) // config-linux.md: "If not specified then its default value is EPERM"
	if errno != nil {
		data = uint32(*errno) & 0xffff
	}
	switch name {
	case specs.ActKill, specs.ActKillThread: // KILL is the older name (libseccomp's seccomp_init(3))
		return RetKillThread, true
	case specs.ActKillProcess:
		return RetKillProcess, true
	case specs.ActTrap:
		return RetTrap, true
	case specs.ActErrno:
		return RetErrno | data, true
	case specs.ActTrace:
		return RetTrace | data, true
	case specs.ActAllow:
		return RetAllow, true
	case specs.ActLog:
		return RetLog, true
	case specs.ActNotify:
		return RetNotify, true
	}
	return 0, false
}

// rule is a list of conditions, all of which must hold, and what is returned then.
type rule struct {
	conds []specs.LinuxSeccompArg
	ret   uint32
}

// verdict is what becomes of a call: ret, unless one of the rules applies, the first that does.
type verdict struct {
	rules []rule
	ret   uint32
}

// Bounds of what a section holds.
const (
	callSpace    = 1024 // numbers of calls, ARM's private ones aside: the kernel's tables end far below
	privateSpace = 16   // of ARM's private calls
	maxArgs      = 6    // arguments of a call
)

// section is what a filter says about one architecture.
type section struct {
	arch Arch
	def  uint32 // what the default action returns
	// calls says for each number which verdict, by its index + 1; 0 is the default. ARM's private calls stand behind the others.
	calls    [callSpace + privateSpace]uint16
	verdicts []verdict
	top      int // the highest number that a rule names, -1 for none; private ones do not count
}

// slot returns the index of a number in s.calls.
func (s *section) slot(n uint32) int {
	if n >= armPrivate {
		return callSpace + int(n-armPrivate)
	}
	return int(n)
}

// Compile makes the filter of a profile that has passed spec.Validate, for a kernel of the architecture native. It says what libseccomp and, for calls
// that are newer than the profile, runc say:
//
//   - An architecture that is not in the profile is answered by SCMP_ACT_KILL; the native one always is in it.
//   - Names that an architecture does not have are left out there. A rule whose action is the default one says nothing.
//   - Of the rules of one call the first one without conditions counts; when all have conditions, the first of those that apply. A rule that looks at an
//     argument twice is one rule a condition.
//   - A number above all that the profile names for the architecture is answered by ENOSYS, unless the default action lets calls pass: programs then try
//     what is older, where EPERM would make them give up.
func Compile(p *specs.LinuxSeccomp, native Arch) ([]Insn, error) {
	def, ok := Action(p.DefaultAction, p.DefaultErrnoRet)
	if !ok {
		return nil, fmt.Errorf("/defaultAction: %q is no action", p.DefaultAction)
	}
	newer := def
	switch def & RetAction {
	case RetAllow, RetLog, RetTrace:
	default:
		newer = RetErrno | enosys
	}
	list := []Arch{native}
	for _, g := range native.guests() {
		if slices.Contains(p.Architectures, archs[g].name) {
			list = append(list, g)
		}
	}
	sections := make([]section, len(list))
	for i, arch := range list {
		sections[i] = section{arch: arch, def: def, top: -1}
	}
	for i := range p.Syscalls {
		if err := fill(sections, &p.Syscalls[i]); err != nil {
			return nil, fmt.Errorf("/syscalls/%d%w", i, err)
		}
	}
	a := &asm{rev: make([]Insn, 0, 512), near: make([]label, 0, 512)}
	at := make([]label, len(list))
	for i := range slices.Backward(list) { // the native one is written last, so that it comes first
		at[i] = sections[i].emit(a, newer)
	}
	a.dispatch(list, at, def)
	if len(a.rev) > maxInsns {
		return nil, fmt.Errorf("/syscalls: the filter has %d instructions, the kernel takes %d", len(a.rev), maxInsns)
	}
	return a.program(), nil
}

// dispatch begins the program: it goes on in the section of the call's architecture.
func (a *asm) dispatch(list []Arch, at []label, def uint32) {
	next := a.ret(RetKillThread)
	x32 := slices.Index(list, X32)
	for i, arch := range slices.Backward(list) {
		if i == x32 {
			continue // its calls come as x86_64's
		}
		entry := at[i]
		if arch == X8664 && x32 >= 0 {
			entry = a.jump(opJge, x32Bit, at[x32], entry)
		} else if arch == X8664 {
			// -1 is no call of x32: it is how a tracer skips a call, and filters see it (seccomp(2)).
			other := a.jump(opJeq, ^uint32(0), a.ret(def), a.ret(RetKillThread))
			entry = a.jump(opJge, x32Bit, other, entry)
		}
		next = a.jump(opJeq, arch.Audit(), a.load(offNr, entry), next)
	}
	a.load(offArch, next)
}

// fill applies one block of the profile's rules to all sections. A name is looked up once: that is what most of the time goes into.
func fill(sections []section, block *specs.LinuxSyscall) error {
	ret, ok := Action(block.Action, block.ErrnoRet)
	if !ok {
		return fmt.Errorf("/action: %q is no action", block.Action)
	}
	rules := make([][]rule, len(sections))
	for i := range sections {
		rules[i] = sections[i].rules(block.Args, ret)
	}
	entry := -1
	for _, name := range block.Names {
		if entry = findCall(name, entry+1); entry < 0 {
			continue // a newer kernel's, or one of an architecture without a table: it has no number here
		}
		for i := range sections {
			sections[i].apply(name, entry, rules[i], ret)
		}
	}
	return nil
}

// apply notes the rules of one call, which return ret.
func (s *section) apply(name string, entry int, rules []rule, ret uint32) {
	if n, ok := callNumber(entry, s.arch); ok {
		if n < callSpace {
			s.top = max(s.top, int(n))
		}
		if ret != s.def {
			s.add(n, rules)
		}
	}
	if !archs[s.arch].mux || ret == s.def {
		return
	}
	if by, call := muxed(name); by != "" {
		n, _ := callNumber(findCall(by, 0), s.arch)
		s.add(n, muxedRules(rules, call))
	}
}

// rules returns the rules of a block on this architecture: one without conditions alone, or some with conditions.
func (s *section) rules(args []specs.LinuxSeccompArg, ret uint32) []rule {
	one, twice, seen := rule{ret: ret}, false, [maxArgs]bool{}
	var each []rule
	for _, c := range args {
		twice = twice || seen[c.Index]
		seen[c.Index] = true
		always := s.normalize(&c)
		if !always {
			one.conds = append(one.conds, c)
		}
		each = append(each, rule{one.conds[len(one.conds):], ret})
		if !always {
			each[len(each)-1].conds = one.conds[len(one.conds)-1:]
		}
	}
	if !twice {
		return []rule{one}
	}
	for _, r := range each {
		if len(r.conds) == 0 {
			return []rule{r}
		}
	}
	return each
}

// normalize makes a condition of what an argument is on this architecture, and says whether it always holds.
func (s *section) normalize(c *specs.LinuxSeccompArg) bool {
	if archs[s.arch].narrow {
		c.Value, c.ValueTwo = c.Value&0xffffffff, c.ValueTwo&0xffffffff
	}
	if c.Op == specs.OpMaskedEqual {
		c.ValueTwo &= c.Value // as libseccomp does
		return c.Value == 0
	}
	return false
}

// muxedRules are rules for a call that is made by socketcall(2) or ipc(2), whose first argument names it and whose others stand in memory, where a filter
// cannot look. libseccomp puts the name into the place of the first condition, and leaves the others: so do we, that a profile means the same.
func muxedRules(rules []rule, call uint32) []rule {
	list := make([]rule, 0, len(rules))
	for _, r := range rules {
		conds := []specs.LinuxSeccompArg{{Index: 0, Op: specs.OpEqualTo, Value: uint64(call)}}
		for _, c := range r.conds {
			if c.Index != 0 {
				conds = append(conds, c)
			}
		}
		list = append(list, rule{conds, r.ret})
	}
	return list
}

// add adds rules of one call.
func (s *section) add(n uint32, rules []rule) {
	i := s.slot(n)
	has := s.calls[i]
	switch plain := len(rules[0].conds) == 0; {
	case has != 0 && s.verdicts[has-1].rules == nil: // the first rule without conditions counts
	case plain:
		s.calls[i] = s.plain(rules[0].ret)
	case has != 0:
		v := &s.verdicts[has-1]
		v.rules = append(v.rules, rules...)
	default:
		s.verdicts = append(s.verdicts, verdict{slices.Clone(rules), s.def})
		s.calls[i] = uint16(len(s.verdicts))
	}
}

// plain returns the verdict without rules, one for all calls that have it.
func (s *section) plain(ret uint32) uint16 {
	for i, v := range s.verdicts {
		if v.rules == nil && v.ret == ret {
			return uint16(i + 1)
		}
	}
	s.verdicts = append(s.verdicts, verdict{ret: ret})
	return uint16(len(s.verdicts))
}
