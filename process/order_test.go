package process

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containerd/errdefs"
)

// bubble runs f in a synctest bubble, which fails if a goroutine is left at the end.
func bubble(t *testing.T, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(newWorld(t)) })
}

func TestWholeLife(t *testing.T) {
	bubble(t, func(w *world) {
		w.running("e")
		w.h.child("e").exit(3)
		x, err := w.Wait(w.t.Context(), "c", "e")
		w.ok(err)
		if r := w.delete("e"); r.Exit != x || r.Pid != 200 || x.Status != 3 {
			t.Errorf("deleted %+v, waited %+v", r, x)
		}
		_, err = w.State("c", "e")
		w.refused(err, errdefs.ErrNotFound)
		w.end()
		w.wantEvents("create c", "start c", "added e", "started e", "exit e 3", "exit c 0", "delete c 0")
		_, err = w.Wait(w.t.Context(), "c", "")
		w.refused(err, errdefs.ErrNotFound)
		for i, s := range w.streams {
			if s.started != 1 || s.drains != 1 || s.closed != 1 {
				t.Errorf("streams %d: started %d, drained %d, closed %d times", i, s.started, s.drains, s.closed)
			}
		}
	})
}

func TestExitBeforeStartAnswers(t *testing.T) {
	bubble(t, func(w *world) {
		w.h.startGate = make(gate)
		w.h.onStart = func() { w.h.init.exit(7) }
		w.create()
		wait := async(func() error { return firstErr(w.Start(w.t.Context(), "c", "")) })
		synctest.Wait()
		w.wantEvents("create c")
		if s := w.status(""); s != Created {
			t.Errorf("status %s while starting", s)
		}
		w.refused(firstErr(w.Start(w.t.Context(), "c", "")), errdefs.ErrFailedPrecondition)
		close(w.h.startGate)
		w.ok(wait())
		w.wantEvents("create c", "start c", "exit c 7")
		w.end()
	})
}

func TestExecExitsBeforeStartAnswers(t *testing.T) {
	bubble(t, func(w *world) {
		w.h.onExec = func(c *fakeChild) { c.exit(4) }
		w.running("e")
		w.wantEvents("create c", "start c", "added e", "started e", "exit e 4")
		w.end()
	})
}

func TestInitExitIsLast(t *testing.T) {
	bubble(t, func(w *world) {
		w.running("a", "b")
		w.h.child("a").immortal = true
		w.h.init.exit(1)
		synctest.Wait()
		w.wantEvents("create c", "start c", "added a", "started a", "added b", "started b", "exit b 137")
		if s := w.status(""); s != Stopped {
			t.Errorf("status %s", s)
		}
		w.refused(w.Exec(w.t.Context(), "c", ExecParams{ExecID: "d"}), errdefs.ErrFailedPrecondition)
		w.h.child("a").exit(137)
		w.end()
		w.wantEvents("create c", "start c", "added a", "started a", "added b", "started b",
			"exit b 137", "exit a 137", "exit c 1", "delete c 1")
		if w.h.called("killall 9") != 1 {
			t.Error("the rest of the cgroup was not killed")
		}
	})
}

func TestPrivatePidNamespaceIsLeftToTheKernel(t *testing.T) {
	bubble(t, func(w *world) {
		w.h.private = true
		w.running()
		w.end()
		if w.h.called("killall 9") != 0 {
			t.Error("KillAll was called")
		}
	})
}

func TestImmortalExecDelaysInitExitForALimitedTime(t *testing.T) {
	bubble(t, func(w *world) {
		w.running("a")
		w.h.child("a").immortal = true
		began := time.Now()
		w.h.init.exit(1)
		_, err := w.Wait(w.t.Context(), "c", "")
		w.ok(err)
		if d := time.Since(began); d != settleLimit {
			t.Errorf("waited %s", d)
		}
		w.h.child("a").exit(137)
		x, err := w.Wait(w.t.Context(), "c", "a")
		w.ok(err)
		if x.Status != 137 {
			t.Errorf("exit %+v", x)
		}
		w.end()
		w.wantEvents("create c", "start c", "added a", "started a", "exit c 1", "delete c 1")
	})
}

