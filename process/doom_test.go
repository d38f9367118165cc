package process

import (
	"testing"
	"testing/synctest"

	"github.com/containerd/errdefs"
)

// TestKillOfPausedThaws: on cgroup v1 a frozen process keeps a SIGKILL until it is thawed, and a paused container is not deleted.
func TestKillOfPausedThaws(t *testing.T) {
	for name, all := range map[string]bool{"init": false, "all": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(w *world) {
				w.running()
				w.h.init.immortal = true // as if frozen
				w.ok(w.Pause(w.t.Context(), "c"))
				w.ok(w.Kill(w.t.Context(), "c", "", 15, all))
				if w.h.called("resume") != 0 {
					t.Error("a signal that is not SIGKILL thawed")
				}
				w.ok(w.Kill(w.t.Context(), "c", "", sigKill, all))
				if w.h.called("resume") != 1 {
					t.Error("the cgroup stays frozen")
				}
				w.h.init.exit(137)
				w.end()
				w.wantEvents("create c", "start c", "paused c", "exit c 137", "delete c 137")
			})
		})
	}
}

func TestKillOfAnExecDoesNotThaw(t *testing.T) {
	bubble(t, func(w *world) {
		w.running("e")
		w.ok(w.Pause(w.t.Context(), "c"))
		w.h.child("e").immortal = true
		w.ok(w.Kill(w.t.Context(), "c", "e", sigKill, false))
		if w.h.called("resume") != 0 {
			t.Error("the container was thawed for an exec")
		}
		w.ok(w.Resume(w.t.Context(), "c"))
		w.h.child("e").exit(137)
		w.end()
	})
}

// TestKillWhilePausing: the freezing completes after the kill's thaw, and must be taken back.
func TestKillWhilePausing(t *testing.T) {
	bubble(t, func(w *world) {
		w.running()
		w.h.init.immortal, w.h.pauseGate = true, make(gate)
		pause := async(func() error { return w.Pause(w.t.Context(), "c") })
		synctest.Wait()
		w.ok(w.Kill(w.t.Context(), "c", "", sigKill, false))
		before := w.h.called("resume")
		close(w.h.pauseGate)
		w.refused(pause(), errdefs.ErrFailedPrecondition)
		if w.h.called("resume") != before+1 {
			t.Error("the cgroup stays frozen")
		}
		w.refused(w.Pause(w.t.Context(), "c"), errdefs.ErrFailedPrecondition) // what is dying is not frozen again
		if w.h.called("pause") != 1 {
			t.Error("a dying container was frozen")
		}
		w.h.init.exit(137)
		w.end()
		w.wantEvents("create c", "start c", "exit c 137", "delete c 137")
	})
}

func TestRetire(t *testing.T) {
	bubble(t, func(w *world) {
		w.openGate = make(gate)
		create := async(func() error { return firstErr(w.Manager.Create(w.t.Context(), CreateParams{ID: "c"})) })
		synctest.Wait()
		if w.Retire() {
			t.Error("retired during a create")
		}
		close(w.openGate)
		w.ok(create())
		if w.Retire() {
			t.Error("retired with a container")
		}
		w.start("")
		w.end()
		if !w.Retire() || !w.Retire() {
			t.Error("not retired when empty")
		}
		_, err := w.Manager.Create(w.t.Context(), CreateParams{ID: "d"})
		w.refused(err, errdefs.ErrUnavailable)
	})
}
