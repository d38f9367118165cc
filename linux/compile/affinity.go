package compile

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// affinity returns on which CPUs a further process begins, and on which it ends up: its own request, or the container's. Init and hooks have none.
func (c *compiler) affinity() specs.CPUAffinity {
	switch {
	case c.create || c.program != "":
	case c.proc.ExecCPUAffinity != nil:
		return *c.proc.ExecCPUAffinity
	case c.spec.Process != nil && c.spec.Process.ExecCPUAffinity != nil:
		return *c.spec.Process.ExecCPUAffinity
	}
	return specs.CPUAffinity{}
}

// initialAffinity binds the launching thread, which ends with its work: the child is born with the same set.
func (c *compiler) initialAffinity() error {
	return c.runOn(c.affinity().Initial, "be launched on", "/process/execCPUAffinity/initial")
}

// finalAffinity binds the child once it is in its cgroup: joining a cpuset has reset the set.
func (c *compiler) finalAffinity() error {
	return c.runOn(c.affinity().Final, "run on", "/process/execCPUAffinity/final")
}

// resetAffinity lets the child run on all CPUs of its cpuset, whatever the runtime itself was bound to: since Linux 6.2 a set that was asked for outlives
// the change of cpuset. The kernel takes the CPUs that there are.
func (c *compiler) resetAffinity() {
	if a := c.affinity(); a.Initial != "" || a.Final != "" {
		return
	}
	all := make([]byte, cpuSetSize)
	for i := range all {
		all[i] = 0xff
	}
	c.b.Add(plan.Step{Label: "run on all CPUs that the cgroup allows", Why: "sched_setaffinity(2)", Sys: abi.SysSchedSetaffinity,
		Args: []plan.Arg{plan.V(0), plan.V(cpuSetSize), plan.A(c.b.Bytes("all CPUs", all))}})
}

// cpuSetSize is enough for 8192 CPUs, the most that Linux is built for.
const cpuSetSize = 1024

func (c *compiler) runOn(list, label, source string) error {
	set, err := spec.CPUSet(list)
	if err != nil {
		return invalid(source, "%v", err)
	}
	if set != nil {
		c.b.Add(plan.Step{Label: label + " the CPUs " + list, Source: source, Why: "sched_setaffinity(2)", Sys: abi.SysSchedSetaffinity,
			Args: []plan.Arg{plan.V(0), plan.V(uint64(len(set))), plan.A(c.b.Bytes("CPUs "+list, set))}})
	}
	return nil
}
