package contract

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/integration/daemon"
	"example.io/shim/integration/trace"
)

// stateLimit is what containerd gives a State, the shortest of its limits.
var stateLimit = trace.Limit(2 * time.Second)

// answers asks what containerd asks at any time, each within stateLimit.
func (r *raw) answers(what string) {
	r.t.Helper()
	for method, q := range map[string]any{
		"State": &taskapi.StateRequest{ID: r.id}, "Pids": &taskapi.PidsRequest{ID: r.id}, "Stats": &taskapi.StatsRequest{ID: r.id},
		"Connect": &taskapi.ConnectRequest{ID: r.id}, "Kill": &taskapi.KillRequest{ID: r.id, Signal: uint32(syscall.SIGCONT)},
	} {
		began := time.Now()
		if err := r.errOf(method, q); err != nil {
			r.t.Errorf("%s: %s: %v", what, method, err)
		}
		if took := time.Since(began); took > stateLimit {
			r.t.Errorf("%s: %s took %s", what, method, took)
		}
	}
}

// TestNothingWaits: neither an exec whose fifo nobody opens nor a reader that does not read holds up what containerd asks with limits.
func TestNothingWaits(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		stuck, lonely := filepath.Join(t.TempDir(), "stuck"), filepath.Join(t.TempDir(), "lonely")
		mkfifo(t, stuck)
		mkfifo(t, lonely)
		reader, err := os.OpenFile(stuck, os.O_RDONLY|unix.O_NONBLOCK, 0) // never read from
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		r := newShim(t, d, service, "yes")
		r.create(func(q *taskapi.CreateTaskRequest) { q.Stdout = stuck })
		r.begin("")
		q := r.execRequest("e", "true")
		q.Stdout = lonely
		r.ok(r.errOf("Exec", q))
		started := make(chan error, 1)
		go func() { started <- r.errOf("Start", &taskapi.StartRequest{ID: r.id, ExecID: "e"}) }()
		r.awaitGoroutine("fifo.OpenWriter", true)
		r.answers("while an exec waits for its fifo")
		r.must("start of an exec whose fifo nobody opens", isDeadline, <-started, lonely)
		r.remove("e")
		began := time.Now()
		r.finish()
		if took := time.Since(began); took > cleanupLimit {
			t.Errorf("the end of a container whose output nobody reads took %s", took)
		}
	})
}

func isDeadline(err error) bool { return strings.Contains(err.Error(), "deadline exceeded") }

// TestCreateWithoutReader: a create whose fifo nobody opens ends by itself, names the fifo and leaves nothing.
func TestCreateWithoutReader(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		lonely := filepath.Join(t.TempDir(), "lonely")
		mkfifo(t, lonely)
		r := newShim(t, d, service, "true")
		q := r.createRequest()
		q.Stdout = lonely
		created := make(chan error, 1)
		go func() { created <- r.errOf("Create", q) }()
		r.awaitGoroutine("fifo.OpenWriter", true)
		r.must("state of what is being created", errdefs.IsNotFound, r.errOf("State", &taskapi.StateRequest{ID: r.id}))
		r.must("create", isDeadline, <-created, lonely)
		r.create(nil)
		r.remove("")
		r.shutdown()
	})
}

// TestGrandchildHoldsStreams: an exec that has left a child with its streams ends, its output comes, and its delete is bounded.
func TestGrandchildHoldsStreams(t *testing.T) {
	eachService(t, func(t *testing.T, d *daemon.Daemon, service string) {
		out := newLateReader(t)
		r := newShim(t, d, service, "sleep", "1000")
		r.create(nil)
		r.begin("")
		q := r.execRequest("e", "sh", "-c", "sleep 1000 & echo parent")
		q.Stdout = out.c.Stdout
		r.ok(r.errOf("Exec", q))
		r.begin("e")
		if code := r.wait("e"); code != 0 {
			t.Errorf("status %d", code)
		}
		began := time.Now()
		r.remove("e")
		if took := time.Since(began); took > cleanupLimit {
			t.Errorf("the delete took %s", took)
		}
		if got := out.hangUp(); got != "parent\n" {
			t.Errorf("output %q", got)
		}
		r.status("after it", task.Status_RUNNING)
		r.finish()
	})
}

// TestQuickExits: an exit that comes before Start has answered is told after the start, of init and of execs, every time.
func TestQuickExits(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		events := record(t, d)
		r := newRaw(t, d, []string{"true"}).start()
		for range 10 {
			before := len(events.of(r.id))
			r.create(nil)
			r.begin("")
			r.wait("")
			r.remove("")
			events.wantFrom(t, r.id, before, "create", "start", "exit init 0", "delete")
		}
		r.shutdown()
		r = newRaw(t, d, []string{"sleep", "1000"}).start()
		r.create(nil)
		r.begin("")
		for range 20 {
			before := max(len(events.of(r.id)), 2)
			r.exec("e", "true")
			r.wait("e")
			r.remove("e")
			events.wantFrom(t, r.id, before, "exec-added e", "exec-started e", "exit e 0")
		}
		r.finish()
	})
}
