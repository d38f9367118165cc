package shim

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/errdefs"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.io/shim/process"
)

// service is the Task service: it decodes a request, calls the Manager and encodes the answer.
type service struct {
	m         *process.Manager
	namespace string
	events    *queue
	// shutdown is called when a Shutdown finds no container.
	shutdown func()
}

// taskServices are the names of the service. The messages of v3 are those of v2 (a test compares the descriptors), so one implementation, with v2's
// Go types, serves both.
var taskServices = []string{"containerd.task.v2.Task", "containerd.task.v3.Task"}

// register makes server answer for both services.
func (s *service) register(server *ttrpc.Server) {
	methods := map[string]ttrpc.Method{
		"State": method(s.State), "Create": method(s.Create), "Start": method(s.Start), "Delete": method(s.Delete), "Pids": method(s.Pids),
		"Pause": method(s.Pause), "Resume": method(s.Resume), "Checkpoint": method(s.Checkpoint), "Kill": method(s.Kill), "Exec": method(s.Exec),
		"ResizePty": method(s.ResizePty), "CloseIO": method(s.CloseIO), "Update": method(s.Update), "Wait": method(s.Wait), "Stats": method(s.Stats),
		"Connect": method(s.Connect), "Shutdown": method(s.Shutdown),
	}
	for _, name := range taskServices {
		server.RegisterService(name, &ttrpc.ServiceDesc{Methods: methods})
	}
}

// method makes a ttrpc method of a function with typed messages.
func method[Q, R any](f func(context.Context, *Q) (*R, error)) ttrpc.Method {
	return func(ctx context.Context, unmarshal func(any) error) (any, error) {
		q := new(Q)
		if err := unmarshal(q); err != nil {
			return nil, err
		}
		r, err := f(ctx, q)
		if err != nil {
			return nil, toGRPC(err)
		}
		return r, nil
	}
}

// empty is the answer of methods that have none.
func empty(err error) (*emptypb.Empty, error) { return &emptypb.Empty{}, err }

// Create builds a container.
func (s *service) Create(ctx context.Context, r *taskapi.CreateTaskRequest) (*taskapi.CreateTaskResponse, error) {
	if err := CheckID("id of the container", r.GetID()); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(r.GetBundle()) {
		return nil, fmt.Errorf("the bundle %q is not an absolute path: %w", r.GetBundle(), errdefs.ErrInvalidArgument)
	}
	if c := r.GetCheckpoint(); c != "" && !filepath.IsAbs(c) {
		return nil, fmt.Errorf("the checkpoint %q is not an absolute path: %w", c, errdefs.ErrInvalidArgument)
	}
	opts, err := parseOptions(r.GetOptions())
	if err != nil {
		return nil, err
	}
	p := process.CreateParams{ID: r.GetID(), Namespace: s.namespaceOf(ctx), Bundle: r.GetBundle(), Options: opts, Checkpoint: r.GetCheckpoint(), Stdio: process.StdioConfig{
		Stdin: r.GetStdin(), Stdout: r.GetStdout(), Stderr: r.GetStderr(), Terminal: r.GetTerminal(),
	}}
	for _, m := range r.GetRootfs() {
		p.Rootfs = append(p.Rootfs, process.Mount{Type: m.GetType(), Source: m.GetSource(), Target: m.GetTarget(), Options: m.GetOptions()})
	}
	pid, err := s.m.Create(ctx, p)
	if err != nil {
		return nil, err
	}
	return &taskapi.CreateTaskResponse{Pid: uint32(pid)}, nil
}

// namespaceOf is the namespace of the request, or the shim's own.
func (s *service) namespaceOf(ctx context.Context) string {
	if ns, ok := ttrpc.GetMetadataValue(ctx, "containerd-namespace-ttrpc"); ok && ns != "" {
		return ns
	}
	return s.namespace
}

// Start starts the container or one of its execs.
func (s *service) Start(ctx context.Context, r *taskapi.StartRequest) (*taskapi.StartResponse, error) {
	pid, err := s.m.Start(ctx, r.GetID(), r.GetExecID())
	if err != nil {
		return nil, err
	}
	return &taskapi.StartResponse{Pid: uint32(pid)}, nil
}

// Delete removes a container that has ended or was never started, or an exec.
func (s *service) Delete(ctx context.Context, r *taskapi.DeleteRequest) (*taskapi.DeleteResponse, error) {
	d, err := s.m.Delete(ctx, r.GetID(), r.GetExecID())
	if err != nil {
		return nil, err
	}
	return &taskapi.DeleteResponse{Pid: uint32(d.Pid), ExitStatus: d.Exit.Status, ExitedAt: timestamp(d.Exit.At)}, nil
}

// Exec adds a process, to be started.
func (s *service) Exec(ctx context.Context, r *taskapi.ExecProcessRequest) (*emptypb.Empty, error) {
	if err := CheckID("id of the exec", r.GetExecID()); err != nil {
		return nil, err
	}
	if s.events.full() {
		return nil, fmt.Errorf("exec %s in %s: %d events wait for containerd, no process is added until it takes some: %w", r.GetExecID(), r.GetID(), maxEvents, errdefs.ErrResourceExhausted)
	}
	ps, err := processSpec(r.GetSpec())
	if err != nil {
		return nil, fmt.Errorf("exec %s in %s: %w", r.GetExecID(), r.GetID(), err)
	}
	return empty(s.m.Exec(ctx, r.GetID(), process.ExecParams{ExecID: r.GetExecID(), Spec: ps, Stdio: process.StdioConfig{
		Stdin: r.GetStdin(), Stdout: r.GetStdout(), Stderr: r.GetStderr(), Terminal: r.GetTerminal(),
	}}))
}

