package compile

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// Restore compiles the plan of a container that is restored from a checkpoint: its cgroups and the root file system are made like those of a new
// one. Up to the gate is the create. Then CRIU makes the namespaces, mounts and processes; when they are about to go on, what follows the
// gate is carried out: CRIU too counted for the limit of tasks, and made the device nodes.
func Restore(in CreateInput) (*plan.Plan, error) {
	dirs, u, err := Cgroups(in)
	if err != nil {
		return nil, err
	}
	proc := *in.Spec.Process
	proc.Terminal = in.Terminal
	c := &compiler{b: plan.NewBuilder("restore " + in.ID), in: in, spec: in.Spec, proc: &proc, dirs: dirs, unit: u, create: true}
	for _, topic := range []func() error{
		c.restorable,
		c.findNamespaces,
		c.checkLabels,
		c.makeFilter, // for the processes that are added later
		c.makeCgroups,
		c.mountRootfs,
		c.waitForRestore,
	} {
		if err := topic(); err != nil {
			return nil, err
		}
	}
	return c.b.Plan(), nil
}

// restorable refuses what a checkpoint does not hold, and nobody else brings.
func (c *compiler) restorable() error {
	// In a namespace that outlives its containers they have stayed; package run looks for them there.
	if p, _ := spec.Namespace(c.spec, specs.NetworkNamespace); len(c.spec.Linux.NetDevices) > 0 && p == "" {
		return refuse("/linux/netDevices", "network devices of the host in a container that is restored from a checkpoint, but for a network namespace with a path")
	}
	if c.spec.Linux.IntelRdt != nil {
		return refuse(atClass, "a class of service for a container that is restored from a checkpoint: CRIU makes its processes outside")
	}
	if s := c.spec.Linux.Seccomp; s != nil && spec.Notifies(s) {
		return refuse(atSeccomp, "a checkpoint holds no listener for the action SCMP_ACT_NOTIFY")
	}
	return nil
}

func (c *compiler) waitForRestore() error {
	c.b.In(plan.Parent, plan.Ready)
	c.b.Add(plan.Step{Op: plan.OpGate, Label: "the container can be restored"})
	c.b.In(plan.Parent, plan.Start)
	return c.lateLimits()
}
