package compile

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/bpf"
	"example.io/shim/linux/facts"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

const (
	atSeccomp   = "/linux/seccomp"
	capSysAdmin = 21
)

// filter is the container's seccomp filter, which every process of it gets.
type filter struct {
	program []bpf.Insn
	flags   uint64
	text    string // flags for people
	notify  bool   // calls are handed to an agent
	late    bool   // loaded by no_new_privs; without, the process keeps CAP_SYS_ADMIN until then
}

// makeFilter compiles the profile.
func (c *compiler) makeFilter() error {
	s := c.spec.Linux.Seccomp
	if s == nil || s.DefaultAction == "" { // spec.Validate has seen to it that nothing else is set then
		return nil
	}
	if c.in.Facts.Seccomp != facts.Yes {
		return refuse(atSeccomp, "this kernel takes no filters")
	}
	f := &filter{notify: spec.Notifies(s), late: c.proc.NoNewPrivileges}
	var err error
	if f.program = c.ready; f.program == nil {
		native, ok := bpf.Native(c.in.Facts.Arch)
		if !ok {
			return refuse(atSeccomp, "there is no table of the system calls of %s", c.in.Facts.Arch)
		}
		if f.program, err = bpf.Compile(s, native); err != nil {
			return invalid(atSeccomp, "%v", err)
		}
	}
	if err := c.filterFlags(f, s); err != nil {
		return err
	}
	if have, _ := c.have(); !f.late && have&(1<<capSysAdmin) == 0 {
		return refuse(atSeccomp, "without noNewPrivileges a filter needs CAP_SYS_ADMIN, which the runtime does not have")
	}
	c.filter = f
	return c.checkFilter(s)
}

// flagBits are the flags that a profile can name. TSYNC has none: the process has one thread, and execve would end others.
var flagBits = []struct {
	name specs.LinuxSeccompFlag
	bit  uint64
}{
	{specs.LinuxSeccompFlagLog, abi.SECCOMP_FILTER_FLAG_LOG},
	{specs.LinuxSeccompFlagSpecAllow, abi.SECCOMP_FILTER_FLAG_SPEC_ALLOW},
	{specs.LinuxSeccompFlagWaitKillableRecv, abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
}

// SeccompFlag returns the kernel's bit of a profile's flag, 0 for what needs none.
func SeccompFlag(name specs.LinuxSeccompFlag) uint64 {
	for _, b := range flagBits {
		if b.name == name {
			return b.bit
		}
	}
	return 0
}

// filterFlags turns the profile's flags into the kernel's. A profile without the field gets SPEC_ALLOW, as under runc and crun: Linux before 5.16 would slow
// down every process with a filter (spec_store_bypass_disable=seccomp).
func (c *compiler) filterFlags(f *filter, s *specs.LinuxSeccomp) error {
	known := c.in.Facts.SeccompFlags
	want := s.Flags
	if want == nil && known&abi.SECCOMP_FILTER_FLAG_SPEC_ALLOW != 0 {
		want = []specs.LinuxSeccompFlag{specs.LinuxSeccompFlagSpecAllow}
	}
	var texts []string
	if f.notify {
		f.flags, texts = abi.SECCOMP_FILTER_FLAG_NEW_LISTENER, []string{"SECCOMP_FILTER_FLAG_NEW_LISTENER"}
		if known&abi.SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
			return refuse(atSeccomp+"/listenerPath", "this kernel has no listeners of filters")
		}
	}
	for _, b := range flagBits {
		i := slices.Index(want, b.name)
		switch {
		case i < 0:
			continue
		case known&b.bit == 0:
			return refuse(fmt.Sprintf("%s/flags/%d", atSeccomp, i), "this kernel has no %s", b.name)
		case b.bit == abi.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV && !f.notify:
			continue // says how a listener waits, and there is none
		}
		f.flags |= b.bit
		texts = append(texts, string(b.name))
	}
	f.text = strings.Join(texts, "|")
	return nil
}

