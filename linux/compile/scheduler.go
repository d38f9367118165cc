package compile

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// Values of ioprio_set(2).
const (
	ioprioWhoProcess = 1
	ioprioClassShift = 13
)

// scheduling returns how the process is to be scheduled. A further process that says nothing is scheduled like the container.
func (c *compiler) scheduling() (*specs.Scheduler, *specs.LinuxIOPriority) {
	sched, prio := c.proc.Scheduler, c.proc.IOPriority
	if own := c.spec.Process; own != nil && !c.create {
		if sched == nil {
			sched = own.Scheduler
		}
		if prio == nil {
			prio = own.IOPriority
		}
	}
	return sched, prio
}

func (c *compiler) scheduled() bool {
	sched, prio := c.scheduling()
	return sched != nil || prio != nil
}

// schedule sets scheduler and I/O priority of the child. The parent does it: in a user namespace the child has no right to (sched(7): CAP_SYS_NICE is
// asked for in the first one).
func (c *compiler) schedule() {
	pid := plan.R(c.b.Reg(plan.RegPid))
	sched, prio := c.scheduling()
	if sched != nil {
		var flags uint64
		for _, f := range sched.Flags {
			flags |= spec.SchedulerFlags[f]
		}
		attr := abi.SchedAttr(spec.SchedulerPolicies[sched.Policy], flags, sched.Nice, sched.Priority, sched.Runtime, sched.Deadline, sched.Period)
		label := "schedule as " + schedulerText(sched)
		if r := c.spec.Linux.Resources; sched.Policy == specs.SchedDeadline && r != nil && r.CPU != nil && r.CPU.Cpus != "" {
			label += " on the CPUs " + r.CPU.Cpus // the kernel wants all of a root domain (sched-deadline.rst, 5), and says EPERM
		}
		c.b.Add(plan.Step{Label: label, Source: "/process/scheduler", Why: "sched_setattr(2)", Sys: abi.SysSchedSetattr,
			Args: []plan.Arg{pid, plan.A(c.b.Bytes("sched_attr "+schedulerText(sched), attr)), plan.V(0)}})
	}
	if prio != nil {
		text := fmt.Sprintf("%s, %d", prio.Class, prio.Priority)
		c.b.Add(plan.Step{Label: "have the I/O priority " + text, Source: "/process/ioPriority", Why: "ioprio_set(2)", Sys: abi.SysIoprioSet,
			Args: []plan.Arg{plan.T(ioprioWhoProcess, "IOPRIO_WHO_PROCESS"), pid, plan.T(spec.IOClasses[prio.Class]<<ioprioClassShift|uint64(prio.Priority), text)}})
	}
}

func schedulerText(s *specs.Scheduler) string {
	switch s.Policy {
	case specs.SchedFIFO, specs.SchedRR:
		return fmt.Sprintf("%s, priority %d", s.Policy, s.Priority)
	case specs.SchedDeadline:
		return fmt.Sprintf("%s, %d ns of %d ns", s.Policy, s.Runtime, max(s.Period, s.Deadline))
	}
	return fmt.Sprintf("%s, nice %d", s.Policy, s.Nice)
}
