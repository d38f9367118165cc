package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/containerd/errdefs"
)

// misstartLimit bounds the wait for an exec that was killed because its relays could not be started; an
// exec that outlives SIGKILL this long sits in the kernel, and its waiter must not.
const misstartLimit = 2 * time.Second

// Start runs init's program (execID empty) or an exec's, and returns the pid.
func (m *Manager) Start(ctx context.Context, id, execID string) (int, error) {
	c, err := m.find(id)
	if err != nil {
		return 0, err
	}
	if execID == "" {
		if err := c.startInit(ctx); err != nil {
			return 0, err
		}
		return c.pid(), nil
	}
	return c.startExec(ctx, execID)
}

// startInit opens init's gate. An exit meanwhile is kept by the table until the start event is out.
func (c *container) startInit(ctx context.Context) error {
	if err := c.doProc("", func(p *proc) error { return p.apply(evStart) }); err != nil {
		return err
	}
	started := c.handle.Start(ctx)
	var closeStdin Streams // of a restored init: that could not be done before
	err := c.doProc("", func(p *proc) error {
		restored := p.child == nil
		if restored && p.stdinClosed {
			closeStdin = p.streams
		}
		if started == nil && restored {
			started = c.takeRestored(p)
		}
		if started != nil {
			return errors.Join(named("start", started), c.initStartFailed())
		}
		if err := p.apply(evStarted); err != nil {
			return err
		}
		c.publish(TaskStart{ID: c.params.ID, Pid: c.pid()})
		if restored {
			c.watch(p)
		}
		if p.ended {
			c.exited(p)
		}
		return nil
	})
	if err == nil && closeStdin != nil {
		c.closeStdin("", closeStdin)
	}
	return err
}

// takeRestored takes over the init that a start has restored from a checkpoint.
func (c *container) takeRestored(p *proc) error {
	c.hasInit(c.handle.Init())
	if err := p.streams.Started(p.child.Console()); err != nil {
		closeConsole(p.child)
		c.watch(p)
		return fmt.Errorf("start the relays: %w", err)
	}
	return nil
}

// initStartFailed stops the container: a gate that failed cannot be opened again. The child is killed and
// awaited, then waiters get startFailedStatus; there is no exit event, for there was no start.
func (c *container) initStartFailed() error {
	p := c.init
	if err := p.apply(evStartFailed); err != nil {
		return err
	}
	p.fail()
	if p.child == nil {
		p.ended = true // there was nothing to end
	} else {
		_ = p.child.Signal(sigKill) // an error means that it has ended, which Done tells
	}
	c.sweep()
	return nil
}

// ExecParams says which exec to add.
type ExecParams struct {
	ExecID string
	Spec   []byte // JSON of specs.Process
	Stdio  StdioConfig
}

// Exec adds a process to a container; Start runs it.
func (m *Manager) Exec(ctx context.Context, id string, p ExecParams) error {
	c, err := m.find(id)
	if err != nil {
		return err
	}
	// An exec called like its container could not be told from init in an exit event.
	if p.ExecID == "" || p.ExecID == id {
		return fmt.Errorf("container %s: exec id %q: %w", id, p.ExecID, errdefs.ErrInvalidArgument)
	}
	return c.do(func() error {
		if c.execs[p.ExecID] != nil {
			return c.wrap(p.ExecID, fmt.Errorf("the exec exists: %w", errdefs.ErrAlreadyExists))
		}
		if err := c.init.apply(evExecAdd); err != nil {
			return c.wrap(p.ExecID, err)
		}
		e := newProc(p.ExecID, p.Stdio, Created)
		e.spec = p.Spec
		c.execs[p.ExecID] = e
		c.publish(TaskExecAdded{ContainerID: id, ExecID: p.ExecID})
		return nil
	})
}

// startExec runs an exec. Init's exit cancels it, so that a client's missing pipe cannot hold up init's exit.
func (c *container) startExec(ctx context.Context, execID string) (int, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var e *proc
	err := c.doProc(execID, func(p *proc) error {
		if err := c.init.apply(evExecStart); err != nil {
			return err
		}
		if err := p.apply(evStart); err != nil {
			return err
		}
		e, p.cancel = p, cancel
		c.starts++
		return nil
	})
	if err != nil {
		return 0, err
	}
	ch, s, started := c.launch(ctx, e)
	pid, closeStdin := 0, false
	err = c.do(func() error {
		c.startDone()
		defer c.trySettle()
		if started != nil {
			return c.wrap(execID, errors.Join(named("start", started), c.execStartFailed(e)))
		}
		pid, closeStdin = ch.Pid(), e.stdinClosed
		return c.wrap(execID, c.execStarted(e, ch, s))
	})
	if err != nil {
		if started == nil {
			err = errors.Join(err, c.drop(e, ch, s)) // refused, or the container is gone
		}
		return 0, err
	}
	if closeStdin {
		c.closeStdin(e.execID, s)
	}
	return pid, nil
}

// launch opens the streams and executes the program; after an error nothing is left.
func (c *container) launch(ctx context.Context, e *proc) (Child, Streams, error) {
	s, err := c.cfg.IO.Open(ctx, c.owner(), e.stdio)
	if err != nil {
		return nil, nil, fmt.Errorf("open stdio: %w", err)
	}
	ch, err := c.handle.Exec(ctx, ExecRequest{ExecID: e.execID, Spec: e.spec, Terminal: e.stdio.Terminal, Stdio: s.Files()})
	if err != nil {
		return nil, nil, errors.Join(err, s.Close())
	}
	if err := s.Started(ch.Console()); err != nil {
		closeConsole(ch)
		return nil, nil, errors.Join(fmt.Errorf("start the relays: %w", err), c.drop(e, ch, s))
	}
	return ch, s, nil
}

// startDone counts an exec start out and tells a pause that waits for it.
func (c *container) startDone() {
	if c.starts--; c.starts == 0 && c.quiet != nil {
		close(c.quiet)
		c.quiet = nil
	}
}

// execStartFailed lets the exec's waiters go; there is no exit event, for there was no start.
func (c *container) execStartFailed(e *proc) error {
	e.cancel = nil
	err := e.apply(evStartFailed)
	e.ended = true
	e.fail()
	e.settle()
	return err
}

// execStarted takes the child over. When init has exited meanwhile the exec is killed at once: it still has its
// started and exit events, unless init's exit has been published already, which must be the last.
func (c *container) execStarted(e *proc, ch Child, s Streams) error {
	if c.init.isSettled() {
		err := fmt.Errorf("start: the container has ended: %w", errdefs.ErrFailedPrecondition)
		return errors.Join(err, c.execStartFailed(e))
	}
	e.cancel = nil
	if err := e.apply(evStarted); err != nil {
		return err
	}
	e.child, e.streams = ch, s
	c.publish(TaskExecStarted{ContainerID: c.params.ID, ExecID: e.execID, Pid: ch.Pid()})
	if c.init.status.Public() == Stopped {
		c.killExec(e)
	}
	c.watch(e)
	return nil
}

// drop ends an exec that nobody will own.
func (c *container) drop(e *proc, ch Child, s Streams) error {
	_ = ch.Signal(sigKill) // an error means that it has ended
	t := time.NewTimer(misstartLimit)
	defer t.Stop()
	select {
	case <-ch.Done():
	case <-t.C:
		c.cfg.Log("%s: process %d does not die", c.name(e.execID), ch.Pid())
	}
	return s.Close()
}
