package process

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/containerd/errdefs"
)

func TestKill(t *testing.T) {
	bubble(t, func(w *world) {
		w.create()
		w.exec("e")
		w.ok(w.Kill(w.t.Context(), "c", "", 15, false)) // a created init may be signalled
		w.refused(w.Kill(w.t.Context(), "c", "e", 15, false), errdefs.ErrFailedPrecondition)
		w.refused(w.Kill(w.t.Context(), "c", "none", 15, false), errdefs.ErrNotFound)
		w.refused(w.Kill(w.t.Context(), "none", "", 15, false), errdefs.ErrNotFound)
		w.start("")
		w.start("e")
		w.ok(w.Kill(w.t.Context(), "c", "", 1, true))
		w.ok(w.Kill(w.t.Context(), "c", "e", 2, true)) // all means nothing for an exec
		if w.h.called("killall 1") != 1 || w.h.called("killall 2") != 0 || !slices.Equal(w.h.child("e").sigs, []int{2}) {
			t.Errorf("calls %q, the exec got %v", w.h.calls, w.h.child("e").sigs)
		}
		w.h.child("e").exit(0)
		err := w.Kill(w.t.Context(), "c", "e", 15, false) // whether or not the exit has arrived
		w.refused(err, errdefs.ErrNotFound)
		w.h.init.exit(0)
		synctest.Wait()
		for _, all := range []bool{false, true} {
			err = w.Kill(w.t.Context(), "c", "", 9, all)
			w.refused(err, errdefs.ErrNotFound)
			if !strings.Contains(err.Error(), "process already finished") {
				t.Errorf("error %v", err)
			}
		}
		w.end()
	})
}

func TestKillOfCreated(t *testing.T) {
	bubble(t, func(w *world) {
		w.create()
		w.ok(w.Kill(w.t.Context(), "c", "", 9, false))
		w.wantEvents("create c", "exit c 137")
		w.refused(firstErr(w.Start(w.t.Context(), "c", "")), errdefs.ErrFailedPrecondition)
		w.end()
	})
}

// TestNeverWaits holds a start and asks what must not wait for it.
func TestNeverWaits(t *testing.T) {
	bubble(t, func(w *world) {
		w.create()
		w.h.startGate, w.h.execGate = make(gate), make(gate)
		w.exec("e")
		start := async(func() error { return firstErr(w.Start(w.t.Context(), "c", "")) })
		startE := async(func() error { return firstErr(w.Start(w.t.Context(), "c", "e")) })
		synctest.Wait()
		w.status("")
		w.ok(w.CloseIO(w.t.Context(), "c", "e")) // kept until the streams are there
		w.ok(w.Kill(w.t.Context(), "c", "", 15, false))
		w.ok(firstErr(w.Pids("c")))
		close(w.h.startGate)
		w.ok(start())
		close(w.h.execGate)
		w.ok(startE())
		if w.streams[1].stdinClosed != 1 {
			t.Error("the early CloseIO was lost")
		}
		w.end()
	})
}

func TestQueries(t *testing.T) {
	bubble(t, func(w *world) {
		_, err := w.Manager.Create(w.t.Context(), CreateParams{
			ID: "c", Bundle: "/b", Stdio: StdioConfig{Stdout: "/out"}, Options: Options{IOUID: 5, IOGID: 6},
		})
		w.ok(err)
		if want := (IOOwner{ID: "c", Namespace: "ns", Bundle: "/b", UID: 5, GID: 6}); w.owners[0] != want {
			t.Errorf("owner %+v", w.owners[0])
		}
		w.start("")
		w.exec("e")
		w.ok(w.Resize(w.t.Context(), "c", "e", 1, 2)) // no streams yet
		w.start("e")
		w.ok(w.Resize(w.t.Context(), "c", "e", 1, 2))
		w.ok(w.CloseIO(w.t.Context(), "c", ""))
		if w.streams[1].resized != 1 || w.streams[0].stdinClosed != 1 {
			t.Error("Resize or CloseIO did not arrive")
		}
		st, err := w.State("c", "")
		w.ok(err)
		if want := (State{ID: "c", Bundle: "/b", Pid: 100, Status: Running, Stdio: StdioConfig{Stdout: "/out"}}); st != want {
			t.Errorf("state %+v", st)
		}
		pids, err := w.Pids("c")
		w.ok(err)
		if !slices.Equal(pids, []PidInfo{{100, ""}, {200, "e"}}) || w.InitPid() != 100 {
			t.Errorf("pids %v, init %d", pids, w.InitPid())
		}
		if s, err := w.Stats(w.t.Context(), "c"); s != "stats" || err != nil {
			t.Errorf("stats %v, %v", s, err)
		}
		w.ok(w.Update(w.t.Context(), "c", nil))
		w.h.init.exit(0)
		synctest.Wait()
		w.refused(w.Update(w.t.Context(), "c", nil), errdefs.ErrFailedPrecondition)
		w.end()
	})
}

func TestWaitHonoursCancellation(t *testing.T) {
	bubble(t, func(w *world) {
		w.running()
		ctx, cancel := context.WithCancel(w.t.Context())
		wait := async(func() error { return firstErr(w.Wait(ctx, "c", "")) })
		synctest.Wait()
		cancel()
		w.refused(wait(), context.Canceled)
		w.end()
	})
}

func TestExecOnCreated(t *testing.T) {
	bubble(t, func(w *world) {
		w.create()
		w.exec("e")
		w.start("e")
		w.start("")
		w.end()
		w.wantEvents("create c", "added e", "started e", "start c", "exit e 137", "exit c 0", "delete c 0")
	})
}
