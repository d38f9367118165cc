package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"example.io/shim/process"
	"example.io/shim/shim/ttrpc"
	"example.io/shim/shim/wire"
)

// containerd is its events service on a socket: it can go away and come back, as a restart does, and keeps what it got over all of its lives.
type containerd struct {
	t      *testing.T
	path   string
	server *ttrpc.Server
	served chan error

	mu   sync.Mutex
	got  []*wire.Envelope
	more chan struct{} // closed and made anew when got grows
	// answer decides about an event that has arrived; nil takes it.
	answer func(n int, e *wire.Envelope) error
}

func newContainerd(t *testing.T) *containerd {
	c := &containerd{t: t, path: filepath.Join(t.TempDir(), "c.sock.ttrpc"), more: make(chan struct{})}
	t.Cleanup(c.down)
	return c
}

// up starts a life.
func (c *containerd) up() {
	c.t.Helper()
	l, err := ttrpc.Listen(c.path)
	must(c.t, err)
	forward := func(name string) ttrpc.Method {
		if name != "Forward" {
			return nil
		}
		return ttrpc.Unary(c.forward)
	}
	c.server, c.served = ttrpc.NewServer(map[string]ttrpc.Service{eventsService: forward}, c.t.Logf), make(chan error, 1)
	go func() { c.served <- c.server.Serve(l) }()
}

// down ends it: connections are cut, the socket is gone. What comes after it is not in this life.
func (c *containerd) down() {
	if c.server == nil {
		return
	}
	must(c.t, c.server.Close())
	if err := <-c.served; !errors.Is(err, ttrpc.ErrClosed) {
		c.t.Errorf("the events service ended: %v", err)
	}
	c.server.HangUp(context.Background())
	must(c.t, os.Remove(c.path))
	c.server = nil
}

// forward is the service.
func (c *containerd) forward(_ context.Context, r *wire.ForwardRequest) (*wire.Empty, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.answer != nil {
		if err := c.answer(len(c.got), r.Envelope); err != nil {
			return nil, err
		}
	}
	c.got = append(c.got, r.Envelope)
	close(c.more)
	c.more = make(chan struct{})
	return &wire.Empty{}, nil
}

// wait waits until n events have arrived.
func (c *containerd) wait(n int) []*wire.Envelope {
	c.t.Helper()
	for {
		c.mu.Lock()
		got, more := slices.Clone(c.got), c.more
		c.mu.Unlock()
		if len(got) >= n {
			return got
		}
		<-more
	}
}

// setAnswer changes what the service does from now on.
func (c *containerd) setAnswer(f func(int, *wire.Envelope) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = f
}

// queueTo is a queue to c; it is closed with the test.
func queueTo(t *testing.T, c *containerd) *queue {
	q := newQueue("default", &ttrpcForwarder{address: "unix://" + c.path}, func(string, ...any) {})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // what is left by a test that failed is not waited for
		q.drain(ctx)
	})
	return q
}

// oom is an event with a number.
func oom(n int) process.Event { return process.TaskOOM{ContainerID: fmt.Sprint(n)} }

// numbers are those of a list of such events.
func numbers(t *testing.T, list []*wire.Envelope) (out []string) {
	t.Helper()
	for _, e := range list {
		m := &wire.TaskOOM{}
		must(t, wire.Unmarshal(e.Event.Value, m))
		out = append(out, m.ContainerID)
	}
	return out
}

// upTo are the numbers that oom gives.
func upTo(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint(i))
	}
	return out
}

// TestContainerdGoesAway cuts the connection between events: what is published in each of containerd's lives and between them arrives once, in order.
func TestContainerdGoesAway(t *testing.T) {
	c := newContainerd(t)
	q := queueTo(t, c)
	n := 0
	publish := func(k int) {
		for range k {
			q.Publish(oom(n))
			n++
		}
	}
	publish(3) // before containerd's first life
	for range 3 {
		c.up()
		publish(5)
		c.wait(n)
		idle(q)
		c.down()
		publish(4)
	}
	c.up()
	if got := numbers(t, c.wait(n)); !slices.Equal(got, upTo(n)) {
		t.Errorf("%q arrived, want 0 to %d", got, n-1)
	}
	idle(q)
	if got := numbers(t, c.wait(n)); len(got) != n {
		t.Errorf("%d events arrived, %d were published", len(got), n)
	}
}

// idle waits until everything is delivered.
func idle(q *queue) {
	q.mu.Lock()
	empty := q.empty
	q.mu.Unlock()
	if empty != nil {
		<-empty
	}
}

