package contract

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/protobuf/types/known/anypb"

	"example.io/shim/integration/daemon"
	"example.io/shim/integration/trace"
)

func anyOf(url string, value []byte) *anypb.Any { return &anypb.Any{TypeUrl: url, Value: value} }

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}

// shimOf returns the pid of the container's shim: the parent of its init.
func (b *box) shimOf() int {
	b.t.Helper()
	data, err := os.ReadFile("/proc/" + strconv.Itoa(int(b.task.Pid())) + "/stat")
	b.ok(err)
	pid, err := strconv.Atoi(strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))[1])
	b.ok(err)
	return pid
}

// TestKilledShim: containerd's `delete` removes what the shim has left, and clients get an exit.
func TestKilledShim(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := record(t, d)
		b := sleeper(t, d)
		id := b.task.ID()
		ch, err := b.task.Wait(b.ctx)
		b.ok(err)
		r.want(t, id, "create", "start") // an event that the shim has not delivered yet dies with it
		b.ok(syscall.Kill(b.shimOf(), syscall.SIGKILL))
		select {
		case <-ch:
		case <-time.After(stepLimit):
			t.Fatal("no exit after the shim was killed")
		}
		b.ok(b.c.Delete(b.ctx, client.WithSnapshotCleanup))
		r.want(t, id, "create", "start", "exit init 137", "delete")
	})
}

// TestRestart: the shim goes on without containerd, and its events come when containerd is back.
func TestRestart(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		dir := t.TempDir()
		b := newBox(t, d, config{args: []string{"sh", "-c", "while [ ! -e /mnt/end ]; do sleep 0.05; done; echo end > /dev/stderr; exit 9"}, spec: mountOf(dir)})
		b.ok(b.task.Start(b.ctx))
		id := b.task.ID()
		b.ok(d.Stop())
		if err := os.WriteFile(filepath.Join(dir, "end"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		waitGone(t, int(b.task.Pid()))
		b.ok(d.Run())
		r := record(t, d)
		c, err := d.Client.LoadContainer(b.ctx, id)
		b.ok(err)
		task, err := c.Task(b.ctx, nil)
		b.ok(err)
		b.c, b.task = c, task
		if code := b.finish(); code != 9 {
			t.Errorf("code %d, want 9", code)
		}
		list := ""
		for end := time.Now().Add(trace.Limit(10 * time.Second)); !strings.HasSuffix(list, "delete") && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
			list = strings.Join(r.of(id), ", ")
		}
		if !strings.HasSuffix(list, "delete") || strings.Count(list, "exit") > 1 {
			t.Errorf("events after the restart: %s", list)
		}
	})
}

// TestRestartRunning: a container that runs over a restart can be used after it.
func TestRestartRunning(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		b := sleeper(t, d)
		id := b.task.ID()
		b.ok(d.Stop())
		b.ok(d.Run())
		c, err := d.Client.LoadContainer(b.ctx, id)
		b.ok(err)
		task, err := c.Task(b.ctx, nil)
		b.ok(err)
		b.c, b.task = c, task
		b.status(client.Running)
		if out, code := b.exec("after", "echo", "after"); out != "after\n" || code != 0 {
			t.Errorf("exec after the restart: %q, %d", out, code)
		}
		b.kill()
	})
}

// waitGone waits until a process has ended and was reaped.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(stepLimit); syscall.Kill(pid, 0) == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("process %d lives", pid)
		}
	}
}

func mountOf(dir string) []oci.SpecOpts {
	return []oci.SpecOpts{oci.WithMounts([]specs.Mount{{Destination: "/mnt", Type: "bind", Source: dir, Options: []string{"rbind", "ro"}}})}
}
