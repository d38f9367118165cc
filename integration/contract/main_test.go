// Package contract tries what containerd and its clients expect of a shim, row by row, with real containerds.
package contract

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	eventsapi "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/events"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/typeurl/v2"

	"example.io/shim/integration/daemon"
	"example.io/shim/integration/trace"
)

var daemons []*daemon.Daemon

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if err := beWithout(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := trace.Own(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	before := look()
	for _, v := range daemon.Versions() {
		d, err := daemon.Start(v)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		daemons = append(daemons, d)
	}
	code := m.Run()
	for _, d := range daemons {
		if code != 0 {
			fmt.Fprintf(os.Stderr, "--- the end of the log of %s:\n%s", d.Name, d.Log())
		}
		if err := d.Close(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if left := before.Left(look); left != "" {
		fmt.Fprintln(os.Stderr, "left behind by all tests:", left)
		code = 1
	}
	return code
}

func look() trace.Trace { return trace.Take(daemon.Namespace) }

// each runs f under every containerd, and checks that nothing is left behind.
func each(t *testing.T, f func(t *testing.T, d *daemon.Daemon)) {
	for _, d := range daemons {
		t.Run(d.Name, func(t *testing.T) {
			before := look()
			f(t, d)
			if left := before.Left(look); left != "" {
				t.Error("left behind:", left)
			}
		})
	}
}

// box is a container under test.
type box struct {
	t    *testing.T
	d    *daemon.Daemon
	ctx  context.Context
	c    client.Container
	task client.Task
	out  *output
}

// output is what the container's processes write, safe to read meanwhile.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// stepLimit bounds each wait of a test: far above what anything takes.
var stepLimit = trace.Limit(60 * time.Second)

// config is how a box differs from `ctr run IMAGE`.
type config struct {
	args []string
	spec []oci.SpecOpts
	io   cio.Creator
	task []client.NewTaskOpts
	cont []client.NewContainerOpts
}

// tryBox makes a container and its task; the error is that of the create.
func tryBox(t *testing.T, d *daemon.Daemon, cfg config) (*box, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(daemon.Context(), 3*stepLimit)
	t.Cleanup(cancel)
	b := &box{t: t, d: d, ctx: ctx, out: &output{}}
	img, err := d.Client.GetImage(ctx, daemon.Image)
	if err != nil {
		t.Fatal(err)
	}
	id := strings.NewReplacer("/", "-", "#", "-", "_", "-").Replace(t.Name())
	id = strings.ToLower(strings.Trim(fmt.Sprintf("%.40s", id), "-.")) + fmt.Sprint("-", time.Now().UnixNano()%1e9)
	id = strings.ReplaceAll(id, "--", "-")
	opts := append([]client.NewContainerOpts{
		client.WithImage(img), client.WithSnapshotter("overlayfs"), client.WithNewSnapshot(id, img), client.WithRuntime(daemon.Runtime, daemon.RuntimeOptions()),
		client.WithNewSpec(append([]oci.SpecOpts{oci.WithImageConfig(img), oci.WithProcessArgs(cfg.args...), oci.WithCgroup(daemon.CgroupsPath(id))}, cfg.spec...)...),
	}, cfg.cont...)
	if b.c, err = d.Client.NewContainer(ctx, id, opts...); err != nil {
		return nil, err
	}
	t.Cleanup(func() { _ = b.c.Delete(daemon.Context(), client.WithSnapshotCleanup) })
	creator := cfg.io
	if creator == nil {
		creator = cio.NewCreator(cio.WithStreams(nil, b.out, b.out), cio.WithFIFODir(d.Dir))
	}
	if b.task, err = b.c.NewTask(ctx, creator, cfg.task...); err != nil {
		_ = b.c.Delete(ctx, client.WithSnapshotCleanup)
		return nil, err
	}
	t.Cleanup(func() { _, _ = b.task.Delete(daemon.Context(), client.WithProcessKill) })
	return b, nil
}

// newBox is tryBox for a container that must be made.
func newBox(t *testing.T, d *daemon.Daemon, cfg config) *box {
	t.Helper()
	b, err := tryBox(t, d, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func sleeper(t *testing.T, d *daemon.Daemon, spec ...oci.SpecOpts) *box {
	t.Helper()
	b := newBox(t, d, config{args: []string{"sleep", "1000"}, spec: spec})
	b.ok(b.task.Start(b.ctx))
	return b
}

func (b *box) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// must is for calls whose failure is wanted: is says whether it is the right one.
func (b *box) must(what string, is func(error) bool, err error) {
	b.t.Helper()
	if err == nil || !is(err) {
		b.t.Errorf("%s: %v", what, err)
	}
}

// finish waits for the task's end, deletes task and container, and returns the exit code.
func (b *box) finish() uint32 {
	b.t.Helper()
	code := b.wait(b.task)
	b.remove()
	return code
}

func (b *box) wait(p client.Process) uint32 {
	b.t.Helper()
	ch, err := p.Wait(b.ctx)
	b.ok(err)
	select {
	case st := <-ch:
		code, _, err := st.Result()
		b.ok(err)
		return code
	case <-time.After(stepLimit):
		b.t.Fatalf("no exit of %s", p.ID())
		return 0
	}
}

func (b *box) remove() {
	b.t.Helper()
	_, err := b.task.Delete(b.ctx)
	b.ok(err)
	b.ok(b.c.Delete(b.ctx, client.WithSnapshotCleanup))
}

// kill ends the task by SIGKILL and removes it.
func (b *box) kill() {
	b.t.Helper()
	b.ok(b.task.Kill(b.ctx, syscall.SIGKILL))
	if code := b.finish(); code != 137 {
		b.t.Errorf("exit code %d after SIGKILL, want 137", code)
	}
}

// exec runs a command in the box and returns its output and exit code.
func (b *box) exec(id string, args ...string) (string, uint32) {
	b.t.Helper()
	out := &output{}
	p, err := b.tryExec(id, out, args...)
	b.ok(err)
	b.ok(p.Start(b.ctx))
	code := b.wait(p)
	_, err = p.Delete(b.ctx)
	b.ok(err)
	return out.String(), code
}

func (b *box) tryExec(id string, out *output, args ...string) (client.Process, error) {
	spec, err := b.c.Spec(b.ctx)
	b.ok(err)
	ps := *spec.Process
	ps.Args, ps.Terminal = args, false
	return b.task.Exec(b.ctx, id, &ps, cio.NewCreator(cio.WithStreams(nil, out, out), cio.WithFIFODir(b.d.Dir)))
}

// recorder collects the task events of containerd.
type recorder struct {
	mu   sync.Mutex
	list []string
	end  context.CancelFunc
}

// record starts to collect; the strings are like "exit <id> 7", the id without a container's random name.
func record(t *testing.T, d *daemon.Daemon) *recorder {
	t.Helper()
	ctx, cancel := context.WithCancel(daemon.Context())
	t.Cleanup(cancel)
	r := &recorder{end: cancel}
	ch, errs := d.Client.Subscribe(ctx, `topic~="^/tasks/"`)
	go func() {
		for {
			select {
			case e := <-ch:
				r.add(e)
			case <-errs:
				return
			}
		}
	}()
	r.listening(t, d)
	return r
}

// listening waits until containerd knows of the subscription, which the client asks for beside: an event of our own is sent until it comes.
func (r *recorder) listening(t *testing.T, d *daemon.Daemon) {
	t.Helper()
	id := fmt.Sprint("listening-", time.Now().UnixNano())
	for end := time.Now().Add(stepLimit); len(r.of(id)) == 0; time.Sleep(5 * time.Millisecond) {
		if err := d.Client.EventService().Publish(daemon.Context(), "/tasks/oom", &eventsapi.TaskOOM{ContainerID: id}); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(end) {
			t.Fatal("containerd sends no events")
		}
	}
}

func (r *recorder) add(e *events.Envelope) {
	v, err := typeurl.UnmarshalAny(e.Event)
	if err != nil {
		return
	}
	var id, text string
	switch v := v.(type) {
	case *eventsapi.TaskCreate:
		id, text = v.ContainerID, "create"
	case *eventsapi.TaskStart:
		id, text = v.ContainerID, "start"
	case *eventsapi.TaskExecAdded:
		id, text = v.ContainerID, "exec-added "+v.ExecID
	case *eventsapi.TaskExecStarted:
		id, text = v.ContainerID, "exec-started "+v.ExecID
	case *eventsapi.TaskExit:
		name := "init"
		if v.ID != v.ContainerID {
			name = v.ID
		}
		id, text = v.ContainerID, fmt.Sprintf("exit %s %d", name, v.ExitStatus)
	case *eventsapi.TaskDelete:
		id, text = v.ContainerID, "delete"
	case *eventsapi.TaskOOM:
		id, text = v.ContainerID, "oom"
	case *eventsapi.TaskCheckpointed:
		id, text = v.ContainerID, "checkpointed"
	case *eventsapi.TaskPaused:
		id, text = v.ContainerID, "paused"
	case *eventsapi.TaskResumed:
		id, text = v.ContainerID, "resumed"
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, id+" "+text)
}

// of returns the events of one container so far.
func (r *recorder) of(id string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, e := range r.list {
		if text, ok := strings.CutPrefix(e, id+" "); ok {
			list = append(list, text)
		}
	}
	return list
}

// want waits for the events of the container to be these, in this order.
func (r *recorder) want(t *testing.T, id string, want ...string) {
	t.Helper()
	r.wantFrom(t, id, 0, want...)
}

// wantFrom is want without the first events.
func (r *recorder) wantFrom(t *testing.T, id string, from int, want ...string) {
	t.Helper()
	var got []string
	for end := time.Now().Add(trace.Limit(10 * time.Second)); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if got = r.of(id); len(got) >= from && strings.Join(got[from:], ", ") == strings.Join(want, ", ") {
			return
		}
	}
	t.Errorf("events:\n got %s\nwant %s", strings.Join(got, ", "), strings.Join(want, ", "))
}
