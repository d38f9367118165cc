package compile

import (
	"fmt"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// hookKind is one of the six lists of hooks (config.md, "POSIX-platform Hooks").
type hookKind struct {
	name string
	list func(*specs.Hooks) []specs.Hook
}

var (
	hookPrestart        = hookKind{"prestart", func(h *specs.Hooks) []specs.Hook { return h.Prestart }} //nolint:staticcheck // deprecated, and used
	hookCreateRuntime   = hookKind{"createRuntime", func(h *specs.Hooks) []specs.Hook { return h.CreateRuntime }}
	hookCreateContainer = hookKind{"createContainer", func(h *specs.Hooks) []specs.Hook { return h.CreateContainer }}
	hookStartContainer  = hookKind{"startContainer", func(h *specs.Hooks) []specs.Hook { return h.StartContainer }}
	hookPoststart       = hookKind{"poststart", func(h *specs.Hooks) []specs.Hook { return h.Poststart }}
)

// hooks adds the parent's steps that run the hooks of these kinds, one a hook.
func (c *compiler) hooks(kinds ...hookKind) {
	if c.spec.Hooks == nil {
		return
	}
	for _, k := range kinds {
		for i, h := range k.list(c.spec.Hooks) {
			c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallHook, Label: fmt.Sprintf("run the %s hook %s", k.name, h.Path), Path: h.Path,
				Source: fmt.Sprintf("/hooks/%s/%d", k.name, i), Why: "config.md, POSIX-platform Hooks", Args: []plan.Arg{c.b.Str(k.name), plan.V(uint64(i))}})
		}
	}
}

// earlyHooks says that there are hooks which must see the container's mounts, and the host's tree around them: its root is then entered
// only when everything is mounted in it.
func (c *compiler) earlyHooks() bool {
	h := c.spec.Hooks
	return h != nil && len(hookPrestart.list(h))+len(h.CreateRuntime)+len(h.CreateContainer) > 0
}

// createHooks runs what comes before pivot_root, while the child waits.
func (c *compiler) createHooks() error {
	if !c.earlyHooks() {
		return nil
	}
	run := func() {
		c.parentTurn(plan.Root, func() { c.hooks(hookPrestart, hookCreateRuntime, hookCreateContainer) })
	}
	if !c.enteredBy(hookCreateContainer) {
		run()
		return nil
	}
	if err := c.aloneInside(hookCreateContainer); err != nil {
		return err
	}
	c.visible(run)
	return nil
}

// enteredBy says that a plain user's hooks of that kind are to enter the container of a child, which that user has to be allowed to trace (setns(2)).
func (c *compiler) enteredBy(kind hookKind) bool {
	return c.rootless() && c.spec.Hooks != nil && len(kind.list(c.spec.Hooks)) > 0
}

// aloneInside refuses that where others are in the child's namespaces: what they could trace has still descriptors of the runtime, and the host's tree.
func (c *compiler) aloneInside(kind hookKind) error {
	if len(c.ns.joins) > 0 {
		return invalid("/hooks/"+kind.name, "a plain user's container that joins namespaces cannot be entered by hooks: who is there already could reach it too")
	}
	return nil
}

// placeRoot mounts the root where it is on the host, in the child's mount namespace: hooks know it by that path.
func (c *compiler) placeRoot() error {
	c.b.In(plan.Child, plan.Mounts)
	s := plan.Step{Label: "hold the host's root", Source: "/root/path", Path: "/"}
	host := c.b.Temp("host")
	s.Sys, s.Save, s.FD = abi.SysOpenat, host, true
	s.Args = []plan.Arg{plan.AtCwd(), c.b.Str("/"), plan.T(abi.O_PATH|abi.O_DIRECTORY|abi.O_CLOEXEC, "O_PATH|O_DIRECTORY|O_CLOEXEC"), plan.V(0)}
	c.b.Add(s)
	at := c.b.Temp("at")
	s = plan.Step{Label: "hold the root's place", Source: "/root/path"}
	c.lookupBelow(host, s, at, c.in.Rootfs, abi.O_PATH|abi.O_DIRECTORY, inRoot, "O_PATH|O_DIRECTORY, "+inRootText)
	c.close(host, "the host's root")
	c.attach(plan.Step{Label: "mount the root at its place", Source: "/root/path", Path: c.in.Rootfs, Why: "hooks look for it there"}, c.root, at)
	c.close(at, "the place")
	return nil
}

// HookInput is a hook that runs inside a container.
type HookInput struct {
	Exec ExecInput // of the container; Process is not used
	Kind string    // createContainer or startContainer
	Hook specs.Hook
	// Rootfs is the root's path on the host.
	Rootfs string
}

// allCaps lists the capabilities of a set, as a process of root has them.
func allCaps(set uint64) *specs.LinuxCapabilities {
	var names []string
	for n := range spec.LastCap + 1 {
		if set&(1<<n) != 0 {
			names = append(names, spec.CapName(n))
		}
	}
	return &specs.LinuxCapabilities{Bounding: names, Effective: names, Permitted: names}
}

// Hook compiles a hook that runs inside: a further process of the container. A createContainer hook runs before the root is entered, as root with
// all capabilities; a startContainer hook is what the container's process will be, with other arguments.
func Hook(in HookInput) (*plan.Plan, error) {
	p := specs.Process{}
	if in.Kind == hookStartContainer.name {
		p = *in.Exec.Spec.Process
		p.Terminal, p.ConsoleSize = false, nil
	} else {
		caps := in.Exec.Facts.Caps
		if rootless(in.Exec.Facts) { // root of a user namespace has them all there
			caps = 1<<(in.Exec.Facts.LastCap+1) - 1
		}
		p.Cwd, p.Capabilities = in.Rootfs, allCaps(caps)
		s := *in.Exec.Spec
		l := *s.Linux
		l.Seccomp, l.Personality, l.MemoryPolicy, l.IntelRdt = nil, nil, nil, nil
		s.Linux, s.Process = &l, nil // nor does it take anything else from the container's process
		in.Exec.Rootfs = "/"         // for a container without a mount namespace: it is not in its root yet
		in.Exec.Spec = &s
	}
	p.Args = in.Hook.Args
	if in.Kind != hookStartContainer.name || len(in.Hook.Env) > 0 { // a startContainer hook without an environment has the process's, as under runc
		p.Env = in.Hook.Env
	}
	if len(p.Args) == 0 {
		p.Args = []string{in.Hook.Path}
	}
	in.Exec.Process, in.Exec.path = &p, in.Hook.Path
	return Exec(in.Exec)
}
