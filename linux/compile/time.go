package compile

import (
	"fmt"
	"strings"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// newTime makes a time namespace for what the launching thread forks. The offsets are written before anybody is in it: the first process to enter
// freezes them (time_namespaces(7)), so the child cannot make the namespace with its others. It belongs to the runtime's user namespace also when the
// container has its own: nothing could be changed in it from there anyway.
//
// A plain user's launching thread may not. There the child makes it in its user namespace, for what it clones in its own place.
func (c *compiler) newTime() {
	if c.ns.create&abi.CLONE_NEWTIME == 0 || c.rootless() {
		return
	}
	c.unshareTime()
	c.setClocks(plan.V(0))
}

// childMakesTime says that the time namespace is for the child to make, not for its launching thread.
func (c *compiler) childMakesTime() bool { return c.rootless() && c.ns.create&abi.CLONE_NEWTIME != 0 }

func (c *compiler) unshareTime() {
	c.b.Add(plan.Step{Label: "make a time namespace for the child", Source: "/linux/namespaces", Why: "time_namespaces(7): the child is born inside", Sys: abi.SysUnshare,
		Args: []plan.Arg{plan.T(abi.CLONE_NEWTIME, "CLONE_NEWTIME")}})
}

// ownTime is newTime for the child of a plain user. It ends in a process that is in the time namespace, and in a new pid namespace if there is one to be.
func (c *compiler) ownTime() {
	if !c.childMakesTime() {
		return
	}
	c.unshareTime()
	if len(c.spec.Linux.TimeOffsets) > 0 {
		c.visible(func() {
			c.parentTurn(plan.Isolate, func() { c.setClocks(plan.R(c.b.Reg(plan.RegPid))) })
		})
	}
	c.bornAgain("/linux/namespaces", c.ns.create&abi.CLONE_NEWPID)
}

// setClocks writes the offsets of the time namespace that a process, or with 0 the thread itself, has made.
func (c *compiler) setClocks(pid plan.Arg) {
	var lines []string
	for _, clock := range spec.TimeClocks {
		if o, ok := c.spec.Linux.TimeOffsets[clock]; ok {
			lines = append(lines, fmt.Sprintf("%s %d %d", clock, o.Secs, o.Nanosecs))
		}
	}
	if len(lines) > 0 {
		c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallTimeOffsets, Label: "set its clocks: " + strings.Join(lines, ", "), Source: "/linux/timeOffsets", Why: "time_namespaces(7)",
			Args: []plan.Arg{c.b.Str(strings.Join(lines, "\n") + "\n"), pid}})
	}
}
