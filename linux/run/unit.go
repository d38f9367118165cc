package run

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/cgroup/systemd"
	"example.io/shim/linux/cgroup/unit"
	"example.io/shim/linux/facts"
	"example.io/shim/linux/host"
	"example.io/shim/linux/plan"
)

// SystemdFacts adds to f what the systemd cgroup driver needs to know. Nobody else pays for it.
func SystemdFacts(ctx context.Context, f facts.Facts) (facts.Facts, error) {
	user := f.UID != 0 || host.InUserNamespace() // where root is another user's
	if _, err := systemd.Socket(user); err != nil {
		return f, fmt.Errorf("option systemd_cgroup: %w", err)
	}
	if user && f.Cgroup.Version == 1 {
		return f, fmt.Errorf("option systemd_cgroup: a user's systemd has no controllers of cgroup v1: the system's takes their cgroups away: %w", errdefs.ErrNotImplemented)
	}
	f.Cgroup.Systemd.User = user
	var err error
	if user { // its place is its own to tell
		var c *systemd.Conn
		if c, err = systemd.Dial(ctx, true); err == nil {
			f.Cgroup.Systemd.Cgroup, err = c.ControlGroup()
			c.Close()
		}
	} else {
		f.Cgroup.Systemd.Cgroup, err = host.SystemdCgroup()
	}
	if err != nil {
		return f, fmt.Errorf("option systemd_cgroup: %w", err)
	}
	return f, nil
}

// onUnit connects to the manager and does f.
func onUnit(ctx context.Context, user bool, f func(*systemd.Conn) error) error {
	c, err := systemd.Dial(ctx, user)
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

// systemdError is an error of systemd's with the errno that is nearest: a step's error has its class by that.
type systemdError struct {
	error
	errno unix.Errno
}

func (a systemdError) Unwrap() []error { return []error{a.error, a.errno} }

func ofSystemd(err error) error {
	for _, k := range []systemdError{{errdefs.ErrAlreadyExists, unix.EEXIST}, {errdefs.ErrInvalidArgument, unix.EINVAL}, {errdefs.ErrPermissionDenied, unix.EPERM},
		{errdefs.ErrNotFound, unix.ESRCH}, {context.DeadlineExceeded, unix.ETIMEDOUT}} {
		if errors.Is(err, k.error) {
			return systemdError{err, k.errno}
		}
	}
	return err
}

// startUnit starts a unit. A scope cannot be started without a process in it: a child of ours that waits is in it until leaveUnit, or our end.
func (e *engine) startUnit(s *plan.Step) error {
	name, user, props := e.text(s.Args[0]), e.im.Value(s.Args[1]) == 1, e.properties(s.Args[2])
	var pids []uint32
	if !(unit.Unit{Name: name}).IsSlice() {
		h, err := newHolder()
		if err != nil {
			return fmt.Errorf("make a process to hold the unit: %w", err)
		}
		e.holder = h
		pids = append(pids, uint32(h.e.proc.Pid()))
	}
	return onUnit(e.ctx, user, func(c *systemd.Conn) error {
		err := c.Start(name, props, pids...)
		if err == nil || errors.Is(err, errdefs.ErrAlreadyExists) {
			return err
		}
		// It may have been started none the less: the connection broke, our time was up.
		e.leaveUnit()
		return errors.Join(err, e.stopUnit(name, user))
	})
}

// stopUnit is the undo of startUnit. The container's processes are dead. It does not end with the request, which may have been cancelled.
func (e *engine) stopUnit(name string, user bool) error {
	e.leaveUnit()
	return onUnit(context.WithoutCancel(e.ctx), user, func(c *systemd.Conn) error { return c.Stop(name) })
}

func (e *engine) setUnit(s *plan.Step) error {
	name, props := e.text(s.Args[0]), e.properties(s.Args[2])
	return onUnit(e.ctx, e.im.Value(s.Args[1]) == 1, func(c *systemd.Conn) error { return c.Set(name, props) })
}

// leaveUnit ends the process that holds the unit. Idempotent.
func (e *engine) leaveUnit() {
	if e.holder != nil {
		e.holder.end()
		e.holder = nil
	}
}

// properties reads a list of the plan.
func (e *engine) properties(a plan.Arg) []unit.Property {
	var list []unit.Property
	for _, w := range e.plan.Data[a.Data].Words {
		list = append(list, unit.ReadProperty(e.text(plan.A(w.To))))
	}
	return list
}

// holder is a child that waits until it is told to end, or we die.
type holder struct {
	e    *engine
	ours int // our end of its socket pair
}

func newHolder() (*holder, error) {
	b := plan.NewBuilder("holder")
	sync := b.Reg(plan.RegSyncC)
	b.In(plan.Parent, plan.Launch)
	b.Reg(plan.RegPidfd)
	b.Reg(plan.RegPid)
	b.Add(plan.Step{Op: plan.OpClone, Label: "make a process that waits", Args: []plan.Arg{plan.V(0)}})
	b.In(plan.Child, plan.Isolate)
	b.Add(plan.Step{Label: "be not dumpable", Sys: abi.SysPrctl, Args: []plan.Arg{plan.T(abi.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"), plan.V(0)}})
	b.Add(plan.Step{Label: "close foreign descriptors", Op: plan.OpCloseAll, Keep: []plan.Reg{sync}})
	b.Add(plan.Step{Label: "wait", Sys: abi.SysRead, Args: []plan.Arg{plan.R(sync), plan.A(b.Buf("byte", 1)), plan.V(1)}})
	b.Add(plan.Step{Label: "leave", Sys: abi.SysExitGroup, Args: []plan.Arg{plan.V(0)}})
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	h := &holder{e: &engine{id: "holder", action: "make", plan: b.Plan(), deps: &Deps{}, fds: map[plan.Reg]bool{}}, ours: ours}
	if err := h.e.load(map[string]int{plan.RegSyncC: theirs}); err != nil {
		_ = unix.Close(ours)
		_ = unix.Close(theirs)
		return nil, err
	}
	if err := h.e.steps(context.Background()); err != nil {
		h.end()
		return nil, err
	}
	return h, nil
}

func (h *holder) end() {
	_ = unix.Close(h.ours)
	_ = h.e.abort() // there is nothing to take back but the child, which is killed and reaped
}
