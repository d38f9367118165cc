package contract

import (
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/integration/daemon"
)

func TestRunAndExecInOrder(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := record(t, d)
		b := newBox(t, d, config{args: []string{"sh", "-c", "echo hello; sleep 1000"}})
		id := b.task.ID()
		b.ok(b.task.Start(b.ctx))
		out, code := b.exec("e1", "sh", "-c", "echo from exec; exit 5")
		if out != "from exec\n" || code != 5 {
			t.Errorf("exec: %q, code %d", out, code)
		}
		long, err := b.tryExec("e2", &output{}, "sleep", "1000")
		b.ok(err)
		b.ok(long.Start(b.ctx))
		b.ok(b.task.Kill(b.ctx, syscall.SIGKILL))
		if code := b.wait(long); code != 137 {
			t.Errorf("exec that init took along: code %d, want 137", code)
		}
		_, err = long.Delete(b.ctx)
		b.ok(err)
		if code := b.finish(); code != 137 {
			t.Errorf("code %d, want 137", code)
		}
		if b.out.String() != "hello\n" {
			t.Errorf("output %q", b.out.String())
		}
		r.want(t, id, "create", "start", "exec-added e1", "exec-started e1", "exit e1 5", "exec-added e2", "exec-started e2", "exit e2 137", "exit init 137", "delete")
	})
}

func TestExitCodes(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		for script, want := range map[string]uint32{"exit 0": 0, "exit 7": 7, "exit 255": 255, "kill -TERM $$; sleep 9": 0} {
			b := newBox(t, d, config{args: []string{"sh", "-c", script}})
			b.ok(b.task.Start(b.ctx))
			if want == 0 && strings.Contains(script, "kill") { // init ignores what it has no handler for
				b.kill()
				continue
			}
			if code := b.finish(); code != want {
				t.Errorf("%s: code %d, want %d", script, code, want)
			}
		}
	})
}

func TestCreated(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := record(t, d)
		b := newBox(t, d, config{args: []string{"sleep", "1000"}})
		id := b.task.ID()
		b.status(client.Created)
		if out, code := b.exec("early", "echo", "early"); out != "early\n" || code != 0 {
			t.Errorf("exec in a created container: %q, %d", out, code)
		}
		b.must("pause of a created one", errdefs.IsFailedPrecondition, b.task.Pause(b.ctx))
		// A created container may be deleted; containerd's Go client itself does not ask for it.
		_, err := d.Client.TaskService().Delete(b.ctx, &tasks.DeleteTaskRequest{ContainerID: id})
		b.ok(err)
		b.ok(b.c.Delete(b.ctx, client.WithSnapshotCleanup))
		r.want(t, id, "create", "exec-added early", "exec-started early", "exit early 0", "exit init 137", "delete")
	})
}

func (b *box) status(want client.ProcessStatus) {
	b.t.Helper()
	st, err := b.task.Status(b.ctx)
	b.ok(err)
	if st.Status != want {
		b.t.Errorf("status %s, want %s", st.Status, want)
	}
}

func TestRefusals(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		b := sleeper(t, d)
		b.must("second start", errdefs.IsFailedPrecondition, b.task.Start(b.ctx))
		_, err := b.task.Delete(b.ctx)
		b.must("delete of a running one", errdefs.IsFailedPrecondition, err)
		p, err := b.tryExec("twice", &output{}, "true")
		b.ok(err)
		_, err = b.tryExec("twice", &output{}, "true")
		b.must("exec id twice", errdefs.IsAlreadyExists, err)
		b.must("kill of an exec that is not started", errdefs.IsFailedPrecondition, p.Kill(b.ctx, syscall.SIGTERM))
		b.ok(p.Resize(b.ctx, 80, 24)) // no terminal: nothing to do
		b.ok(p.CloseIO(b.ctx, client.WithStdinCloser))
		_, err = p.Delete(b.ctx)
		b.ok(err)
		b.ok(b.task.Kill(b.ctx, syscall.SIGKILL))
		b.wait(b.task)
		b.status(client.Stopped)
		b.must("kill of an ended one", errdefs.IsNotFound, b.task.Kill(b.ctx, syscall.SIGTERM))
		_, err = b.tryExec("late", &output{}, "true")
		b.must("exec in an ended one", errdefs.IsFailedPrecondition, err)
		b.must("pause of an ended one", errdefs.IsFailedPrecondition, b.task.Pause(b.ctx))
		b.remove()
	})
}

