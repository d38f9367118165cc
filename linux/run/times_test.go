package run

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// TestTimes: each step that was carried out, of both actors, has its time, in the order of its actor; those that were skipped have none; what is printed
// has them all.
func TestTimes(t *testing.T) {
	bundle := newBundle(t, nil)
	deps := newDeps(t)
	var times []plan.Times
	deps.Times = func(x plan.Times) { times = append(times, x) }
	c, err := Create(context.Background(), deps, request(bundle))
	if err != nil {
		t.Fatal(err)
	}
	if len(times) != 0 {
		t.Error("the times of a plan that is at its gate are told")
	}
	before := monotonic()
	if err := c.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	<-c.Init().Done()
	if status, _ := c.Init().Exit(); status != 7 {
		t.Errorf("exit status %d, want 7", status)
	}
	if err := c.Delete(context.Background()); err != nil {
		t.Fatal(err)
	}
	if len(times) != 1 {
		t.Fatalf("times were told %d times", len(times))
	}
	last := map[plan.Actor]int64{}
	count := map[plan.Actor]int{}
	for i, began := range times[0].Began {
		a := times[0].Plan.Steps[i].Actor
		if began == 0 {
			continue
		}
		count[a]++
		if began < last[a] {
			t.Errorf("step %d began before the one before it", i+1)
		}
		last[a] = began
	}
	if count[plan.Parent] < 20 || count[plan.Child] < 50 || times[0].Ended < last[plan.Parent] || times[0].Ended < before {
		t.Errorf("%v steps, ended at %d, started at %d", count, times[0].Ended, before)
	}
	exec := slices.IndexFunc(times[0].Plan.Steps, func(s plan.Step) bool { return s.Sys == abi.SysExecve || s.Sys == abi.SysExecveat })
	if exec < 0 || times[0].Began[exec] < before {
		t.Error("the program was executed before the start")
	}
	var text bytes.Buffer
	if err := plan.PrintTimes(&text, times[0]); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"fork the child", "mount proc on /proc", "the longest:", "steps in "} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("%q is not in\n%s", want, text.String())
		}
	}
}

// TestTimesOfAFailure: a plan that fails tells how far it came.
func TestTimesOfAFailure(t *testing.T) {
	deps := newDeps(t)
	var told *plan.Times
	deps.Times = func(x plan.Times) { told = &x }
	deps.Fault = func(p *plan.Plan) *plan.Plan {
		i := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.Op == plan.OpClone })
		q := p.WithFault(i, abi.Errno(unix.EAGAIN))
		return q
	}
	if _, err := Create(context.Background(), deps, request(newBundle(t, nil))); err == nil {
		t.Fatal("the fault was no failure")
	}
	if told == nil || told.Began[0] == 0 || told.Began[len(told.Began)-1] != 0 {
		t.Errorf("told %v", told != nil)
	}
}
