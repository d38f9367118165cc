package plan

import (
	"encoding/binary"
	"slices"

	"example.io/shim/linux/abi"
)

// beforeClose are the calls that the child may make while it still has the runtime's descriptors: none touches a file, and none lets
// anybody in the container see it. setns(2) is not among them (CVE-2016-9962).
var beforeClose = [abi.AllSys]bool{
	abi.SysPrctl: true, abi.SysClose: true, abi.SysDup3: true, abi.SysFcntl: true, abi.SysSetsid: true, abi.SysSetpgid: true, abi.SysGetpid: true,
	abi.SysGetppid: true, abi.SysRtSigprocmask: true, abi.SysRtSigaction: true, abi.SysRead: true, abi.SysUmask: true, abi.SysCloseRange: true,
}

// child returns the index of the child's first step for which f holds, or -1.
func (v *verifier) child(f func(*Step) bool) int {
	for _, i := range v.steps[Child] {
		if f(&v.p.Steps[i]) {
			return i
		}
	}
	return -1
}

// lastChild returns the index of the child's last step for which f holds, or -1.
func (v *verifier) lastChild(f func(*Step) bool) int {
	for _, i := range slices.Backward(v.steps[Child]) {
		if f(&v.p.Steps[i]) {
			return i
		}
	}
	return -1
}

// callsWith says that s calls sys with that first argument.
func callsWith(s *Step, sys abi.Sys, first uint64) bool {
	if s.Op != OpSyscall || s.Sys != sys {
		return false
	}
	n, ok := imm(s, 0)
	return ok && n == first
}

// isolation checks that the child cuts itself off from the runtime first.
func (v *verifier) isolation() {
	child := v.steps[Child]
	if len(child) == 0 {
		return
	}
	first := &v.p.Steps[child[0]]
	if value, ok := imm(first, 1); !callsWith(first, abi.SysPrctl, abi.PR_SET_DUMPABLE) || !ok || value != 0 || len(first.Tolerate) > 0 {
		v.fail("dumpable", child[0], "the child's first step is not prctl(PR_SET_DUMPABLE, 0)")
	}
	if v.close < 0 {
		v.fail("close-all", child[0], "the child never closes the runtime's descriptors")
		return
	}
	v.stands(v.close)
	for _, i := range child {
		s := &v.p.Steps[i]
		if i < v.close && s.Op == OpSyscall && !beforeClose[s.Sys] {
			v.fail("close-all", i, "%s while the runtime's descriptors are open", sysName(s.Sys))
		}
		if i > v.close && s.Op == OpCloseAll {
			v.fail("close-all", i, "closes a second time")
		}
	}
	for _, r := range v.p.Steps[v.close].Keep {
		if v.p.Regs[r] == RegSyncP {
			v.fail("close-all", v.close, "keeps the parent's end of the socket pair: the parent's death would not be seen")
		}
	}
	v.kept()
}

// kept checks that the child uses no descriptor that it has closed with all others.
func (v *verifier) kept() {
	closed := make([]bool, len(v.p.Regs))
	for _, name := range inputs {
		closed[v.p.Reg(name)] = name != RegInitPid
	}
	for i := range v.p.Steps {
		s := &v.p.Steps[i]
		if s.FD && (s.Actor == Parent || i < v.close) {
			closed[s.Save] = true
		}
	}
	for _, r := range v.p.Steps[v.close].Keep {
		closed[r] = false
	}
	for _, i := range v.steps[Child] {
		s := &v.p.Steps[i]
		if i <= v.close {
			continue
		}
		for _, a := range s.Args {
			if a.Kind == FromReg && closed[a.Reg] {
				v.fail("kept", i, "uses %%%s", v.p.Regs[a.Reg])
			}
		}
		if s.FD {
			closed[s.Save] = false
		}
	}
}

// identity checks the order in which the child gives up its rights.
func (v *verifier) identity() {
	defer v.seccomp()
	is := func(sys abi.Sys) func(*Step) bool {
		return func(s *Step) bool { return s.Op == OpSyscall && s.Sys == sys }
	}
	uid := v.lastChild(is(abi.SysSetresuid)) // an earlier one becomes root of a new user namespace
	if uid < 0 {
		return
	}
	v.stands(uid)
	gid := v.lastChild(is(abi.SysSetresgid))
	if gid > uid {
		v.fail("groups-gid-uid", gid, "setresgid behind setresuid")
	}
	caps := false
	for _, i := range v.steps[Child] {
		s := &v.p.Steps[i]
		if s.Op != OpSyscall {
			continue
		}
		switch {
		case s.Sys == abi.SysSetresuid && i < uid && !callsWith(s, abi.SysSetresuid, 0):
			v.fail("groups-gid-uid", i, "gives up root before the last setresuid")
		case s.Sys == abi.SysSetgroups && (i > uid || gid >= 0 && i > gid):
			v.fail("groups-gid-uid", i, "setgroups behind setresgid or setresuid")
		case s.Sys == abi.SysCapset && i < uid:
			v.fail("caps", i, "capset before setresuid")
		case s.Sys == abi.SysCapset:
			caps = true
			v.stands(i)
		case callsWith(s, abi.SysPrctl, abi.PR_CAPBSET_DROP) && i > uid:
			v.fail("caps", i, "the bounding set is dropped behind setresuid")
		case callsWith(s, abi.SysPrctl, abi.PR_CAP_AMBIENT) && !caps:
			if op, _ := imm(s, 1); op == abi.PR_CAP_AMBIENT_RAISE {
				v.fail("caps", i, "the ambient set is raised before capset has made the inheritable one")
			}
		}
	}
	if !caps {
		v.fail("caps", uid, "no capset behind it: root would keep every capability")
	}
}

