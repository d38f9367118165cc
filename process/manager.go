// Package process is the life cycle of containers: what may happen when, and which event follows which. It
// knows neither containerd's types nor a system call; see ports.go for what it needs.
package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"
)

// undoLimit bounds the wait for the init of a failed create: it was killed and has never run a program, so
// more than a moment means that the kernel holds it.
const undoLimit = 2 * time.Second

// Config is what a Manager works with.
type Config struct {
	Runtime   Runtime
	IO        IO
	Events    Publisher
	Namespace string                           // for creates that name none
	Log       func(format string, args ...any) // for what no RPC can answer; nil is silence
}

// Manager holds the containers of a shim, normally one.
type Manager struct {
	cfg Config

	mu  sync.Mutex
	all map[string]*container // nil while the create is under way: the id is taken
}

// New returns a Manager without containers.
func New(cfg Config) *Manager {
	if cfg.Log == nil {
		cfg.Log = func(string, ...any) {}
	}
	return &Manager{cfg: cfg, all: map[string]*container{}}
}

// CreateParams says which container to create.
type CreateParams struct {
	ID, Namespace, Bundle string
	Rootfs                []Mount
	Options               Options
	Stdio                 StdioConfig
	Checkpoint            string // folder of a checkpoint to restore, or empty
}

func (p CreateParams) owner() IOOwner {
	return IOOwner{ID: p.ID, Namespace: p.Namespace, Bundle: p.Bundle, UID: p.Options.IOUID, GID: p.Options.IOGID}
}

// Create builds a container up to its start gate and returns init's pid, 0 when it will be restored from a checkpoint. After an error nothing is left of it.
func (m *Manager) Create(ctx context.Context, p CreateParams) (int, error) {
	if p.ID == "" {
		return 0, fmt.Errorf("create: the container has no id: %w", errdefs.ErrInvalidArgument)
	}
	if p.Namespace == "" {
		p.Namespace = m.cfg.Namespace
	}
	if !m.reserve(p.ID) {
		return 0, fmt.Errorf("create: container %s exists: %w", p.ID, errdefs.ErrAlreadyExists)
	}
	c, err := m.build(ctx, p)
	if err != nil {
		m.forget(p.ID)
		return 0, named("create container "+p.ID, err)
	}
	// Published before anybody can find the container, hence before every other event of it.
	c.publish(TaskCreate{ID: p.ID, Bundle: p.Bundle, Rootfs: p.Rootfs, Stdio: p.Stdio, Pid: c.pid()})
	if c.init.child != nil {
		c.watch(c.init)
	}
	go c.run()
	m.mu.Lock()
	m.all[p.ID] = c
	m.mu.Unlock()
	return c.pid(), nil
}

// build opens the streams and makes the container, or undoes what it did.
func (m *Manager) build(ctx context.Context, p CreateParams) (*container, error) {
	var s Streams
	h, err := m.cfg.Runtime.Create(ctx, CreateRequest{
		ID: p.ID, Namespace: p.Namespace, Bundle: p.Bundle, Rootfs: p.Rootfs, Options: p.Options, Terminal: p.Stdio.Terminal,
		Checkpoint: p.Checkpoint,
		Stdio: func() (files [3]*os.File, err error) {
			if s, err = m.cfg.IO.Open(ctx, p.owner(), p.Stdio); err != nil {
				s = nil
				return files, fmt.Errorf("open stdio: %w", err)
			}
			return s.Files(), nil
		},
	})
	if err != nil {
		if s != nil {
			err = errors.Join(err, s.Close())
		}
		return nil, err
	}
	if h.Init() != nil { // else Start does it: the restore needs the files, and brings the console
		if err := s.Started(h.Init().Console()); err != nil {
			return nil, errors.Join(fmt.Errorf("start the relays: %w", err), s.Close(), discard(ctx, h))
		}
	}
	return newContainer(&m.cfg, p, h, s), nil
}

// discard removes a container that nobody has heard of.
func discard(ctx context.Context, h Handle) error {
	ctx, cancel := within(ctx, undoLimit)
	defer cancel()
	closeConsole(h.Init())
	_ = h.Init().Signal(sigKill) // Delete kills too; an error means that init has ended
	err := h.Delete(ctx)
	if w := h.OOM(); w != nil {
		err = errors.Join(err, w.Close())
	}
	select {
	case <-h.Init().Done():
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("init %d does not die", h.Init().Pid()))
	}
	return err
}

// closeConsole closes the pty master of a process whose streams did not take it.
func closeConsole(ch Child) {
	if f := ch.Console(); f != nil {
		_ = f.Close() // perhaps the streams have closed it already
	}
}

func (m *Manager) reserve(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, taken := m.all[id]; taken {
		return false
	}
	m.all[id] = nil
	return true
}

func (m *Manager) forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, id)
}

func (m *Manager) find(id string) (*container, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.all[id]; c != nil {
		return c, nil
	}
	return nil, noContainer(id)
}

func noContainer(id string) error {
	return fmt.Errorf("container %s: %w", id, errdefs.ErrNotFound)
}

// Empty says that no container remains, and none is being created.
func (m *Manager) Empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.all) == 0
}

// InitPid returns the pid of the container's init, 0 without a container. With several containers it is
// the one whose id sorts first, so that the answer does not change from call to call.
func (m *Manager) InitPid() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	first, pid := "", 0
	for id, c := range m.all {
		if c != nil && (pid == 0 || id < first) {
			first, pid = id, c.pid()
		}
	}
	return pid
}
