package plan

import (
	"bytes"
	"strings"

	"example.io/shim/linux/abi"
)

type verifyCase struct {
	rule, name string
	plan       *Plan
}

// verifyCases are plans that break exactly the rule named.
func verifyCases(none func(*Builder) []Arg) []verifyCase {
	args := func(list ...Arg) func(*Builder) []Arg { return func(*Builder) []Arg { return list } }
	cwd := func(name string, more ...Arg) func(*Builder) []Arg {
		return func(b *Builder) []Arg { return append([]Arg{AtCwd(), b.Str(name)}, more...) }
	}
	below := func(reg, name string, more ...Arg) func(*Builder) []Arg {
		return func(b *Builder) []Arg { return append([]Arg{R(b.Reg(reg)), b.Str(name)}, more...) }
	}
	edit := func(label string, f func(s *Step)) *Plan { return changed(label, func(_ *Plan, s *Step) { f(s) }) }
	raw := func(f func(p *Plan)) *Plan { p := good(nil); f(p); return p }
	step := func(place string, s Step) *Plan { return good(at(place, func(b *Builder) { b.Add(s) })) }
	cases := []verifyCase{
		{"label", "missing", edit("set uid", func(s *Step) { s.Label = "" })},
		{"actor", "call in the child", step("inside", Step{Label: "x", Op: OpCall, Call: CallHome})},
		{"actor", "clone in the child", step("inside", Step{Label: "x", Op: OpClone, Args: []Arg{V(0)}})},
		{"actor", "gate in the child", step("inside", Step{Label: "x", Op: OpGate})},
		{"actor", "close all in the parent", step("heard", Step{Label: "x", Op: OpCloseAll})},
		{"actor", "undo of the child", edit("set uid", func(s *Step) { s.Undo = &Undo{Sys: abi.SysClose} })},
		{"actor", "leaves behind by another call", edit("set uid", func(s *Step) { s.ExitParent = true })},
		{"actor", "unknown operation", edit("set uid", func(s *Step) { s.Op = 99 })},
		{"args", "seven", edit("set uid", func(s *Step) { s.Args = make([]Arg, 7) })},
		{"args", "no system call", edit("set uid", func(s *Step) { s.Sys = abi.SysNone })},
		{"args", "unknown system call", edit("set uid", func(s *Step) { s.Sys = 250 })},
		{"args", "unknown function", edit("find HOME", func(s *Step) { s.Call = "x" })},
		{"args", "memory in a call", edit("set uid", func(s *Step) { s.Args[0] = M(1, 0) })},
		{"args", "move without a place", step("inside", Step{Label: "x", Op: OpMove, Args: []Arg{V(1), V(2)}})},
		{"args", "kind", edit("set uid", func(s *Step) { s.Args[0].Kind = 9 })},
		{"args", "undo without a call", edit("make the cgroup", func(s *Step) { s.Undo = &Undo{} })},
		{"errnos", "five", edit("set uid", func(s *Step) { s.Tolerate = []abi.Errno{1, 2, 3, 4, 5} })},
		{"errnos", "zero", edit("make the cgroup", func(s *Step) { s.Tolerate = []abi.Errno{0} })},
		{"errnos", "retry on nothing", edit("make the cgroup", func(s *Step) { s.Retry = 1 })},
		{"errnos", "check without one", edit("/proc is no proc yet", func(s *Step) { s.Errno = 0 })},
		{"data", "item that is not there", edit("look at /proc", func(s *Step) { s.Args[1].Data = 999 })},
		{"data", "behind the end", edit("look at /proc", func(s *Step) { s.Args[1].Value = 121 })},
		{"data", "word behind the end", edit("/proc is no proc yet", func(s *Step) { s.Args[0].Value = 113 })},
		{"data", "no NUL", raw(func(p *Plan) { p.Data = append(p.Data, Item{Str: true, Bytes: []byte("x")}) })},
		{"data", "two NULs", raw(func(p *Plan) { p.Data = append(p.Data, Item{Str: true, Bytes: []byte("x\x00y\x00")}) })},
		{"data", "pointer to nothing", raw(func(p *Plan) { p.Data[p.Item("argv")].Words[0].To = 0 })},
		{"data", "pointer behind the end", raw(func(p *Plan) { p.Data[p.Item("argv")].Words[0].Off = 32 })},
		{"buffer", "short statfs", edit("look at /proc", func(s *Step) { s.Args[1].Value = 8 })},
		{"buffer", "long read", edit("wait for the child", func(s *Step) { s.Args[2] = V(9) })},
		{"buffer", "argv without an end", raw(func(p *Plan) {
			it := &p.Data[p.Item("argv")]
			it.Words = append(it.Words, Word{Off: len(it.Bytes) - 8, To: it.Words[0].To})
		})},
		{"buffer", "groups", edit("set groups", func(s *Step) { s.Args[0] = V(3) })},
		{"buffer", "move", good(at("inside", func(b *Builder) {
			b.Add(Step{Label: "x", Op: OpMove, Args: []Arg{V(1), AtOff(b.Buf("y", 8), 1)}})
		}))},
		{"jump", "backward", edit("set uid", func(s *Step) { s.OnOK = 1 })},
		{"jump", "behind the end", edit("set uid", func(s *Step) { s.OnOK = 999 })},
		{"jump", "to the other actor", raw(func(p *Plan) { p.Steps[0].OnOK = 4 })},
		{"jump", "on an error that is not tolerated", edit("enter the root", func(s *Step) { s.OnErr = 30 })},
		{"jump", "nothing leads there", good(at("between", func(b *Builder) {
			i := b.Add(Step{Label: "x", Op: OpCheck, Args: []Arg{V(0)}, Errno: 1})
			l := b.Label()
			b.OnOK(i, l)
			b.Add(Step{Label: "skipped", Op: OpCheck, Args: []Arg{V(0)}, Errno: 1})
			b.Place(l)
		}))},
		{"register", "never set", add("inside", abi.SysClose, func(b *Builder) []Arg { return []Arg{R(b.Reg("new"))} })},
		{"register", "set on one way only", edit("hold /proc", func(s *Step) { s.Save, s.FD = 0, false })},
		{"register", "a descriptor after a tolerated error", edit("hold /proc, which is new", func(s *Step) { s.Save, s.FD = 0, false })},
		{"register", "of the child, before a message", good(at("cloned", func(b *Builder) {
			b.Add(Step{Label: "x", Sys: abi.SysPidfdGetfd, Args: []Arg{R(b.Reg(RegPidfd)), R(b.Reg("proc"))}})
		}))},
		{"register", "of the parent, after the clone", good(func(place string, b *Builder) {
			switch place {
			case "cloned":
				b.Add(Step{Label: "x", Sys: abi.SysGetpid, Save: b.Reg("late")})
			case "inside":
				b.Add(Step{Label: "y", Sys: abi.SysUmask, Args: []Arg{R(b.Reg("late"))}})
			}
		})},
		{"register", "kept but not set", edit("close foreign descriptors", func(s *Step) { s.Keep = append(s.Keep, s.Keep[1]+1) })},
		{"register", "not there", edit("look at /proc", func(s *Step) { s.Args[0].Reg = 999 })},
		{"register", "saved nowhere", edit("set uid", func(s *Step) { s.FD = true })},
		{"register", "of an undo", good(at("begin", func(b *Builder) {
			b.Add(Step{Label: "x", Sys: abi.SysGetpid, Undo: &Undo{Sys: abi.SysClose, Args: []Arg{R(b.Reg("new"))}}})
		}))},
		{"clone", "twice", step("cloned", Step{Label: "x", Op: OpClone, Args: []Arg{V(0)}})},
		{"clone", "tolerated", edit("clone", func(s *Step) { s.Tolerate = []abi.Errno{1} })},
		{"sync", "skipped", over("tell that we are ready")},
		{"sync", "tolerated", edit("let it go", func(s *Step) { s.Tolerate = []abi.Errno{abi.EPIPE} })},
		{"sync", "read of 0 in the child", edit("wait for start", func(s *Step) {}).with("wait for start", Child, func(s *Step) { s.HasWant = false })},
		{"sync", "read that nobody looks at", edit("wait for the child", func(s *Step) { s.HasWant = false })},
		{"gate", "none", without("wait for start")},
		{"gate", "two", step("started", Step{Label: "x", Op: OpGate})},
		{"undo", "mkdirat", edit("make the cgroup", func(s *Step) { s.Undo = nil })},
		{"undo", "mount", add("begin", abi.SysMount, func(b *Builder) []Arg {
			return []Arg{b.Str("a"), b.Str("/b"), b.Str("ext4"), V(0), V(0)}
		})},
		{"undo", "move_mount", add("cloned", abi.SysMoveMount, func(b *Builder) []Arg {
			return []Arg{R(b.Reg("root")), b.Str(""), AtCwd(), b.Str("/b"), V(4)}
		})},
		{"undo", "creating open", add("begin", abi.SysOpenat, cwd("/x", T(abi.O_CREAT|fCloexec, "")))},
		{"undo", "mount_in", step("begin", Step{Label: "x", Op: OpCall, Call: CallMountIn, Args: make([]Arg, 6)})},
		{"undo", "start_unit", step("begin", Step{Label: "x", Op: OpCall, Call: CallStartUnit, Args: make([]Arg, 3)})},
		{"args", "unknown undo", edit("make the cgroup", func(s *Step) { s.Undo = &Undo{Call: "nosuch"} })},
		{"args", "undo that is a step's function", edit("make the cgroup", func(s *Step) { s.Undo = &Undo{Call: CallStartUnit} })},
		{"args", "undo of both kinds", edit("make the cgroup", func(s *Step) { s.Undo = &Undo{Call: CallStopUnit, Sys: abi.SysUnlinkat} })},
		{"undo", "renameat2", add("begin", abi.SysRenameat2, cwd("/a", AtCwd(), V(0), V(0)))},
		{"dumpable", "missing", without("be not dumpable")},
		{"dumpable", "later", add("born", abi.SysSetsid, none)},
		{"close-all", "missing", without("close foreign descriptors")},
		{"close-all", "behind a setns", add("undumpable", abi.SysSetns, func(b *Builder) []Arg { return []Arg{R(b.Reg("root")), V(abi.CLONE_NEWUTS)} })},
		{"close-all", "twice", step("inside", Step{Label: "x", Op: OpCloseAll})},
		{"close-all", "keeps the parent's end", good(nil).with("close foreign descriptors", Child, func(s *Step) { s.Keep = append(s.Keep, 1) })},
		{"kept", "standard input", add("inside", abi.SysDup3, func(b *Builder) []Arg { return []Arg{R(b.Reg(RegStdin)), V(0), V(0)} })},
		{"kept", "of the parent", edit("close foreign descriptors", func(s *Step) { s.Keep = s.Keep[:1] })},
		{"unskippable", "close all", overIn(add("undumpable", abi.SysSetsid, none), "close foreign descriptors")},
		{"unskippable", "capset", over("set capabilities")},
		{"unskippable", "setresuid", over("set uid")},
		{"unskippable", "signal mask", over("reset the signal mask")},
		{"unskippable", "gate", overIn(add("heard", abi.SysGetpid, none), "wait for start")},
		{"host-path", "absolute", add("before pivot", abi.SysChdir, func(b *Builder) []Arg { return []Arg{b.Str("/srv")} })},
		{"host-path", "relative to the working directory", add("before pivot", abi.SysMkdirat, cwd("a", V(0)))},
		{"host-path", "absolute below a descriptor", add("before pivot", abi.SysOpenat, below("root", "/etc", T(abi.O_NOFOLLOW|fCloexec, "")))},
		{"host-path", "not constant", add("before pivot", abi.SysChdir, func(b *Builder) []Arg { return []Arg{A(b.Buf("name", 9))} })},
		{"container-path", "mkdirat", add("inside", abi.SysMkdirat, cwd("/a", V(0)))},
		{"container-path", "move_mount", add("inside", abi.SysMoveMount, func(b *Builder) []Arg {
			return []Arg{R(b.Reg("proc")), b.Str(""), AtCwd(), b.Str("/b"), V(4)}
		})},
		{"container-path", "creating open", add("inside", abi.SysOpenat, cwd("/x", T(abi.O_CREAT|fCloexec, "")))},
		{"one-name", "several names", add("mounts", abi.SysMkdirat, below("root", "a/b", V(0)))},
		{"one-name", "dot dot", add("mounts", abi.SysMkdirat, below("root", "..", V(0)))},
		{"one-name", "following open", add("mounts", abi.SysOpenat, below("root", "a", T(fCloexec, "O_CLOEXEC")))},
		{"one-name", "fchmodat", add("mounts", abi.SysFchmodat, below("root", "a", V(0)))},
		{"one-name", "out of a private one", add("before pivot", abi.SysOpenat, below("proc", "../x", T(fCloexec, "O_CLOEXEC")))},
		{"magic-link", "working directory", edit("go to the working directory", func(s *Step) {}).text("/srv", "/proc/self/fd/7")},
		{"magic-link", "program", edit("execute /bin/sh", func(s *Step) {}).text("/bin/sh", "//proc/./self/exe")},
		{"magic-link", "by pid", good(nil).text("/bin/sh", "/proc/1/root/bin/sh")},
		{"magic-link", "in /dev", good(nil).text("/srv", "/dev/fd/3")},
		{"groups-gid-uid", "gid behind uid", add("caps", abi.SysSetresgid, args(V(1), V(1), V(1))).drop("set gid")},
		{"groups-gid-uid", "groups behind gid", add("uid", abi.SysSetgroups, args(V(0), V(0)))},
		{"groups-gid-uid", "another uid first", add("groups", abi.SysSetresuid, args(V(7), V(7), V(7)))},
		{"caps", "capset before uid", add("uid", abi.SysCapset, args(V(0), V(0)))},
		{"caps", "none", without("set capabilities")},
		{"caps", "bounding set behind uid", add("caps", abi.SysPrctl, args(V(abi.PR_CAPBSET_DROP), V(1)))},
		{"caps", "ambient before capset", add("caps", abi.SysPrctl, args(V(abi.PR_CAP_AMBIENT), V(abi.PR_CAP_AMBIENT_RAISE), V(1)))},
		{"seccomp", "behind capset", filtered("executes", false, 1, 1)},
		{"filter", "tolerated", filtered("executes", true, 1, 1).with("filter", Child, func(s *Step) { s.Tolerate = []abi.Errno{1} })},
		{"filter", "not loaded", filtered("executes", true, 1, 1).with("filter", Child, func(s *Step) { s.Args[0] = V(2) })},
		{"filter", "longer than it is", filtered("executes", true, 2, 1)},
		{"filter", "shorter than it is", filtered("executes", true, 1, 2)},
		{"filter", "empty", filtered("executes", true, 0, 0)},
		{"filter-late", "before the gate", filtered("capped", true, 1, 1)},
		{"signal-mask", "missing", without("reset the signal mask")},
		{"exec-last", "none", without("execute /bin/sh").drop("execute /usr/bin/sh").appendChild(abi.SysExitGroup)},
		{"exec-last", "a call behind", add("between", abi.SysGetpid, none)},
		{"exec-last", "tolerated", edit("execute /bin/sh", func(s *Step) { s.Tolerate = []abi.Errno{abi.ENOENT} })},
		{"exec-last", "goes on", edit("execute /usr/bin/sh", func(s *Step) {}).jump("execute /usr/bin/sh", "execute /bin/sh")},
	}
	for name, c := range map[string]struct {
		sys  abi.Sys
		args func(*Builder) []Arg
	}{
		"openat":     {abi.SysOpenat, cwd("/x", V(0))},
		"dup":        {abi.SysDup, args(V(0))},
		"F_SETFD":    {abi.SysFcntl, args(V(0), V(abi.F_SETFD), V(0))},
		"F_DUPFD":    {abi.SysFcntl, args(V(0), V(0), V(3))},
		"socket":     {abi.SysSocket, args(V(1), V(1), V(0))},
		"pipe2":      {abi.SysPipe2, func(b *Builder) []Arg { return []Arg{A(b.Buf("pipe", 8)), V(0)} }},
		"dup3":       {abi.SysDup3, args(V(0), V(1), V(0))},
		"openat2":    {abi.SysOpenat2, func(b *Builder) []Arg { return []Arg{AtCwd(), b.Str("/x"), A(b.Buf("how", 24)), V(24)} }},
		"pty":        {abi.SysIoctl, args(V(3), V(abi.TIOCGPTPEER), V(2))},
		"fsopen":     {abi.SysFsopen, func(b *Builder) []Arg { return []Arg{b.Str("proc"), V(0)} }},
		"memfd":      {abi.SysMemfdCreate, func(b *Builder) []Arg { return []Arg{b.Str("x"), V(0)} }},
		"child dup3": {abi.SysDup3, args(V(0), V(7), V(0))},
	} {
		place := "begin"
		if strings.HasPrefix(name, "child") {
			place = "inside"
		}
		cases = append(cases, verifyCase{"cloexec", name, add(place, c.sys, c.args)})
	}
	return cases
}

