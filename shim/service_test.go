package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"sync"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.io/shim/linux/cgroup/stats"
	"example.io/shim/process"
)

// keeper is a forwarder that keeps what it gets.
type keeper struct {
	mu   sync.Mutex
	list []*types.Envelope
}

func (k *keeper) close() {}
func (k *keeper) forward(_ context.Context, e *types.Envelope) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = append(k.list, e)
	return nil
}

// newService is a service over fakes; its client, and what it was asked to shut down.
func newService(t *testing.T, r *fakeRuntime) (*service, *ttrpc.Client, func() int) {
	t.Helper()
	shutdowns := 0
	events := newQueue("default", &keeper{}, t.Logf)
	s := &service{namespace: "default", events: events, shutdown: func() { shutdowns++ }}
	s.m = process.New(process.Config{Runtime: r, IO: fakeIO{}, Events: events, Namespace: "default", Log: t.Logf})
	t.Cleanup(func() { events.drain(context.Background()) })
	return s, serveOn(t, s.register), func() int { return shutdowns }
}

// client calls the methods of one container's service.
type client struct {
	t *testing.T
	c *ttrpc.Client
}

// ok calls a method that must work.
func (c client) ok(method string, q, r proto.Message) {
	c.t.Helper()
	if err := c.c.Call(context.Background(), taskServices[1], method, q, r); err != nil {
		c.t.Errorf("%s: %v", method, err)
	}
}

// fails calls a method that must not work.
func (c client) fails(method string, q proto.Message, code codes.Code, words ...string) {
	c.t.Helper()
	err := c.c.Call(context.Background(), taskServices[0], method, q, &emptypb.Empty{})
	if status.Code(err) != code {
		c.t.Errorf("%s: %v, want %v", method, err, code)
	}
	holds(c.t, method, err, append(words, " ")...)
}

const specURL = "types.containerd.io/opencontainers/runtime-spec/1/"

