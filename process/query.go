package process

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
)

// State is what a client asks about a process.
type State struct {
	ID, ExecID, Bundle string
	Pid                int
	Status             Status // a public one
	Stdio              StdioConfig
	Exit               Exit // once Stopped
}

// State tells how a process is. It never waits for anything slow.
func (m *Manager) State(id, execID string) (State, error) {
	c, err := m.find(id)
	if err != nil {
		return State{}, err
	}
	var st State
	err = c.doProc(execID, func(p *proc) error {
		st = State{
			ID: id, ExecID: execID, Bundle: c.params.Bundle, Pid: p.pid(),
			Status: p.status.Public(), Stdio: p.stdio, Exit: p.exit,
		}
		return nil
	})
	return st, err
}

// PidInfo is a process of the container; ExecID is set for those that Exec added.
type PidInfo struct {
	Pid    int
	ExecID string
}

// Pids lists the processes of the container's cgroup.
func (m *Manager) Pids(id string) ([]PidInfo, error) {
	c, err := m.find(id)
	if err != nil {
		return nil, err
	}
	execs := map[int]string{}
	stopped := false
	err = c.do(func() error {
		stopped = c.init.status == Stopped || c.init.child == nil
		for _, p := range c.execs {
			if p.status == Running {
				execs[p.pid()] = p.execID
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	pids, err := c.handle.Pids()
	if err != nil {
		return nil, c.wrap("", fmt.Errorf("pids: %w", err))
	}
	if len(pids) == 0 && stopped {
		// containerd takes a task without any pid for one whose shim has lost it, after its own restart, and replaces the exit by one of its own. An
		// init that is yet to be restored has pid 0.
		pids = []int{c.pid()}
	}
	out := make([]PidInfo, 0, len(pids))
	for _, pid := range pids {
		out = append(out, PidInfo{Pid: pid, ExecID: execs[pid]})
	}
	return out, nil
}

// Stats returns what Handle.Stats returns, unread.
func (m *Manager) Stats(ctx context.Context, id string) (any, error) {
	c, err := m.find(id)
	if err != nil {
		return nil, err
	}
	s, err := c.handle.Stats()
	if err != nil {
		return nil, c.wrap("", fmt.Errorf("stats: %w", err))
	}
	return s, nil
}

// Wait waits until a process has ended and its exit was published, or could not be started.
func (m *Manager) Wait(ctx context.Context, id, execID string) (Exit, error) {
	c, err := m.find(id)
	if err != nil {
		return Exit{}, err
	}
	var w *proc
	if err := c.doProc(execID, func(p *proc) error { w = p; return nil }); err != nil {
		return Exit{}, err
	}
	select {
	case <-w.settled:
	case <-ctx.Done():
		return Exit{}, c.wrap(execID, ctx.Err())
	}
	if !w.known {
		return Exit{}, c.wrap(execID, fmt.Errorf("deleted before it ran: %w", errdefs.ErrNotFound))
	}
	return w.exit, nil
}
