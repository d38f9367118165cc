package process

import (
	"context"
	"fmt"
	"time"
)

// Checkpoint writes a running or paused container to disk. With Exit its processes are ended by that; its exit event follows the checkpoint's.
// Nothing else begins meanwhile; State, Pids and Kill do not wait.
func (m *Manager) Checkpoint(ctx context.Context, id string, r CheckpointRequest) error {
	c, err := m.find(id)
	if err != nil {
		return err
	}
	var quiet chan struct{}
	err = c.doProc("", func(p *proc) error {
		r.Paused = p.status == Paused
		if err := p.apply(evCheckpoint); err != nil {
			return err
		}
		quiet = c.startsDone()
		return nil
	})
	if err != nil {
		return err
	}
	dumped := await(ctx, quiet) // an exec that is half started cannot be dumped
	if dumped == nil {
		// The client may go away; processes that are half dumped must not be left.
		dumped = c.handle.Checkpoint(context.WithoutCancel(ctx), r)
	}
	err = c.doProc("", func(p *proc) error { return c.checkpointDone(p, r, dumped) })
	if err == nil && r.Exit {
		c.awaitExit()
	}
	return err
}

// checkpointDone notes what became of a checkpoint, and tells of an exit meanwhile.
func (c *container) checkpointDone(p *proc, r CheckpointRequest, dumped error) error {
	e := evCheckpointed
	if dumped != nil {
		e = evCheckpointFailed
	}
	if err := p.apply(e); err != nil {
		return err
	}
	if dumped == nil {
		c.publish(TaskCheckpointed{ContainerID: c.params.ID, Path: r.ImagePath})
	}
	if p.ended {
		c.exited(p)
	}
	if dumped != nil {
		return fmt.Errorf("checkpoint: %w", dumped)
	}
	return nil
}

// awaitExit gives the exit of a container that its checkpoint has ended the time to be told: then a client can delete it at once.
func (c *container) awaitExit() {
	t := time.NewTimer(2 * settleLimit)
	defer t.Stop()
	select {
	case <-c.init.settled:
	case <-t.C:
	}
}