// TestContainerdDiesInForward ends containerd while an event is in its hands: nobody can know whether it was taken, so it comes again. It is the only
// one that does, and the order stays.
func TestContainerdDiesInForward(t *testing.T) {
	c := newContainerd(t)
	c.up()
	arrived, gone := make(chan struct{}), make(chan struct{})
	var once sync.Once
	c.setAnswer(func(n int, _ *wire.Envelope) error {
		if n == 2 {
			once.Do(func() { close(arrived); <-gone })
		}
		return nil
	})
	q := queueTo(t, c)
	for i := range 6 {
		q.Publish(oom(i))
	}
	<-arrived
	c.down() // Forward of event 2 is still in there, and will take it, but its answer goes nowhere
	close(gone)
	c.wait(3)
	c.up()
	if got, want := numbers(t, c.wait(7)), []string{"0", "1", "2", "2", "3", "4", "5"}; !slices.Equal(got, want) {
		t.Errorf("%q arrived, want %q", got, want)
	}
}

// TestContainerdRefuses has a service that answers with errors: it is asked again until it takes the event, and no later event goes before.
func TestContainerdRefuses(t *testing.T) {
	c := newContainerd(t)
	refused := map[string]int{}
	c.setAnswer(func(n int, e *wire.Envelope) error {
		if k := e.Topic + fmt.Sprint(n); refused[k] < 2 {
			refused[k]++
			return errors.New("not now")
		}
		return nil
	})
	c.up()
	q := queueTo(t, c)
	q.Publish(oom(0))
	q.Publish(oom(1))
	if got := numbers(t, c.wait(2)); !slices.Equal(got, upTo(2)) {
		t.Errorf("%q arrived", got)
	}
}

// TestQueueIsBounded fills the queue while containerd is away. At the bound it says so, which keeps execs away; the exits of what runs are taken still.
// Then containerd comes, and everything arrives.
func TestQueueIsBounded(t *testing.T) {
	const exits = 100
	c := newContainerd(t)
	q := queueTo(t, c)
	for i := range maxEvents {
		if q.full() {
			t.Fatalf("full with %d events", i)
		}
		q.Publish(oom(i))
	}
	if !q.full() {
		t.Errorf("not full with %d events", maxEvents)
	}
	for i := range exits {
		q.Publish(oom(maxEvents + i))
	}
	c.up()
	if got := numbers(t, c.wait(maxEvents+exits)); !slices.Equal(got, upTo(maxEvents+exits)) {
		t.Errorf("%d events arrived, or not in order", len(got))
	}
	idle(q)
	if q.full() {
		t.Error("full when everything is delivered")
	}
}

// TestManyPublish publishes from many goroutines: each one's events stay in order, and the deliverer ends between them.
func TestManyPublish(t *testing.T) {
	const who, each = 8, 50
	c := newContainerd(t)
	c.up()
	q := queueTo(t, c)
	var group sync.WaitGroup
	for w := range who {
		group.Go(func() {
			for i := range each {
				q.Publish(process.TaskExecAdded{ContainerID: fmt.Sprint(w), ExecID: fmt.Sprint(i)})
			}
		})
	}
	group.Wait()
	next := map[string]int{}
	for _, e := range c.wait(who * each) {
		m := &wire.TaskExecAdded{}
		must(t, wire.Unmarshal(e.Event.Value, m))
		if m.ExecID != fmt.Sprint(next[m.ContainerID]) {
			t.Fatalf("event %s of %s arrived, want %d", m.ExecID, m.ContainerID, next[m.ContainerID])
		}
		next[m.ContainerID]++
	}
	idle(q)
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.busy || q.list != nil || q.empty != nil {
		t.Errorf("when all is delivered: busy %t, %d events", q.busy, len(q.list))
	}
}

// TestDrain has the two ends of a queue: all was taken, and containerd did not come back in time, which is told.
func TestDrain(t *testing.T) {
	c := newContainerd(t)
	c.up()
	q := newQueue("default", &ttrpcForwarder{address: c.path}, t.Logf)
	for i := range 50 {
		q.Publish(oom(i))
	}
	q.drain(context.Background())
	if got := numbers(t, c.wait(0)); !slices.Equal(got, upTo(50)) {
		t.Errorf("after the drain %q has arrived", got)
	}
	c.down()
	var mu sync.Mutex
	var log []string
	q = newQueue("default", &ttrpcForwarder{address: c.path}, func(f string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		log = append(log, fmt.Sprintf(f, args...))
	})
	q.Publish(oom(50))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	q.drain(ctx)
	idle(q)
	mu.Lock()
	defer mu.Unlock()
	if all := strings.Join(log, "\n"); !strings.Contains(all, "events are left that containerd did not take") || !strings.Contains(all, "event /tasks/oom: connect to containerd") {
		t.Errorf("the log says %q", all)
	}
}

