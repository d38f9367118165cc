package process

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
)

// container is the owner of one container's state: run is the only goroutine that touches the fields
// below mail. Everything it does is short; slow work runs in the goroutine of the RPC that asked for it and
// posts its completion.
type container struct {
	cfg     *Config
	params  CreateParams
	handle  Handle
	initPid atomic.Int64 // 0 until a restored init is there

	mail chan func()
	gone chan struct{} // closed when run has ended

	over     bool // run ends after this message
	init     *proc
	execs    map[string]*proc
	oom      <-chan struct{}
	starts   int           // exec starts under way
	quiet    chan struct{} // closed when starts falls to 0; nil if nobody waits
	frozen   bool          // the cgroup is, or is about to be, frozen
	sweeping bool          // the rest of the cgroup is being killed after init's exit
	deadline *time.Timer   // bounds the wait for the execs after init's exit
}

func newContainer(cfg *Config, p CreateParams, h Handle, s Streams) *container {
	c := &container{
		cfg: cfg, params: p, handle: h,
		mail: make(chan func()), gone: make(chan struct{}),
		init: newProc("", p.Stdio, Created), execs: map[string]*proc{},
	}
	c.init.streams = s
	if ch := h.Init(); ch != nil {
		c.hasInit(ch)
	}
	if w := h.OOM(); w != nil {
		c.oom = w.C()
	}
	return c
}

// hasInit takes init's child over.
func (c *container) hasInit(ch Child) {
	c.init.child = ch
	c.initPid.Store(int64(ch.Pid()))
}

func (c *container) pid() int { return int(c.initPid.Load()) }

// run is the owner goroutine. Mail is unbuffered: what was accepted is executed.
func (c *container) run() {
	defer close(c.gone)
	for !c.over {
		select {
		case f := <-c.mail:
			f()
		case _, ok := <-c.oom:
			if !ok {
				c.oom = nil // closed
			}
			c.flushOOM()
		}
	}
}

// flushOOM publishes the kills that have not been told of. The exit of a process asks too, so that they precede the exit they caused: the
// kernel counts a kill before it sends the signal.
func (c *container) flushOOM() {
	w := c.handle.OOM()
	if w == nil {
		return
	}
	for range w.Pending() {
		c.publish(TaskOOM{ContainerID: c.params.ID})
	}
}

// post hands f to the owner; false if the container is gone.
func (c *container) post(f func()) bool {
	select {
	case c.mail <- f:
		return true
	case <-c.gone:
		return false
	}
}

// do has the owner run f and waits for it. The owner never waits for anything slow, so neither does do.
func (c *container) do(f func() error) error {
	res := make(chan error, 1)
	if !c.post(func() { res <- f() }) {
		return c.notFound()
	}
	return <-res
}

// doProc is do with the process that execID names.
func (c *container) doProc(execID string, f func(p *proc) error) error {
	return c.do(func() error {
		p, err := c.proc(execID)
		if err != nil {
			return err
		}
		return c.wrap(execID, f(p))
	})
}

// proc finds init (execID empty) or an exec.
func (c *container) proc(execID string) (*proc, error) {
	if execID == "" {
		return c.init, nil
	}
	if p := c.execs[execID]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("container %s has no exec %s: %w", c.params.ID, execID, errdefs.ErrNotFound)
}

func (c *container) notFound() error { return noContainer(c.params.ID) }

// name is how errors call a process.
func (c *container) name(execID string) string {
	if execID == "" {
		return "container " + c.params.ID
	}
	return "container " + c.params.ID + ", exec " + execID
}

// wrap puts the ids before an error; nil stays nil.
func (c *container) wrap(execID string, err error) error {
	if err == nil {
		return nil
	}
	return named(c.name(execID), err)
}

// named puts what into the text of err, unless the runtime's error tells its container and action itself.
func named(what string, err error) error {
	if e := (interface{ ContainerID() string })(nil); errors.As(err, &e) {
		return err
	}
	return fmt.Errorf("%s: %w", what, err)
}

func (c *container) publish(e Event) { c.cfg.Events.Publish(e) }

func (c *container) owner() IOOwner { return c.params.owner() }

// flushLimit bounds how long a process's output may keep its exit back. A client that waits in read(2) has read it within microseconds; one that does not
// read, or is gone, must not hold up an exit that somebody else waits for.
const flushLimit = 100 * time.Millisecond

// watch posts the exit of p's child, after its output: clients close their fifos when they hear of an exit. It ends with the container even if the child
// cannot be killed.
func (c *container) watch(p *proc) {
	ch, s := p.child, p.streams
	go func() {
		select {
		case <-ch.Done():
			ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
			s.Flush(ctx)
			cancel()
			c.post(func() { c.exited(p) })
		case <-c.gone:
		}
	}()
}

// within is a context for work that must be done though the client has gone away, but not for ever.
func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), d)
}