// checkFilter refuses a profile under which no program could be started: the process makes its last calls under the filter. What the filter answers is
// certain for a call that no rule with conditions names.
func (c *compiler) checkFilter(s *specs.LinuxSeccomp) error {
	calls := []string{"execve"}
	if c.holdsAdmin() {
		calls = append(calls, "capset")
	}
	if c.filter.notify {
		calls = append(calls, "write", "read")
	}
	if c.filterAtGate() {
		calls = append(calls, "dup3", "close_range", "rt_sigprocmask")
	}
	native, _ := bpf.Native(c.in.Facts.Arch)
	for _, name := range calls {
		if slices.ContainsFunc(s.Syscalls, func(b specs.LinuxSyscall) bool { return len(b.Args) > 0 && slices.Contains(b.Names, name) }) {
			continue
		}
		nr, _ := bpf.Number(name, native)
		ret, err := bpf.Run(c.filter.program, &bpf.Data{Nr: nr, Arch: native.Audit()})
		if err != nil {
			return fmt.Errorf("%s: the filter is no program: %w", atSeccomp, err)
		}
		var what string
		switch ret & bpf.RetAction {
		case bpf.RetKillProcess, bpf.RetKillThread:
			what = "kills the process at"
		case bpf.RetTrap, bpf.RetErrno:
			what = "does not allow"
		default:
			continue
		}
		why := "by which the container's program is executed"
		if name == "capset" {
			why = "by which the process gives up CAP_SYS_ADMIN when the filter is loaded (noNewPrivileges would spare that)"
		} else if name != "execve" {
			why = "by which the agent's listener is handed over, and the start waited for"
		}
		return invalid(atSeccomp, "the profile %s %s, %s", what, name, why)
	}
	return nil
}

// holdsAdmin says whether the process keeps CAP_SYS_ADMIN, which it is not to have, until its filter is loaded.
func (c *compiler) holdsAdmin() bool {
	return c.filter != nil && !c.filter.late && spec.CapMask(c.wantedCaps().Effective)&(1<<capSysAdmin) == 0
}

// filterAtGate says that the filter is loaded before the child waits for a start by another process: only its creator can hand the listener over.
func (c *compiler) filterAtGate() bool {
	return c.create && c.in.Gate && c.filter != nil && c.filter.notify
}

// loadFilter stands right before execve: the fewer calls the process makes under the filter, the fewer a profile has to allow.
func (c *compiler) loadFilter() {
	f := c.filter
	if f == nil {
		return
	}
	c.b.In(plan.Child, plan.Start)
	program := c.b.Bytes(plan.ItemFilter, bpf.Bytes(f.program))
	head := make([]byte, abi.SockFprogSize)
	binary.LittleEndian.PutUint16(head, uint16(len(f.program)))
	s := plan.Step{Label: fmt.Sprintf("load the filter of %d instructions", len(f.program)), Source: atSeccomp, Why: "seccomp(2)", Sys: abi.SysSeccomp}
	s.Args = []plan.Arg{plan.T(abi.SECCOMP_SET_MODE_FILTER, "SECCOMP_SET_MODE_FILTER"), plan.T(f.flags, f.text), plan.A(c.b.Struct("sock_fprog", head, plan.Word{Off: 8, To: program}))}
	if f.notify {
		s.Save, s.FD = c.b.Reg("listener in child"), true
	}
	c.b.Add(s)
	if f.notify {
		c.parentTurn(plan.Start, c.tellAgent)
	}
	if c.holdsAdmin() {
		c.b.In(plan.Child, plan.Start)
		c.capset("give up CAP_SYS_ADMIN", 0)
	}
}

// tellAgent is the parent's: it takes the listener out of the child and sends it to the agent.
func (c *compiler) tellAgent() {
	path := c.hostPath(c.spec.Linux.Seccomp.ListenerPath)
	s := plan.Step{Label: "fetch the filter's listener", Source: atSeccomp + "/listenerPath", Why: "pidfd_getfd(2)", Sys: abi.SysPidfdGetfd, Save: c.b.Reg("listener"), FD: true}
	s.Args = []plan.Arg{plan.R(c.b.Reg(plan.RegPidfd)), plan.R(c.b.Reg("listener in child")), plan.V(0)}
	c.b.Add(s)
	c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallAgent, Label: "send the listener to the agent", Source: atSeccomp + "/listenerPath", Path: path,
		Why: "config-linux.md, The Container Process State", Args: []plan.Arg{plan.R(c.b.Reg("listener")), c.b.Str(path), plan.R(c.b.Reg(plan.RegPid))}})
	c.close(c.b.Reg("listener"), "the listener")
}
