package spec

import (
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/bpf"
)

// Limits of a seccomp profile.
const (
	maxErrno    = 4095      // MAX_ERRNO of the kernel: what a system call can return
	maxTrace    = 1<<16 - 1 // SECCOMP_RET_DATA: what a tracer is told
	maxSockPath = 107       // sun_path of unix(7), without its NUL
	maxCallArg  = 5         // a system call has six arguments
)

// flagTsync is what SECCOMP_FILTER_FLAG_TSYNC is called; specs-go has no constant for it.
const flagTsync specs.LinuxSeccompFlag = "SECCOMP_FILTER_FLAG_TSYNC"

// SeccompFlags are the flags that a profile can name (config-linux.md, "Seccomp").
var SeccompFlags = []specs.LinuxSeccompFlag{flagTsync, specs.LinuxSeccompFlagLog, specs.LinuxSeccompFlagSpecAllow, specs.LinuxSeccompFlagWaitKillableRecv}

// SeccompOperators are the comparisons of a condition.
var SeccompOperators = []specs.LinuxSeccompOperator{
	specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual,
}

// Notifies says whether a profile hands calls to an agent.
func Notifies(s *specs.LinuxSeccomp) bool {
	return slices.ContainsFunc(s.Syscalls, func(c specs.LinuxSyscall) bool { return c.Action == specs.ActNotify })
}

func (p *problems) seccomp(s *specs.LinuxSeccomp) {
	const here = "/linux/seccomp"
	if s == nil {
		return
	}
	if s.DefaultAction == "" && len(s.Syscalls) == 0 && len(s.Architectures) == 0 && len(s.Flags) == 0 && s.DefaultErrnoRet == nil && s.ListenerPath == "" && s.ListenerMetadata == "" {
		return // nothing is asked for
	}
	p.action(here+"/defaultAction", here+"/defaultErrnoRet", s.DefaultAction, s.DefaultErrnoRet)
	for i, a := range s.Architectures {
		if !slices.Contains(bpf.ArchNames, a) {
			p.bad(at(here, "architectures", i), "%q is no architecture such as %s", a, specs.ArchX86_64)
		}
	}
	for i, f := range s.Flags {
		if !slices.Contains(SeccompFlags, f) {
			p.bad(at(here, "flags", i), "%q is none of %s", f, list(SeccompFlags))
		}
	}
	for i := range s.Syscalls {
		p.callRule(at(here, "syscalls", i), &s.Syscalls[i])
	}
	p.listener(here, s)
}

// listener checks what concerns notifications.
func (p *problems) listener(here string, s *specs.LinuxSeccomp) {
	if s.DefaultAction == specs.ActNotify {
		p.bad(here+"/defaultAction", "%s cannot be it: the call that starts to tell the agent would wait for the agent", s.DefaultAction)
	}
	for i, c := range s.Syscalls {
		if n := slices.Index(c.Names, "write"); n >= 0 && c.Action == specs.ActNotify {
			p.bad(at(here, "syscalls", i, "names", n), "write cannot have %s: the process hands its listener over by it", c.Action)
		}
	}
	switch {
	case s.ListenerPath == "" && Notifies(s):
		p.bad(here+"/listenerPath", "is missing: there is nobody to answer %s", specs.ActNotify)
	case len(s.ListenerPath) > maxSockPath:
		p.bad(here+"/listenerPath", "%d bytes: the path of a socket has at most %d", len(s.ListenerPath), maxSockPath)
	}
	if s.ListenerMetadata != "" && s.ListenerPath == "" {
		p.bad(here+"/listenerMetadata", "is set without listenerPath")
	}
}

// action checks an action and the errno that it returns.
func (p *problems) action(here, atErrno string, a specs.LinuxSeccompAction, errno *uint) {
	limit := uint(maxErrno)
	switch {
	case a == "":
		p.bad(here, "is missing")
		return
	case !slices.Contains(bpf.ActionNames, a):
		p.bad(here, "%q is none of %s", a, list(bpf.ActionNames))
		return
	case errno == nil:
		return
	case a == specs.ActTrace:
		limit = maxTrace
	case a != specs.ActErrno: // config-linux.md: "the runtime MUST print and error and fail"
		p.bad(atErrno, "%s returns none", a)
		return
	}
	if *errno > limit {
		p.bad(atErrno, "%d is more than %d", *errno, limit)
	}
}

func (p *problems) callRule(here string, c *specs.LinuxSyscall) {
	if len(c.Names) == 0 {
		p.bad(here+"/names", "is missing")
	}
	if i := slices.Index(c.Names, ""); i >= 0 {
		p.bad(at(here, "names", i), "is empty")
	}
	p.action(here+"/action", here+"/errnoRet", c.Action, c.ErrnoRet)
	for i, a := range c.Args {
		if a.Index > maxCallArg {
			p.bad(at(here, "args", i, "index"), "%s", inRange(a.Index, 0, maxCallArg))
		}
		switch {
		case a.Op == "":
			p.bad(at(here, "args", i, "op"), "is missing")
		case !slices.Contains(SeccompOperators, a.Op):
			p.bad(at(here, "args", i, "op"), "%q is none of %s", a.Op, list(SeccompOperators))
		}
	}
}

// list is for messages.
func list[T ~string](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = string(v)
	}
	return strings.Join(texts, ", ")
}
