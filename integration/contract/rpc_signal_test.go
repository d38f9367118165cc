package contract

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"

	"example.io/shim/integration/daemon"
)

// TestStateRPC: what a client reads of a process in each state.
func TestStateRPC(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		r := newShim(t, d, service, "sleep", "1000")
		out := "file://" + filepath.Join(t.TempDir(), "out")
		r.create(func(q *taskapi.CreateTaskRequest) { q.Stdout, q.Stderr = out, out })
		r.status("behind create", task.Status_CREATED)
		r.begin("")
		if s := r.state(""); s.GetID() != r.id || s.GetBundle() != r.bundle || int(s.GetPid()) != r.init || s.GetStatus() != task.Status_RUNNING ||
			s.GetStdin() != "" || s.GetStdout() != out || s.GetStderr() != out || s.GetTerminal() || s.GetExitedAt() != nil {
			t.Errorf("running: %v", s)
		}
		q := r.execRequest("e", "sh", "-c", "exit 4")
		q.Stdout = out
		r.ok(r.errOf("Exec", q))
		if s := r.state("e"); s.GetExecID() != "e" || s.GetStatus() != task.Status_CREATED || s.GetPid() != 0 || s.GetStdout() != out || s.GetStderr() != "" {
			t.Errorf("exec that is not started: %v", s)
		}
		r.begin("e")
		r.wait("e")
		if s := r.state("e"); s.GetStatus() != task.Status_STOPPED || s.GetExitStatus() != 4 || !s.GetExitedAt().IsValid() || s.GetPid() == 0 {
			t.Errorf("exec that has ended: %v", s)
		}
		r.ok(r.errOf("Pause", &taskapi.PauseRequest{ID: r.id}))
		r.status("behind pause", task.Status_PAUSED)
		r.ok(r.errOf("Resume", &taskapi.ResumeRequest{ID: r.id}))
		r.status("behind resume", task.Status_RUNNING)
		r.signal("", syscall.SIGKILL)
		r.wait("")
		if s := r.state(""); s.GetStatus() != task.Status_STOPPED || s.GetExitStatus() != 137 || !s.GetExitedAt().IsValid() || int(s.GetPid()) != r.init {
			t.Errorf("stopped: %v", s)
		}
		r.remove("")
		r.shutdown()
	})
}

// TestPauseRPC: the wrong states, and an end while paused.
func TestPauseRPC(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		r := newShim(t, d, service, "sleep", "1000")
		pause := func() error { return r.errOf("Pause", &taskapi.PauseRequest{ID: r.id}) }
		resume := func() error { return r.errOf("Resume", &taskapi.ResumeRequest{ID: r.id}) }
		r.create(nil)
		r.must("pause of a created one", errdefs.IsFailedPrecondition, pause(), "created")
		r.must("resume of a created one", errdefs.IsFailedPrecondition, resume(), "created")
		r.begin("")
		r.must("resume of a running one", errdefs.IsFailedPrecondition, resume(), "running")
		r.exec("e", "sleep", "1000")
		r.ok(pause())
		r.must("second pause", errdefs.IsFailedPrecondition, pause(), "paused")
		if !frozen(t, r.id) {
			t.Error("it is not frozen")
		}
		r.signal("", syscall.SIGKILL)
		for _, exec := range []string{"e", ""} {
			if code := r.wait(exec); code != 137 {
				t.Errorf("exec %q of a container that was killed while paused: %d", exec, code)
			}
		}
		r.must("pause of a stopped one", errdefs.IsFailedPrecondition, pause(), "stopped")
		r.must("resume of a stopped one", errdefs.IsFailedPrecondition, resume(), "stopped")
		r.remove("")
		r.shutdown()
	})
}

// TestKillRPC: one, all, and who has ended.
func TestKillRPC(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		// Init has a handler for SIGTERM, which its children do not inherit: it alone outlives the signal.
		r := newShim(t, d, service, "sh", "-c", "trap 'echo >> /tmp/got' TERM; touch /tmp/ready; while :; do sleep 1000; done")
		r.create(nil)
		r.begin("")
		r.awaitFile("tmp/ready")
		r.exec("one", "sleep", "1000")
		r.exec("two", "sh", "-c", "sleep 1000 & wait")
		r.signal("one", syscall.SIGTERM)
		if code := r.wait("one"); code != 143 {
			t.Errorf("status %d after SIGTERM", code)
		}
		r.must("kill of an exec that has ended", errdefs.IsNotFound, r.errOf("Kill", &taskapi.KillRequest{ID: r.id, ExecID: "one", Signal: 9}), "process already finished")
		r.status("after the kill of an exec", task.Status_RUNNING)
		r.ok(r.errOf("Kill", &taskapi.KillRequest{ID: r.id, Signal: uint32(syscall.SIGTERM), All: true}))
		if code := r.wait("two"); code != 143 {
			t.Errorf("status %d after SIGTERM for all", code)
		}
		r.awaitFile("tmp/got")
		r.status("after SIGTERM for all", task.Status_RUNNING)
		r.must("a signal that is none", errdefs.IsInvalidArgument, r.errOf("Kill", &taskapi.KillRequest{ID: r.id, Signal: 999}), "999")
		r.ok(r.errOf("Kill", &taskapi.KillRequest{ID: r.id, Signal: uint32(syscall.SIGKILL), All: true}))
		if code := r.wait(""); code != 137 {
			t.Errorf("status %d after SIGKILL for all", code)
		}
		for _, all := range []bool{false, true} {
			r.must("kill of an ended one", errdefs.IsNotFound, r.errOf("Kill", &taskapi.KillRequest{ID: r.id, Signal: 9, All: all}), "process already finished")
		}
		r.remove("")
		r.shutdown()
	})
}