// State tells how a process is. It never waits.
func (s *service) State(_ context.Context, r *taskapi.StateRequest) (*taskapi.StateResponse, error) {
	st, err := s.m.State(r.GetID(), r.GetExecID())
	if err != nil {
		return nil, err
	}
	resp := &taskapi.StateResponse{
		ID: st.ID, ExecID: st.ExecID, Bundle: st.Bundle, Pid: uint32(st.Pid), Status: taskStatus(st.Status),
		Stdin: st.Stdio.Stdin, Stdout: st.Stdio.Stdout, Stderr: st.Stdio.Stderr, Terminal: st.Stdio.Terminal,
	}
	if !st.Exit.At.IsZero() {
		resp.ExitStatus, resp.ExitedAt = st.Exit.Status, timestamp(st.Exit.At)
	}
	return resp, nil
}

// Pids lists the processes of the container.
func (s *service) Pids(_ context.Context, r *taskapi.PidsRequest) (*taskapi.PidsResponse, error) {
	list, err := s.m.Pids(r.GetID())
	if err != nil {
		return nil, err
	}
	return pidsResponse(list)
}

// Pause stops all processes of the container, Resume lets them go on.
func (s *service) Pause(ctx context.Context, r *taskapi.PauseRequest) (*emptypb.Empty, error) {
	return empty(s.m.Pause(ctx, r.GetID()))
}

// Resume lets the processes of a paused container go on.
func (s *service) Resume(ctx context.Context, r *taskapi.ResumeRequest) (*emptypb.Empty, error) {
	return empty(s.m.Resume(ctx, r.GetID()))
}

// Kill sends a signal to a process, or to all.
func (s *service) Kill(ctx context.Context, r *taskapi.KillRequest) (*emptypb.Empty, error) {
	return empty(s.m.Kill(ctx, r.GetID(), r.GetExecID(), int(r.GetSignal()), r.GetAll()))
}

// Checkpoint writes the container's processes to disk.
func (s *service) Checkpoint(ctx context.Context, r *taskapi.CheckpointTaskRequest) (*emptypb.Empty, error) {
	c, err := checkpointRequest(r)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", r.GetID(), err)
	}
	return empty(s.m.Checkpoint(ctx, r.GetID(), c))
}

// ResizePty sets a terminal's size.
func (s *service) ResizePty(ctx context.Context, r *taskapi.ResizePtyRequest) (*emptypb.Empty, error) {
	return empty(s.m.Resize(ctx, r.GetID(), r.GetExecID(), r.GetWidth(), r.GetHeight()))
}

// CloseIO closes our end of a process's standard input.
func (s *service) CloseIO(ctx context.Context, r *taskapi.CloseIORequest) (*emptypb.Empty, error) {
	if !r.GetStdin() {
		return empty(nil)
	}
	return empty(s.m.CloseIO(ctx, r.GetID(), r.GetExecID()))
}

// Update changes the container's limits.
func (s *service) Update(ctx context.Context, r *taskapi.UpdateTaskRequest) (*emptypb.Empty, error) {
	res, err := resources(r.GetResources())
	if err != nil {
		return nil, fmt.Errorf("update %s: %w", r.GetID(), err)
	}
	return empty(s.m.Update(ctx, r.GetID(), res))
}

// Wait returns when a process has ended.
func (s *service) Wait(ctx context.Context, r *taskapi.WaitRequest) (*taskapi.WaitResponse, error) {
	e, err := s.m.Wait(ctx, r.GetID(), r.GetExecID())
	if err != nil {
		return nil, err
	}
	return &taskapi.WaitResponse{ExitStatus: e.Status, ExitedAt: timestamp(e.At)}, nil
}

// Stats returns the accounting of the container.
func (s *service) Stats(ctx context.Context, r *taskapi.StatsRequest) (*taskapi.StatsResponse, error) {
	m, err := s.m.Stats(ctx, r.GetID())
	if err != nil {
		return nil, err
	}
	a, err := metrics(m)
	if err != nil {
		return nil, fmt.Errorf("stats of %s: %w", r.GetID(), err)
	}
	return &taskapi.StatsResponse{Stats: a}, nil
}

// Connect tells the shim's pid and the task's.
func (s *service) Connect(context.Context, *taskapi.ConnectRequest) (*taskapi.ConnectResponse, error) {
	return &taskapi.ConnectResponse{ShimPid: uint32(os.Getpid()), TaskPid: uint32(s.m.InitPid())}, nil
}

// Shutdown ends the shim, unless there is a container.
func (s *service) Shutdown(context.Context, *taskapi.ShutdownRequest) (*emptypb.Empty, error) {
	if s.m.Empty() {
		s.shutdown()
	}
	return empty(nil)
}