func TestPause(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := record(t, d)
		b := sleeper(t, d)
		id := b.task.ID()
		b.ok(b.task.Pause(b.ctx))
		b.status(client.Paused)
		_, err := b.tryExec("e", &output{}, "true")
		b.must("exec in a paused one", errdefs.IsFailedPrecondition, err)
		_, err = b.task.Delete(b.ctx)
		b.must("delete of a paused one", errdefs.IsFailedPrecondition, err)
		b.ok(b.task.Resume(b.ctx))
		b.status(client.Running)
		b.must("resume of a running one", errdefs.IsFailedPrecondition, b.task.Resume(b.ctx))
		b.ok(b.task.Pause(b.ctx))
		b.kill() // SIGKILL reaches a paused container
		r.want(t, id, "create", "start", "paused", "resumed", "paused", "exit init 137", "delete")
	})
}

func TestPidsAndStats(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		b := sleeper(t, d)
		p, err := b.tryExec("helper", &output{}, "sleep", "1000")
		b.ok(err)
		b.ok(p.Start(b.ctx))
		pids, err := b.task.Pids(b.ctx)
		b.ok(err)
		if len(pids) != 2 {
			t.Errorf("pids %v", pids)
		}
		named := 0
		for _, info := range pids {
			if info.Info != nil {
				named++
			}
		}
		if named != 1 {
			t.Errorf("%d of the pids have details, want the exec's", named)
		}
		m, err := b.task.Metrics(b.ctx)
		b.ok(err)
		if u := usageOf(t, m.Data); u.memory == 0 || u.pids != 2 || u.cpu == 0 {
			t.Errorf("metrics %+v", u)
		}
		b.ok(p.Kill(b.ctx, syscall.SIGKILL))
		b.wait(p)
		_, err = p.Delete(b.ctx)
		b.ok(err)
		b.kill()
	})
}

func TestUpdate(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		b := sleeper(t, d, oci.WithMemoryLimit(64<<20))
		limit := int64(32 << 20)
		b.ok(b.task.Update(b.ctx, client.WithResources(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}})))
		m, err := b.task.Metrics(b.ctx)
		b.ok(err)
		if got := usageOf(t, m.Data).limit; got != uint64(limit) {
			t.Errorf("memory limit %d, want %d", got, limit)
		}
		less := limit / 2
		err = b.task.Update(b.ctx, client.WithResources(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &less}}))
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "/memory/swap") {
			t.Errorf("update with less of both than of memory: %v", err)
		}
		b.kill()
	})
}

func TestOOM(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := record(t, d)
		b := newBox(t, d, config{args: []string{"tail", "/dev/zero"}, spec: []oci.SpecOpts{oci.WithMemoryLimit(16 << 20)}})
		id := b.task.ID()
		b.ok(b.task.Start(b.ctx))
		if code := b.finish(); code != 137 {
			t.Errorf("code %d, want 137", code)
		}
		r.want(t, id, "create", "start", "oom", "exit init 137", "delete")
	})
}

// TestSharedPids: without a pid namespace of its own, init takes the rest along.
func TestSharedPids(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		b := newBox(t, d, config{args: []string{"sh", "-c", "sleep 1000 & sleep 0.2"}, spec: []oci.SpecOpts{oci.WithHostNamespace(specs.PIDNamespace)}})
		b.ok(b.task.Start(b.ctx))
		if code := b.finish(); code != 0 {
			t.Errorf("code %d", code)
		}
	})
}

func TestFailedStart(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := record(t, d)
		b := sleeper(t, d)
		id := b.task.ID()
		for command, words := range map[string]string{"nosuch": "executable file not found in $PATH", "/etc/passwd": "permission denied", "/no/such": "no such file or directory"} {
			p, err := b.tryExec("bad", &output{}, command)
			b.ok(err)
			ch, err := p.Wait(b.ctx)
			b.ok(err)
			err = p.Start(b.ctx)
			if err == nil || !strings.Contains(err.Error(), words) || !strings.Contains(err.Error(), command) {
				t.Errorf("exec of %s: %v", command, err)
			}
			<-ch // Wait is answered
			_, err = p.Delete(b.ctx)
			b.ok(err)
		}
		b.kill()
		r.want(t, id, "create", "start", "exec-added bad", "exec-added bad", "exec-added bad", "exit init 137", "delete") // and no exit of what never ran
	})
}