// filtered is the good plan with a filter, of which n instructions are told and there are have.
func filtered(place string, nnp bool, n, have int) *Plan {
	return good(at(place, func(b *Builder) {
		if nnp {
			b.Add(Step{Label: "no new privileges", Sys: abi.SysPrctl, Args: []Arg{V(abi.PR_SET_NO_NEW_PRIVS), V(1), V(0), V(0), V(0)}})
		}
		program := b.Bytes("filter", bytes.Repeat([]byte{6, 0, 0, 0, 0, 0, 0, 0}, have))
		head := b.Struct("sock_fprog", []byte{0: byte(n), abi.SockFprogSize - 1: 0}, Word{Off: 8, To: program})
		b.Add(Step{Label: "filter", Sys: abi.SysSeccomp, Args: []Arg{V(abi.SECCOMP_SET_MODE_FILTER), V(0), A(head)}})
	}))
}

// with edits the actor's step of that label.
func (p *Plan) with(label string, a Actor, f func(s *Step)) *Plan {
	for i := range p.Steps {
		if p.Steps[i].Label == label && p.Steps[i].Actor == a {
			f(&p.Steps[i])
			return p
		}
	}
	panic("no step " + label)
}

// text replaces a string.
func (p *Plan) text(old, now string) *Plan {
	for i := range p.Data {
		if p.Data[i].Str && p.Data[i].Name == old {
			p.Data[i] = Item{Name: now, Str: true, Bytes: append([]byte(now), 0)}
		}
	}
	return p
}

// drop turns a step into a check that passes.
func (p *Plan) drop(label string) *Plan {
	for i := range p.Steps {
		if p.Steps[i].Label == label {
			p.Steps[i] = Step{Actor: p.Steps[i].Actor, Label: "nothing", Op: OpCheck, Args: []Arg{V(0)}, Errno: 1}
		}
	}
	return p
}

func (p *Plan) appendChild(s abi.Sys) *Plan {
	p.Steps = append(p.Steps, Step{Actor: Child, Label: "added", Sys: s})
	return p
}

// jump makes a step go on at another one after a success.
func (p *Plan) jump(from, to string) *Plan {
	for i := range p.Steps {
		for j := range p.Steps {
			if p.Steps[i].Label == from && p.Steps[j].Label == to {
				p.Steps[i].OnOK = j
			}
		}
	}
	return p
}
