package shim

import (
	"context"
	"errors"
	"os"
	"sync"
	"time"

	"github.com/containerd/errdefs"

	"example.io/shim/process"
)

// The fakes stand behind the ports of package process, so that what the service passes down can be looked at. What is between, package process, is real.

// fakeRuntime keeps what it was asked for.
type fakeRuntime struct {
	err    error // of every Create
	stats  any   // of every container
	mu     sync.Mutex
	asked  []process.CreateRequest
	handle *fakeHandle
}

func (r *fakeRuntime) Create(_ context.Context, q process.CreateRequest) (process.Handle, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, q)
	if r.err != nil {
		return nil, r.err
	}
	if _, err := q.Stdio(); err != nil {
		return nil, err
	}
	r.handle = &fakeHandle{init: newChild(1000), stats: r.stats}
	return r.handle, nil
}

// fakeHandle is a container; its execs get the pids after init's.
type fakeHandle struct {
	init  *fakeChild
	stats any

	mu      sync.Mutex
	execs   []process.ExecRequest
	updates []string
	dumps   []process.CheckpointRequest
	signals []int
}

func (h *fakeHandle) Init() process.Child          { return h.init }
func (h *fakeHandle) Start(context.Context) error  { return nil }
func (h *fakeHandle) Pause(context.Context) error  { return nil }
func (h *fakeHandle) Resume(context.Context) error { return nil }
func (h *fakeHandle) Delete(context.Context) error { return nil }
func (h *fakeHandle) Stats() (any, error)          { return h.stats, nil }
func (h *fakeHandle) PrivatePidNamespace() bool    { return true }
func (h *fakeHandle) OOM() process.OOMWatcher      { return &fakeOOM{c: make(chan struct{})} }
func (h *fakeHandle) locked(f func())              { h.mu.Lock(); defer h.mu.Unlock(); f() }
func (h *fakeHandle) KillAll(sig int) error {
	h.locked(func() { h.signals = append(h.signals, sig) })
	return nil
}
func (h *fakeHandle) Checkpoint(_ context.Context, r process.CheckpointRequest) error {
	h.locked(func() { h.dumps = append(h.dumps, r) })
	return nil
}
func (h *fakeHandle) Update(_ context.Context, r []byte) error {
	h.locked(func() { h.updates = append(h.updates, string(r)) })
	return nil
}

func (h *fakeHandle) Pids() (pids []int, err error) {
	h.locked(func() {
		for i := range len(h.execs) + 1 {
			pids = append(pids, h.init.pid+i)
		}
	})
	return pids, nil
}

func (h *fakeHandle) Exec(_ context.Context, r process.ExecRequest) (process.Child, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.execs = append(h.execs, r)
	return newChild(h.init.pid + len(h.execs)), nil
}

// killedAt is when every fakeChild ended.
var killedAt = time.Unix(1700000000, 42)

// fakeChild ends by SIGKILL; other signals are kept.
type fakeChild struct {
	pid  int
	done chan struct{}
	mu   sync.Mutex
	sigs []int
	exit process.Exit
}

func newChild(pid int) *fakeChild { return &fakeChild{pid: pid, done: make(chan struct{})} }

func (c *fakeChild) Pid() int              { return c.pid }
func (c *fakeChild) Done() <-chan struct{} { return c.done }
func (c *fakeChild) Exit() process.Exit    { return c.exit }
func (c *fakeChild) Console() *os.File     { return nil }

func (c *fakeChild) Signal(sig int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.exit.At.IsZero() {
		return errors.Join(errors.New("process already finished"), errdefs.ErrNotFound)
	}
	c.sigs = append(c.sigs, sig)
	if sig == 9 {
		c.exit = process.Exit{Status: killedStatus, At: killedAt}
		close(c.done)
	}
	return nil
}

type fakeOOM struct {
	c    chan struct{}
	once sync.Once
}

func (o *fakeOOM) C() <-chan struct{} { return o.c }
func (o *fakeOOM) Pending() int       { return 0 }
func (o *fakeOOM) Close() error       { o.once.Do(func() { close(o.c) }); return nil }

// fakeIO opens nothing.
type fakeIO struct{}

func (fakeIO) Open(context.Context, process.IOOwner, process.StdioConfig) (process.Streams, error) {
	return fakeStreams{}, nil
}

type fakeStreams struct{}

func (fakeStreams) Files() [3]*os.File          { return [3]*os.File{} }
func (fakeStreams) Started(*os.File) error      { return nil }
func (fakeStreams) CloseStdin() error           { return nil }
func (fakeStreams) Resize(uint32, uint32) error { return nil }
func (fakeStreams) Flush(context.Context)       {}
func (fakeStreams) Drain(context.Context) error { return nil }
func (fakeStreams) Close() error                { return nil }
