package process

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
)

// Pause freezes the container. Exec starts under way are let through first: frozen they would hang.
func (m *Manager) Pause(ctx context.Context, id string) error {
	c, err := m.find(id)
	if err != nil {
		return err
	}
	var quiet chan struct{}
	err = c.doProc("", func(p *proc) error {
		if err := p.apply(evPause); err != nil {
			return err
		}
		quiet = c.startsDone()
		return nil
	})
	if err != nil {
		return err
	}
	frozen := c.freeze(ctx, quiet)
	return c.doProc("", func(p *proc) error { return c.pauseDone(p, frozen) })
}

// startsDone returns what is closed when no exec is being started any more, nil when none is. The table lets one at a time wait.
func (c *container) startsDone() chan struct{} {
	if c.starts > 0 {
		c.quiet = make(chan struct{})
	}
	return c.quiet
}

// freeze waits until no exec is being started, and pauses. After an error, or when init has died meanwhile
// and the sweep thawed too early, the cgroup is thawed again.
func (c *container) freeze(ctx context.Context, quiet chan struct{}) error {
	if err := await(ctx, quiet); err != nil {
		return err
	}
	// Noted before the freezing, so that a sweep thaws whatever comes of it.
	err := c.do(func() error {
		if c.init.status != Pausing {
			return errInitEnded
		}
		c.frozen = true
		return nil
	})
	if err != nil {
		return err
	}
	err = c.handle.Pause(ctx)
	died := false
	_ = c.do(func() error { died = c.init.status != Pausing; return nil })
	if err != nil || died {
		c.thaw()
	}
	return err
}

// await waits for c to be closed; nil is.
func await(ctx context.Context, c chan struct{}) error {
	if c == nil {
		return nil
	}
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errInitEnded = fmt.Errorf("init has ended: %w", errdefs.ErrFailedPrecondition)

// pauseDone notes what became of a pause.
func (c *container) pauseDone(p *proc, frozen error) error {
	e := evPaused
	if frozen != nil {
		e, c.frozen = evPauseFailed, false
	}
	if err := p.apply(e); err != nil {
		return err
	}
	if frozen != nil {
		return fmt.Errorf("pause: %w", frozen)
	}
	if p.status != Paused {
		return fmt.Errorf("pause: %w", errInitEnded)
	}
	c.publish(TaskPaused{ContainerID: c.params.ID})
	return nil
}

// Resume thaws the container.
func (m *Manager) Resume(ctx context.Context, id string) error {
	c, err := m.find(id)
	if err != nil {
		return err
	}
	if err := c.doProc("", func(p *proc) error { return p.apply(evResume) }); err != nil {
		return err
	}
	thawed := c.handle.Resume(ctx)
	return c.doProc("", func(p *proc) error {
		e := evResumed
		if thawed != nil {
			e = evResumeFailed
		}
		if err := p.apply(e); err != nil {
			return err
		}
		if thawed != nil {
			return fmt.Errorf("resume: %w", thawed)
		}
		c.frozen = false
		if p.status != Running {
			return fmt.Errorf("resume: %w", errInitEnded)
		}
		c.publish(TaskResumed{ContainerID: c.params.ID})
		return nil
	})
}

// lastSignal is SIGRTMAX, signal(7).
const lastSignal = 64

// Kill signals init, an exec, or with all (and no exec) every process of the container.
func (m *Manager) Kill(ctx context.Context, id, execID string, sig int, all bool) error {
	c, err := m.find(id)
	if err != nil {
		return err
	}
	if sig < 0 || sig > lastSignal {
		return c.wrap(execID, fmt.Errorf("%d is no signal: %w", sig, errdefs.ErrInvalidArgument))
	}
	all = all && execID == ""
	frozen := false
	err = c.doProc(execID, func(p *proc) error {
		e := evKill
		if p != c.init {
			e = evExecKill
		}
		frozen = p == c.init && p.status.Public() == Paused
		if err := p.apply(e); err != nil || all {
			return err
		}
		if p.child == nil {
			return fmt.Errorf("%s: it has not been restored from its checkpoint yet: %w", e, errdefs.ErrFailedPrecondition)
		}
		return signalErr(p.child.Signal(sig), sig)
	})
	if err == nil && all {
		err = c.wrap("", signalErr(c.handle.KillAll(sig), sig)) // beside the owner: it walks the cgroup
	}
	if err == nil && frozen && sig == sigKill {
		c.thaw() // on cgroup v1 a frozen process keeps its SIGKILL until it is thawed, and a paused container cannot be deleted
	}
	return err
}

// signalErr makes of an error what a client expects.
func signalErr(err error, sig int) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errdefs.ErrNotFound):
		return errFinished
	}
	return fmt.Errorf("signal %d: %w", sig, err)
}

// Update applies resources, the JSON of specs.LinuxResources.
func (m *Manager) Update(ctx context.Context, id string, resources []byte) error {
	c, err := m.find(id)
	if err != nil {
		return err
	}
	if err := c.doProc("", func(p *proc) error { return p.apply(evUpdate) }); err != nil {
		return err
	}
	return c.wrap("", c.handle.Update(ctx, resources))
}

// Resize sets the size of a console; without one it does nothing.
func (m *Manager) Resize(ctx context.Context, id, execID string, width, height uint32) error {
	s, c, err := m.streams(id, execID, false)
	if err != nil || s == nil {
		return err
	}
	return c.wrap(execID, s.Resize(width, height))
}

// CloseIO closes stdin once what the client wrote has been passed on; nothing to close is no error.
func (m *Manager) CloseIO(ctx context.Context, id, execID string) error {
	s, c, err := m.streams(id, execID, true)
	if err != nil || s == nil {
		return err
	}
	return c.wrap(execID, s.CloseStdin())
}

// streams returns a process's streams, nil if it has none (yet, or any more); then closeStdin is kept for the start.
func (m *Manager) streams(id, execID string, closeStdin bool) (s Streams, c *container, err error) {
	c, err = m.find(id)
	if err != nil {
		return nil, nil, err
	}
	err = c.doProc(execID, func(p *proc) error {
		p.stdinClosed = p.stdinClosed || closeStdin
		if p.child != nil { // a restored init's are not running before
			s = p.streams
		}
		return nil
	})
	return s, c, err
}

// closeStdin does what a CloseIO before the start asked for. The start has succeeded, so an error is only logged.
func (c *container) closeStdin(execID string, s Streams) {
	if err := s.CloseStdin(); err != nil {
		c.cfg.Log("%s: close stdin: %v", c.name(execID), err)
	}
}