// createRequest has every field that means something.
func createRequest(t *testing.T) *taskapi.CreateTaskRequest {
	return &taskapi.CreateTaskRequest{
		ID: "web1", Bundle: "/run/bundle", Terminal: true, Stdin: "/run/0", Stdout: "/run/1", Stderr: "/run/2",
		Rootfs: []*types.Mount{
			{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/a", "ro"}},
			{Type: "bind", Source: "/src", Target: "/dst"},
		},
		Options: anyOf(t, optionsType, &runcopts.Options{NoPivotRoot: true, IoUid: 7}),
	}
}

// TestCreateRequest compares what the runtime is asked for with the request.
func TestCreateRequest(t *testing.T) {
	r := &fakeRuntime{}
	_, conn, shutdowns := newService(t, r)
	c := client{t, conn}
	created := &taskapi.CreateTaskResponse{}
	c.ok("Create", createRequest(t), created)
	if created.GetPid() != 1000 {
		t.Errorf("pid %d", created.GetPid())
	}
	got := r.asked[0]
	got.Stdio = nil
	want := process.CreateRequest{ID: "web1", Namespace: "default", Bundle: "/run/bundle", Terminal: true,
		Rootfs:  []process.Mount{{Type: "overlay", Source: "overlay", Options: []string{"lowerdir=/a", "ro"}}, {Type: "bind", Source: "/src", Target: "/dst"}},
		Options: process.Options{NoPivotRoot: true, IOUID: 7}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("asked for %+v\nwant %+v", got, want)
	}
	state := &taskapi.StateResponse{}
	c.ok("State", &taskapi.StateRequest{ID: "web1"}, state)
	if want := (&taskapi.StateResponse{ID: "web1", Bundle: "/run/bundle", Pid: 1000, Status: task.Status_CREATED, Stdin: "/run/0", Stdout: "/run/1",
		Stderr: "/run/2", Terminal: true}); !proto.Equal(state, want) {
		t.Errorf("state %v\nwant %v", state, want)
	}
	c.fails("Create", createRequest(t), codes.AlreadyExists, "web1")
	// A second container of another namespace: the request's metadata goes before the shim's own.
	ctx := ttrpc.WithMetadata(context.Background(), ttrpc.MD{"containerd-namespace-ttrpc": {"k8s.io"}})
	second := &taskapi.CreateTaskRequest{ID: "web2", Bundle: "/run/bundle2"}
	must(t, conn.Call(ctx, taskServices[0], "Create", second, created))
	if got := r.asked[1].Namespace; got != "k8s.io" {
		t.Errorf("the namespace is %s", got)
	}
	c.ok("Shutdown", &taskapi.ShutdownRequest{}, &emptypb.Empty{})
	if n := shutdowns(); n != 0 {
		t.Errorf("shut down with containers")
	}
	for _, id := range []string{"web1", "web2"} {
		c.ok("Delete", &taskapi.DeleteRequest{ID: id}, &taskapi.DeleteResponse{})
	}
	c.ok("Shutdown", &taskapi.ShutdownRequest{}, &emptypb.Empty{})
	if n := shutdowns(); n != 1 {
		t.Errorf("%d shut-downs without a container", n)
	}
}

// TestWrongRequests are refused before the runtime is asked for anything.
func TestWrongRequests(t *testing.T) {
	r := &fakeRuntime{}
	s, conn, _ := newService(t, r)
	c := client{t, conn}
	with := func(change func(*taskapi.CreateTaskRequest)) *taskapi.CreateTaskRequest {
		q := createRequest(t)
		change(q)
		return q
	}
	c.fails("Create", with(func(q *taskapi.CreateTaskRequest) { q.ID = "" }), codes.InvalidArgument, "id of the container is empty")
	c.fails("Create", with(func(q *taskapi.CreateTaskRequest) { q.ID = "a/b" }), codes.InvalidArgument, `"a/b"`)
	c.fails("Create", with(func(q *taskapi.CreateTaskRequest) { q.Bundle = "" }), codes.InvalidArgument, "absolute path")
	c.fails("Create", with(func(q *taskapi.CreateTaskRequest) { q.Bundle = "b" }), codes.InvalidArgument, `"b"`)
	c.fails("Create", with(func(q *taskapi.CreateTaskRequest) { q.Checkpoint = "c" }), codes.InvalidArgument, `checkpoint "c"`)
	c.fails("Create", with(func(q *taskapi.CreateTaskRequest) { q.Options = &anypb.Any{TypeUrl: "a.b.C"} }), codes.InvalidArgument, `"a.b.C"`)
	if len(r.asked) > 0 {
		t.Errorf("the runtime was asked for %+v", r.asked)
	}
	r.err = fmt.Errorf("step 3: %w", errdefs.ErrNotImplemented)
	c.fails("Create", createRequest(t), codes.Unimplemented, "step 3")
	r.err = nil
	c.ok("Create", createRequest(t), &taskapi.CreateTaskResponse{})
	exec := func(id, url string) *taskapi.ExecProcessRequest {
		return &taskapi.ExecProcessRequest{ID: "web1", ExecID: id, Spec: &anypb.Any{TypeUrl: url, Value: []byte("{}")}}
	}
	c.fails("Exec", exec("", specURL+"Process"), codes.InvalidArgument, "id of the exec is empty")
	c.fails("Exec", exec("..", specURL+"Process"), codes.InvalidArgument, `".."`)
	c.fails("Exec", exec("e1", specURL+"Spec"), codes.InvalidArgument, "exec e1 in web1", specURL+"Spec")
	c.fails("Exec", &taskapi.ExecProcessRequest{ID: "web1", ExecID: "e1"}, codes.InvalidArgument, "exec e1 in web1", "no Process")
	c.fails("Update", &taskapi.UpdateTaskRequest{ID: "web1"}, codes.InvalidArgument, "update web1", "no LinuxResources")
	c.fails("Update", &taskapi.UpdateTaskRequest{ID: "web1", Resources: &anypb.Any{TypeUrl: specURL + "Process", Value: []byte("{}")}}, codes.InvalidArgument, "update web1")
	c.fails("Checkpoint", &taskapi.CheckpointTaskRequest{ID: "web1"}, codes.InvalidArgument, "checkpoint web1", "path")
	c.fails("Stats", &taskapi.StatsRequest{ID: "web1"}, codes.Unknown, "stats of web1", "accounting") // the fake has none
	c.fails("Start", &taskapi.StartRequest{ID: "web1", ExecID: "e9"}, codes.NotFound, "e9")
	broken := &emptypb.Empty{}
	broken.ProtoReflect().SetUnknown(text(1, "\xff")) // an id that is no UTF-8
	c.fails("State", broken, codes.Internal, "unmarshal")
	s.events.mu.Lock()
	s.events.list, s.events.busy = make([]*types.Envelope, maxEvents), true // as if containerd were away for long
	s.events.mu.Unlock()
	c.fails("Exec", exec("e1", specURL+"Process"), codes.ResourceExhausted, "exec e1 in web1", "16384 events")
	s.events.mu.Lock()
	s.events.list, s.events.busy = nil, false
	s.events.mu.Unlock()
	c.ok("Exec", exec("e1", specURL+"Process"), &emptypb.Empty{})
	c.ok("Delete", &taskapi.DeleteRequest{ID: "web1"}, &taskapi.DeleteResponse{})
}

// TestLife calls each method in the course of a container's life and looks at answers and at what the ports got.
func TestLife(t *testing.T) {
	r := &fakeRuntime{stats: &stats.Metrics{V1: &stats.V1{Pids: &stats.Pids{Current: 2}}}}
	_, conn, _ := newService(t, r)
	c := client{t, conn}
	connect := func() *taskapi.ConnectResponse {
		a := &taskapi.ConnectResponse{}
		c.ok("Connect", &taskapi.ConnectRequest{ID: "web1"}, a)
		return a
	}
	if a := connect(); int(a.GetShimPid()) != os.Getpid() || a.GetTaskPid() != 0 {
		t.Errorf("connect without a container: %v", a)
	}
	c.ok("Create", createRequest(t), &taskapi.CreateTaskResponse{})
	if a := connect(); int(a.GetShimPid()) != os.Getpid() || a.GetTaskPid() != 1000 {
		t.Errorf("connect: %v", a)
	}
	started := &taskapi.StartResponse{}
	c.ok("Start", &taskapi.StartRequest{ID: "web1"}, started)
	if started.GetPid() != 1000 {
		t.Errorf("start: %v", started)
	}
	c.ok("Exec", &taskapi.ExecProcessRequest{ID: "web1", ExecID: "e1", Terminal: true, Stdin: "/run/3", Stdout: "/run/4", Stderr: "/run/5",
		Spec: &anypb.Any{TypeUrl: specURL + "Process", Value: []byte(`{"args":["x"]}`)}}, &emptypb.Empty{})
	c.ok("Start", &taskapi.StartRequest{ID: "web1", ExecID: "e1"}, started)
	if started.GetPid() != 1001 {
		t.Errorf("start of the exec: %v", started)
	}
	if got, want := r.handle.execs[0], (process.ExecRequest{ExecID: "e1", Spec: []byte(`{"args":["x"]}`), Terminal: true}); !reflect.DeepEqual(got, want) {
		t.Errorf("exec %+v, want %+v", got, want)
	}
	state := &taskapi.StateResponse{}
	c.ok("State", &taskapi.StateRequest{ID: "web1", ExecID: "e1"}, state)
	if want := (&taskapi.StateResponse{ID: "web1", ExecID: "e1", Bundle: "/run/bundle", Pid: 1001, Status: task.Status_RUNNING, Stdin: "/run/3", Stdout: "/run/4",
		Stderr: "/run/5", Terminal: true}); !proto.Equal(state, want) {
		t.Errorf("state of the exec: %v\nwant %v", state, want)
	}
	pids := &taskapi.PidsResponse{}
	c.ok("Pids", &taskapi.PidsRequest{ID: "web1"}, pids)
	details, err := message(&runcopts.ProcessDetails{ExecID: "e1"})
	must(t, err)
	if want := (&taskapi.PidsResponse{Processes: []*task.ProcessInfo{{Pid: 1000}, {Pid: 1001, Info: details}}}); !proto.Equal(pids, want) {
		t.Errorf("pids %v\nwant %v", pids, want)
	}
	accounting := &taskapi.StatsResponse{}
	c.ok("Stats", &taskapi.StatsRequest{ID: "web1"}, accounting)
	if want, err := metrics(r.stats); err != nil || !proto.Equal(accounting.GetStats(), want) {
		t.Errorf("stats %v, want %v (%v)", accounting, want, err)
	}
	c.ok("Update", &taskapi.UpdateTaskRequest{ID: "web1", Resources: &anypb.Any{TypeUrl: specURL + "LinuxResources", Value: []byte(`{"pids":{"limit":5}}`)}}, &emptypb.Empty{})
	c.ok("ResizePty", &taskapi.ResizePtyRequest{ID: "web1", Width: 80, Height: 25}, &emptypb.Empty{})
	c.ok("CloseIO", &taskapi.CloseIORequest{ID: "web1", Stdin: true}, &emptypb.Empty{})
	c.ok("CloseIO", &taskapi.CloseIORequest{ID: "nobody"}, &emptypb.Empty{}) // nothing to close
	c.fails("CloseIO", &taskapi.CloseIORequest{ID: "nobody", Stdin: true}, codes.NotFound, "nobody")
	for _, step := range []struct {
		method string
		q      proto.Message
		want   task.Status
	}{
		{"Pause", &taskapi.PauseRequest{ID: "web1"}, task.Status_PAUSED},
		{"Resume", &taskapi.ResumeRequest{ID: "web1"}, task.Status_RUNNING},
	} {
		c.ok(step.method, step.q, &emptypb.Empty{})
		c.ok("State", &taskapi.StateRequest{ID: "web1"}, state)
		if state.GetStatus() != step.want {
			t.Errorf("after %s: %v", step.method, state.GetStatus())
		}
	}
	c.ok("Kill", &taskapi.KillRequest{ID: "web1", Signal: 10}, &emptypb.Empty{})
	c.ok("Kill", &taskapi.KillRequest{ID: "web1", Signal: 12, All: true}, &emptypb.Empty{})
	if got := r.handle; !reflect.DeepEqual(got.init.sigs, []int{10}) || !reflect.DeepEqual(got.signals, []int{12}) || !reflect.DeepEqual(got.updates, []string{`{"pids":{"limit":5}}`}) {
		t.Errorf("signals %v, to all %v; updates %q", got.init.sigs, got.signals, got.updates)
	}
	c.fails("Delete", &taskapi.DeleteRequest{ID: "web1"}, codes.FailedPrecondition, "web1")
	c.endOf("web1", "e1", 1001)
	c.endOf("web1", "", 1000)
	c.fails("Wait", &taskapi.WaitRequest{ID: "web1"}, codes.NotFound, "web1")
}

// endOf kills a process, waits for it and deletes it.
func (c client) endOf(id, execID string, pid uint32) {
	c.t.Helper()
	at := timestamp(killedAt)
	c.ok("Kill", &taskapi.KillRequest{ID: id, ExecID: execID, Signal: 9}, &emptypb.Empty{})
	waited := &taskapi.WaitResponse{}
	c.ok("Wait", &taskapi.WaitRequest{ID: id, ExecID: execID}, waited)
	if want := (&taskapi.WaitResponse{ExitStatus: 137, ExitedAt: at}); !proto.Equal(waited, want) {
		c.t.Errorf("wait %v, want %v", waited, want)
	}
	state := &taskapi.StateResponse{}
	c.ok("State", &taskapi.StateRequest{ID: id, ExecID: execID}, state)
	if state.GetStatus() != task.Status_STOPPED || state.GetExitStatus() != 137 || !proto.Equal(state.GetExitedAt(), at) {
		c.t.Errorf("state %v", state)
	}
	c.fails("Kill", &taskapi.KillRequest{ID: id, ExecID: execID, Signal: 9}, codes.NotFound, "process already finished")
	deleted := &taskapi.DeleteResponse{}
	c.ok("Delete", &taskapi.DeleteRequest{ID: id, ExecID: execID}, deleted)
	if want := (&taskapi.DeleteResponse{Pid: pid, ExitStatus: 137, ExitedAt: at}); !proto.Equal(deleted, want) {
		c.t.Errorf("delete %v, want %v", deleted, want)
	}
}

// TestWaitEndsWithItsCaller has a Wait for a container that goes on.
func TestWaitEndsWithItsCaller(t *testing.T) {
	_, conn, _ := newService(t, &fakeRuntime{})
	c := client{t, conn}
	c.ok("Create", createRequest(t), &taskapi.CreateTaskResponse{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err := conn.Call(ctx, taskServices[0], "Wait", &taskapi.WaitRequest{ID: "web1"}, &taskapi.WaitResponse{})
	if !errors.Is(err, context.Canceled) && status.Code(err) != codes.Canceled {
		t.Errorf("a Wait that was given up: %v", err)
	}
	c.ok("Delete", &taskapi.DeleteRequest{ID: "web1"}, &taskapi.DeleteResponse{}) // that no goroutine is left, TestMain looks at
}
