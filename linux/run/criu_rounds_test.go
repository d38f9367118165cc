package run

import (
	"path/filepath"
	"strconv"
	"testing"

	"example.io/shim/internal/need"
	"example.io/shim/linux/criu"
)

// rounds is how often a process is dumped and restored: a leak of one in a round shows many times over.
const rounds = 50

// TestCriuRounds: a process that was dumped and restored many times goes on counting, and nothing is left of any round.
func TestCriuRounds(t *testing.T) {
	need.WorkingCriu(t)
	bundle := newBundle(t, counter)
	deps := newDeps(t)
	dir := t.TempDir()
	before := takeTrace(t, bundle)
	b := openBox(t, deps, request(bundle))
	last := b.out.number(1)
	for i := range rounds {
		images := filepath.Join(dir, strconv.Itoa(i))
		if err := b.Checkpoint(t.Context(), criu.Options{ImagePath: images}, false); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		last = max(last, b.ended(t))
		noTrace(t, before, bundle)
		r := request(bundle)
		r.Restore = &criu.Options{ImagePath: images}
		b = openBox(t, deps, r)
		n := b.out.number(0)
		if n != last+1 && n != last {
			t.Fatalf("round %d: it goes on at %d after %d", i, n, last)
		}
		last = n
		if t.Failed() {
			t.Fatalf("after round %d", i)
		}
	}
	b.close(t)
	noTrace(t, before, bundle)
	t.Logf("%d numbers in %d rounds", last, rounds)
}
