package process

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
)

func TestFailedCreate(t *testing.T) {
	for name, breakIt := range map[string]func(w *world){
		"streams": func(w *world) { w.openErr = errFake },
		"runtime": func(w *world) { w.createErr = errFake },
		"relays":  func(w *world) { w.prep = func(s *fakeStreams) { s.startedErr = errFake } },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				breakIt(w)
				_, err := w.Manager.Create(w.t.Context(), CreateParams{ID: "c"})
				w.refused(err, errFake)
				if !strings.Contains(err.Error(), "container c") {
					t.Errorf("the error names no container: %v", err)
				}
				for _, s := range w.streams {
					if s.closed != 1 {
						t.Errorf("streams closed %d times", s.closed)
					}
				}
				if name == "relays" && w.h.called("delete") != 1 {
					t.Error("the container is left")
				}
				w.wantEvents()
				if !w.Empty() {
					t.Error("the id is taken")
				}
				w.openErr, w.createErr, w.prep, w.h = nil, nil, nil, newHandle()
				w.running()
				w.end()
			})
		})
	}
}

func TestDuplicateIDs(t *testing.T) {
	bubble(t, func(w *world) {
		w.openGate = make(gate)
		first := async(func() error { return firstErr(w.Manager.Create(w.t.Context(), CreateParams{ID: "c"})) })
		synctest.Wait()
		_, err := w.Manager.Create(w.t.Context(), CreateParams{ID: "c"})
		w.refused(err, errdefs.ErrAlreadyExists)
		if w.Empty() {
			t.Error("empty during a create")
		}
		_, err = w.State("c", "")
		w.refused(err, errdefs.ErrNotFound)
		close(w.openGate)
		w.ok(first())
		w.exec("e")
		w.refused(w.Exec(w.t.Context(), "c", ExecParams{ExecID: "e"}), errdefs.ErrAlreadyExists)
		w.refused(w.Exec(w.t.Context(), "c", ExecParams{ExecID: "c"}), errdefs.ErrInvalidArgument)
		w.refused(w.Exec(w.t.Context(), "c", ExecParams{}), errdefs.ErrInvalidArgument)
		w.delete("e")
		w.exec("e")
		w.end()
	})
}

func TestDeleteOfCreated(t *testing.T) {
	bubble(t, func(w *world) {
		w.create()
		w.exec("e")
		wait := async(func() error { return firstErr(w.Wait(w.t.Context(), "c", "e")) })
		synctest.Wait()
		if r := w.delete(""); r.Pid != 100 || r.Exit.Status != 137 || r.Exit.At.IsZero() {
			t.Errorf("deleted %+v", r)
		}
		w.refused(wait(), errdefs.ErrNotFound)
		w.wantEvents("create c", "added e", "exit c 137", "delete c 137")
		if w.streams[0].closed != 1 {
			t.Error("stdio is open")
		}
	})
}

func TestDeleteRefused(t *testing.T) {
	bubble(t, func(w *world) {
		w.running("e")
		for _, id := range []string{"", "e"} {
			_, err := w.Delete(w.t.Context(), "c", id)
			w.refused(err, errdefs.ErrFailedPrecondition)
		}
		w.ok(w.Pause(w.t.Context(), "c"))
		_, err := w.Delete(w.t.Context(), "c", "")
		w.refused(err, errdefs.ErrFailedPrecondition)
		w.end()
	})
}

func TestDeleteFailsAndIsTriedAgain(t *testing.T) {
	bubble(t, func(w *world) {
		w.running()
		w.h.deleteErr = errFake
		w.h.init.exit(0)
		synctest.Wait()
		_, err := w.Delete(w.t.Context(), "c", "")
		w.refused(err, errFake)
		if s := w.status(""); s != Stopped {
			t.Errorf("status %s", s)
		}
		w.h.deleteErr = nil
		w.end()
		w.wantEvents("create c", "start c", "exit c 0", "delete c 0")
	})
}

