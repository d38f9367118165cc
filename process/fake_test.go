package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
)

var errFake = errors.New("fake failure")

// gate holds a fake's slow call until it is opened; a nil gate is open.
type gate chan struct{}

func (g gate) pass(ctx context.Context) error {
	if g == nil {
		return nil
	}
	select {
	case <-g:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// fakeChild is a process that lives until exit or SIGKILL.
type fakeChild struct {
	pid      int
	immortal bool // SIGKILL does nothing: it sits in the kernel
	done     chan struct{}
	once     sync.Once
	exitInfo Exit

	mu   sync.Mutex
	sigs []int
}

func newChild(pid int) *fakeChild { return &fakeChild{pid: pid, done: make(chan struct{})} }

func (c *fakeChild) exit(status uint32) {
	c.once.Do(func() {
		c.exitInfo = Exit{Status: status, At: time.Now()}
		close(c.done)
	})
}

func (c *fakeChild) Pid() int              { return c.pid }
func (c *fakeChild) Done() <-chan struct{} { return c.done }
func (c *fakeChild) Exit() Exit            { return c.exitInfo }
func (c *fakeChild) Console() *os.File     { return nil }
func (c *fakeChild) Signal(sig int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.done:
		return fmt.Errorf("pid %d: %w", c.pid, errdefs.ErrNotFound)
	default:
	}
	c.sigs = append(c.sigs, sig)
	if sig == sigKill && !c.immortal {
		c.exit(128 + sigKill)
	}
	return nil
}

type fakeOOM struct {
	c    chan struct{}
	once sync.Once

	mu      sync.Mutex
	pending int
}

func (o *fakeOOM) C() <-chan struct{} { return o.c }
func (o *fakeOOM) Close() error       { o.once.Do(func() { close(o.c) }); return nil }
func (o *fakeOOM) add(n int)          { o.mu.Lock(); o.pending += n; o.mu.Unlock() }
func (o *fakeOOM) Pending() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := o.pending
	o.pending = 0
	return n
}

// fakeHandle is a container whose calls can be held, and made to fail.
type fakeHandle struct {
	init    *fakeChild
	oom     *fakeOOM
	private bool

	startGate, execGate, pauseGate, deleteGate gate
	startErr, execErr, pauseErr, resumeErr     error
	deleteErr, checkpointErr                   error
	checkpointGate                             gate
	restored                                   bool   // Init is nil until Start
	onStart                                    func() // while Start runs
	onExec                                     func(*fakeChild)

	mu       sync.Mutex
	children map[string]*fakeChild
	calls    []string
}

func newHandle() *fakeHandle {
	return &fakeHandle{init: newChild(100), oom: &fakeOOM{c: make(chan struct{}, 4)}, children: map[string]*fakeChild{}}
}

func (h *fakeHandle) note(s string) { h.mu.Lock(); h.calls = append(h.calls, s); h.mu.Unlock() }
func (h *fakeHandle) called(s string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, c := range h.calls {
		if c == s {
			n++
		}
	}
	return n
}

func (h *fakeHandle) child(execID string) *fakeChild {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.children[execID]
}

func (h *fakeHandle) Init() Child {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.restored {
		return nil
	}
	return h.init
}
func (h *fakeHandle) OOM() OOMWatcher           { return h.oom }
func (h *fakeHandle) PrivatePidNamespace() bool { return h.private }
func (h *fakeHandle) Stats() (any, error)       { return "stats", nil }

func (h *fakeHandle) Start(ctx context.Context) error {
	if h.onStart != nil {
		h.onStart()
	}
	err := errors.Join(h.startGate.pass(ctx), h.startErr)
	if err == nil {
		h.mu.Lock()
		h.restored = false
		h.mu.Unlock()
	}
	return err
}

func (h *fakeHandle) Exec(ctx context.Context, r ExecRequest) (Child, error) {
	if err := errors.Join(h.execGate.pass(ctx), h.execErr); err != nil {
		return nil, err
	}
	h.mu.Lock()
	ch := newChild(200 + len(h.children))
	h.children[r.ExecID] = ch
	h.mu.Unlock()
	if h.onExec != nil {
		h.onExec(ch)
	}
	return ch, nil
}

func (h *fakeHandle) Pids() ([]int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	pids := []int{h.init.pid}
	for _, c := range h.children {
		pids = append(pids, c.pid)
	}
	return pids, nil
}

func (h *fakeHandle) Pause(ctx context.Context) error {
	h.note("pause")
	return errors.Join(h.pauseGate.pass(ctx), h.pauseErr)
}
func (h *fakeHandle) Resume(context.Context) error { h.note("resume"); return h.resumeErr }
func (h *fakeHandle) Checkpoint(ctx context.Context, r CheckpointRequest) error {
	h.note(fmt.Sprintf("checkpoint paused=%v", r.Paused))
	if err := errors.Join(h.checkpointGate.pass(ctx), h.checkpointErr); err != nil {
		return err
	}
	if r.Exit {
		_ = h.init.Signal(sigKill)
	}
	return nil
}
func (h *fakeHandle) Update(context.Context, []byte) error { h.note("update"); return nil }
func (h *fakeHandle) KillAll(sig int) error                { h.note(fmt.Sprint("killall ", sig)); return nil }
func (h *fakeHandle) Delete(ctx context.Context) error {
	h.note("delete")
	_ = h.init.Signal(sigKill)
	return errors.Join(h.deleteGate.pass(ctx), h.deleteErr)
}

