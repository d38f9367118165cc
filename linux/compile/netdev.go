package compile

import (
	"maps"
	"slices"
	"strings"

	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// moveDevices lets the parent move network devices of the host into the container's network namespace, in which the child is by now. If the create fails
// later, package run takes them back: a virtual device would die with the namespace.
func (c *compiler) moveDevices() error {
	devices := c.spec.Linux.NetDevices
	if len(devices) == 0 {
		return nil
	}
	c.parentTurn(plan.Isolate, func() {
		for _, host := range slices.Sorted(maps.Keys(devices)) {
			name, label := spec.NetDeviceName(host, devices[host]), "move the network device "+host
			if name != host {
				label += ", as " + name
			}
			c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallMoveNetDevice, Label: label, Source: "/linux/netDevices/" + strings.ReplaceAll(host, "~", "~0"),
				Why: "config-linux.md, Network Devices; rtnetlink(7)", Args: []plan.Arg{plan.R(c.b.Reg(plan.RegPid)), c.b.Str(host), c.b.Str(name)}})
		}
	})
	return nil
}