// TestKillCreatedRPC: a container that waits for its start ends by a signal that ends a program, as its program would.
func TestKillCreatedRPC(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		events := record(t, d)
		r := newShim(t, d, service, "sleep", "1000")
		r.create(nil)
		r.signal("", syscall.SIGWINCH)
		r.status("after a signal that ends nothing", task.Status_CREATED)
		r.signal("", syscall.SIGTERM)
		if code := r.wait(""); code != 143 {
			t.Errorf("status %d after SIGTERM", code)
		}
		r.status("after SIGTERM", task.Status_STOPPED)
		r.must("start of an ended one", errdefs.IsFailedPrecondition, r.errOf("Start", &taskapi.StartRequest{ID: r.id}))
		if a := r.remove(""); a.GetExitStatus() != 143 {
			t.Errorf("delete: %v", a)
		}
		r.shutdown()
		if got := strings.Join(events.of(r.id), ", "); got != "create, exit init 143, delete" {
			t.Errorf("events: %s", got)
		}
	})
}

// awaitFile waits until the container has made a file.
func (r *raw) awaitFile(name string) {
	r.t.Helper()
	for end := time.Now().Add(stepLimit); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(r.tree(), name)); err == nil {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("the container does not make %s", name)
		}
	}
}

// TestWaitRPC: it answers at once after the exit, and goes when its client does. A limit goes to the server too, which answers when it ends; the client has
// mostly forgotten the request by then and says so ("received message on inactive stream"). That is ttrpc's way: every request is answered.
func TestWaitRPC(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		r := newShim(t, d, service, "sleep", "1000")
		r.create(nil)
		r.begin("")
		const waiting = "process.(*Manager).Wait"
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		defer cancel()
		if _, err := askIn[taskapi.WaitResponse](ctx, r, "Wait", &taskapi.WaitRequest{ID: r.id}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait with a limit: %v", err)
		}
		r.awaitGoroutine(waiting, false)
		left := make(chan struct{})
		go func() {
			defer close(left)
			if err := r.errOf("Wait", &taskapi.WaitRequest{ID: r.id}); err == nil {
				t.Error("a wait over a connection that was closed was answered")
			}
		}()
		r.awaitGoroutine(waiting, true)
		client := r.client
		_ = client.Close()
		<-left
		r.dial("unix://" + r.socket)
		r.awaitGoroutine(waiting, false)
		r.signal("", syscall.SIGKILL)
		for range 2 {
			if code := r.wait(""); code != 137 {
				t.Errorf("status %d", code)
			}
		}
		r.remove("")
		r.must("wait after the delete", errdefs.IsNotFound, r.errOf("Wait", &taskapi.WaitRequest{ID: r.id}))
		r.shutdown()
	})
}

// TestConnectRPC: it never fails; Shutdown does nothing while there is a container, and delivers the events before the end.
func TestConnectRPC(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		events := record(t, d)
		r := newShim(t, d, service, "sleep", "1000")
		pids := func(what string, task int) {
			t.Helper()
			a, err := ask[taskapi.ConnectResponse](r, "Connect", &taskapi.ConnectRequest{ID: "nosuch"})
			if err != nil || int(a.GetShimPid()) != r.pid || int(a.GetTaskPid()) != task {
				t.Errorf("%s: %v, %v, want task %d", what, a, err, task)
			}
		}
		pids("without a container", 0)
		r.create(nil)
		pids("created", r.init)
		r.ok(r.errOf("Shutdown", &taskapi.ShutdownRequest{ID: r.id, Now: true}))
		r.begin("")
		r.ok(r.errOf("Shutdown", &taskapi.ShutdownRequest{ID: r.id}))
		r.signal("", syscall.SIGKILL)
		r.wait("")
		pids("stopped", r.init)
		r.ok(r.errOf("Shutdown", &taskapi.ShutdownRequest{ID: r.id}))
		r.remove("")
		pids("deleted", 0)
		r.shutdown()
		events.want(t, r.id, "create", "start", "exit init 137", "delete")
	})
}

// TestTerminalRPC: `terminal` comes from the request; a size without a terminal is no error.
func TestTerminalRPC(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		r := newShim(t, d, service, "sleep", "1000")
		r.create(nil)
		size := func(exec string) error {
			return r.errOf("ResizePty", &taskapi.ResizePtyRequest{ID: r.id, ExecID: exec, Width: 101, Height: 51})
		}
		r.ok(size(""))
		r.begin("")
		r.ok(size(""))
		r.ok(r.errOf("CloseIO", &taskapi.CloseIORequest{ID: r.id, Stdin: true}))
		r.ok(r.errOf("CloseIO", &taskapi.CloseIORequest{ID: r.id}))
		file := filepath.Join(t.TempDir(), "out")
		q := r.execRequest("e", "sh", "-c", "tty; until stty size | grep '51 101'; do sleep 0.01; done")
		q.Terminal, q.Stdout = true, "file://"+file
		r.ok(r.errOf("Exec", q))
		r.ok(size("e"))
		r.begin("e")
		r.ok(size("e"))
		r.wait("e")
		r.ok(size("e"))
		if s := r.state("e"); !s.GetTerminal() {
			t.Errorf("state of an exec with a terminal: %v", s)
		}
		r.remove("e")
		data, err := os.ReadFile(file)
		if err != nil || !strings.HasPrefix(string(data), "/dev/pts/") || !strings.HasSuffix(string(data), "51 101\r\n") {
			t.Errorf("terminal: %q, %v", data, err)
		}
		r.finish()
	})
}