// behindFilter are the calls that the child may make under its filter: those that give up what loading it needed, tell the parent, and execute.
var behindFilter = [abi.AllSys]bool{abi.SysCapset: true, abi.SysRead: true, abi.SysWrite: true, abi.SysExecve: true, abi.SysExecveat: true}

// seccomp checks the place of filters.
func (v *verifier) seccomp() {
	nnp, admin, loaded := false, true, false
	for _, i := range v.steps[Child] {
		s := &v.p.Steps[i]
		if s.Op != OpSyscall {
			continue
		}
		if loaded && !behindFilter[s.Sys] {
			v.fail("filter-late", i, "%s under the filter", sysName(s.Sys))
		}
		switch {
		case callsWith(s, abi.SysPrctl, abi.PR_SET_NO_NEW_PRIVS):
			nnp = true
			v.stands(i)
		case s.Sys == abi.SysSetresuid && !callsWith(s, abi.SysSetresuid, 0):
			admin = false // the effective set is empty then, up to capset (capabilities(7))
		case s.Sys == abi.SysCapset:
			data, ok := v.p.bytes(arg(s, 1), 4)
			admin = ok && binary.LittleEndian.Uint32(data)&(1<<capSysAdmin) != 0
		case s.Sys == abi.SysSeccomp:
			loaded = true
			v.stands(i)
			v.filter(i, s)
			if !admin && !nnp {
				v.fail("seccomp", i, "without CAP_SYS_ADMIN in the effective set, and no_new_privs is not set")
			}
		}
	}
}

const capSysAdmin = 21

// filter checks that a filter is whole: struct sock_fprog tells the length of its program, which ends in a return.
func (v *verifier) filter(i int, s *Step) {
	const insn, ret = 8, 0x06 // the size of struct sock_filter; BPF_RET|BPF_K (linux/bpf_common.h)
	if !callsWith(s, abi.SysSeccomp, abi.SECCOMP_SET_MODE_FILTER) || len(s.Tolerate) > 0 {
		v.fail("filter", i, "it is not loaded, or its failure is tolerated")
		return
	}
	head, ok := v.p.bytes(arg(s, 2), abi.SockFprogSize)
	words := v.p.Data[arg(s, 2).Data].Words
	if !ok || arg(s, 2).Value != 0 || len(words) != 1 || words[0].Off != 8 {
		v.fail("filter", i, "no program")
		return
	}
	program := v.p.Data[words[0].To].Bytes
	n := int(binary.LittleEndian.Uint16(head))
	if n == 0 || n*insn != len(program) || binary.LittleEndian.Uint16(program[len(program)-insn:]) != ret {
		v.fail("filter", i, "%d instructions in %d bytes", n, len(program))
	}
}

// ending checks how the child becomes the program.
func (v *verifier) ending() {
	child := v.steps[Child]
	if len(child) == 0 {
		return
	}
	exec := v.child(isExec)
	if exec < 0 {
		v.fail("exec-last", child[len(child)-1], "the child's plan does not end in execve")
		return
	}
	n := slices.Index(child, exec)
	for _, i := range child[n:] {
		s := &v.p.Steps[i]
		switch {
		case !isExec(s) && s.Op != OpCheck && s.Op != OpMove:
			v.fail("exec-last", i, "stands behind an execve")
		case s.OnOK != 0 && isExec(s):
			v.fail("exec-last", i, "nothing can follow an execve that succeeded")
		}
	}
	if last := child[len(child)-1]; len(v.p.Steps[last].Tolerate) > 0 {
		v.fail("exec-last", last, "the child's plan runs out when it fails")
	}
	mask := v.child(func(s *Step) bool { return callsWith(s, abi.SysRtSigprocmask, abi.SIG_SETMASK) })
	if mask < 0 || mask > exec {
		v.fail("signal-mask", exec, "the signal mask is not set before")
		return
	}
	v.stands(mask)
}
