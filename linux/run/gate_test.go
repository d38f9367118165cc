package run

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/compile"
	"example.io/shim/linux/plan"
)

// createGated creates a container that waits at its fifo, and lets it alone.
func createGated(t *testing.T, deps *Deps, edit func(*specs.Spec)) (home string) {
	t.Helper()
	bundle := newBundle(t, edit)
	r := gated(t, bundle)
	c, err := Create(context.Background(), deps, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Detach(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { removeGated(t, r.Home) })
	return r.Home
}

func gated(t *testing.T, bundle string) Request {
	t.Helper()
	config, err := ReadConfig(bundle)
	if err != nil {
		t.Fatal(err)
	}
	r := request(bundle)
	r.Home, r.Gate, r.Config = filepath.Join(t.TempDir(), "states", r.ID), true, config
	return r
}

func removeGated(t *testing.T, home string) {
	t.Helper()
	c, err := Load(home)
	if errors.Is(err, errdefs.ErrNotFound) {
		return
	}
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	if err := c.Remove(context.Background()); err != nil {
		t.Error(err)
	}
}

// loadGated loads the container like another process.
func loadGated(t *testing.T, deps *Deps, home string) *Container {
	t.Helper()
	c, err := Load(home)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.Use(deps); err != nil {
		t.Fatal(err)
	}
	return c
}

func wantStatus(t *testing.T, home string, want Status) {
	t.Helper()
	var got Status
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		c, err := Load(home)
		if err != nil {
			t.Fatal(err)
		}
		got, err = c.Status()
		c.Close()
		if err != nil {
			t.Fatal(err)
		}
		if got == want {
			return
		}
	}
	t.Fatalf("the status is %s, not %s", got, want)
}

// TestGate follows a container from its create to its end, every step by a process that knows of it only what is on disk.
func TestGate(t *testing.T) {
	deps, ctx := newDeps(t), context.Background()
	home := createGated(t, deps, func(s *specs.Spec) { s.Process.Args = []string{"sleep", "1000"} })
	wantStatus(t, home, Created)
	c := loadGated(t, deps, home)
	var held []string
	for end := time.Now().Add(5 * time.Second); len(held) != 5 && time.Now().Before(end); time.Sleep(time.Millisecond) { // it is alone a moment before it has its signals
		list, err := os.ReadDir("/proc/" + strconv.Itoa(c.Pid()) + "/fd")
		if err != nil {
			t.Fatal(err)
		}
		held = nil
		for _, fd := range list {
			held = append(held, fd.Name())
		}
	}
	if len(held) != 5 {
		t.Errorf("the child that waits holds %v, not its streams, the fifo and its signals alone", held)
	}
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, home, Running)
	if err := c.Start(ctx); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("a second start: %v", err)
	}
	p, err := c.Exec(ctx, ExecRequest{ExecID: "x", Spec: []byte(`{"args": ["sh", "-c", "exit 5"], "cwd": "/", "env": ["PATH=/bin"], "user": {}}`)})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if status, _ := p.Exit(); status != 5 {
		t.Errorf("exec ended with %d", status)
	}
	if err := c.Cgroup().Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, home, Paused)
	if err := c.Remove(ctx); err != nil {
		t.Errorf("remove what is paused: %v", err)
	}
	if _, err := Load(home); !errors.Is(err, errdefs.ErrNotFound) {
		t.Errorf("after it was removed: %v", err)
	}
}

// TestGateExecFails: what execve says is told to the process that starts.
func TestGateExecFails(t *testing.T) {
	deps := newDeps(t)
	home := createGated(t, deps, func(s *specs.Spec) { s.Process.Args = []string{"/bin/broken"} })
	err := loadGated(t, deps, home).Start(context.Background())
	var se *plan.StepError
	if !errors.As(err, &se) || se.Errno != abi.ENOEXEC || se.Action != "start" || se.Command != "/bin/broken" {
		t.Errorf("start: %v", err)
	}
	wantStatus(t, home, Stopped)
}

// TestGateKilled: a child that dies at its fifo makes no start hang.
func TestGateKilled(t *testing.T) {
	deps := newDeps(t)
	home := createGated(t, deps, nil)
	c := loadGated(t, deps, home)
	if err := c.Signal(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, home, Stopped)
	if err := c.Start(context.Background()); err == nil || !strings.Contains(err.Error(), "has stopped") {
		t.Errorf("start of a dead container: %v", err)
	}
}

