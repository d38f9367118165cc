package run

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"example.io/shim/linux/compile"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// Exec adds a process and returns when its program has been executed or could not be.
func (c *Container) Exec(ctx context.Context, r ExecRequest) (*Process, error) {
	ps, usual := r.Process, r.Usual
	if ps == nil {
		var err error
		if ps, usual, err = spec.ParseProcessUsual(r.Spec); err != nil {
			return nil, fmt.Errorf("exec %s in %s: %w", r.ExecID, c.state.ID, err)
		}
	}
	ps.Terminal = r.Terminal
	if err := spec.ValidateProcess(ps, spec.Options{Usual: usual}); err != nil {
		return nil, fmt.Errorf("exec %s in %s: %w", r.ExecID, c.state.ID, err)
	}
	if compile.Traces(c.spec, ps) {
		c.traced.Store(true)
	}
	dirs := c.state.CgroupDirs
	if r.CgroupDirs != nil {
		dirs = r.CgroupDirs
	}
	init, err := c.target()
	if err != nil {
		return nil, fmt.Errorf("exec %s in %s: %w", r.ExecID, c.state.ID, err)
	}
	p, err := compile.Exec(compile.ExecInput{
		ID: c.state.ID, ExecID: r.ExecID, Rootfs: c.state.Rootfs, Process: ps, Spec: c.restoredSpec(init.Pid()), Facts: c.deps.Facts,
		CgroupDirs: dirs, Named: r.CgroupDirs != nil, NoNewKeyring: c.keep.NoNewKeyring, Filter: c.filter, PreserveFDs: r.PreserveFDs,
		Traced: c.traced.Load() || compile.Traces(c.spec, c.spec.Process) || c.sharesPids(),
	})
	if err != nil {
		return nil, fmt.Errorf("exec %s in %s: %w", r.ExecID, c.state.ID, err)
	}
	return c.execPlan(ctx, init, p, "exec "+r.ExecID+" in", r)
}

// execPlan carries out the plan of a further process.
func (c *Container) execPlan(ctx context.Context, init target, p *plan.Plan, action string, r ExecRequest) (*Process, error) {
	inputs, err := standardInputs(r.Terminal, r.Stdio)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", action, c.state.ID, err)
	}
	initFD := -1
	err = init.Do(func(pidfd int) (err error) {
		initFD, err = unix.FcntlInt(uintptr(pidfd), unix.F_DUPFD_CLOEXEC, 3)
		return err
	})
	if err != nil {
		closeAll(inputs)
		return nil, fmt.Errorf("%s %s: the container has ended: %w", action, c.state.ID, errdefs.ErrFailedPrecondition)
	}
	inputs[plan.RegInit] = initFD
	if err := preserved(inputs, r.PreserveFDs); err != nil {
		closeAll(inputs)
		return nil, fmt.Errorf("%s %s: %w", action, c.state.ID, err)
	}
	e, err := newEngine(c.state.ID, action, p, c.deps, inputs, "")
	if err != nil {
		return nil, err
	}
	e.agent = c.sendListener
	e.rootfs, e.leave = c.state.Rootfs, r.Detach
	if reg := p.Reg(plan.RegInitPid); reg != 0 {
		e.im.SetReg(reg, int64(init.Pid()))
	}
	if err := e.run(ctx); err != nil {
		return nil, err
	}
	proc, err := e.process(r.Terminal)
	if err != nil {
		return nil, errors.Join(err, e.abort())
	}
	e.release()
	return proc, nil
}

// sharesPids says that other containers may be in the pid namespace, with whatever capabilities.
func (c *Container) sharesPids() bool {
	path, own := spec.Namespace(c.spec, specs.PIDNamespace)
	return own && path != ""
}