func TestInitExitsWhileExecStarts(t *testing.T) {
	bubble(t, func(w *world) {
		w.running()
		w.exec("slow")
		w.openGate = make(gate) // a client that never opens its pipe
		start := async(func() error { return firstErr(w.Start(w.t.Context(), "c", "slow")) })
		wait := async(func() error { return firstErr(w.Wait(w.t.Context(), "c", "slow")) })
		synctest.Wait()
		began := time.Now()
		w.h.init.exit(1)
		w.refused(start(), context.Canceled)
		w.ok(wait())
		if time.Since(began) != 0 {
			t.Error("the exec start held init's exit up")
		}
		w.wantEvents("create c", "start c", "added slow", "exit c 1")
		w.end()
	})
}

func TestExecStartedAfterInitExit(t *testing.T) {
	bubble(t, func(w *world) {
		w.running()
		w.h.onExec = func(*fakeChild) { w.h.init.exit(1); synctest.Wait() }
		w.exec("e")
		w.start("e")
		w.wantEvents("create c", "start c", "added e", "started e", "exit e 137", "exit c 1")
		w.end()
	})
}

func TestExecStartedAfterInitExitWasPublished(t *testing.T) {
	bubble(t, func(w *world) {
		w.running()
		w.h.onExec = func(*fakeChild) { w.h.init.exit(1); time.Sleep(settleLimit + time.Second) }
		w.exec("e")
		_, err := w.Start(w.t.Context(), "c", "e")
		w.refused(err, errdefs.ErrFailedPrecondition)
		if s := w.streams[1]; s.closed != 1 {
			t.Errorf("the exec's streams were closed %d times", s.closed)
		}
		w.end()
		w.wantEvents("create c", "start c", "added e", "exit c 1", "delete c 1")
	})
}

func TestExecStartOutlivesTheContainer(t *testing.T) {
	bubble(t, func(w *world) {
		w.running()
		w.h.onExec = func(*fakeChild) {
			w.h.init.exit(1)
			time.Sleep(settleLimit)
			w.delete("")
		}
		w.exec("e")
		_, err := w.Start(w.t.Context(), "c", "e")
		w.refused(err, errdefs.ErrNotFound)
		if got := w.h.child("e").Exit().Status; got != 137 || w.streams[1].closed != 1 {
			t.Errorf("the exec is left: exit %d, streams closed %d times", got, w.streams[1].closed)
		}
		w.wantEvents("create c", "start c", "added e", "exit c 1", "delete c 1")
	})
}

func TestOOMBeforeExit(t *testing.T) {
	bubble(t, func(w *world) {
		w.running("e")
		w.h.oom.add(1)
		w.h.oom.c <- struct{}{} // told by the channel
		w.wantEvents("create c", "start c", "added e", "started e", "oom c")
		w.h.oom.add(1) // known to the counter only
		w.h.child("e").exit(137)
		synctest.Wait()
		w.h.oom.add(2)
		w.h.oom.c <- struct{}{}
		w.h.init.exit(137)
		w.end()
		w.wantEvents("create c", "start c", "added e", "started e", "oom c", "oom c", "exit e 137",
			"oom c", "oom c", "exit c 137", "delete c 137")
	})
}

// TestRacingExits lets everything end at once, many times, and checks the order that must hold.
func TestRacingExits(t *testing.T) {
	for range 50 {
		bubble(t, func(w *world) {
			const execs = 8
			w.running()
			var waits []func() error
			for i := range execs {
				e := fmt.Sprint("e", i)
				w.exec(e)
				waits = append(waits, async(func() error {
					_, err := w.Start(w.t.Context(), "c", e)
					if err == nil {
						go w.h.child(e).exit(uint32(i))
					}
					return nil
				}))
			}
			go w.h.init.exit(9)
			for _, wait := range waits {
				w.ok(wait())
			}
			w.end()
			w.checkOrder(execs)
		})
	}
}

// checkOrder checks the rules of the order, for execs e0, e1, ...
func (w *world) checkOrder(execs int) {
	w.t.Helper()
	at := map[string]int{}
	for i, e := range w.events {
		f := strings.Fields(e)
		at[f[0]+" "+f[1]] = i + 1
	}
	n := len(w.events)
	if at["create c"] != 1 || at["start c"] != 2 || at["exit c"] != n-1 || at["delete c"] != n || at["exit c"] < 3 {
		w.t.Errorf("order: %q", w.events)
	}
	for i := range execs {
		e := fmt.Sprint(" e", i)
		if (at["started"+e] != 0) != (at["exit"+e] != 0) || at["started"+e] > at["exit"+e] || at["added"+e] == 0 ||
			at["started"+e] != 0 && at["added"+e] > at["started"+e] {
			w.t.Errorf("order of%s: %q", e, w.events)
		}
	}
}
