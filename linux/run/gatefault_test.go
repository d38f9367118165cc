package run

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// TestGateFaults makes every step of a create for another process's start fail, on both sides of the fifo: no start hangs, and nothing is left.
func TestGateFaults(t *testing.T) {
	bundle := newBundle(t, func(s *specs.Spec) { s.Linux.ReadonlyPaths, s.Linux.MaskedPaths = nil, nil }) // steps that TestFaults has
	deps := newDeps(t)
	r := gated(t, bundle)
	s, err := LoadSpec(bundle)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(r, s, deps.Facts)
	if err != nil {
		t.Fatal(err)
	}
	gatedToEnd(t, deps, r, "without a fault")
	before := takeTrace(t, bundle)
	for i := range p.Steps {
		if p.Steps[i].Op == plan.OpGate || p.Steps[i].Phase == plan.Mounts {
			continue
		}
		deps.Fault = func(q *plan.Plan) *plan.Plan { return q.WithFault(i, abi.EPERM) }
		gatedToEnd(t, deps, r, fmt.Sprintf("step %d %q", i, p.Steps[i].Label))
		noTrace(t, before, bundle)
		if t.Failed() {
			t.Fatalf("after step %d %q", i, p.Steps[i].Label)
		}
	}
}

func gatedToEnd(t *testing.T, deps *Deps, r Request, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), faultyLimit)
	defer cancel()
	c, err := Create(ctx, deps, r)
	if err == nil {
		err = c.Detach(ctx)
	}
	if err != nil {
		wantStepError(t, err, what)
		return
	}
	l, err := Load(r.Home)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Use(deps); err != nil {
		t.Fatal(err)
	}
	if err := l.Start(ctx); err != nil {
		var se *plan.StepError
		if !errors.As(err, &se) && deps.Fault == nil || ctx.Err() != nil {
			t.Errorf("%s: start: %v", what, err)
		}
	}
	if err := l.Remove(ctx); err != nil {
		t.Errorf("%s: remove: %v", what, err)
	}
	<-c.Init().Done()
}
