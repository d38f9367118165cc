package compile

import (
	"encoding/binary"
	"reflect"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/facts"
	"example.io/shim/linux/plan"
)

// A plain user may make a user namespace, and is root in it (user_namespaces(7)). What the parent does elsewhere with the host's rights, the child does
// here with those of its namespace: it copies the trees that it mounts, and enters a container's namespaces by itself.

// rootless says that the runtime has no rights of its own.
func (c *compiler) rootless() bool { return rootless(c.in.Facts) }

func rootless(f facts.Facts) bool { return f.UID != 0 && f.Caps&(1<<capSysAdmin) == 0 }

// ownSources opens the sources after the child was made, for a child that does it itself, or before.
func (c *compiler) ownSources(when bool) func() error {
	return func() error {
		if c.rootless() != when {
			return nil
		}
		if err := c.openSources(); err != nil {
			return err
		}
		if !when {
			if c.hostMounts() {
				c.placeRootOnHost()
			}
			return nil
		}
		c.send(plan.Prepare, "the root", "/root/path", c.root, c.b.Reg(rootInParent)) // see askForTarget
		return nil
	}
}

// owner is who opens what is mounted.
func (c *compiler) owner() plan.Actor {
	if c.rootless() {
		return plan.Child
	}
	return plan.Parent
}

// visible lets the parent of a plain user reach its child: the files of one that is not dumpable are root's (proc(5)). Nobody else is in the child's
// namespaces yet.
func (c *compiler) visible(f func()) {
	if !c.rootless() {
		f()
		return
	}
	c.dumpable("let the parent reach us", 1)
	f()
	c.dumpable("be not dumpable again", 0)
}

func (c *compiler) dumpable(label string, value uint64) {
	c.b.Add(plan.Step{Label: label, Sys: abi.SysPrctl, Why: "proc(5), ptrace(2): a process that is not dumpable is root's alone",
		Args: []plan.Arg{plan.T(abi.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"), plan.V(value)}})
}

// Values of unix(7), and of struct msghdr and struct cmsghdr on 64-bit machines (recvmsg(2), cmsg(3)).
const (
	solSocket, scmRights = 1, 1
	msghdrSize           = 56
	msghdrIov            = 16 // offset of msg_iov, whose length follows
	msghdrControl        = 32 // offset of msg_control, whose length follows
	cmsghdrLen           = 16 + 4
	cmsghdrSpace         = 24
)

// sendTerminal sends the master to the parent, which may not take it out of a child that is not dumpable.
func (c *compiler) sendTerminal() {
	c.send(plan.Identity, "the terminal's master", "/process/terminal", c.b.Reg("master in child"), c.b.Reg(plan.RegMaster))
}

// rootInParent is the register of the parent's own descriptor of a root that the child has made.
const rootInParent = "root in parent"

// send sends a descriptor of the child's to the parent.
func (c *compiler) send(ph plan.Phase, name, source string, from, to plan.Reg) {
	control := make([]byte, cmsghdrSpace)
	binary.LittleEndian.PutUint64(control, cmsghdrLen)
	binary.LittleEndian.PutUint32(control[8:], solSocket)
	binary.LittleEndian.PutUint32(control[12:], scmRights)
	rights := c.b.Bytes("cmsghdr SCM_RIGHTS", control)
	iov := make([]byte, 16)
	binary.LittleEndian.PutUint64(iov[8:], 1)
	vec := c.b.Struct("iovec", iov, plan.Word{Off: 0, To: c.syncByte().Data})
	head := make([]byte, msghdrSize)
	binary.LittleEndian.PutUint64(head[msghdrIov+8:], 1)
	binary.LittleEndian.PutUint64(head[msghdrControl+8:], cmsghdrSpace)
	msg := c.b.Struct("msghdr", head, plan.Word{Off: msghdrIov, To: vec}, plan.Word{Off: msghdrControl, To: rights})
	c.b.In(plan.Child, ph)
	c.b.Add(plan.Step{Label: "put " + name + " into a message", Source: source, Op: plan.OpMove, Why: "cmsg(3)",
		Args: []plan.Arg{plan.R(from), plan.AtOff(rights, 16)}})
	c.b.Add(plan.Step{Label: "send " + name, Source: source, Why: "unix(7), SCM_RIGHTS", Sys: abi.SysSendmsg, HasWant: true, Want: 1,
		Args: []plan.Arg{plan.R(c.b.Reg(plan.RegSyncC)), plan.A(msg), plan.V(0)}})
	c.b.In(plan.Parent, ph)
	c.b.Add(plan.Step{Label: "receive " + name, Source: source, Why: "unix(7), SCM_RIGHTS", Op: plan.OpCall, Call: plan.CallReceive,
		Args: []plan.Arg{plan.R(c.b.Reg(plan.RegSyncP))}, Save: to, FD: true})
	c.b.In(plan.Child, ph)
}

// bornAgain clones a process that has entered a pid namespace by setns(2) once more: only children are in it (pid_namespaces(7)).
func (c *compiler) bornAgain(source string, flags uint64) {
	args := make([]byte, abi.CloneArgsSize)
	binary.LittleEndian.PutUint64(args, flags|abi.CLONE_PARENT)
	pid := c.b.Reg("brother")
	c.b.Add(plan.Step{Label: "clone once more, into the pid namespace", Source: source, Why: "pid_namespaces(7): only children are in a new one",
		Sys: abi.SysClone3, Args: []plan.Arg{plan.A(c.b.Bytes("clone_args", args)), plan.V(abi.CloneArgsSize)}, Save: pid, ExitParent: true})
	c.parentTurn(plan.Isolate, func() {
		c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallAdopt, Label: "take the new process over", Args: []plan.Arg{plan.R(pid)}})
	})
}

// noLimits refuses limits of a container without a cgroup. Rules for devices are none: a plain user makes no nodes, and has opened what it may.
func (c *compiler) noLimits() error {
	r := c.spec.Linux.Resources
	if r == nil {
		return nil
	}
	rest := *r
	rest.Devices = nil
	if !reflect.DeepEqual(rest, specs.LinuxResources{}) {
		return invalid("/linux/resources", "rootless needs no limits + no cgrouppath when no permission is granted for cgroups")
	}
	return nil
}

// deniesGroups says that setgroups(2) may be denied in the container's user namespace, where there is nothing to give up then.
func (c *compiler) deniesGroups() bool {
	return len(c.proc.User.AdditionalGids) == 0 && (c.ns.joinUser || c.in.Facts.InUserns || c.rootless())
}

// entersPids says that the process of an exec is to be in another pid namespace than the runtime.
func (c *compiler) entersPids() bool { return c.hasNamespace(specs.PIDNamespace) }
