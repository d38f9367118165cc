package contract

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"

	"example.io/shim/integration/daemon"
	"example.io/shim/internal/need"
)

// counting is a process that counts in its memory, and writes each number.
var counting = []string{"sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; echo $i >/run/n; sleep 0.3; done"}

// number waits for the last number in an output to be min at least.
func number(t *testing.T, out func() string, min int) int {
	t.Helper()
	n := 0
	for end := time.Now().Add(stepLimit); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		text := out()
		list := strings.Fields(text[:strings.LastIndexByte(text, '\n')+1])
		if len(list) == 0 {
			continue
		}
		var err error
		if n, err = strconv.Atoi(list[len(list)-1]); err != nil {
			t.Fatalf("output %q", text)
		}
		if n >= min {
			return n
		}
	}
	t.Fatalf("the count is %d, want %d", n, min)
	return 0
}

// TestCriuTask: a task is dumped while it runs, then with its end, and goes on in another container, with its terminal or its fifos; events come in their order.
func TestCriuTask(t *testing.T) {
	need.WorkingCriu(t)
	each(t, func(t *testing.T, d *daemon.Daemon) {
		for name, terminal := range map[string]bool{"fifos": false, "terminal": true} {
			t.Run(name, func(t *testing.T) {
				rec := record(t, d)
				cfg := config{args: counting}
				in, typed, err := os.Pipe()
				if err != nil {
					t.Fatal(err)
				}
				defer in.Close()
				defer typed.Close()
				streams := func(out *output) cio.Creator {
					if terminal {
						return cio.NewCreator(cio.WithStreams(in, out, nil), cio.WithTerminal, cio.WithFIFODir(d.Dir))
					}
					return cio.NewCreator(cio.WithStreams(nil, out, out), cio.WithFIFODir(d.Dir))
				}
				if terminal {
					cfg.spec = append(cfg.spec, oci.WithTTY)
				}
				first := &output{}
				cfg.io = streams(first)
				b := newBox(t, d, cfg)
				b.ok(b.task.Start(b.ctx))
				at := number(t, first.String, 2)
				live, err := b.task.Checkpoint(b.ctx, client.WithCheckpointName(b.c.ID()+"-live"))
				b.ok(err)
				// containerd 1.6 does not write a task's configuration a second time while the first is there ("already exists").
				b.ok(d.Client.ImageService().Delete(b.ctx, live.Name(), images.SynchronousDelete()))
				number(t, first.String, at+2)
				name := b.c.ID() + "-end"
				image, err := b.task.Checkpoint(b.ctx, client.WithCheckpointName(name), func(i *client.CheckpointTaskInfo) error {
					i.Options = &runcopts.CheckpointOptions{Exit: true, FileLocks: true}
					return nil
				})
				b.ok(err)
				if code := b.finish(); code != 137 {
					t.Errorf("exit code %d", code)
				}
				last := number(t, first.String, at+2)
				rec.want(t, b.c.ID(), "create", "start", "paused", "checkpointed", "resumed", "paused", "checkpointed", "exit init 137", "delete")

				second := &output{}
				cfg.io, cfg.task = streams(second), []client.NewTaskOpts{client.WithTaskCheckpoint(image)}
				c := newBox(t, d, cfg)
				if c.task.Pid() != 0 {
					t.Errorf("pid %d before the restore", c.task.Pid())
				}
				c.status(client.Created)
				c.ok(c.task.Start(c.ctx))
				if c.task.Pid() == 0 {
					t.Error("no pid after the restore")
				}
				c.status(client.Running)
				number(t, second.String, last+2)
				if n := strings.Fields(second.String())[0]; n != strconv.Itoa(last) && n != strconv.Itoa(last+1) {
					t.Errorf("it goes on at %s after %d", n, last)
				}
				if out, code := c.exec("e", "cat", "/run/n"); code != 0 || strings.TrimSpace(out) == "" {
					t.Errorf("exec: %q, %d", out, code)
				}
				if terminal {
					c.ok(c.task.Resize(c.ctx, 100, 30))
					if out, _ := c.exec("size", "sh", "-c", "stty size </dev/pts/0"); strings.TrimSpace(out) != "30 100" {
						t.Errorf("size %q", out)
					}
				}
				c.ok(c.task.Pause(c.ctx))
				c.ok(c.task.Resume(c.ctx))
				c.kill()
				events := []string{"create", "start", "exec-added e", "exec-started e", "exit e 0"}
				if terminal {
					events = append(events, "exec-added size", "exec-started size", "exit size 0")
				}
				rec.want(t, c.c.ID(), append(events, "paused", "resumed", "exit init 137", "delete")...)
			})
		}
	})
}

