// Package compile turns a validated config.json into a plan. It is pure: the same input gives the same plan, and a test can state any machine.
//
// One file an OCI topic. This one has the order of everything, and the reasons for it.
package compile

import (
	"fmt"
	"path"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/bpf"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/cgroup/unit"
	"example.io/shim/linux/facts"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// Mount is one of the mounts that make the root file system, as containerd sends it.
type Mount struct {
	Type, Source, Target string
	Options              []string
}

// CreateInput is what a container is made of. Spec has passed spec.Validate.
type CreateInput struct {
	ID, Namespace string
	Bundle        string // absolute
	Rootfs        string // absolute path of the root folder
	Spec          *specs.Spec
	Facts         facts.Facts
	RootfsMounts  []Mount
	Terminal      bool
	NoPivot       bool
	NoNewKeyring  bool
	// Gate makes the child wait at the fifo in the register plan.RegGate, not at the socket: it outlives the process that creates it.
	Gate bool
	// Unwatched leaves the watch for OOM kills out: nobody would be there to hear of one.
	Unwatched bool
	// NoCgroup leaves the container in the runtime's own cgroup, without limits: a plain user may have no other.
	NoCgroup bool
	// PreserveFDs is how many descriptors from 3 on, which the runtime was started with, the process gets.
	PreserveFDs   int
	SystemdCgroup bool // the cgroups are those of a systemd unit; Facts.Cgroup.Systemd says of whose
}

// compiler holds what the topics share.
type compiler struct {
	b       *plan.Builder
	in      CreateInput
	spec    *specs.Spec
	proc    *specs.Process
	create  bool   // a container, not a further process
	program string // see ExecInput.path
	twice   bool   // a further process is born outside of the container's pid namespace, gives up what is the runtime's, and is born again inside
	dirs    []files.Dir
	named   bool       // see ExecInput
	signals plan.Reg   // see watchSignals
	unit    *unit.Unit // whose cgroups they are, nil without systemd
	keep    []plan.Reg // descriptors that the child takes over
	root    plan.Reg   // the container's root, a mount of its own
	mounts  []*mount
	ns      namespaces
	joins   []joining  // cgroups of v1
	into    plan.Reg   // descriptor of the cgroup that the child is born in (v2, hybrid)
	classes []plan.Reg // descriptors of the resctrl groups' tasks files
	// question is the message of plan.OpAsk, 0 when nothing was asked yet.
	question plan.Ref
	null     plan.Reg            // the host's /dev/null, detached: masks files
	node     map[string]plan.Reg // copied device nodes by path
	filter   *filter
	ready    []bpf.Insn // see ExecInput.Filter
}

// usualSteps is somewhat more than a plan of containerd's usual configuration has on cgroup v1, which has more than v2.
const usualSteps = 680

// Create compiles the plan of a new container. The parent's steps make what is on the host and open what the child needs; the child is
// cloned into new namespaces; makes every mount as a detached object while the host's tree is still there (a user namespace may mount
// procfs only then); enters the root; and only then attaches, so that nothing of the host is in reach when the image's files are first
// touched. At the gate everything is done that can fail for a reason in config.json.
func Create(in CreateInput) (*plan.Plan, error) {
	dirs, u, err := Cgroups(in)
	if err != nil {
		return nil, err
	}
	proc := *in.Spec.Process
	proc.Terminal = in.Terminal
	c := &compiler{b: plan.NewBuilder("create " + in.ID), in: in, spec: in.Spec, proc: &proc, dirs: dirs, unit: u, create: true}
	c.b.Grow(usualSteps)
	c.registers()
	for _, topic := range []func() error{
		c.findNamespaces,
		c.checkLabels,
		c.makeFilter,
		c.makeCgroups,       // parent
		c.makeClass,         // parent
		c.mountRootfs,       // parent
		c.openNamespaces,    // parent
		c.ownSources(false), // parent
		c.openCgroups,       // parent
		c.openClass,         // parent
		c.launch,            // parent, then the child is alive
		c.isolate,           // child: cut off from the runtime, in its cgroups and namespaces
		c.ownSources(true),  // child: a plain user's
		c.moveDevices,       // parent: before hooks, which may configure them
		c.makeMounts,        // child: detached
		c.sysctls,           // child: through a procfs that nobody else has
		c.fillRoot,          // child: the host's tree is gone, what is mounted is in place
		c.console,           // child: needs /dev
		c.maskPaths,         // child: over what is mounted
		c.sealRoot,          // child
		c.names,             // child
		c.loopback,          // child
		c.watchSignals,      // child
		c.limits,            // child
		c.personality,       // child
		c.memoryPolicy,      // child: in its cpuset
		c.identity,          // child
		c.findCommand,       // child, with the identity that will execute it
		c.waitAtGate,        // both
		c.execute,           // both
	} {
		if err := topic(); err != nil {
			return nil, err
		}
	}
	return c.b.Plan(), nil
}

// fillRoot enters the root and then attaches what belongs in it. With hooks that are to see it from the host's side it is the other way round;
// targets are looked up within the root either way.
func (c *compiler) fillRoot() error {
	topics := []func() error{c.enterRoot, c.attachMounts, c.makeDevices, c.makeWorkingDir}
	switch {
	case c.hostMounts():
		topics = []func() error{c.attachMounts, c.makeDevices, c.makeWorkingDir, c.createHooks, c.enterRoot}
	case c.earlyHooks():
		topics = []func() error{c.placeRoot, c.attachMounts, c.makeDevices, c.makeWorkingDir, c.createHooks, c.enterRoot}
	}
	for _, topic := range topics {
		if err := topic(); err != nil {
			return err
		}
	}
	return nil
}

// registers makes those that package run fills in, so that they have the lowest numbers in every plan.
func (c *compiler) registers() {
	for _, name := range []string{plan.RegSyncP, plan.RegSyncC, plan.RegPid, plan.RegPidfd} {
		c.b.Reg(name)
	}
	c.keep = append(c.keep, c.b.Reg(plan.RegSyncC))
	if c.in.Gate {
		c.keep = append(c.keep, c.b.Reg(plan.RegGate))
	}
	for n := range c.in.PreserveFDs {
		c.keep = append(c.keep, c.b.Reg(plan.Preserved(n)))
	}
	if !c.proc.Terminal {
		for _, name := range stdio {
			c.keep = append(c.keep, c.b.Reg(name))
		}
	}
}

var stdio = []string{plan.RegStdin, plan.RegStdout, plan.RegStderr}

// refuse is an error for what is valid but not carried out.
func refuse(pointer, format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w", pointer, fmt.Sprintf(format, args...), errdefs.ErrNotImplemented)
}

// invalid is an error for what cannot be meant.
func invalid(pointer, format string, args ...any) error {
	return fmt.Errorf("%s: %s: %w", pointer, fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument)
}

// Small steps that many topics use.

// retries is how often openat2 is tried again when it answers EAGAIN: a rename somewhere disturbed a lookup in a root (openat2(2)).
const retries = 128

// hostPath makes a path absolute: relative ones are below the bundle.
func (c *compiler) hostPath(p string) string {
	if path.IsAbs(p) {
		return path.Clean(p)
	}
	return path.Join(c.in.Bundle, p)
}

// open is the parent's openat by an absolute host path into a new register.
func (c *compiler) open(s plan.Step, file string, flags uint64, text string) plan.Reg {
	r := c.b.Temp("fd")
	s.Sys, s.Path, s.Save, s.FD = abi.SysOpenat, file, r, true
	s.Args = []plan.Arg{plan.AtCwd(), c.b.Str(file), plan.T(flags|abi.O_CLOEXEC, text+"|O_CLOEXEC"), plan.V(0)}
	c.b.Add(s)
	return r
}

func (c *compiler) close(r plan.Reg, what string) {
	c.b.Add(plan.Step{Label: "close " + what, Sys: abi.SysClose, Args: []plan.Arg{plan.R(r)}})
}

// write writes text to r whole.
func (c *compiler) write(s plan.Step, r plan.Reg, text string) {
	s.Sys, s.Want, s.HasWant = abi.SysWrite, int64(len(text)), true
	s.Args = []plan.Arg{plan.R(r), c.b.Str(text), plan.V(uint64(len(text)))}
	c.b.Add(s)
}

// writeFile is the parent's open, write and close of a host file.
func (c *compiler) writeFile(s plan.Step, file, text string) {
	r := c.open(s, file, abi.O_WRONLY, "O_WRONLY")
	s.Path = file
	c.write(s, r, text)
	c.close(r, file)
}

// syncByte is the buffer of all messages: their content says nothing.
func (c *compiler) syncByte() plan.Arg { return c.b.Str("!") }

// tell sends a message to the other actor, hear waits for one.
func (c *compiler) tell(label, why string, end string) {
	c.b.Add(plan.Step{Label: label, Why: why, Sys: abi.SysWrite, Args: []plan.Arg{plan.R(c.b.Reg(end)), c.syncByte(), plan.V(1)}, HasWant: true, Want: 1})
}

func (c *compiler) hear(label, why string, end string, want int64) {
	c.b.Add(plan.Step{Label: label, Why: why, Sys: abi.SysRead, Args: []plan.Arg{plan.R(c.b.Reg(end)), plan.A(c.b.Buf("message", 8)), plan.V(1)}, HasWant: true, Want: want})
}

// parentTurn makes the child wait while the parent does f.
func (c *compiler) parentTurn(ph plan.Phase, f func()) {
	c.b.In(plan.Child, ph)
	c.tell("tell the parent", "", plan.RegSyncC)
	c.b.In(plan.Parent, ph)
	c.hear("wait for the child", "", plan.RegSyncP, 1)
	f()
	c.b.In(plan.Parent, ph)
	c.tell("let the child go on", "", plan.RegSyncP)
	c.b.In(plan.Child, ph)
	c.hear("wait for the parent", "0 is the parent's death", plan.RegSyncC, 1)
}

// hasNamespace says whether the container has its own namespace of type t, new or joined.
func (c *compiler) hasNamespace(t specs.LinuxNamespaceType) bool {
	_, ok := spec.Namespace(c.spec, t)
	return ok
}
