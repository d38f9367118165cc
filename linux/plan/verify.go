package plan

import (
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
)

// Rule is something that every plan must keep to.
type Rule struct {
	Name string
	Why  string // one line: what would happen otherwise, or the man page or advisory
}

// Rules are all rules, the ones about a plan's form first. Only when its form is right is a plan looked at further.
var Rules = []Rule{
	{"label", "an error without the step's name says nothing"},
	{"actor", "the child has no Go runtime: it can neither call functions nor wait at the gate; only the parent can clone"},
	{"args", "a system call has at most 6 arguments (syscall(2)), and each operation has its own"},
	{"errnos", "a lowered step has room for MaxErrnos tolerated errnos"},
	{"data", "an address outside its item names another step's data"},
	{"buffer", "the kernel would read or write behind the end of the item"},
	{"jump", "forward only and of the same actor: then every plan ends"},

	{"register", "a register that is not set on every way to a step holds 0, which is a descriptor: stdin"},
	{"clone", "one child, and its first step behind the clone"},
	{"sync", "both sides count their messages: a skipped one makes the next mean another thing; a read of 0 means that the other side died"},
	{"gate", "a created container waits for start (runtime-spec, lifecycle); the gate is the parent's and there is one"},
	{"undo", "what the parent leaves in the file system stays when a later step fails"},
	{"cloexec", "a descriptor without O_CLOEXEC reaches the container's program (CVE-2024-21626)"},

	{"dumpable", "until PR_SET_DUMPABLE is 0 a process in the container can trace the one that enters (CVE-2016-9962)"},
	{"close-all", "no descriptor of the runtime may be open when the container's files are touched (CVE-2024-21626, CVE-2016-9962)"},
	{"kept", "the descriptor was closed by the step that closes all"},
	{"unskippable", "a jump must not lead around a step that security rests on"},
	{"host-path", "before the new root is in place a path by name is the host's (CVE-2019-18837)"},
	{"container-path", "inside, a path by name is the container's to change: look it up and hold it, make nothing by it (CVE-2021-30465)"},
	{"one-name", "a path of several names, or a link at its end, is followed where the container wants (CVE-2019-19921, CVE-2021-30465)"},
	{"magic-link", "links of procfs lead out of the container's root (CVE-2019-5736, CVE-2024-21626)"},
	{"groups-gid-uid", "after setresuid the right to change groups is gone (setgroups(2), credentials(7))"},
	{"caps", "the bounding set is dropped while CAP_SETPCAP is there; setresuid changes the sets, so capset comes behind it (capabilities(7))"},
	{"seccomp", "without no_new_privs a filter needs CAP_SYS_ADMIN (seccomp(2)): it comes before the capabilities go"},
	{"filter", "a filter that is cut short, or not of the length that is told, is another filter"},
	{"filter-late", "behind the filter the profile says which calls the process may make: none but the last ones, or few profiles let it start"},
	{"signal-mask", "the child is born with all signals blocked, and a signal mask survives execve (signal(7))"},
	{"exec-last", "execve ends the child's plan; only other candidates for the command can follow"},
}

// RuleError is a rule that a plan breaks.
type RuleError struct {
	Rule  string
	Step  int    // index, or -1 for the plan as a whole
	Label string // of the step
	Msg   string
}

func (e *RuleError) Error() string {
	if e.Step < 0 {
		return fmt.Sprintf("rule %s: %s", e.Rule, e.Msg)
	}
	return fmt.Sprintf("rule %s: step %d %q: %s", e.Rule, e.Step+1, e.Label, e.Msg)
}

// Unwrap returns the errdefs class: a magic link comes from config.json (the command, the working directory), every other breach from a bug.
func (e *RuleError) Unwrap() error {
	if e.Rule == "magic-link" {
		return errdefs.ErrInvalidArgument
	}
	return errdefs.ErrInternal
}

