package process

import (
	"context"
	"errors"
	"time"

	"github.com/containerd/errdefs"
)

const (
	// sigKill is SIGKILL; this package imports no syscall.
	sigKill = 9

	// settleLimit bounds the time between init's exit and its event, in which the remaining processes are
	// killed and awaited. SIGKILL takes milliseconds; what takes longer sits in the kernel (a dead NFS server),
	// and init's exit must not wait for that. Below the 5 s in which containerd's clean-up wants an answer.
	settleLimit = 2 * time.Second
)

// exited handles the end of a process's child.
func (c *container) exited(p *proc) {
	p.ended = true
	old := p.status
	if err := p.apply(evExit); err != nil {
		c.cfg.Log("%s: exit: %v", c.name(p.execID), err)
		return
	}
	if p.status == starting || p.status == dumping || p.status == dumpingPaused {
		return // startInit and Checkpoint call again when the request has been answered
	}
	p.end(p.child.Exit())
	if p == c.init {
		if old == Stopped { // its start failed, and the sweep has begun
			c.trySettle()
			return
		}
		c.sweep()
		return
	}
	if !c.init.isSettled() { // init's exit is the last
		c.publishExit(p)
	}
	p.settle()
	c.trySettle()
}

// publishExit publishes the OOM kills so far, then the exit.
func (c *container) publishExit(p *proc) {
	c.flushOOM()
	id := p.execID
	if id == "" {
		id = c.params.ID
	}
	c.publish(TaskExit{ID: id, ContainerID: c.params.ID, Pid: p.pid(), Exit: p.exit})
}

// sweep begins the end of the container after init's: all that remains is killed, and init's exit is published
// when the execs have had theirs, or after settleLimit.
func (c *container) sweep() {
	c.deadline = time.AfterFunc(settleLimit, func() { c.post(c.settleLate) })
	for _, p := range c.execs {
		if p.cancel != nil {
			p.cancel()
		}
		if p.status == Running {
			c.killExec(p)
		}
	}
	c.sweeping = true
	go func() {
		c.killRest()
		c.post(func() {
			c.sweeping = false
			c.trySettle()
		})
	}()
}

// killRest kills what init left in the cgroup, which the kernel does itself in a private pid namespace, and
// thaws the cgroup after that: frozen processes would not die (cgroup v1), and none runs in between.
func (c *container) killRest() {
	if !c.handle.PrivatePidNamespace() {
		if err := c.handle.KillAll(sigKill); err != nil && !errors.Is(err, errdefs.ErrNotFound) {
			c.cfg.Log("%s: kill what init left: %v", c.name(""), err)
		}
	}
	frozen := false
	_ = c.do(func() error { frozen = c.frozen; return nil }) // only a deleted container refuses
	if frozen {
		c.thaw()
	}
}

// thaw lets the processes of a dead container run into their SIGKILL.
func (c *container) thaw() {
	ctx, cancel := within(context.Background(), settleLimit)
	defer cancel()
	if err := c.handle.Resume(ctx); err != nil && !errors.Is(err, errdefs.ErrNotFound) {
		c.cfg.Log("%s: thaw: %v", c.name(""), err)
	}
}

// killExec kills an exec of a container that has ended.
func (c *container) killExec(p *proc) {
	if err := p.child.Signal(sigKill); err != nil && !errors.Is(err, errdefs.ErrNotFound) {
		c.cfg.Log("%s: kill: %v", c.name(p.execID), err)
	}
}

// trySettle publishes init's exit if nothing is left that must come before it.
func (c *container) trySettle() {
	if c.init.status.Public() != Stopped || c.init.isSettled() || !c.init.ended || c.sweeping || c.starts > 0 {
		return
	}
	for _, p := range c.execs {
		if p.status == Running {
			return
		}
	}
	c.settleInit()
}

// settleLate publishes init's exit though something does not die.
func (c *container) settleLate() {
	if c.init.isSettled() {
		return
	}
	c.cfg.Log("%s: init has ended, but %s later something of it has not", c.name(""), settleLimit)
	c.settleInit()
}

func (c *container) settleInit() {
	c.deadline.Stop()
	if !c.init.failed {
		c.publishExit(c.init)
	}
	c.init.settle()
}
