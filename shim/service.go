package shim

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/containerd/errdefs"

	"example.io/shim/process"
	"example.io/shim/shim/ttrpc"
	"example.io/shim/shim/wire"
)

// service is the Task service: it decodes a request, calls the Manager and encodes the answer.
type service struct {
	m         *process.Manager
	namespace string
	events    *queue
	// shutdown is called when a Shutdown finds no container.
	shutdown func()
}

// taskServices are the names of the service. The messages of v3 are those of v2 (a test compares the descriptors), so one implementation serves both.
var taskServices = []string{"containerd.task.v2.Task", "containerd.task.v3.Task"}

// services are what a server of ours answers for.
func (s *service) services() map[string]ttrpc.Service {
	m := map[string]ttrpc.Service{}
	for _, name := range taskServices {
		m[name] = s.method
	}
	return m
}

// method finds a method by its name. (A map of all would be made in every shim, and most are never called.)
func (s *service) method(name string) ttrpc.Method {
	switch name {
	case "State":
		return method(s.State)
	case "Create":
		return method(s.Create)
	case "Start":
		return method(s.Start)
	case "Delete":
		return method(s.Delete)
	case "Pids":
		return method(s.Pids)
	case "Pause":
		return method(s.Pause)
	case "Resume":
		return method(s.Resume)
	case "Checkpoint":
		return method(s.Checkpoint)
	case "Kill":
		return method(s.Kill)
	case "Exec":
		return method(s.Exec)
	case "ResizePty":
		return method(s.ResizePty)
	case "CloseIO":
		return method(s.CloseIO)
	case "Update":
		return method(s.Update)
	case "Wait":
		return method(s.Wait)
	case "Stats":
		return method(s.Stats)
	case "Connect":
		return method(s.Connect)
	case "Shutdown":
		return method(s.Shutdown)
	}
	return nil
}

// method makes a ttrpc method of a function with typed messages: its errors get their codes.
func method[Q any, P interface {
	*Q
	wire.Message
}, R wire.Message](f func(context.Context, P) (R, error)) ttrpc.Method {
	return ttrpc.Unary(func(ctx context.Context, q P) (R, error) {
		r, err := f(ctx, q)
		return r, coded(err)
	})
}

// empty is the answer of methods that have none.
func empty(err error) (*wire.Empty, error) { return &wire.Empty{}, err }

// Create builds a container.
func (s *service) Create(ctx context.Context, r *wire.CreateTaskRequest) (*wire.CreateTaskResponse, error) {
	if err := CheckID("id of the container", r.ID); err != nil {
		return nil, err
	}
	if !filepath.IsAbs(r.Bundle) {
		return nil, fmt.Errorf("the bundle %q is not an absolute path: %w", r.Bundle, errdefs.ErrInvalidArgument)
	}
	if c := r.Checkpoint; c != "" && !filepath.IsAbs(c) {
		return nil, fmt.Errorf("the checkpoint %q is not an absolute path: %w", c, errdefs.ErrInvalidArgument)
	}
	if r.ParentCheckpoint != "" {
		return nil, fmt.Errorf("parent_checkpoint %q: a checkpoint names its parents itself: %w", r.ParentCheckpoint, errdefs.ErrNotImplemented)
	}
	opts, err := parseOptions(r.Options)
	if err != nil {
		return nil, err
	}
	p := process.CreateParams{ID: r.ID, Namespace: s.namespaceOf(ctx), Bundle: r.Bundle, Options: opts, Checkpoint: r.Checkpoint, Stdio: process.StdioConfig{
		Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal,
	}}
	for _, m := range r.Rootfs {
		p.Rootfs = append(p.Rootfs, process.Mount{Type: m.Type, Source: m.Source, Target: m.Target, Options: m.Options})
	}
	pid, err := s.m.Create(ctx, p)
	if err != nil {
		return nil, err
	}
	return &wire.CreateTaskResponse{Pid: uint32(pid)}, nil
}

// namespaceOf is the namespace of the request, or the shim's own.
func (s *service) namespaceOf(ctx context.Context) string {
	return cmp.Or(ttrpc.Metadata(ctx, "containerd-namespace-ttrpc"), s.namespace)
}

