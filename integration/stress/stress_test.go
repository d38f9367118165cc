// Package stress runs many containers, execs and OOM kills, eight at a time: none may fail, no exit or event may be missing, and nothing may be
// left. STRESS=1 (make stress) runs the full counts.
package stress

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	eventsapi "github.com/containerd/containerd/api/events"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/typeurl/v2"

	"example.io/shim/integration/daemon"
	"example.io/shim/integration/trace"
)

// counts are the numbers of the promise, and smaller ones for every day.
var counts = struct{ runs, execs, ooms int }{80, 200, 15}

const atOnce = 8

// limit is for one container or exec.
var limit = trace.Limit(60 * time.Second)

func look() trace.Trace { return trace.Take(daemon.Namespace) }

func TestMain(m *testing.M) {
	if err := trace.Own(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if os.Getenv("STRESS") != "" {
		counts.runs, counts.execs, counts.ooms = 2000, 5000, 200
	}
	os.Exit(m.Run())
}

// world is a containerd whose shims collect garbage all the time, and the record of its events.
type world struct {
	*daemon.Daemon
	img client.Image
	mu  sync.Mutex
	got map[string][]string // events by container
}

func start(t *testing.T) *world {
	t.Helper()
	before := look()
	d, err := daemon.Start(daemon.Versions()[1], "GOGC=5")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{Daemon: d, got: map[string][]string{}}
	if w.img, err = d.Client.GetImage(daemon.Context(), daemon.Image); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(daemon.Context())
	t.Cleanup(func() {
		cancel()
		if t.Failed() {
			t.Log(d.Log())
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if left := before.Left(look); left != "" {
			t.Error("left behind:", left)
		}
	})
	ch, _ := d.Client.Subscribe(ctx, `topic~="^/tasks/"`)
	go func() {
		for e := range ch {
			v, err := typeurl.UnmarshalAny(e.Event)
			if err != nil {
				continue
			}
			w.mu.Lock()
			switch v := v.(type) {
			case *eventsapi.TaskExit:
				name := "exit"
				if v.ID != v.ContainerID {
					name = "exec exit"
				}
				w.got[v.ContainerID] = append(w.got[v.ContainerID], fmt.Sprintf("%s %d", name, v.ExitStatus))
			case *eventsapi.TaskOOM:
				w.got[v.ContainerID] = append(w.got[v.ContainerID], "oom")
			case *eventsapi.TaskDelete:
				w.got[v.ContainerID] = append(w.got[v.ContainerID], "delete")
			}
			w.mu.Unlock()
		}
	}()
	return w
}

// want waits for the events of a container to be these.
func (w *world) want(id string, want string) error {
	var got string
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		w.mu.Lock()
		got = strings.Join(w.got[id], ", ")
		w.mu.Unlock()
		if got == want {
			return nil
		}
	}
	return fmt.Errorf("%s: events %s, want %s", id, got, want)
}

// many runs f n times, atOnce at a time.
func many(t *testing.T, n int, f func(ctx context.Context, i int) error) {
	t.Helper()
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(n) && failed.Load() < 5; i = next.Add(1) {
				ctx, cancel := context.WithTimeout(daemon.Context(), limit)
				if err := f(ctx, int(i)); err != nil {
					failed.Add(1)
					t.Errorf("%d of %d: %v", i, n, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}

// run runs a container to its end and removes it.
func (w *world) run(ctx context.Context, id string, want uint32, opts ...oci.SpecOpts) error {
	c, err := w.Client.NewContainer(ctx, id, client.WithImage(w.img), client.WithNewSnapshot(id, w.img), client.WithRuntime(daemon.Runtime, daemon.RuntimeOptions()),
		client.WithNewSpec(append([]oci.SpecOpts{oci.WithImageConfig(w.img), oci.WithCgroup(daemon.CgroupsPath(id))}, opts...)...))
	if err != nil {
		return err
	}
	defer c.Delete(daemon.Context(), client.WithSnapshotCleanup)
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
	st := <-ch
	if code, _, err := st.Result(); err != nil || code != want {
		return fmt.Errorf("%s: code %d, %w", id, code, err)
	}
	_, err = task.Delete(ctx)
	return err
}

func TestRuns(t *testing.T) {
	w := start(t)
	many(t, counts.runs, func(ctx context.Context, i int) error {
		id, code := fmt.Sprintf("run-%d", i), uint32(i%200)
		if err := w.run(ctx, id, code, oci.WithProcessArgs("sh", "-c", fmt.Sprintf("exit %d", code))); err != nil {
			return err
		}
		return w.want(id, fmt.Sprintf("exit %d, delete", code))
	})
}

// TestOOMs: every OOM kill has one event, before the exit that it caused.
func TestOOMs(t *testing.T) {
	w := start(t)
	many(t, counts.ooms, func(ctx context.Context, i int) error {
		id := fmt.Sprintf("oom-%d", i)
		if err := w.run(ctx, id, 137, oci.WithProcessArgs("tail", "/dev/zero"), oci.WithMemoryLimit(16<<20)); err != nil {
			return err
		}
		return w.want(id, "oom, exit 137, delete")
	})
}

func TestExecs(t *testing.T) {
	w := start(t)
	ctx := daemon.Context()
	c, err := w.Client.NewContainer(ctx, "execs", client.WithImage(w.img), client.WithNewSnapshot("execs", w.img), client.WithRuntime(daemon.Runtime, daemon.RuntimeOptions()),
		client.WithNewSpec(oci.WithImageConfig(w.img), oci.WithCgroup(daemon.CgroupsPath("execs")), oci.WithProcessArgs("sleep", "100000")))
	if err != nil {
		t.Fatal(err)
	}
	task, err := c.NewTask(ctx, cio.NullIO)
	if err != nil {
		t.Fatal(err)
	}
	if err := task.Start(ctx); err != nil {
		t.Fatal(err)
	}
	spec, err := c.Spec(ctx)
	if err != nil {
		t.Fatal(err)
	}
	exec := func(ctx context.Context, i int) error {
		ps := *spec.Process
		ps.Args = []string{"sh", "-c", fmt.Sprintf("exit %d", i%200)}
		p, err := task.Exec(ctx, fmt.Sprintf("e%d", i), &ps, cio.NullIO)
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
		st := <-ch
		if code, _, err := st.Result(); err != nil || code != uint32(i%200) {
			return fmt.Errorf("e%d: code %d, %w", i, code, err)
		}
		_, err = p.Delete(ctx)
		return err
	}
	many(t, 4*atOnce, func(ctx context.Context, i int) error { return exec(ctx, 100000+i) }) // warm
	shim := parent(t, int(task.Pid()))
	before := w.usage(t, shim)
	many(t, counts.execs, exec)
	time.Sleep(time.Second) // threads that have nothing to do any more go
	after := w.usage(t, shim)
	t.Logf("%d execs; the shim before: %+v, after: %+v", counts.execs, before, after)
	if after.fds > before.fds+4 || after.threads > before.threads+8 || after.goroutines > before.goroutines+4 || after.rss > before.rss+8<<10 {
		t.Errorf("the shim grew: before %+v, after %+v", before, after)
	}
	if err := task.Kill(ctx, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	ch, err := task.Wait(ctx)
	if err != nil {
		t.Fatal(err)
	}
	<-ch
	if _, err := task.Delete(ctx); err != nil {
		t.Error(err)
	}
	if err := c.Delete(ctx, client.WithSnapshotCleanup); err != nil {
		t.Error(err)
	}
	exits := strings.Repeat("exec exit, ", counts.execs+4*atOnce)
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		w.mu.Lock()
		n := 0
		for _, e := range w.got["execs"] {
			if strings.HasPrefix(e, "exec exit") {
				n++
			}
		}
		done := n == strings.Count(exits, ",") && w.got["execs"][len(w.got["execs"])-1] == "delete"
		w.mu.Unlock()
		if done {
			return
		}
	}
	t.Errorf("not every exit of an exec was told: %d events of %d", len(w.got["execs"]), counts.execs)
}

// use is what a process holds; rss in KiB.
type use struct{ fds, threads, goroutines, rss int }

// goroutines has the shim write its goroutines to its log, which containerd copies to its own, and counts them.
func (w *world) goroutines(t *testing.T, shim int) int {
	t.Helper()
	path := filepath.Join(w.Dir, "log")
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(shim, syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, dump, ok := strings.Cut(string(data[st.Size():]), "=== goroutines ==="); ok && strings.Contains(dump, "=== end ===") {
			return strings.Count(dump, "\ngoroutine ")
		}
	}
	t.Fatal("the shim's goroutines are not in the log")
	return 0
}

func (w *world) usage(t *testing.T, pid int) use {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	fds, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		t.Fatal(err)
	}
	threads, err := os.ReadDir(filepath.Join(dir, "task"))
	if err != nil {
		t.Fatal(err)
	}
	u := use{fds: len(fds), threads: len(threads), goroutines: w.goroutines(t, pid)}
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if f := strings.Fields(line); f[0] == "VmRSS:" {
			u.rss, _ = strconv.Atoi(f[1])
		}
	}
	return u
}

func parent(t *testing.T, pid int) int {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	ppid, err := strconv.Atoi(strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))[1])
	if err != nil {
		t.Fatal(err)
	}
	return ppid
}
