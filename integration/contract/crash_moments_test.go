package contract

import (
	"syscall"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"

	"example.io/shim/integration/daemon"
)

// TestKilledShimAt kills the shim in each state of a container. containerd's clean-up executes `delete`, which takes everything away; clients get one exit.
func TestKilledShimAt(t *testing.T) {
	moments := []struct {
		name string
		do   func(b *box)
		want []string // events before the shim's end
	}{
		{"created", func(*box) {}, []string{"create"}},
		{"running", func(b *box) { b.ok(b.task.Start(b.ctx)) }, []string{"create", "start"}},
		{"paused", func(b *box) { b.ok(b.task.Start(b.ctx)); b.ok(b.task.Pause(b.ctx)) }, []string{"create", "start", "paused"}},
		{"with an exec", func(b *box) {
			b.ok(b.task.Start(b.ctx))
			p, err := b.tryExec("e", &output{}, "sh", "-c", "sleep 1000 & sleep 1000")
			b.ok(err)
			b.ok(p.Start(b.ctx))
		}, []string{"create", "start", "exec-added e", "exec-started e"}},
		{"with an exec that is not started", func(b *box) {
			b.ok(b.task.Start(b.ctx))
			_, err := b.tryExec("e", &output{}, "true")
			b.ok(err)
		}, []string{"create", "start", "exec-added e"}},
	}
	each(t, func(t *testing.T, d *daemon.Daemon) {
		for _, m := range moments {
			t.Run(m.name, func(t *testing.T) {
				r := record(t, d)
				b := newBox(t, d, config{args: []string{"sleep", "1000"}})
				shim := b.shimOf()
				m.do(b)
				r.want(t, b.task.ID(), m.want...)
				began := time.Now()
				b.ok(syscall.Kill(shim, syscall.SIGKILL))
				r.want(t, b.task.ID(), append(m.want, "exit init 137", "delete")...)
				if took := time.Since(began); took > cleanupLimit {
					t.Errorf("the clean-up took %s", took)
				}
				b.ok(b.c.Delete(b.ctx, client.WithSnapshotCleanup))
			})
		}
	})
}

// TestKilledShimOfStopped: the exit was told before; the clean-up tells none but containerd's own, which it makes of `delete`'s answer.
func TestKilledShimOfStopped(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := record(t, d)
		b := newBox(t, d, config{args: []string{"sh", "-c", "exit 3"}})
		shim := b.shimOf()
		b.ok(b.task.Start(b.ctx))
		if code := b.wait(b.task); code != 3 {
			t.Errorf("code %d", code)
		}
		r.want(t, b.task.ID(), "create", "start", "exit init 3")
		b.ok(syscall.Kill(shim, syscall.SIGKILL))
		waitGone(t, shim)
		for end := time.Now().Add(cleanupLimit); len(r.of(b.task.ID())) < 5 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		}
		b.ok(b.c.Delete(b.ctx, client.WithSnapshotCleanup))
		list := r.of(b.task.ID())
		if last := list[len(list)-1]; last != "delete" {
			t.Errorf("events %q", list)
		}
	})
}

// TestRestartInStates: a container that is created, paused or stopped over a restart of containerd is so after it, and can be used.
func TestRestartInStates(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		created, paused := newBox(t, d, config{args: []string{"sleep", "1000"}}), sleeper(t, d)
		b := newBox(t, d, config{args: []string{"sh", "-c", "exit 4"}})
		b.ok(paused.task.Pause(b.ctx))
		b.ok(b.task.Start(b.ctx))
		b.wait(b.task)
		b.ok(d.Stop())
		b.ok(d.Run())
		for _, x := range []*box{created, paused, b} {
			var err error
			x.c, err = d.Client.LoadContainer(x.ctx, x.task.ID())
			b.ok(err)
			x.task, err = x.c.Task(x.ctx, nil)
			b.ok(err)
		}
		created.status(client.Created)
		b.ok(created.task.Start(b.ctx))
		created.kill()
		paused.status(client.Paused)
		b.ok(paused.task.Resume(b.ctx))
		paused.status(client.Running)
		paused.kill()
		b.status(client.Stopped)
		if code := b.finish(); code != 4 {
			t.Errorf("code %d", code)
		}
	})
}