func TestDrainIsBounded(t *testing.T) {
	bubble(t, func(w *world) {
		w.prep = func(s *fakeStreams) { s.hang = true }
		w.running("e")
		w.h.child("e").exit(0)
		w.h.init.exit(0)
		synctest.Wait()
		began := time.Now()
		del := async(func() error { return firstErr(w.Delete(w.t.Context(), "c", "")) })
		synctest.Wait()
		if s := w.status(""); s != Stopped || time.Since(began) != 0 {
			t.Errorf("State during the drain: %s after %s", s, time.Since(began))
		}
		w.refused(firstErr(w.Delete(w.t.Context(), "c", "")), errdefs.ErrFailedPrecondition)
		w.ok(del())
		if d := time.Since(began); d != drainLimit {
			t.Errorf("drained for %s", d)
		}
	})
}

// TestOutputBeforeExit: an exit is told when the client has read the output, or after flushLimit; of init and of an exec.
func TestOutputBeforeExit(t *testing.T) {
	for name, read := range map[string]time.Duration{"read in time": flushLimit / 2, "never read": time.Hour} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				unread := make(gate)
				w.prep = func(s *fakeStreams) { s.unread = unread }
				w.running("e")
				began := time.Now()
				time.AfterFunc(read, func() { close(unread) })
				w.h.child("e").exit(3)
				w.wantEvents("create c", "start c", "added e", "started e")
				if s := w.status("e"); s != Running {
					t.Errorf("status %s while output is unread", s)
				}
				_, err := w.Wait(w.t.Context(), "c", "e")
				w.ok(err)
				if d := time.Since(began); d != min(read, flushLimit) {
					t.Errorf("the exec's exit was told after %s", d)
				}
				began = time.Now()
				w.h.init.exit(0)
				_, err = w.Wait(w.t.Context(), "c", "")
				w.ok(err)
				if d := time.Since(began); read < flushLimit && d != 0 || read > flushLimit && d != flushLimit {
					t.Errorf("init's exit was told after %s", d)
				}
				w.end()
				w.wantEvents("create c", "start c", "added e", "started e", "exit e 3", "exit c 0", "delete c 0")
			})
		})
	}
}

func TestFailedInitStart(t *testing.T) {
	bubble(t, func(w *world) {
		w.create()
		w.h.startErr, w.h.init.immortal = errFake, true
		_, err := w.Start(w.t.Context(), "c", "")
		w.refused(err, errFake)
		if s := w.status(""); s != Stopped {
			t.Errorf("status %s", s)
		}
		wait := async(func() error {
			x, err := w.Wait(w.t.Context(), "c", "")
			if x.Status != startFailedStatus {
				t.Errorf("exit %+v", x)
			}
			return err
		})
		synctest.Wait()
		if w.init().isSettled() {
			t.Error("the child was not awaited")
		}
		w.h.init.exit(137)
		w.ok(wait())
		w.refused(firstErr(w.Start(w.t.Context(), "c", "")), errdefs.ErrFailedPrecondition)
		w.end()
		w.wantEvents("create c", "delete c 255")
	})
}

func (w *world) init() *proc {
	c, err := w.find("c")
	w.ok(err)
	return c.init
}

func TestFailedExecStart(t *testing.T) {
	for name, breakIt := range map[string]func(w *world){
		"streams": func(w *world) { w.openErr = errFake },
		"runtime": func(w *world) { w.h.execErr = errFake },
		"relays":  func(w *world) { w.prep = func(s *fakeStreams) { s.startedErr = errFake } },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.running()
				w.exec("e")
				breakIt(w)
				wait := async(func() error { return firstErr(w.Wait(w.t.Context(), "c", "e")) })
				_, err := w.Start(w.t.Context(), "c", "e")
				w.refused(err, errFake)
				if !strings.Contains(err.Error(), "container c, exec e") {
					t.Errorf("the error does not name the exec: %v", err)
				}
				w.ok(wait())
				for _, s := range w.streams[1:] {
					if s.closed != 1 {
						t.Errorf("streams closed %d times", s.closed)
					}
				}
				w.refused(firstErr(w.Start(w.t.Context(), "c", "e")), errdefs.ErrFailedPrecondition)
				w.refused(w.Kill(w.t.Context(), "c", "e", 15, false), errdefs.ErrNotFound)
				if r := w.delete("e"); r.Exit.Status != startFailedStatus {
					t.Errorf("deleted %+v", r)
				}
				w.end()
				w.wantEvents("create c", "start c", "added e", "exit c 0", "delete c 0")
			})
		})
	}
}

