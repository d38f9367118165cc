package shim

import (
	"context"
	"fmt"
	"net"
	"os"
	"reflect"
	"sync"
	"testing"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/cgroup/stats"
	"example.io/shim/process"
	"example.io/shim/shim/ttrpc"
	"example.io/shim/shim/wire"
)

// keeper is a forwarder that keeps what it gets.
type keeper struct {
	mu   sync.Mutex
	list []*wire.Envelope
}

func (k *keeper) close() {}
func (k *keeper) forward(_ context.Context, e *wire.Envelope) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = append(k.list, e)
	return nil
}

// newService is a service over fakes; its socket, and how often it was asked to shut down.
func newService(t *testing.T, r *fakeRuntime) (s *service, path string, shutdown func() int) {
	t.Helper()
	shutdowns := 0
	events := newQueue("default", &keeper{}, t.Logf)
	s = &service{namespace: "default", events: events, shutdown: func() { shutdowns++ }}
	s.m = process.New(process.Config{Runtime: r, IO: fakeIO{}, Events: events, Namespace: "default", Log: t.Logf})
	t.Cleanup(func() { events.drain(context.Background()) })
	return s, serveOn(t, s.services()), func() int { return shutdowns }
}

// client calls the methods of one container's service.
type client struct {
	t *testing.T
	c *ttrpc.Client
}

// ok calls a method that must work.
func (c client) ok(method string, q, r wire.Message) {
	c.t.Helper()
	if err := c.c.Call(context.Background(), taskServices[1], method, q, r); err != nil {
		c.t.Errorf("%s: %v", method, err)
	}
}

// fails calls a method that must not work.
func (c client) fails(method string, q wire.Message, code ttrpc.Code, words ...string) {
	c.t.Helper()
	err := c.c.Call(context.Background(), taskServices[0], method, q, &wire.Empty{})
	if ttrpc.CodeOf(err) != code {
		c.t.Errorf("%s: %v, want %v", method, err, code)
	}
	holds(c.t, method, err, append(words, " ")...)
}

const specURL = "types.containerd.io/opencontainers/runtime-spec/1/"

