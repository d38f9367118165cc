package criu

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/checkpoint-restore/go-criu/v8/rpc"
	"golang.org/x/sys/unix"

	"example.io/shim/linux/children"
)

// Inherit gives the restored processes a descriptor of ours in place of one that was dumped under Key (criu(8), --inherit-fd).
type Inherit struct {
	Key  string
	File *os.File
}

// Namespace is one that is joined: CRIU's word for its kind, and its file.
type Namespace struct{ Kind, Path string }

// CgroupRoot is where the cgroups of a controller are restored: Path is from the hierarchy's root. Controller is empty for cgroup v2.
type CgroupRoot struct{ Controller, Path string }

// Restore says how images become processes.
type Restore struct {
	Options
	Root     string    // the root of the first process, a mount point
	External []string  // where what was not dumped is (criu(8), --external)
	Inherit  []Inherit // descriptors
	Join     []Namespace
	// Worker is called with CRIU's pid before it works: what CRIU is in by then (cgroups) its processes are born in.
	Worker func(pid int) ([]CgroupRoot, error)
	// Namespaces is called when the namespaces are made, and Restored when the processes are about to go on. An error ends the restore. Their context ends
	// with the restore's and with CRIU.
	Namespaces, Restored func(ctx context.Context, init *children.Child) error
}

// Restored is what became of images.
type Restored struct {
	Init    *children.Child // a child of ours
	Console *os.File        // the master of the terminal that init has, or nil; the caller's to close
}

// Run restores. After an error nothing of the processes is left. When ctx ends, CRIU and the processes are killed. The calling thread's
// namespaces are CRIU's: it must be locked to its goroutine when they are not the process's.
func (r *Restore) Run(ctx context.Context) (res Restored, err error) {
	if err := r.Check(); err != nil {
		return res, err
	}
	if err := r.checkFeatures(); err != nil {
		return res, err
	}
	err = r.with(RestoreLog, func(m *rpc.CriuOpts, work string) error {
		// As a brother of CRIU the first process is our child: its exit is ours to take.
		m.RstSibling, m.Root, m.External = ptr(true), &r.Root, r.External
		if r.LSMProfile != "" {
			m.LsmProfile = &r.LSMProfile
		}
		if r.LSMMountContext != "" {
			m.LsmMountContext = &r.LSMMountContext
		}
		var files []*os.File
		for i, in := range r.Inherit {
			files = append(files, in.File)
			m.InheritFd = append(m.InheritFd, &rpc.InheritFd{Key: ptr(in.Key), Fd: ptr(int32(firstFD + 1 + i))})
		}
		for _, ns := range r.Join {
			m.JoinNs = append(m.JoinNs, &rpc.JoinNamespace{Ns: ptr(ns.Kind), NsFile: ptr(ns.Path)})
		}
		w, err := start(files)
		if err != nil {
			return err
		}
		return w.explain(r.work(ctx, w, m, &res), work, RestoreLog)
	})
	if err != nil {
		res.discard()
		return Restored{}, err
	}
	return res, nil
}

func (r *Restore) work(ctx context.Context, w *worker, m *rpc.CriuOpts, res *Restored) error {
	with, stop := w.bound(ctx)
	defer stop()
	err := func() error {
		if r.Worker != nil {
			roots, err := r.Worker(w.pid())
			if err != nil {
				return err
			}
			for _, g := range roots {
				m.CgRoot = append(m.CgRoot, &rpc.CgroupRoot{Ctrl: ptr(g.Controller), Path: ptr(g.Path)})
			}
		}
		resp, err := w.ask(&rpc.CriuReq{Type: ptr(rpc.CriuReqType_RESTORE), Opts: m}, func(n *rpc.CriuNotify, f *os.File) error { return r.notified(with, w, n, f, res) })
		if err := w.refusal(resp, err); err != nil {
			return err
		}
		if res.Init == nil {
			return fmt.Errorf("criu told of no process: %w", unix.ESRCH)
		}
		return nil
	}()
	ended := w.end()
	switch {
	case ctx.Err() != nil:
		return errors.Join(err, context.Cause(ctx))
	case err == nil && ended != nil:
		return fmt.Errorf("criu: %w", ended)
	}
	return err
}

// notified answers one of CRIU's notifications.
func (r *Restore) notified(ctx context.Context, w *worker, n *rpc.CriuNotify, f *os.File, res *Restored) error {
	if f != nil {
		if n.GetScript() != "orphan-pts-master" || res.Console != nil {
			return f.Close()
		}
		res.Console = f
		return nil
	}
	var then func(context.Context, *children.Child) error
	switch n.GetScript() {
	case "setup-namespaces":
		then = r.Namespaces
	case "post-restore":
		then = r.Restored
	default:
		return context.Cause(ctx)
	}
	if err := res.adopt(int(n.GetPid())); err != nil {
		return err
	}
	w.init.Store(res.Init)
	if then == nil || ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return then(ctx, res.Init)
}

// adopt registers the first process as a child of ours, once.
func (r *Restored) adopt(pid int) error {
	if r.Init != nil {
		return nil
	}
	init, err := children.Fork(func() (int, int, error) {
		pidfd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return 0, -1, fmt.Errorf("pidfd_open %d: %w", pid, err)
		}
		return pid, pidfd, nil
	})
	r.Init = init
	return err
}

// discard ends what was restored so far.
func (r *Restored) discard() {
	if r.Console != nil {
		_ = r.Console.Close()
	}
	if r.Init != nil {
		_ = r.Init.Signal(unix.SIGKILL) // it may have ended
		<-r.Init.Done()
	}
}
