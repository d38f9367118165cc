package process

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
)

// image is a request for a checkpoint.
var image = CheckpointRequest{ImagePath: "/i"}

func TestCheckpoint(t *testing.T) {
	bubble(t, func(w *world) {
		w.running("e")
		w.ok(w.Checkpoint(w.t.Context(), "c", image))
		if w.status("") != Running || w.h.called("checkpoint paused=false") != 1 {
			t.Error("not dumped, or not running after it")
		}
		w.ok(w.Pause(w.t.Context(), "c"))
		w.ok(w.Checkpoint(w.t.Context(), "c", image))
		if w.status("") != Paused || w.h.called("checkpoint paused=true") != 1 {
			t.Error("not dumped, or not paused after it")
		}
		w.ok(w.Resume(w.t.Context(), "c"))
		w.h.checkpointErr = errFake
		w.refused(w.Checkpoint(w.t.Context(), "c", image), errFake)
		if w.status("") != Running {
			t.Error("not running after a failed checkpoint")
		}
		w.end()
		w.wantEvents("create c", "start c", "added e", "started e", "checkpointed c /i", "paused c", "checkpointed c /i", "resumed c", "exit e 137", "exit c 0", "delete c 0")
	})
}

// TestCheckpointExit: the container ends with its checkpoint, whose event comes first; the answer comes when the exit has been told.
func TestCheckpointExit(t *testing.T) {
	for _, paused := range []bool{false, true} {
		bubble(t, func(w *world) {
			w.running()
			if paused {
				w.ok(w.Pause(w.t.Context(), "c"))
			}
			r := image
			r.Exit = true
			w.ok(w.Checkpoint(w.t.Context(), "c", r))
			if w.status("") != Stopped {
				t.Error("not stopped")
			}
			if paused && w.h.called("resume") != 1 {
				t.Error("the cgroup was not thawed")
			}
			w.delete("")
			events := []string{"create c", "start c", "checkpointed c /i", "exit c 137", "delete c 137"}
			if paused {
				events = append([]string{"create c", "start c", "paused c"}, events[2:]...)
			}
			w.wantEvents(events...)
		})
	}
}

// TestDuringCheckpoint: nothing begins, nothing waits, and an exit meanwhile is told afterwards.
func TestDuringCheckpoint(t *testing.T) {
	bubble(t, func(w *world) {
		w.running("e")
		w.exec("later")
		w.h.checkpointGate = make(gate)
		ctx, cancel := context.WithCancel(w.t.Context())
		dump := async(func() error { return w.Checkpoint(ctx, "c", image) })
		synctest.Wait()
		if w.status("") != Running {
			t.Error("shown as", w.status(""))
		}
		for name, err := range map[string]error{
			"checkpoint": w.Checkpoint(w.t.Context(), "c", image), "pause": w.Pause(w.t.Context(), "c"), "resume": w.Resume(w.t.Context(), "c"),
			"exec": w.Exec(w.t.Context(), "c", ExecParams{ExecID: "n"}), "start of an exec": firstErr(w.Start(w.t.Context(), "c", "later")),
			"delete": firstErr(w.Delete(w.t.Context(), "c", "")),
		} {
			t.Log(name)
			w.refused(err, errdefs.ErrFailedPrecondition)
		}
		w.ok(firstErr(w.Pids("c")))
		w.ok(w.Kill(w.t.Context(), "c", "", 15, false))
		cancel() // the client goes away: the dump goes on
		w.h.init.exit(3)
		synctest.Wait()
		if w.status("") != Running {
			t.Error("the exit was told too early")
		}
		close(w.h.checkpointGate)
		w.ok(dump())
		synctest.Wait()
		w.delete("")
		w.wantEvents("create c", "start c", "added e", "started e", "added later", "checkpointed c /i", "exit e 137", "exit c 3", "delete c 3")
	})
}

// TestCheckpointWaitsForExecs: one that is being started is let through first.
func TestCheckpointWaitsForExecs(t *testing.T) {
	bubble(t, func(w *world) {
		w.running()
		w.exec("e")
		w.h.execGate = make(gate)
		start := async(func() error { return firstErr(w.Start(w.t.Context(), "c", "e")) })
		synctest.Wait()
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		w.refused(w.Checkpoint(ctx, "c", image), context.DeadlineExceeded)
		if w.status("") != Running || w.h.called("checkpoint paused=false") != 0 {
			t.Error("dumped")
		}
		dump := async(func() error { return w.Checkpoint(w.t.Context(), "c", image) })
		synctest.Wait()
		close(w.h.execGate)
		w.ok(start())
		w.ok(dump())
		w.end()
	})
}

func TestCheckpointRefused(t *testing.T) {
	bubble(t, func(w *world) {
		w.refused(w.Checkpoint(w.t.Context(), "c", image), errdefs.ErrNotFound)
		w.create()
		w.refused(w.Checkpoint(w.t.Context(), "c", image), errdefs.ErrFailedPrecondition)
		w.start("")
		w.h.init.exit(0)
		synctest.Wait()
		w.refused(w.Checkpoint(w.t.Context(), "c", image), errdefs.ErrFailedPrecondition)
		w.delete("")
	})
}

// TestRestore: init and its pid are there when it was started, and so are the relays.
func TestRestore(t *testing.T) {
	bubble(t, func(w *world) {
		w.h.restored = true
		pid, err := w.Manager.Create(w.t.Context(), CreateParams{ID: "c", Bundle: "/b", Checkpoint: "/i"})
		w.ok(err)
		if pid != 0 || w.InitPid() != 0 || w.status("") != Created || w.streams[0].started != 0 {
			t.Error("it is there too early")
		}
		w.refused(w.Kill(w.t.Context(), "c", "", 15, false), errdefs.ErrFailedPrecondition)
		w.ok(w.CloseIO(w.t.Context(), "c", ""))
		w.ok(w.Resize(w.t.Context(), "c", "", 1, 2))
		pid, err = w.Start(w.t.Context(), "c", "")
		w.ok(err)
		if pid != 100 || w.InitPid() != 100 || w.streams[0].started != 1 || w.streams[0].stdinClosed != 1 || w.streams[0].resized != 0 {
			t.Errorf("pid %d, streams %+v", pid, w.streams[0])
		}
		w.end()
		w.wantEvents("create c", "start c", "exit c 0", "delete c 0")
	})
}

// TestRestoreNotStarted: a container that waits for its restore can be deleted at once.
func TestRestoreNotStarted(t *testing.T) {
	bubble(t, func(w *world) {
		w.h.restored = true
		w.create()
		wait := async(func() error { return firstErr(w.Wait(w.t.Context(), "c", "")) })
		synctest.Wait()
		if d := w.delete(""); d.Pid != 0 || d.Exit.Status != startFailedStatus {
			t.Errorf("deleted: %+v", d)
		}
		w.ok(wait())
		w.wantEvents("create c", "delete c 255")
	})
}

func TestRestoreFails(t *testing.T) {
	for name, breakIt := range map[string]func(*world){
		"criu":   func(w *world) { w.h.startErr = errFake },
		"relays": func(w *world) { w.prep = func(s *fakeStreams) { s.startedErr = errFake } },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				breakIt(w)
				w.h.restored = true
				w.create()
				w.refused(firstErr(w.Start(w.t.Context(), "c", "")), errFake)
				synctest.Wait()
				if w.status("") != Stopped {
					t.Error("not stopped but", w.status(""))
				}
				w.delete("")
				w.wantEvents("create c", "delete c 255")
			})
		})
	}
}
