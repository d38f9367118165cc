package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"

	"example.io/shim/integration/daemon"
)

// lifeLimit bounds one life of a container on a machine under load.
const lifeLimit = time.Minute

// calm lets a life's clean-up beside the answers end before the next begins.
const calm = 30 * time.Millisecond

// lives measures one container at a time: its steps, and whole.
func (b *bench) lives() error {
	for round := -2; round < b.rounds; round++ { // two to warm up
		for _, p := range b.peers {
			m, err := b.life(p)
			if err != nil {
				return fmt.Errorf("%s: %w\n%s", p.name, err, b.d.Log())
			}
			for k, v := range m {
				if round >= 0 {
					b.add(k, p.name, v)
				}
			}
			time.Sleep(calm)
		}
	}
	return nil
}

// stopwatch times in milliseconds.
type stopwatch map[string]float64

func (m stopwatch) time(name string, f func() error) error {
	begin := time.Now()
	err := f()
	m[name] = since(begin)
	return err
}

func since(begin time.Time) float64 { return float64(time.Since(begin).Nanoseconds()) / 1e6 }

func (b *bench) life(p peer) (stopwatch, error) {
	ctx, cancel := context.WithTimeout(daemon.Context(), lifeLimit)
	defer cancel()
	m := stopwatch{}
	if err := b.whole(ctx, p, m); err != nil || p.name == null {
		return m, err
	}
	if err := b.steps(ctx, p, m); err != nil {
		return m, err
	}
	return m, b.exitToEvent(ctx, p, m)
}

// whole is /bin/true: create, start, wait, delete; the snapshot is made before.
func (b *bench) whole(ctx context.Context, p peer, m stopwatch) error {
	c, err := b.container(ctx, p, "true")
	if err != nil {
		return err
	}
	defer c.Delete(daemon.Context(), client.WithSnapshotCleanup)
	cpu := b.group.cpu()
	err = m.time("whole", func() error { return run1(ctx, c) })
	time.Sleep(calm)
	m["CPU of a whole run"] = (b.group.cpu() - cpu) * 1000
	return err
}

func run1(ctx context.Context, c client.Container) error {
	task, err := c.NewTask(ctx, cio.NullIO)
	if err != nil {
		return err
	}
	ch, err := task.Wait(ctx)
	if err != nil {
		return err
	}
	if err := task.Start(ctx); err != nil {
		return err
	}
	if s := <-ch; s.Error() != nil {
		return s.Error()
	}
	_, err = task.Delete(ctx)
	return err
}

// steps takes one container through its life step by step.
func (b *bench) steps(ctx context.Context, p peer, m stopwatch) error {
	c, err := b.container(ctx, p, "sleep", "1000")
	if err != nil {
		return err
	}
	defer c.Delete(daemon.Context(), client.WithSnapshotCleanup)
	var task client.Task
	if err := m.time("create", func() (err error) { task, err = c.NewTask(ctx, cio.NullIO); return err }); err != nil {
		return err
	}
	m["memory charged, created"] = b.group.memory(c.ID(), "memory.usage_in_bytes")
	m["memory charged, most"] = b.group.memory(c.ID(), "memory.max_usage_in_bytes")
	m["memory of its pages"] = pagesOf(b.group.path("memory", c.ID()))
	if err := m.time("start", func() error { return task.Start(ctx) }); err != nil {
		return err
	}
	spec, err := c.Spec(ctx)
	if err != nil {
		return err
	}
	for range 2 { // the first may be dearer: memory that was given back, files not looked up yet
		if err := m.time("exec whole", func() error { return exec1(ctx, task, spec, "e") }); err != nil {
			return err
		}
	}
	ch, err := task.Wait(ctx)
	if err != nil {
		return err
	}
	time.Sleep(calm)
	err = m.time("kill to exit", func() error {
		if err := task.Kill(ctx, syscall.SIGKILL); err != nil {
			return err
		}
		<-ch
		return nil
	})
	if err != nil {
		return err
	}
	return m.time("delete", func() error { _, err := task.Delete(ctx); return err })
}

// exec1 runs /bin/true in the container, from the request to its removal.
func exec1(ctx context.Context, task client.Task, spec *oci.Spec, id string) error {
	ps := *spec.Process
	ps.Args = []string{"true"}
	p, err := task.Exec(ctx, id, &ps, cio.NullIO)
	if err != nil {
		return err
	}
	ch, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	if s := <-ch; s.Error() != nil {
		return s.Error()
	}
	_, err = p.Delete(ctx)
	return err
}

// exitToEvent kills the container's process behind everybody's back and waits for the event.
func (b *bench) exitToEvent(ctx context.Context, p peer, m stopwatch) error {
	c, err := b.container(ctx, p, "sleep", "1000")
	if err != nil {
		return err
	}
	defer c.Delete(daemon.Context(), client.WithSnapshotCleanup)
	sub, stop := context.WithCancel(ctx)
	defer stop()
	task, err := c.NewTask(ctx, cio.NullIO)
	if err != nil {
		return err
	}
	if err := task.Start(ctx); err != nil {
		return err
	}
	events, errs := b.d.Client.EventService().Subscribe(sub, `topic=="/tasks/exit"`)
	time.Sleep(calm)
	err = m.time("exit to event", func() error {
		if err := syscall.Kill(int(task.Pid()), syscall.SIGKILL); err != nil {
			return err
		}
		select {
		case <-events:
			return nil
		case err := <-errs:
			return err
		}
	})
	if err != nil {
		return err
	}
	_, err = task.Delete(ctx)
	return err
}
