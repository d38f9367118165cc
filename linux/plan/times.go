package plan

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"slices"
)

// Times say when the steps of a plan that was carried out began, in ns of one clock.
type Times struct {
	Plan  *Plan
	Began []int64 // by step; 0 for one that was skipped
	Ended int64   // of the last step
}

// timed is a step that was carried out. It took the time until its actor's next one: its own, and what the interpreter needs.
type timed struct {
	step        int
	began, took int64
}

// longest is how many steps are listed again at the end.
const longest = 12

// PrintTimes writes the steps in the order of their beginnings: when, for how long, who, what; then the longest ones, waits for the other actor included,
// and the sums. The error is the one of w.
func PrintTimes(w io.Writer, t Times) error {
	b := bufio.NewWriter(w)
	list := t.steps()
	if len(list) == 0 {
		return nil
	}
	first := list[0].began
	line := func(x timed) {
		s := &t.Plan.Steps[x.step]
		fmt.Fprintf(b, "%9.3f %8.3f  %4d %-6s %-8s %s\n", float64(x.began-first)/1e6, float64(x.took)/1e6, x.step+1, s.Actor, s.Phase, label(s))
	}
	fmt.Fprintln(b, "    at ms  took ms step")
	sum := map[Actor]int64{}
	for _, x := range list {
		line(x)
		sum[t.Plan.Steps[x.step].Actor] += x.took
	}
	fmt.Fprintf(b, "\nthe longest:\n")
	slices.SortStableFunc(list, func(x, y timed) int { return cmp.Compare(y.took, x.took) })
	for _, x := range list[:min(longest, len(list))] {
		line(x)
	}
	fmt.Fprintf(b, "\n%d steps in %.3f ms; the parent's %.3f, the child's %.3f, waits for each other included\n", len(list), float64(t.Ended-first)/1e6, float64(sum[Parent])/1e6, float64(sum[Child])/1e6)
	return b.Flush()
}

func label(s *Step) string {
	switch {
	case s.Label != "":
		return s.Label
	case s.Op == OpSyscall:
		return s.Sys.String()
	}
	return fmt.Sprintf("operation %d", s.Op)
}

// steps are those that were carried out, in time.
func (t Times) steps() []timed {
	var list []timed
	for i, began := range t.Began {
		if began != 0 {
			list = append(list, timed{step: i, began: began})
		}
	}
	slices.SortStableFunc(list, func(x, y timed) int { return cmp.Compare(x.began, y.began) })
	next := map[Actor]int64{Parent: t.Ended, Child: t.Ended}
	for i := len(list) - 1; i >= 0; i-- {
		a := t.Plan.Steps[list[i].step].Actor
		list[i].took = next[a] - list[i].began
		next[a] = list[i].began
	}
	return list
}
