package plan

import (
	"strings"

	"example.io/shim/linux/abi"
)

// createPrefix begins the name of a plan that creates a container (Plan.Name).
const createPrefix = "create "

// launch checks the clone, the gate and the messages.
func (v *verifier) launch() {
	p := v.p
	gate := -1
	for i := range p.Steps {
		s := &p.Steps[i]
		switch {
		case s.Op == OpClone && i != v.clone:
			v.fail("clone", i, "the plan clones at step %d already", v.clone+1)
		case s.Op == OpGate && gate >= 0:
			v.fail("gate", i, "the plan has a gate at step %d already", gate+1)
		case s.Op == OpGate:
			gate = i
			v.stands(i)
		}
		v.checkMessage(i, s)
	}
	child := v.steps[Child]
	switch {
	case v.clone >= 0:
		v.stands(v.clone)
		if len(p.Steps[v.clone].Tolerate) > 0 {
			v.fail("clone", v.clone, "its failure is tolerated")
		}
		if len(child) == 0 {
			v.fail("clone", v.clone, "the child has no step")
		} else if child[0] < v.clone {
			v.fail("clone", child[0], "a step of the child before the clone")
		}
	case len(child) > 0:
		v.fail("clone", child[0], "nobody clones the child")
	}
	switch {
	case gate >= 0 && gate < v.clone:
		v.fail("gate", gate, "the gate stands before the clone")
	case gate < 0 && strings.HasPrefix(p.Name, createPrefix):
		v.fail("gate", -1, "a create without a gate")
	}
}

// stands checks that no jump leads around step i.
func (v *verifier) stands(i int) {
	if j := v.skipper(i); j >= 0 {
		v.fail("unskippable", i, "step %d %q jumps over it", j+1, v.p.Steps[j].Label)
	}
}

func (v *verifier) checkMessage(i int, s *Step) {
	sends, receives := v.message(s)
	if !sends && !receives {
		return
	}
	if j := v.skipper(i); j >= 0 {
		v.fail("sync", i, "step %d %q jumps over it", j+1, v.p.Steps[j].Label)
	}
	if len(s.Tolerate) > 0 {
		v.fail("sync", i, "its failure is tolerated")
	}
	if !receives {
		return
	}
	if s.Actor == Child && (!s.HasWant || s.Want <= 0) {
		v.fail("sync", i, "goes on when nothing was read: the parent is dead then")
	}
	if s.Actor == Parent && s.Save == 0 && (!s.HasWant || s.Want <= 0) {
		v.fail("sync", i, "nobody looks at how much was read")
	}
}

// maker says whether a call leaves something in the file system, and which argument is the folder it is made in; -1: none.
func maker(s abi.Sys) (dir int, makes bool) {
	switch s {
	case abi.SysMkdirat, abi.SysMknodat, abi.SysOpenat:
		return 0, true
	case abi.SysSymlinkat:
		return 1, true
	case abi.SysRenameat2, abi.SysMoveMount:
		return 2, true
	case abi.SysMount:
		return -1, true
	}
	return 0, false
}

// mountCall says whether a function mounts, and which argument holds the flags.
func mountCall(call string) (flags int, mounts bool) {
	switch call {
	case CallMountIn, CallMountMapped:
		return 4, true
	case CallMountLoop:
		return 3, true
	}
	return 0, false
}

// parentSteps checks that what the parent makes can be taken back.
func (v *verifier) parentSteps() {
	for _, i := range v.steps[Parent] {
		s := &v.p.Steps[i]
		if s.Undo != nil || s.Stays != "" {
			continue
		}
		if s.Op == OpCall && s.Call == CallStartUnit {
			v.fail("undo", i, "starts a unit, and has no undo")
		}
		if n, mounts := mountCall(s.Call); s.Op == OpCall && mounts {
			if flags, ok := imm(s, n); !ok || !mountsNothing(flags) {
				v.fail("undo", i, "mounts, and has no undo")
			}
		}
		dir, ok := maker(s.Sys)
		if s.Op != OpSyscall || !ok || v.isPrivate(arg(s, dir)) {
			continue
		}
		switch flags, known := imm(s, s.flagsArg()); {
		case s.Sys == abi.SysOpenat && known && flags&abi.O_CREAT == 0:
		case s.Sys == abi.SysMount && known && mountsNothing(flags):
		default:
			v.fail("undo", i, "%s makes something, and has no undo", sysName(s.Sys))
		}
	}
}

// flagsArg is the argument with the flags of open and mount, -1 for other calls.
func (s *Step) flagsArg() int {
	switch s.Sys {
	case abi.SysOpenat:
		return 2
	case abi.SysMount:
		return 3
	}
	return -1
}

// cloexec checks that every new descriptor, of both actors, is closed by execve: the runtime has many threads, and any of them may fork.
func (v *verifier) cloexec() {
	for i := range v.p.Steps {
		s := &v.p.Steps[i]
		if s.Op != OpSyscall {
			continue
		}
		if at := cloexecAt[s.Sys]; at.flag != 0 {
			if flags, known := imm(s, at.arg); !known || flags&at.flag == 0 {
				v.fail("cloexec", i, "%s without close-on-exec", sysName(s.Sys))
			}
			continue
		}
		switch s.Sys {
		case abi.SysOpenat2:
			if flags, _, ok := v.p.openHow(s); !ok || flags&abi.O_CLOEXEC == 0 {
				v.fail("cloexec", i, "openat2 without close-on-exec")
			}
		case abi.SysDup:
			v.fail("cloexec", i, "dup makes a descriptor without close-on-exec: use fcntl(F_DUPFD_CLOEXEC)")
		case abi.SysFcntl:
			switch cmd, ok := imm(s, 1); {
			case !ok || cmd == 0:
				v.fail("cloexec", i, "F_DUPFD makes a descriptor without close-on-exec")
			case cmd == abi.F_SETFD && !isPreserved(v.p.Regs[arg(s, 0).Reg]):
				v.fail("cloexec", i, "F_SETFD of a descriptor that the caller did not mean for the process")
			}
		case abi.SysDup3:
			to, known := imm(s, 1)
			flags, _ := imm(s, 2)
			if flags&abi.O_CLOEXEC == 0 && (s.Actor != Child || !known || to > lastStdio) {
				v.fail("cloexec", i, "dup3 without close-on-exec onto more than the standard descriptors")
			}
		case abi.SysIoctl:
			cmd, _ := imm(s, 1)
			if flags, _ := imm(s, 2); cmd == abi.TIOCGPTPEER && flags&abi.O_CLOEXEC == 0 {
				v.fail("cloexec", i, "TIOCGPTPEER without close-on-exec")
			}
		}
	}
}