// TestGateSignal: a created container ends by a signal that ends a program by default, the first process of a pid namespace too, with the status that a
// shell would tell; one that is ignored by default does nothing.
func TestGateSignal(t *testing.T) {
	deps, ctx := newDeps(t), context.Background()
	for name, edit := range map[string]func(*specs.Spec){"own pids": nil, "host's pids": func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.PIDNamespace })
	}} {
		t.Run(name, func(t *testing.T) {
			for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGTERM, unix.SIGUSR1, unix.SIGPIPE, 64} {
				c, err := Create(ctx, deps, request(newBundle(t, edit)))
				if err != nil {
					t.Fatal(err)
				}
				if err := errors.Join(c.Signal(unix.SIGWINCH), c.Signal(unix.SIGCHLD), c.Signal(sig)); err != nil {
					t.Error(err)
				}
				select {
				case <-c.Init().Done():
				case <-time.After(5 * time.Second):
					t.Fatalf("signal %d: it did not end", sig)
				}
				if status, _ := c.Init().Exit(); status != 128+uint32(sig) {
					t.Errorf("signal %d: exit status %d", sig, status)
				}
				var se *plan.StepError
				if err := c.Start(ctx); !errors.As(err, &se) || se.Label != compile.SignalLabel {
					t.Errorf("signal %d: start: %v", sig, err)
				}
				if err := c.Delete(ctx); err != nil {
					t.Error(err)
				}
			}
			home := createGated(t, deps, edit)
			c := loadGated(t, deps, home)
			if err := errors.Join(c.Signal(unix.SIGURG), c.Signal(unix.SIGTERM)); err != nil {
				t.Error(err)
			}
			wantStatus(t, home, Stopped)
			if err := c.Start(ctx); err == nil || !strings.Contains(err.Error(), "has stopped") {
				t.Errorf("start of a dead container: %v", err)
			}
		})
	}
}

// TestStartSignal: a signal that comes with the start finds the container at its gate, or its program, and never a start that hangs.
func TestStartSignal(t *testing.T) {
	deps, ctx := newDeps(t), context.Background()
	bundle := newBundle(t, func(s *specs.Spec) {
		s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.PIDNamespace })
		s.Process.Args = []string{"sleep", "1000"}
	})
	for range 50 {
		c, err := Create(ctx, deps, request(bundle))
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error)
		go func() { sent <- c.Signal(unix.SIGTERM) }()
		err = c.Start(ctx)
		if e := <-sent; e != nil {
			t.Error(e)
		}
		<-c.Init().Done()
		if status, _ := c.Init().Exit(); status != 128+uint32(unix.SIGTERM) {
			t.Errorf("start: %v; exit status %d", err, status)
		}
		if err := c.Delete(ctx); err != nil {
			t.Error(err)
		}
	}
}

// TestGateHooks: a startContainer hook runs before the program and a poststart hook behind it; a poststart hook that fails fails the start.
func TestGateHooks(t *testing.T) {
	deps := newDeps(t)
	home := createGated(t, deps, func(s *specs.Spec) {
		s.Process.Args = []string{"sleep", "1000"}
		s.Hooks = &specs.Hooks{StartContainer: []specs.Hook{{Path: "/bin/true"}}, Poststart: []specs.Hook{{Path: "/bin/false"}}}
	})
	err := loadGated(t, deps, home).Start(context.Background())
	var se *plan.StepError
	if !errors.As(err, &se) || se.Source != "/hooks/poststart/0" {
		t.Errorf("start: %v", err)
	}
	wantStatus(t, home, Stopped)
}

// TestHomeTwice: an id that is there is not taken a second time, and the first is left alone.
func TestHomeTwice(t *testing.T) {
	deps := newDeps(t)
	home := createGated(t, deps, nil)
	r := gated(t, loadGated(t, deps, home).State().Bundle)
	r.Home = home
	if _, err := Create(context.Background(), deps, r); !errors.Is(err, errdefs.ErrAlreadyExists) {
		t.Errorf("a second create: %v", err)
	}
	wantStatus(t, home, Created)
}

// TestSupervised: from outside, the container of a shim says that it waits, and cannot be started or removed.
func TestSupervised(t *testing.T) {
	deps, ctx := newDeps(t), context.Background()
	bundle := newBundle(t, func(s *specs.Spec) { s.Process.Args = []string{"sleep", "1000"} })
	owner, err := Create(ctx, deps, request(bundle))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = owner.Init().Signal(unix.SIGKILL)
		<-owner.Init().Done()
		if err := owner.Delete(ctx); err != nil {
			t.Error(err)
		}
	}()
	wantStatus(t, bundle, Created)
	c := loadGated(t, deps, bundle)
	if err := c.Start(ctx); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("start from outside: %v", err)
	}
	if err := c.Remove(ctx); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("remove from outside: %v", err)
	}
	if err := owner.Start(ctx); err != nil {
		t.Fatal(err)
	}
	wantStatus(t, bundle, Running)
}