// TestEnvelopes has every event, field by field, with its topic.
func TestEnvelopes(t *testing.T) {
	at := time.Unix(1700000000, 42)
	exit := process.Exit{Status: 137, At: at}
	cases := []struct {
		e     process.Event
		topic string
		want  wire.Named
	}{
		{process.TaskCreate{ID: "c", Bundle: "/b", Pid: 1, Stdio: process.StdioConfig{Stdin: "/0", Stdout: "/1", Stderr: "/2", Terminal: true},
			Rootfs: []process.Mount{{Type: "bind", Source: "/s", Target: "/t", Options: []string{"ro"}}, {Type: "overlay"}}}, "/tasks/create",
			&wire.TaskCreate{ContainerID: "c", Bundle: "/b", Pid: 1, IO: &wire.TaskIO{Stdin: "/0", Stdout: "/1", Stderr: "/2", Terminal: true},
				Rootfs: []*wire.Mount{{Type: "bind", Source: "/s", Target: "/t", Options: []string{"ro"}}, {Type: "overlay"}}}},
		{process.TaskStart{ID: "c", Pid: 2}, "/tasks/start", &wire.TaskStart{ContainerID: "c", Pid: 2}},
		{process.TaskExit{ID: "e", ContainerID: "c", Pid: 3, Exit: exit}, "/tasks/exit",
			&wire.TaskExit{ID: "e", ContainerID: "c", Pid: 3, ExitStatus: 137, ExitedAt: timestamp(at)}},
		{process.TaskDelete{ContainerID: "c", Pid: 4, Exit: exit}, "/tasks/delete", &wire.TaskDelete{ContainerID: "c", Pid: 4, ExitStatus: 137, ExitedAt: timestamp(at)}},
		{process.TaskDelete{ContainerID: "c", Pid: 4}, "/tasks/delete", &wire.TaskDelete{ContainerID: "c", Pid: 4}},
		{process.TaskOOM{ContainerID: "c"}, "/tasks/oom", &wire.TaskOOM{ContainerID: "c"}},
		{process.TaskExecAdded{ContainerID: "c", ExecID: "e"}, "/tasks/exec-added", &wire.TaskExecAdded{ContainerID: "c", ExecID: "e"}},
		{process.TaskExecStarted{ContainerID: "c", ExecID: "e", Pid: 5}, "/tasks/exec-started", &wire.TaskExecStarted{ContainerID: "c", ExecID: "e", Pid: 5}},
		{process.TaskPaused{ContainerID: "c"}, "/tasks/paused", &wire.TaskPaused{ContainerID: "c"}},
		{process.TaskResumed{ContainerID: "c"}, "/tasks/resumed", &wire.TaskResumed{ContainerID: "c"}},
	}
	c := newContainerd(t)
	c.up()
	q := queueTo(t, c)
	before := time.Now()
	for _, k := range cases {
		q.Publish(k.e)
	}
	for i, got := range c.wait(len(cases)) {
		want := &wire.Envelope{Timestamp: got.Timestamp, Namespace: "default", Topic: cases[i].topic,
			Event: &wire.Any{TypeUrl: wire.NameOf(cases[i].want), Value: marshal(t, cases[i].want)}}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%T became %v\nwant %v", cases[i].e, got, want)
		}
		if ts := asTime(got.Timestamp); ts.Before(before) || ts.After(time.Now()) {
			t.Errorf("%T is of %v", cases[i].e, ts)
		}
	}
}

// TestEventThatCannotBe is left out, and the next one comes: it would stop all others for ever.
func TestEventThatCannotBe(t *testing.T) {
	c := newContainerd(t)
	c.up()
	var log []string
	q := newQueue("default", &ttrpcForwarder{address: c.path}, func(f string, args ...any) { log = append(log, fmt.Sprintf(f, args...)) })
	q.Publish(process.TaskOOM{ContainerID: "\xff"})
	q.Publish(oom(0))
	q.drain(context.Background())
	if got := numbers(t, c.wait(1)); !slices.Equal(got, upTo(1)) {
		t.Errorf("%q arrived", got)
	}
	if all := strings.Join(log, "\n"); !strings.Contains(all, "event /tasks/oom: encode containerd.events.TaskOOM") {
		t.Errorf("the log says %q", all)
	}
}