// Start starts the container or one of its execs.
func (s *service) Start(ctx context.Context, r *wire.StartRequest) (*wire.StartResponse, error) {
	pid, err := s.m.Start(ctx, r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	return &wire.StartResponse{Pid: uint32(pid)}, nil
}

// Delete removes a container that has ended or was never started, or an exec.
func (s *service) Delete(ctx context.Context, r *wire.DeleteRequest) (*wire.DeleteResponse, error) {
	d, err := s.m.Delete(ctx, r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	return &wire.DeleteResponse{Pid: uint32(d.Pid), ExitStatus: d.Exit.Status, ExitedAt: timestamp(d.Exit.At)}, nil
}

// Exec adds a process, to be started.
func (s *service) Exec(ctx context.Context, r *wire.ExecProcessRequest) (*wire.Empty, error) {
	if err := CheckID("id of the exec", r.ExecID); err != nil {
		return nil, err
	}
	if s.events.full() {
		return nil, fmt.Errorf("exec %s in %s: %d events wait for containerd, no process is added until it takes some: %w", r.ExecID, r.ID, maxEvents, errdefs.ErrResourceExhausted)
	}
	ps, err := processSpec(r.Spec)
	if err != nil {
		return nil, fmt.Errorf("exec %s in %s: %w", r.ExecID, r.ID, err)
	}
	return empty(s.m.Exec(ctx, r.ID, process.ExecParams{ExecID: r.ExecID, Spec: ps, Stdio: process.StdioConfig{
		Stdin: r.Stdin, Stdout: r.Stdout, Stderr: r.Stderr, Terminal: r.Terminal,
	}}))
}

// State tells how a process is. It never waits.
func (s *service) State(_ context.Context, r *wire.StateRequest) (*wire.StateResponse, error) {
	st, err := s.m.State(r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	resp := &wire.StateResponse{
		ID: st.ID, ExecID: st.ExecID, Bundle: st.Bundle, Pid: uint32(st.Pid), Status: taskStatus(st.Status),
		Stdin: st.Stdio.Stdin, Stdout: st.Stdio.Stdout, Stderr: st.Stdio.Stderr, Terminal: st.Stdio.Terminal,
	}
	if !st.Exit.At.IsZero() {
		resp.ExitStatus, resp.ExitedAt = st.Exit.Status, timestamp(st.Exit.At)
	}
	return resp, nil
}

// Pids lists the processes of the container.
func (s *service) Pids(_ context.Context, r *wire.PidsRequest) (*wire.PidsResponse, error) {
	list, err := s.m.Pids(r.ID)
	if err != nil {
		return nil, err
	}
	return pidsResponse(list)
}

// Pause stops all processes of the container, Resume lets them go on.
func (s *service) Pause(ctx context.Context, r *wire.PauseRequest) (*wire.Empty, error) {
	return empty(s.m.Pause(ctx, r.ID))
}

// Resume lets the processes of a paused container go on.
func (s *service) Resume(ctx context.Context, r *wire.ResumeRequest) (*wire.Empty, error) {
	return empty(s.m.Resume(ctx, r.ID))
}

// Kill sends a signal to a process, or to all.
func (s *service) Kill(ctx context.Context, r *wire.KillRequest) (*wire.Empty, error) {
	return empty(s.m.Kill(ctx, r.ID, r.ExecID, int(r.Signal), r.All))
}

// Checkpoint writes the container's processes to disk.
func (s *service) Checkpoint(ctx context.Context, r *wire.CheckpointTaskRequest) (*wire.Empty, error) {
	c, err := checkpointRequest(r)
	if err != nil {
		return nil, fmt.Errorf("checkpoint %s: %w", r.ID, err)
	}
	return empty(s.m.Checkpoint(ctx, r.ID, c))
}

// ResizePty sets a terminal's size.
func (s *service) ResizePty(ctx context.Context, r *wire.ResizePtyRequest) (*wire.Empty, error) {
	return empty(s.m.Resize(ctx, r.ID, r.ExecID, r.Width, r.Height))
}

// CloseIO closes our end of a process's standard input.
func (s *service) CloseIO(ctx context.Context, r *wire.CloseIORequest) (*wire.Empty, error) {
	if !r.Stdin {
		return empty(nil)
	}
	return empty(s.m.CloseIO(ctx, r.ID, r.ExecID))
}

// Update changes the container's limits.
func (s *service) Update(ctx context.Context, r *wire.UpdateTaskRequest) (*wire.Empty, error) {
	res, err := resources(r.Resources)
	if err != nil {
		return nil, fmt.Errorf("update %s: %w", r.ID, err)
	}
	return empty(s.m.Update(ctx, r.ID, res))
}

// Wait returns when a process has ended.
func (s *service) Wait(ctx context.Context, r *wire.WaitRequest) (*wire.WaitResponse, error) {
	e, err := s.m.Wait(ctx, r.ID, r.ExecID)
	if err != nil {
		return nil, err
	}
	return &wire.WaitResponse{ExitStatus: e.Status, ExitedAt: timestamp(e.At)}, nil
}

// Stats returns the accounting of the container.
func (s *service) Stats(ctx context.Context, r *wire.StatsRequest) (*wire.StatsResponse, error) {
	m, err := s.m.Stats(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	a, err := metrics(m)
	if err != nil {
		return nil, fmt.Errorf("stats of %s: %w", r.ID, err)
	}
	return &wire.StatsResponse{Stats: a}, nil
}

// Connect tells the shim's pid and the task's.
func (s *service) Connect(context.Context, *wire.ConnectRequest) (*wire.ConnectResponse, error) {
	return &wire.ConnectResponse{ShimPid: uint32(os.Getpid()), TaskPid: uint32(s.m.InitPid())}, nil
}

// Shutdown ends the shim, unless there is a container.
func (s *service) Shutdown(context.Context, *wire.ShutdownRequest) (*wire.Empty, error) {
	if s.m.Empty() {
		s.shutdown()
	}
	return empty(nil)
}
