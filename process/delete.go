package process

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// drainLimit bounds the wait for the rest of the output. A process outside the container may hold the pipe
	// for ever; what a reader has not taken two seconds after the exit it will not take, and together with
	// settleLimit it stays within the 5 s in which containerd's clean-up wants an answer.
	drainLimit = 2 * time.Second

	// removeLimit bounds the removal of cgroups and mounts. A busy cgroup needs tens of milliseconds; beyond
	// this a client had better hear of the error, and may try again.
	removeLimit = 10 * time.Second
)

// DeleteResult is what a deleted process was.
type DeleteResult struct {
	Pid  int
	Exit Exit
}

// Delete forgets a process that has ended, or one that was never started; for init, the container with it.
func (m *Manager) Delete(ctx context.Context, id, execID string) (DeleteResult, error) {
	c, err := m.find(id)
	if err != nil {
		return DeleteResult{}, err
	}
	if execID != "" {
		return c.deleteExec(ctx, execID)
	}
	if err := c.awaitEnd(ctx); err != nil {
		return DeleteResult{}, err
	}
	var all []Streams
	err = c.doProc("", func(p *proc) error {
		if err := p.apply(evDelete); err != nil {
			return err
		}
		all = c.allStreams()
		return nil
	})
	if err != nil {
		return DeleteResult{}, err
	}
	removed := c.remove(ctx, all)
	var res DeleteResult
	err = c.doProc("", func(p *proc) error {
		if removed != nil {
			return errors.Join(fmt.Errorf("delete: %w", removed), p.apply(evDeleteFailed))
		}
		res = DeleteResult{Pid: c.pid(), Exit: p.exit}
		return c.deleted(m)
	})
	if err == nil {
		<-c.gone
	}
	return res, err
}

// awaitEnd makes sure that init has ended and its exit was published. One that was never started is killed.
func (c *container) awaitEnd(ctx context.Context) error {
	err := c.doProc("", func(p *proc) error {
		if _, err := next(p.status, evDelete); err != nil {
			return err
		}
		switch {
		case p.status != Created:
		case p.child == nil: // a checkpoint that was not restored: there is nothing to wait for
			p.fail()
			p.settle()
		default:
			_ = p.child.Signal(sigKill) // an error means that it has ended, which Done tells
		}
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case <-c.init.settled:
		return nil
	case <-ctx.Done():
		return c.wrap("", fmt.Errorf("delete: init has not ended: %w", ctx.Err()))
	}
}

// allStreams takes the open streams from the container's processes.
func (c *container) allStreams() []Streams {
	var all []Streams
	for _, p := range c.execs {
		if p.streams != nil {
			all = append(all, p.streams)
			p.streams = nil
		}
	}
	if c.init.streams != nil {
		all = append(all, c.init.streams)
		c.init.streams = nil
	}
	return all
}

// remove drains and closes the streams and removes the container from the machine.
func (c *container) remove(ctx context.Context, all []Streams) error {
	c.drain(ctx, all...)
	ctx, cancel := within(ctx, removeLimit)
	defer cancel()
	if err := c.handle.Delete(ctx); err != nil {
		return err
	}
	if w := c.handle.OOM(); w != nil {
		if err := w.Close(); err != nil {
			c.cfg.Log("%s: close the OOM watcher: %v", c.name(""), err)
		}
	}
	return nil
}

// drain passes the rest of the output on and closes the streams; each has the whole drainLimit, so that one stuck
// reader costs no other its output. Errors are logged: they must not keep a process from being deleted.
func (c *container) drain(ctx context.Context, all ...Streams) {
	ctx, cancel := within(ctx, drainLimit)
	defer cancel()
	var wg sync.WaitGroup
	for _, s := range all {
		wg.Go(func() {
			if err := s.Drain(ctx); err != nil {
				c.cfg.Log("%s: drain: %v", c.name(""), err)
			}
			if err := s.Close(); err != nil {
				c.cfg.Log("%s: close stdio: %v", c.name(""), err)
			}
		})
	}
	wg.Wait()
}

// deleted publishes the end, lets all waiters go and ends the owner. The id is free before Delete answers.
func (c *container) deleted(m *Manager) error {
	if err := c.init.apply(evDeleted); err != nil {
		return err
	}
	c.publish(TaskDelete{ContainerID: c.params.ID, Pid: c.pid(), Exit: c.init.exit})
	for _, p := range c.execs {
		p.settle()
	}
	m.forget(c.params.ID)
	c.over = true
	return nil
}

// deleteExec forgets an exec. The drain is beside the owner.
func (c *container) deleteExec(ctx context.Context, execID string) (DeleteResult, error) {
	var s Streams
	err := c.doProc(execID, func(p *proc) error {
		if err := p.apply(evDelete); err != nil {
			return err
		}
		s, p.streams = p.streams, nil
		return nil
	})
	if err != nil {
		return DeleteResult{}, err
	}
	if s != nil {
		c.drain(ctx, s)
	}
	var res DeleteResult
	err = c.doProc(execID, func(p *proc) error {
		if err := p.apply(evDeleted); err != nil {
			return err
		}
		p.settle()
		delete(c.execs, execID)
		res = DeleteResult{Pid: p.pid(), Exit: p.exit}
		return nil
	})
	return res, err
}