// createRequest has every field that means something.
func createRequest(t *testing.T) *wire.CreateTaskRequest {
	return &wire.CreateTaskRequest{
		ID: "web1", Bundle: "/run/bundle", Terminal: true, Stdin: "/run/0", Stdout: "/run/1", Stderr: "/run/2",
		Rootfs: []*wire.Mount{
			{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/a", "ro"}},
			{Type: "bind", Source: "/src", Target: "/dst"},
		},
		Options: anyOf(t, wire.OptionsName, &wire.Options{NoPivotRoot: true, IoUid: 7}),
	}
}

// createIn sends a Create with a namespace in its metadata, which our own client does not send, and waits for an answer.
func createIn(t *testing.T, path, namespace string, q *wire.CreateTaskRequest) {
	t.Helper()
	c, err := net.Dial("unix", path)
	must(t, err)
	defer c.Close()
	data := marshal(t, &wire.Request{Service: taskServices[0], Method: "Create", Payload: marshal(t, q),
		Metadata: []*wire.KeyValue{{Key: "other", Value: "x"}, {Key: "containerd-namespace-ttrpc", Value: namespace}}})
	_, err = c.Write(append([]byte{0, 0, byte(len(data) >> 8), byte(len(data)), 0, 0, 0, 1, 1, 0}, data...))
	must(t, err)
	_, err = c.Read(make([]byte, 1))
	must(t, err)
}

// TestCreateRequest compares what the runtime is asked for with the request.
func TestCreateRequest(t *testing.T) {
	r := &fakeRuntime{}
	_, path, shutdowns := newService(t, r)
	c := client{t, dial(t, path)}
	created := &wire.CreateTaskResponse{}
	c.ok("Create", createRequest(t), created)
	if created.Pid != 1000 {
		t.Errorf("pid %d", created.Pid)
	}
	got := r.asked[0]
	got.Stdio = nil
	want := process.CreateRequest{ID: "web1", Namespace: "default", Bundle: "/run/bundle", Terminal: true,
		Rootfs:  []process.Mount{{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/a", "ro"}}, {Type: "bind", Source: "/src", Target: "/dst"}},
		Options: process.Options{NoPivotRoot: true, IOUID: 7}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("asked for %+v\nwant %+v", got, want)
	}
	state := &wire.StateResponse{}
	c.ok("State", &wire.StateRequest{ID: "web1"}, state)
	if want := (&wire.StateResponse{ID: "web1", Bundle: "/run/bundle", Pid: 1000, Status: wire.StatusCreated, Stdin: "/run/0", Stdout: "/run/1",
		Stderr: "/run/2", Terminal: true}); !reflect.DeepEqual(state, want) {
		t.Errorf("state %v\nwant %v", state, want)
	}
	c.fails("Create", createRequest(t), ttrpc.AlreadyExists, "web1")
	// A second container of another namespace: the request's metadata goes before the shim's own.
	second := &wire.CreateTaskRequest{ID: "web2", Bundle: "/run/bundle2"}
	createIn(t, path, "k8s.io", second)
	if got := r.asked[1].Namespace; got != "k8s.io" {
		t.Errorf("the namespace is %s", got)
	}
	c.ok("Shutdown", &wire.ShutdownRequest{}, &wire.Empty{})
	if n := shutdowns(); n != 0 {
		t.Errorf("shut down with containers")
	}
	for _, id := range []string{"web1", "web2"} {
		c.ok("Delete", &wire.DeleteRequest{ID: id}, &wire.DeleteResponse{})
	}
	c.ok("Shutdown", &wire.ShutdownRequest{}, &wire.Empty{})
	if n := shutdowns(); n != 1 {
		t.Errorf("%d shut-downs without a container", n)
	}
}

// TestWrongRequests are refused before the runtime is asked for anything.
func TestWrongRequests(t *testing.T) {
	r := &fakeRuntime{}
	s, path, _ := newService(t, r)
	c := client{t, dial(t, path)}
	with := func(change func(*wire.CreateTaskRequest)) *wire.CreateTaskRequest {
		q := createRequest(t)
		change(q)
		return q
	}
	c.fails("Create", with(func(q *wire.CreateTaskRequest) { q.ID = "" }), ttrpc.InvalidArgument, "id of the container is empty")
	c.fails("Create", with(func(q *wire.CreateTaskRequest) { q.ID = "a/b" }), ttrpc.InvalidArgument, `"a/b"`)
	c.fails("Create", with(func(q *wire.CreateTaskRequest) { q.Bundle = "" }), ttrpc.InvalidArgument, "absolute path")
	c.fails("Create", with(func(q *wire.CreateTaskRequest) { q.Bundle = "b" }), ttrpc.InvalidArgument, `"b"`)
	c.fails("Create", with(func(q *wire.CreateTaskRequest) { q.Checkpoint = "c" }), ttrpc.InvalidArgument, `checkpoint "c"`)
	c.fails("Create", with(func(q *wire.CreateTaskRequest) { q.ParentCheckpoint = "/p" }), ttrpc.Unimplemented, "parent_checkpoint", `"/p"`)
	c.fails("Create", with(func(q *wire.CreateTaskRequest) { q.Options = &wire.Any{TypeUrl: "a.b.C"} }), ttrpc.InvalidArgument, `"a.b.C"`)
	if len(r.asked) > 0 {
		t.Errorf("the runtime was asked for %+v", r.asked)
	}
	r.err = fmt.Errorf("step 3: %w", errdefs.ErrNotImplemented)
	c.fails("Create", createRequest(t), ttrpc.Unimplemented, "step 3")
	r.err = nil
	c.ok("Create", createRequest(t), &wire.CreateTaskResponse{})
	exec := func(id, url string) *wire.ExecProcessRequest {
		return &wire.ExecProcessRequest{ID: "web1", ExecID: id, Spec: &wire.Any{TypeUrl: url, Value: []byte("{}")}}
	}
	c.fails("Exec", exec("", specURL+"Process"), ttrpc.InvalidArgument, "id of the exec is empty")
	c.fails("Exec", exec("..", specURL+"Process"), ttrpc.InvalidArgument, `".."`)
	c.fails("Exec", exec("e1", specURL+"Spec"), ttrpc.InvalidArgument, "exec e1 in web1", specURL+"Spec")
	c.fails("Exec", &wire.ExecProcessRequest{ID: "web1", ExecID: "e1"}, ttrpc.InvalidArgument, "exec e1 in web1", "no Process")
	c.fails("Update", &wire.UpdateTaskRequest{ID: "web1"}, ttrpc.InvalidArgument, "update web1", "no LinuxResources")
	c.fails("Update", &wire.UpdateTaskRequest{ID: "web1", Resources: &wire.Any{TypeUrl: specURL + "Process", Value: []byte("{}")}}, ttrpc.InvalidArgument, "update web1")
	c.fails("Checkpoint", &wire.CheckpointTaskRequest{ID: "web1"}, ttrpc.InvalidArgument, "checkpoint web1", "path")
	c.fails("Stats", &wire.StatsRequest{ID: "web1"}, ttrpc.Unknown, "stats of web1", "accounting") // the fake has none
	c.fails("Start", &wire.StartRequest{ID: "web1", ExecID: "e9"}, ttrpc.NotFound, "e9")
	// A request of another method, whose first field is of another type, is unknown fields only: there is no id in it.
	c.fails("State", &wire.CreateTaskResponse{Pid: 1}, ttrpc.NotFound)
	_, err := s.method("State")(context.Background(), text(1, "\xff")) // an id that is no UTF-8
	if holds(t, "State", err, "unmarshal"); ttrpc.CodeOf(err) != ttrpc.Internal {
		t.Errorf("State of no UTF-8: %v", err)
	}
	s.events.mu.Lock()
	s.events.list, s.events.busy = make([]*wire.Envelope, maxEvents), true // as if containerd were away for long
	s.events.mu.Unlock()
	c.fails("Exec", exec("e1", specURL+"Process"), ttrpc.ResourceExhausted, "exec e1 in web1", "16384 events")
	s.events.mu.Lock()
	s.events.list, s.events.busy = nil, false
	s.events.mu.Unlock()
	c.ok("Exec", exec("e1", specURL+"Process"), &wire.Empty{})
	c.ok("Delete", &wire.DeleteRequest{ID: "web1"}, &wire.DeleteResponse{})
}

// TestEveryMethod calls each method with an empty request: all are there, and know no such container.
func TestEveryMethod(t *testing.T) {
	s, _, shutdowns := newService(t, &fakeRuntime{})
	for name, want := range map[string]ttrpc.Code{
		"State": ttrpc.NotFound, "Start": ttrpc.NotFound, "Delete": ttrpc.NotFound, "Pids": ttrpc.NotFound, "Pause": ttrpc.NotFound, "Resume": ttrpc.NotFound,
		"Kill": ttrpc.NotFound, "ResizePty": ttrpc.NotFound, "Wait": ttrpc.NotFound, "Stats": ttrpc.NotFound,
		"Create": ttrpc.InvalidArgument, "Exec": ttrpc.InvalidArgument, "Update": ttrpc.InvalidArgument, "Checkpoint": ttrpc.InvalidArgument,
		"Connect": ttrpc.OK, "Shutdown": ttrpc.OK, "CloseIO": ttrpc.OK, // CloseIO of nothing that is to be closed
	} {
		if _, err := s.method(name)(context.Background(), nil); ttrpc.CodeOf(err) != want {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	if n := shutdowns(); n != 1 {
		t.Errorf("%d shut-downs", n)
	}
	if s.method("Explode") != nil {
		t.Error("there is a method Explode")
	}
}

// TestLife calls each method in the course of a container's life and looks at answers and at what the ports got.
func TestLife(t *testing.T) {
	r := &fakeRuntime{stats: &stats.Metrics{V1: &stats.V1{Pids: &stats.Pids{Current: 2}}}}
	_, path, _ := newService(t, r)
	c := client{t, dial(t, path)}
	connect := func() *wire.ConnectResponse {
		a := &wire.ConnectResponse{}
		c.ok("Connect", &wire.ConnectRequest{ID: "web1"}, a)
		return a
	}
	if a := connect(); int(a.ShimPid) != os.Getpid() || a.TaskPid != 0 {
		t.Errorf("connect without a container: %v", a)
	}
	c.ok("Create", createRequest(t), &wire.CreateTaskResponse{})
	if a := connect(); int(a.ShimPid) != os.Getpid() || a.TaskPid != 1000 {
		t.Errorf("connect: %v", a)
	}
	started := &wire.StartResponse{}
	c.ok("Start", &wire.StartRequest{ID: "web1"}, started)
	if started.Pid != 1000 {
		t.Errorf("start: %v", started)
	}
	c.ok("Exec", &wire.ExecProcessRequest{ID: "web1", ExecID: "e1", Terminal: true, Stdin: "/run/3", Stdout: "/run/4", Stderr: "/run/5",
		Spec: &wire.Any{TypeUrl: specURL + "Process", Value: []byte(`{"args":["x"]}`)}}, &wire.Empty{})
	c.ok("Start", &wire.StartRequest{ID: "web1", ExecID: "e1"}, started)
	if started.Pid != 1001 {
		t.Errorf("start of the exec: %v", started)
	}
	if got, want := r.handle.execs[0], (process.ExecRequest{ExecID: "e1", Spec: []byte(`{"args":["x"]}`), Terminal: true}); !reflect.DeepEqual(got, want) {
		t.Errorf("exec %+v, want %+v", got, want)
	}
	state := &wire.StateResponse{}
	c.ok("State", &wire.StateRequest{ID: "web1", ExecID: "e1"}, state)
	if want := (&wire.StateResponse{ID: "web1", ExecID: "e1", Bundle: "/run/bundle", Pid: 1001, Status: wire.StatusRunning, Stdin: "/run/3", Stdout: "/run/4",
		Stderr: "/run/5", Terminal: true}); !reflect.DeepEqual(state, want) {
		t.Errorf("state of the exec: %v\nwant %v", state, want)
	}
	pids := &wire.PidsResponse{}
	c.ok("Pids", &wire.PidsRequest{ID: "web1"}, pids)
	details, err := wire.Pack(&wire.ProcessDetails{ExecID: "e1"})
	must(t, err)
	if want := (&wire.PidsResponse{Processes: []*wire.ProcessInfo{{Pid: 1000}, {Pid: 1001, Info: details}}}); !reflect.DeepEqual(pids, want) {
		t.Errorf("pids %v\nwant %v", pids, want)
	}
	accounting := &wire.StatsResponse{}
	c.ok("Stats", &wire.StatsRequest{ID: "web1"}, accounting)
	if want, err := metrics(r.stats); err != nil || !reflect.DeepEqual(accounting.Stats, want) {
		t.Errorf("stats %v, want %v (%v)", accounting, want, err)
	}
	c.ok("Update", &wire.UpdateTaskRequest{ID: "web1", Resources: &wire.Any{TypeUrl: specURL + "LinuxResources", Value: []byte(`{"pids":{"limit":5}}`)}}, &wire.Empty{})
	c.ok("ResizePty", &wire.ResizePtyRequest{ID: "web1", Width: 80, Height: 25}, &wire.Empty{})
	c.ok("CloseIO", &wire.CloseIORequest{ID: "web1", Stdin: true}, &wire.Empty{})
	c.ok("CloseIO", &wire.CloseIORequest{ID: "nobody"}, &wire.Empty{}) // nothing to close
	c.fails("CloseIO", &wire.CloseIORequest{ID: "nobody", Stdin: true}, ttrpc.NotFound, "nobody")
	for _, step := range []struct {
		method string
		q      wire.Message
		want   wire.TaskStatus
	}{
		{"Pause", &wire.PauseRequest{ID: "web1"}, wire.StatusPaused},
		{"Resume", &wire.ResumeRequest{ID: "web1"}, wire.StatusRunning},
	} {
		c.ok(step.method, step.q, &wire.Empty{})
		c.ok("State", &wire.StateRequest{ID: "web1"}, state)
		if state.Status != step.want {
			t.Errorf("after %s: %v", step.method, state.Status)
		}
	}
	c.ok("Kill", &wire.KillRequest{ID: "web1", Signal: 10}, &wire.Empty{})
	c.ok("Kill", &wire.KillRequest{ID: "web1", Signal: 12, All: true}, &wire.Empty{})
	if got := r.handle; !reflect.DeepEqual(got.init.sigs, []int{10}) || !reflect.DeepEqual(got.signals, []int{12}) || !reflect.DeepEqual(got.updates, []string{`{"pids":{"limit":5}}`}) {
		t.Errorf("signals %v, to all %v; updates %q", got.init.sigs, got.signals, got.updates)
	}
	c.fails("Delete", &wire.DeleteRequest{ID: "web1"}, ttrpc.FailedPrecondition, "web1")
	c.endOf("web1", "e1", 1001)
	c.endOf("web1", "", 1000)
	c.fails("Wait", &wire.WaitRequest{ID: "web1"}, ttrpc.NotFound, "web1")
}

// endOf kills a process, waits for it and deletes it.
func (c client) endOf(id, execID string, pid uint32) {
	c.t.Helper()
	at := timestamp(killedAt)
	c.ok("Kill", &wire.KillRequest{ID: id, ExecID: execID, Signal: 9}, &wire.Empty{})
	waited := &wire.WaitResponse{}
	c.ok("Wait", &wire.WaitRequest{ID: id, ExecID: execID}, waited)
	if want := (&wire.WaitResponse{ExitStatus: 137, ExitedAt: at}); !reflect.DeepEqual(waited, want) {
		c.t.Errorf("wait %v, want %v", waited, want)
	}
	state := &wire.StateResponse{}
	c.ok("State", &wire.StateRequest{ID: id, ExecID: execID}, state)
	if state.Status != wire.StatusStopped || state.ExitStatus != 137 || !reflect.DeepEqual(state.ExitedAt, at) {
		c.t.Errorf("state %v", state)
	}
	c.fails("Kill", &wire.KillRequest{ID: id, ExecID: execID, Signal: 9}, ttrpc.NotFound, "process already finished")
	deleted := &wire.DeleteResponse{}
	c.ok("Delete", &wire.DeleteRequest{ID: id, ExecID: execID}, deleted)
	if want := (&wire.DeleteResponse{Pid: pid, ExitStatus: 137, ExitedAt: at}); !reflect.DeepEqual(deleted, want) {
		c.t.Errorf("delete %v, want %v", deleted, want)
	}
}

// TestWaitEndsWithItsCaller has a Wait for a container that goes on.
func TestWaitEndsWithItsCaller(t *testing.T) {
	s, path, _ := newService(t, &fakeRuntime{})
	c := client{t, dial(t, path)}
	c.ok("Create", createRequest(t), &wire.CreateTaskResponse{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := s.method("Wait")(ctx, marshal(t, &wire.WaitRequest{ID: "web1"}))
	if ttrpc.CodeOf(err) != ttrpc.Canceled {
		t.Errorf("a Wait that was given up: %v", err)
	}
	c.ok("Delete", &wire.DeleteRequest{ID: "web1"}, &wire.DeleteResponse{}) // that no goroutine is left, TestMain looks at
}