// Verify checks that p keeps to all Rules. The error joins one *RuleError for each breach. A fault (Plan.WithFault) changes nothing.
//
// The verifier guards against bugs of the compiler: it looks at the plan alone, which is made from untrusted configuration, and trusts
// nothing of how it was made.
func Verify(p *Plan) error {
	v := &verifier{p: p}
	v.form()
	if len(v.errs) == 0 {
		v.index()
		v.registers()
		v.launch()
		v.parentSteps()
		v.cloexec()
		v.isolation()
		v.paths()
		v.identity()
		v.ending()
	}
	if len(v.errs) == 0 {
		return nil
	}
	return fmt.Errorf("the plan %q is refused: %w", p.Name, errors.Join(v.errs...))
}

// verifier holds what the rules share.
type verifier struct {
	p     *Plan
	errs  []error
	steps [2][]int // indexes of each actor's steps
	after []int    // index of the same actor's step behind each, len(Steps) behind its last
	sync  [2]Reg   // each actor's end of the socket pair
	clone int      // index of OpClone, -1 without
	close int      // index of OpCloseAll, -1 without
	// inside is the index of the child's step that puts it into the container's root: from then on names are the container's.
	inside  int
	private []bool // registers with descriptors of file systems that nobody else can reach
}

func (v *verifier) fail(rule string, step int, format string, args ...any) {
	e := &RuleError{Rule: rule, Step: step, Msg: fmt.Sprintf(format, args...)}
	if step >= 0 && step < len(v.p.Steps) {
		e.Label = v.p.Steps[step].Label
	}
	v.errs = append(v.errs, e)
}

// index finds the landmarks of a plan whose form is right.
func (v *verifier) index() {
	v.clone, v.close = -1, -1
	n := len(v.p.Steps)
	v.after = make([]int, n)
	v.sync = [2]Reg{Parent: v.p.Reg(RegSyncP), Child: v.p.Reg(RegSyncC)}
	last := [2]int{-1, -1}
	for i := range v.p.Steps {
		s := &v.p.Steps[i]
		v.steps[s.Actor] = append(v.steps[s.Actor], i)
		if before := last[s.Actor]; before >= 0 {
			v.after[before] = i
		}
		v.after[i], last[s.Actor] = n, i
		switch {
		case s.Op == OpClone && v.clone < 0:
			v.clone = i
		case s.Op == OpCloseAll && v.close < 0:
			v.close = i
		}
	}
	v.inside = v.findInside()
	v.private = v.findPrivate()
}

// next returns the index of the actor's step behind i, or len(Steps).
func (v *verifier) next(i int) int { return v.after[i] }

// skipper returns the index of a step of the same actor that can jump over step i, or -1.
func (v *verifier) skipper(i int) int {
	for _, j := range v.steps[v.p.Steps[i].Actor] {
		if j >= i {
			break
		}
		if v.p.Steps[j].OnOK > i || v.p.Steps[j].OnErr > i {
			return j
		}
	}
	return -1
}

// arg returns an argument of s; one that is not there is 0, as in the lowered form.
func arg(s *Step, n int) Arg {
	if n < 0 || n >= len(s.Args) {
		return Arg{}
	}
	return s.Args[n]
}

// imm returns an immediate argument's value.
func imm(s *Step, n int) (uint64, bool) {
	a := arg(s, n)
	return a.Value, a.Kind == Imm
}

// str returns the string that a names, without its NUL.
func (p *Plan) str(a Arg) (string, bool) {
	if a.Kind != Addr || !p.Data[a.Data].Str {
		return "", false
	}
	b := p.Data[a.Data].Bytes
	return string(b[a.Value : len(b)-1]), true
}

// bytes returns n bytes of an item's initial content at the place that a names.
func (p *Plan) bytes(a Arg, n int) ([]byte, bool) {
	if a.Kind != Addr || a.Value+uint64(n) > uint64(len(p.Data[a.Data].Bytes)) {
		return nil, false
	}
	return p.Data[a.Data].Bytes[a.Value : a.Value+uint64(n)], true
}