// TestCriuCtr is what people type.
func TestCriuCtr(t *testing.T) {
	need.WorkingCriu(t)
	each(t, func(t *testing.T, d *daemon.Daemon) {
		ctr := func(args ...string) string {
			t.Helper()
			out, err := exec.Command(d.Ctr, append([]string{"-a", d.Address(), "-n", daemon.Namespace}, args...)...).CombinedOutput()
			if err != nil {
				t.Fatalf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
			}
			return string(out)
		}
		ref := "checkpoint.test/" + filepath.Base(d.Dir) + ":1"
		ctr(append([]string{"run", "-d", "--runtime", daemon.Runtime, daemon.Image, "dumped"}, counting...)...)
		count := func(id string) func() string {
			return func() string {
				return ctr("task", "exec", "--exec-id", "e"+strconv.FormatInt(time.Now().UnixNano(), 36), id, "sh", "-c", "cat /run/n || :") // it may not be there yet
			}
		}
		end := func(id string) {
			t.Helper()
			ctr("task", "kill", "-s", "KILL", id)
			for limit := time.Now().Add(stepLimit); !strings.Contains(ctr("task", "ls"), "STOPPED"); time.Sleep(10 * time.Millisecond) {
				if time.Now().After(limit) {
					t.Fatalf("%s does not stop", id)
				}
			}
			ctr("task", "delete", id)
			ctr("container", "delete", id)
		}
		last := number(t, count("dumped"), 2)
		ctr("container", "checkpoint", "--rw", "--image", "--task", "dumped", ref)
		last = number(t, count("dumped"), last+1) // it goes on
		end("dumped")
		ctr("container", "restore", "--rw", "--live", "restored", ref)
		if n := number(t, count("restored"), 2); n > last+5 {
			t.Logf("%d after %d", n, last)
		}
		number(t, count("restored"), last+3)
		ctr("image", "remove", "--sync", ref)
		if strings.HasSuffix(d.Name, "1.6") { // its ctr gives the options of a dump to containerd's own runtimes only
			end("restored")
			return
		}
		// Images in a folder instead of containerd's store, and the end of the task.
		dir := filepath.Join(t.TempDir(), "images")
		ctr("task", "checkpoint", "--exit", "--image-path", dir, "restored")
		if _, err := os.Stat(filepath.Join(dir, "inventory.img")); err != nil {
			t.Error(err)
		}
		if out := ctr("task", "ls"); !strings.Contains(out, "STOPPED") {
			t.Errorf("after a checkpoint with its end the task is %s", out)
		}
		ctr("task", "delete", "restored")
		ctr("container", "delete", "restored")
	})
}

// TestCriuMissing: without CRIU a checkpoint is refused by its name, and the task goes on.
func TestCriuMissing(t *testing.T) {
	if _, err := exec.LookPath("criu"); err == nil {
		t.Log("CRIU is here: package run's test looks for it in an empty PATH")
		return
	}
	each(t, func(t *testing.T, d *daemon.Daemon) {
		b := newBox(t, d, config{args: counting})
		b.ok(b.task.Start(b.ctx))
		_, err := b.task.Checkpoint(b.ctx)
		if err == nil || !strings.Contains(err.Error(), `"criu" was not found in PATH`) {
			t.Errorf("error %v", err)
		}
		b.status(client.Running)
		number(t, b.out.String, number(t, b.out.String, 1)+2)
		b.kill()
	})
}