func TestPauseResume(t *testing.T) {
	bubble(t, func(w *world) {
		w.create()
		w.refused(w.Pause(w.t.Context(), "c"), errdefs.ErrFailedPrecondition)
		w.refused(w.Resume(w.t.Context(), "c"), errdefs.ErrFailedPrecondition)
		w.start("")
		w.exec("e")
		w.ok(w.Pause(w.t.Context(), "c"))
		if s := w.status(""); s != Paused {
			t.Errorf("status %s", s)
		}
		w.refused(w.Exec(w.t.Context(), "c", ExecParams{ExecID: "f"}), errdefs.ErrFailedPrecondition)
		w.refused(firstErr(w.Start(w.t.Context(), "c", "e")), errdefs.ErrFailedPrecondition)
		w.h.resumeErr = errFake
		w.refused(w.Resume(w.t.Context(), "c"), errFake)
		w.h.resumeErr = nil
		w.ok(w.Resume(w.t.Context(), "c"))
		w.h.pauseErr = errFake
		w.refused(w.Pause(w.t.Context(), "c"), errFake)
		if s := w.status(""); s != Running || w.h.called("resume") != 3 {
			t.Errorf("after a failed pause: %s, %d resumes", s, w.h.called("resume"))
		}
		w.end()
		w.wantEvents("create c", "start c", "added e", "paused c", "resumed c", "exit c 0", "delete c 0")
	})
}

func TestInitDiesWhilePaused(t *testing.T) {
	bubble(t, func(w *world) {
		w.running("e")
		w.ok(w.Pause(w.t.Context(), "c"))
		w.h.init.exit(137)
		synctest.Wait()
		if w.h.called("resume") != 1 {
			t.Error("the cgroup was not thawed")
		}
		w.end()
		w.wantEvents("create c", "start c", "added e", "started e", "paused c", "exit e 137", "exit c 137", "delete c 137")
	})
}

func TestInitDiesWhilePausing(t *testing.T) {
	bubble(t, func(w *world) {
		w.running()
		w.h.pauseGate = make(gate)
		pause := async(func() error { return w.Pause(w.t.Context(), "c") })
		synctest.Wait()
		if s := w.status(""); s != Pausing {
			t.Errorf("status %s", s)
		}
		w.h.init.exit(1)
		synctest.Wait()
		before := w.h.called("resume")
		close(w.h.pauseGate) // the freezing completes after the sweep's thaw
		w.refused(pause(), errdefs.ErrFailedPrecondition)
		if w.h.called("resume") != before+1 {
			t.Error("the cgroup stays frozen")
		}
		w.end()
		w.wantEvents("create c", "start c", "exit c 1", "delete c 1")
	})
}

func TestPauseWaitsForExecStart(t *testing.T) {
	bubble(t, func(w *world) {
		w.running()
		w.exec("e")
		w.h.execGate = make(gate)
		start := async(func() error { return firstErr(w.Start(w.t.Context(), "c", "e")) })
		synctest.Wait()
		ctx, cancel := context.WithCancel(w.t.Context())
		given := async(func() error { return w.Pause(ctx, "c") })
		synctest.Wait()
		cancel()
		w.refused(given(), context.Canceled)
		pause := async(func() error { return w.Pause(w.t.Context(), "c") })
		synctest.Wait()
		if w.h.called("pause") != 0 {
			t.Error("frozen while an exec starts")
		}
		close(w.h.execGate)
		w.ok(errors.Join(start(), pause()))
		w.end()
		w.wantEvents("create c", "start c", "added e", "started e", "paused c", "exit e 137", "exit c 0", "delete c 0")
	})
}
