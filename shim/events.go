package shim

import (
	"context"
	"sync"
	"time"

	"example.io/shim/process"
	"example.io/shim/shim/wire"
)

// maxEvents bounds the queue while containerd is away. At the bound no event is dropped: no exec is added any more, so only the exits of what
// runs are still to come. An event takes some 300 bytes: 5 MiB.
const maxEvents = 16384

// A delivery that fails is tried again, for ever, the pause growing from the first to the last. containerd's restart takes about a second.
const (
	firstRetry = 50 * time.Millisecond
	lastRetry  = 2 * time.Second
)

// forwarder delivers one event; an error means that it was not taken.
type forwarder interface {
	forward(ctx context.Context, e *wire.Envelope) error
	close()
}

// queue delivers events one after the other, in the order of Publish. It implements process.Publisher.
type queue struct {
	namespace string
	to        forwarder
	log       func(format string, args ...any)

	mu    sync.Mutex
	list  []*wire.Envelope
	busy  bool          // the deliverer runs
	empty chan struct{} // closed when the list is empty and nothing is under way; nil when it is so
	stop  context.Context
	end   context.CancelFunc
}

func newQueue(namespace string, to forwarder, log func(string, ...any)) *queue {
	q := &queue{namespace: namespace, to: to, log: log}
	q.stop, q.end = context.WithCancel(context.Background())
	return q
}

// Publish takes an event and returns at once. Between events no goroutine is there.
func (q *queue) Publish(e process.Event) {
	topic, m := encodeEvent(e)
	a, err := wire.Pack(m)
	if err != nil {
		q.log("event %s: %v", topic, err)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, &wire.Envelope{Timestamp: timestamp(time.Now()), Namespace: q.namespace, Topic: topic, Event: a})
	if !q.busy {
		q.busy, q.empty = true, make(chan struct{})
		go q.deliver()
	}
}

// full says that no more work that makes events should begin.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.list) >= maxEvents
}

func (q *queue) deliver() {
	for {
		q.mu.Lock()
		if len(q.list) == 0 || q.stop.Err() != nil {
			q.list, q.busy = nil, false
			close(q.empty)
			q.empty = nil
			q.mu.Unlock()
			return
		}
		e := q.list[0]
		q.mu.Unlock()
		if !q.try(e) {
			continue
		}
		q.mu.Lock()
		q.list[0] = nil
		q.list = q.list[1:]
		q.mu.Unlock()
	}
}

// try delivers e, however long it takes; false when the queue was closed meanwhile.
func (q *queue) try(e *wire.Envelope) bool {
	for pause := firstRetry; ; pause = min(2*pause, lastRetry) {
		err := q.to.forward(q.stop, e)
		if err == nil {
			return true
		}
		q.log("event %s: %v; it is tried again", e.Topic, err)
		select {
		case <-q.stop.Done():
			return false
		case <-time.After(pause):
		}
	}
}

// drain waits until everything is delivered or ctx ends, and closes the queue.
func (q *queue) drain(ctx context.Context) {
	q.mu.Lock()
	empty := q.empty
	q.mu.Unlock()
	if empty != nil {
		select {
		case <-empty:
		case <-ctx.Done():
			q.log("events are left that containerd did not take: %v", ctx.Err())
		}
	}
	q.end()
	q.to.close()
}

// encodeEvent makes containerd's message of an event.
func encodeEvent(e process.Event) (topic string, m wire.Named) {
	switch e := e.(type) {
	case process.TaskCreate:
		c := &wire.TaskCreate{ContainerID: e.ID, Bundle: e.Bundle, Pid: uint32(e.Pid), IO: &wire.TaskIO{
			Stdin: e.Stdio.Stdin, Stdout: e.Stdio.Stdout, Stderr: e.Stdio.Stderr, Terminal: e.Stdio.Terminal}}
		for _, r := range e.Rootfs {
			c.Rootfs = append(c.Rootfs, &wire.Mount{Type: r.Type, Source: r.Source, Target: r.Target, Options: r.Options})
		}
		return "/tasks/create", c
	case process.TaskStart:
		return "/tasks/start", &wire.TaskStart{ContainerID: e.ID, Pid: uint32(e.Pid)}
	case process.TaskExit:
		return "/tasks/exit", &wire.TaskExit{ContainerID: e.ContainerID, ID: e.ID, Pid: uint32(e.Pid), ExitStatus: e.Exit.Status, ExitedAt: timestamp(e.Exit.At)}
	case process.TaskDelete:
		return "/tasks/delete", &wire.TaskDelete{ContainerID: e.ContainerID, Pid: uint32(e.Pid), ExitStatus: e.Exit.Status, ExitedAt: timestamp(e.Exit.At)}
	case process.TaskOOM:
		return "/tasks/oom", &wire.TaskOOM{ContainerID: e.ContainerID}
	case process.TaskExecAdded:
		return "/tasks/exec-added", &wire.TaskExecAdded{ContainerID: e.ContainerID, ExecID: e.ExecID}
	case process.TaskExecStarted:
		return "/tasks/exec-started", &wire.TaskExecStarted{ContainerID: e.ContainerID, ExecID: e.ExecID, Pid: uint32(e.Pid)}
	case process.TaskCheckpointed:
		return "/tasks/checkpointed", &wire.TaskCheckpointed{ContainerID: e.ContainerID, Checkpoint: e.Path}
	case process.TaskPaused:
		return "/tasks/paused", &wire.TaskPaused{ContainerID: e.ContainerID}
	case process.TaskResumed:
		return "/tasks/resumed", &wire.TaskResumed{ContainerID: e.ContainerID}
	}
	panic("shim: an event without a message")
}
