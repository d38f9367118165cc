package run

import (
	"runtime"
	"testing"

	"example.io/shim/linux/child"
	"example.io/shim/linux/plan"
)

// allocations is what making the image of containerd's usual configuration may allocate: reading, checking, compiling, verifying, lowering. A number that
// does not drift with the machine's load; who raises it says why in the commit.
const allocations = 2800

// allocationsOfUnit are those with a unit of systemd's on cgroup v1: its properties, and each hierarchy's folder made twice.
const allocationsOfUnit = 3600

func TestAllocations(t *testing.T) {
	bundle, deps := newBundle(t, nil), newDeps(t)
	var steps int
	got := testing.AllocsPerRun(5, func() {
		s, err := LoadSpec(bundle)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Compile(request(bundle), s, deps.Facts)
		if err != nil {
			t.Fatal(err)
		}
		steps = len(p.Steps)
		if err := plan.Verify(p); err != nil {
			t.Fatal(err)
		}
		arena, err := child.NewArena(plan.Size(p))
		if err != nil {
			t.Fatal(err)
		}
		defer arena.Free()
		if _, err := plan.Lower(p, runtime.GOARCH, arena.Bytes(), arena.Base()); err != nil {
			t.Fatal(err)
		}
	})
	allowed := allocations
	if bySystemd && !isUnified(deps) {
		allowed = allocationsOfUnit
	}
	if got > float64(allowed) {
		t.Errorf("%.0f allocations, %d are allowed", got, allowed)
	}
	t.Logf("%.0f allocations for %d steps", got, steps)
}
