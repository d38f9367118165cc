package main

import (
	"context"
	"os"

	"golang.org/x/sys/unix"

	"example.io/shim/io/streams"
	"example.io/shim/linux/compile"
	"example.io/shim/linux/criu"
	"example.io/shim/linux/run"
	"example.io/shim/linux/spec"
	"example.io/shim/oom"
	"example.io/shim/process"
)

// This file puts linux/run and io behind the ports of package process.

// runtime is process.Runtime by linux/run.
type runtime struct {
	deps func() (*run.Deps, error)
}

func (r *runtime) Create(ctx context.Context, q process.CreateRequest) (process.Handle, error) {
	req := run.Request{
		ID: q.ID, Namespace: q.Namespace, Bundle: q.Bundle, Terminal: q.Terminal, Stdio: q.Stdio,
		NoPivot: q.Options.NoPivotRoot, NoNewKeyring: q.Options.NoNewKeyring, SystemdCgroup: q.Options.SystemdCgroup,
	}
	if q.Checkpoint != "" {
		req.Restore = &criu.Options{ImagePath: q.Checkpoint, WorkPath: q.Options.CriuWorkPath}
	}
	for _, m := range q.Rootfs {
		req.Rootfs = append(req.Rootfs, compile.Mount(m))
	}
	deps, err := r.deps()
	if err != nil {
		return nil, err
	}
	c, err := run.Create(ctx, deps, req)
	if err != nil {
		return nil, err
	}
	return &handle{c}, nil
}

// handle is process.Handle by run.Container.
type handle struct{ c *run.Container }

func (h *handle) Start(ctx context.Context) error  { return h.c.Start(ctx) }
func (h *handle) Pids() ([]int, error)             { return h.c.Cgroup().Pids() }
func (h *handle) Pause(ctx context.Context) error  { return h.c.Cgroup().Freeze(ctx) }
func (h *handle) Resume(ctx context.Context) error { return h.c.Cgroup().Thaw(ctx) }
func (h *handle) Stats() (any, error)              { return h.c.Cgroup().Stats() }
func (h *handle) KillAll(sig int) error            { return h.c.Cgroup().Kill(unix.Signal(sig)) }
func (h *handle) PrivatePidNamespace() bool        { return h.c.PrivatePidNamespace() }
func (h *handle) Delete(ctx context.Context) error { return h.c.Delete(ctx) }
func (h *handle) OOM() process.OOMWatcher          { return h.c.OOM() }

func (h *handle) Init() process.Child {
	if p := h.c.Init(); p != nil {
		return childOf(p)
	}
	return nil // no *proc of nothing
}

func (h *handle) Checkpoint(ctx context.Context, q process.CheckpointRequest) error {
	return h.c.Checkpoint(ctx, criu.Options{
		ImagePath: q.ImagePath, WorkPath: q.WorkPath, ParentPath: q.ParentPath, LeaveRunning: !q.Exit, TCPEstablished: q.OpenTCP,
		ExtUnixSk: q.ExternalUnixSockets, ShellJob: q.Terminal, FileLocks: q.FileLocks, EmptyNS: q.EmptyNamespaces, ManageCgroups: q.CgroupsMode,
	}, q.Paused)
}

func (h *handle) Exec(ctx context.Context, q process.ExecRequest) (process.Child, error) {
	p, err := h.c.Exec(ctx, run.ExecRequest{ExecID: q.ExecID, Spec: q.Spec, Terminal: q.Terminal, Stdio: q.Stdio})
	if err != nil {
		return nil, err
	}
	return childOf(p), nil
}

func (h *handle) Update(_ context.Context, resources []byte) error {
	r, err := spec.ParseResources(resources)
	if err != nil {
		return err
	}
	if err := spec.ValidateResources(r, spec.Options{}); err != nil {
		return err
	}
	return h.c.Cgroup().Update(r)
}

// proc is process.Child by run.Process.
type proc struct{ p *run.Process }

func childOf(p *run.Process) process.Child { return &proc{p} }

func (p *proc) Pid() int              { return p.p.Pid() }
func (p *proc) Signal(sig int) error  { return p.p.Signal(unix.Signal(sig)) }
func (p *proc) Done() <-chan struct{} { return p.p.Done() }
func (p *proc) Console() *os.File     { return p.p.Console() }
func (p *proc) Exit() process.Exit {
	status, at := p.p.Exit()
	return process.Exit{Status: status, At: at}
}

// armOOM is run.Deps.ArmOOM by package oom.
func armOOM(memoryCgroup string) (run.OOM, error) {
	w, err := oom.New(memoryCgroup)
	if err != nil {
		return nil, err
	}
	return w, nil
}

// stdio is process.IO by io/streams.
type stdio struct{ opener streams.Opener }

func (o stdio) Open(ctx context.Context, owner process.IOOwner, s process.StdioConfig) (process.Streams, error) {
	set, err := o.opener.Open(ctx, streams.Owner(owner), streams.Config(s))
	if err != nil {
		return nil, err
	}
	return set, nil
}
