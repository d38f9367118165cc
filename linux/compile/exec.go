package compile

import (
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/bpf"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/facts"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// usualExecSteps is somewhat more than the plan of a further process has on cgroup v1.
const usualExecSteps = 160

// ExecInput is what a further process of a container is made of. Process has passed spec.ValidateProcess.
type ExecInput struct {
	ID, ExecID   string
	Process      *specs.Process
	Spec         *specs.Spec // the container's
	Facts        facts.Facts
	CgroupDirs   []files.Dir
	Named        bool // the caller has named CgroupDirs: no others will do
	NoNewKeyring bool
	Filter       []byte // plan.ItemFilter of the container's plan: not to be made once more; nil for none
	PreserveFDs  int    // see CreateInput
	Traced       bool   // a process of the container has, or may have, CAP_SYS_PTRACE in the runtime's user namespace: see Traces
	Rootfs       string // of the container on the host, for one without a mount namespace
	path         string // of the program, when it is not the first argument
}

// Exec compiles the plan of a further process: it joins the cgroups and namespaces of the container's init, in one setns by init's pidfd, and
// becomes the process as a new container's would.
func Exec(in ExecInput) (*plan.Plan, error) {
	c := &compiler{b: plan.NewBuilder("exec " + in.ExecID + " in " + in.ID), spec: in.Spec, proc: in.Process, program: in.path, dirs: in.CgroupDirs, named: in.Named,
		in: CreateInput{ID: in.ID, Rootfs: in.Rootfs, Spec: in.Spec, Facts: in.Facts, Terminal: in.Process.Terminal, NoNewKeyring: in.NoNewKeyring, PreserveFDs: in.PreserveFDs}}
	c.b.Grow(usualExecSteps)
	if len(in.Filter) > 0 {
		c.ready = bpf.Parse(in.Filter)
	}
	if badCommand(in.Process.Cwd) {
		return nil, invalid("/cwd", "%s leads out of the container", in.Process.Cwd)
	}
	c.registers()
	c.keep = append(c.keep, c.b.Reg(plan.RegInit))
	c.b.Reg(plan.RegInitPid)
	if _, user := c.joinFlags(); user {
		c.ns.joinUser = true
	}
	c.twice = c.entersPids() && (c.rootless() || in.Traced)
	for _, topic := range []func() error{
		c.checkLabels, c.makeFilter, c.openCgroups, c.openClass, c.openNull, c.openHostRoot, c.execHome, c.launchExec, c.enterContainer, c.execTerminal, c.limits, c.personality, c.memoryPolicy, c.identity, c.findCommand, c.execReady, c.execute,
	} {
		if err := topic(); err != nil {
			return nil, err
		}
	}
	return c.b.Plan(), nil
}

// joinFlags are the namespaces that the container has of its own; that of pids is entered by the launching thread.
func (c *compiler) joinFlags() (flags uint64, user bool) {
	for _, n := range c.spec.Linux.Namespaces {
		if n.Type != specs.PIDNamespace {
			flags |= nsTypes[n.Type].flag
		}
		user = user || n.Type == specs.UserNamespace
	}
	return flags, user
}

// Traces says that a process with these capabilities could look at one that enters its container, which is not dumpable, and take descriptors from it
// (ptrace(2), "Ptrace access mode checking"; pidfd_getfd(2)): it has CAP_SYS_PTRACE, or may get it by an execve, in the runtime's own user namespace.
func Traces(s *specs.Spec, p *specs.Process) bool {
	if _, user := spec.Namespace(s, specs.UserNamespace); user || p.Capabilities == nil {
		return false
	}
	const name = "CAP_SYS_PTRACE"
	return slices.Contains(p.Capabilities.Bounding, name) || slices.Contains(p.Capabilities.Permitted, name)
}

func (c *compiler) openNull() error {
	if c.proc.Terminal {
		c.b.In(plan.Parent, plan.Prepare)
		r := c.b.Reg("null")
		c.b.Add(plan.Step{Label: "open /dev/null", Path: "/dev/null", Sys: abi.SysOpenat, Save: r, FD: true,
			Args: []plan.Arg{plan.AtCwd(), c.b.Str("/dev/null"), plan.T(abi.O_RDWR|abi.O_CLOEXEC, "O_RDWR|O_CLOEXEC"), plan.V(0)}})
		c.keep = append(c.keep, r)
	}
	return nil
}

// execHome looks HOME up before the fork: init's root is the process's too.
func (c *compiler) execHome() error {
	c.b.In(plan.Parent, plan.Prepare)
	c.home(plan.RegInitPid)
	return nil
}

func (c *compiler) launchExec() error {
	c.b.In(plan.Parent, plan.Launch)
	if err := c.initialAffinity(); err != nil {
		return err
	}
	if c.entersPids() && !c.twice {
		c.b.Add(plan.Step{Label: "enter the pid namespace for the child", Why: "setns(2), pid_namespaces(7): the child is born inside", Sys: abi.SysSetns,
			Args: []plan.Arg{plan.R(c.b.Reg(plan.RegInit)), plan.T(abi.CLONE_NEWPID, "CLONE_NEWPID")}})
	}
	c.b.Add(plan.Step{Op: plan.OpClone, Label: "fork the child", Why: "clone(2)", Args: c.cloneArgs(0)})
	return nil
}

func (c *compiler) enterContainer() error {
	c.b.In(plan.Child, plan.Isolate)
	c.cutOff()
	c.joinCgroups()
	c.joinClass()
	c.resetAffinity()
	if err := c.finalAffinity(); err != nil {
		return err
	}
	c.setLabels() // with the host's rights and mounts
	flags, user := c.joinFlags()
	if c.twice {
		flags |= abi.CLONE_NEWPID
	}
	if flags != 0 {
		c.b.Add(plan.Step{Label: "join the container's namespaces", Why: "setns(2) by pidfd: all of the same process", Sys: abi.SysSetns,
			Args: []plan.Arg{plan.R(c.b.Reg(plan.RegInit)), plan.T(flags, flagText(flags))}})
	}
	c.close(c.b.Reg(plan.RegInit), "init's pidfd")
	if c.twice {
		c.bornAgain("", 0)
	}
	if user {
		c.becomeRoot()
	}
	c.session()
	if c.root != 0 {
		c.changeRoot(c.root, "")
		return nil
	}
	c.root = c.b.Reg("root")
	c.b.Add(plan.Step{Label: "hold the root", Path: "/", Sys: abi.SysOpenat, Save: c.root, FD: true,
		Args: []plan.Arg{plan.AtCwd(), c.b.Str("/"), plan.T(abi.O_PATH|abi.O_DIRECTORY|abi.O_CLOEXEC, "O_PATH|O_DIRECTORY|O_CLOEXEC"), plan.V(0)}})
	return nil
}

func (c *compiler) execTerminal() error {
	if !c.proc.Terminal {
		return nil
	}
	c.b.In(plan.Child, plan.Identity)
	c.useTerminal(c.openTerminal())
	return nil
}

// execReady lets the parent do what needs the finished process, where there is such a thing.
func (c *compiler) execReady() error {
	if (!c.proc.Terminal || c.rootless()) && c.proc.OOMScoreAdj == nil && !c.scheduled() {
		return nil
	}
	c.parentTurn(plan.Ready, func() {
		if c.proc.Terminal && !c.rootless() {
			c.fetchTerminal()
		}
		c.oomScore()
		c.schedule()
	})
	return nil
}