// fakeStreams counts; Drain hangs if told to, and Flush until unread is closed.
type fakeStreams struct {
	unread     gate
	hang       bool
	startedErr error

	mu                      sync.Mutex
	started, closed, drains int
	stdinClosed, resized    int
}

func (s *fakeStreams) add(n *int) error               { s.mu.Lock(); *n++; s.mu.Unlock(); return nil }
func (s *fakeStreams) Files() [3]*os.File             { return [3]*os.File{} }
func (s *fakeStreams) Started(*os.File) error         { _ = s.add(&s.started); return s.startedErr }
func (s *fakeStreams) CloseStdin() error              { return s.add(&s.stdinClosed) }
func (s *fakeStreams) Resize(width, hgt uint32) error { return s.add(&s.resized) }
func (s *fakeStreams) Close() error                   { return s.add(&s.closed) }
func (s *fakeStreams) Flush(ctx context.Context)      { _ = s.unread.pass(ctx) }
func (s *fakeStreams) Drain(ctx context.Context) error {
	_ = s.add(&s.drains)
	if s.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

// world is a Manager with fakes around it.
type world struct {
	*Manager
	t         *testing.T
	h         *fakeHandle
	createErr error
	openGate  gate
	openErr   error
	prep      func(*fakeStreams)

	mu      sync.Mutex
	streams []*fakeStreams
	events  []string
	owners  []IOOwner
	logs    []string
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, h: newHandle()}
	w.Manager = New(Config{Runtime: (*fakeRuntime)(w), IO: (*fakeIO)(w), Events: w, Namespace: "ns", Log: func(f string, a ...any) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.logs = append(w.logs, fmt.Sprintf(f, a...))
	}})
	return w
}

type fakeRuntime world

func (r *fakeRuntime) Create(_ context.Context, q CreateRequest) (Handle, error) {
	if _, err := q.Stdio(); err != nil {
		return nil, err
	}
	if r.createErr != nil {
		return nil, r.createErr
	}
	return r.h, nil
}

type fakeIO world

func (f *fakeIO) Open(ctx context.Context, o IOOwner, s StdioConfig) (Streams, error) {
	if err := errors.Join(f.openGate.pass(ctx), f.openErr); err != nil {
		return nil, err
	}
	st := &fakeStreams{}
	if f.prep != nil {
		f.prep(st)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.streams, f.owners = append(f.streams, st), append(f.owners, o)
	return st, nil
}

// Publish writes an event down in short: kind, id, and what matters in the order.
func (w *world) Publish(e Event) {
	var s string
	switch e := e.(type) {
	case TaskCreate:
		s = "create " + e.ID
	case TaskStart:
		s = "start " + e.ID
	case TaskExit:
		s = fmt.Sprintf("exit %s %d", e.ID, e.Exit.Status)
	case TaskDelete:
		s = fmt.Sprintf("delete %s %d", e.ContainerID, e.Exit.Status)
	case TaskOOM:
		s = "oom " + e.ContainerID
	case TaskExecAdded:
		s = "added " + e.ExecID
	case TaskExecStarted:
		s = "started " + e.ExecID
	case TaskPaused:
		s = "paused " + e.ContainerID
	case TaskCheckpointed:
		s = "checkpointed " + e.ContainerID + " " + e.Path
	case TaskResumed:
		s = "resumed " + e.ContainerID
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = append(w.events, s)
}

func (w *world) wantEvents(want ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if got, want := strings.Join(w.events, ", "), strings.Join(want, ", "); got != want {
		w.t.Errorf("events\n got %s\nwant %s", got, want)
	}
}

func (w *world) create() {
	w.t.Helper()
	w.ok(firstErr(w.Manager.Create(w.t.Context(), CreateParams{ID: "c", Bundle: "/b"})))
}

// running creates and starts c, and execs with it.
func (w *world) running(execs ...string) {
	w.t.Helper()
	w.create()
	w.start("")
	for _, e := range execs {
		w.exec(e)
		w.start(e)
	}
}

func (w *world) start(execID string) {
	w.t.Helper()
	w.ok(firstErr(w.Start(w.t.Context(), "c", execID)))
}
func (w *world) exec(execID string) {
	w.t.Helper()
	w.ok(w.Exec(w.t.Context(), "c", ExecParams{ExecID: execID}))
}
func (w *world) delete(execID string) DeleteResult {
	w.t.Helper()
	r, err := w.Delete(w.t.Context(), "c", execID)
	w.ok(err)
	return r
}

// end lets init exit and deletes the container, so that no goroutine remains: synctest fails the test if one does.
func (w *world) end() {
	w.t.Helper()
	w.h.init.exit(0)
	synctest.Wait()
	w.delete("")
	if !w.Empty() || w.InitPid() != 0 {
		w.t.Error("the manager is not empty after delete")
	}
}

func (w *world) status(execID string) Status {
	w.t.Helper()
	st, err := w.State("c", execID)
	w.ok(err)
	return st.Status
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) refused(err, kind error) {
	w.t.Helper()
	if !errors.Is(err, kind) {
		w.t.Errorf("got error %v, want %v", err, kind)
	}
}

func firstErr[T any](_ T, err error) error { return err }

// async runs f beside the test and returns its error when asked.
func async(f func() error) func() error {
	res := make(chan error, 1)
	go func() { res <- f() }()
	return func() error { return <-res }
}
