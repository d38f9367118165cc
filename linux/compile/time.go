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
func (c *compiler) newTime() {
	if c.ns.create&abi.CLONE_NEWTIME == 0 {
		return
	}
	c.b.Add(plan.Step{Label: "make a time namespace for the child", Source: "/linux/namespaces", Why: "time_namespaces(7): the child is born inside", Sys: abi.SysUnshare,
		Args: []plan.Arg{plan.T(abi.CLONE_NEWTIME, "CLONE_NEWTIME")}})
	var lines []string
	for _, clock := range spec.TimeClocks {
		if o, ok := c.spec.Linux.TimeOffsets[clock]; ok {
			lines = append(lines, fmt.Sprintf("%s %d %d", clock, o.Secs, o.Nanosecs))
		}
	}
	if len(lines) > 0 {
		c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallTimeOffsets, Label: "set its clocks: " + strings.Join(lines, ", "), Source: "/linux/timeOffsets", Why: "time_namespaces(7)",
			Args: []plan.Arg{c.b.Str(strings.Join(lines, "\n") + "\n")}})
	}
}
