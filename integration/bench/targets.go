package main

import (
	"fmt"
	"strings"
)

// target is what a figure of ours is to be, as a ratio to a peer's or, without a peer, as a number.
type target struct {
	figure string
	peers  []string // the best of them counts
	limit  float64
	least  bool // at least the limit, not at most
}

var (
	both    = []string{runc, crun}
	targets = []target{
		{"whole", []string{runc}, 0.25, false}, {"whole", both, 0.33, false}, {"whole", []string{null}, 1.20, false},
		{"exec whole", []string{runc}, 0.15, false}, {"exec whole", both, 0.33, false},
		{"kill to exit", both, 0.25, false}, {"start helper", []string{runc}, 0.5, false},
		{"burst, containers a second", both, 3, true}, {"burst, CPU ms a container, without containerd's own", both, 0.4, false},
		{"idle private, 100 containers", both, 0.6, false}, {"idle RSS, 100 containers", both, 0.6, false},
		{"idle threads, 100 containers", nil, 6, false}, {"wake-ups a minute, 100 containers", nil, 0, false},
		{"stdout, fifo, MB/s", both, 1.3, true}, {"stdout, fifo, CPU s of the shim per GB", both, 0.3, false},
		{"probes, CPU ms an exec, without containerd's own", both, 0.3, false}, {"memory charged, most", []string{crun}, 0.5, false},
		{"command line: run", []string{crun}, 0.6, false}, {"command line: exec", []string{crun}, 0.6, false},
		{"beside many: whole, against ten", nil, 1.3, false}, {"beside many: CPU of a whole run, against ten", nil, 1.3, false},
		{"beside many: CPU of a whole run, without containerd's own, against ten", nil, 1.3, false},
	}
)

// value is what t is held against; false when it was not measured. Of several peers the one counts against which ours is worst: it is the best.
func (r *results) value(t target) (v float64, ok bool) {
	if len(t.peers) == 0 {
		list := r.Samples[t.figure][ours]
		return median(list), len(list) > 0
	}
	for _, p := range t.peers {
		x, measured := r.ratio(t.figure, p)
		if !measured {
			continue
		}
		if !ok || t.least && x < v || !t.least && x > v {
			v, ok = x, true
		}
	}
	return v, ok
}

// targetTable says which targets this run reached.
func (r *results) targetTable() string {
	var b strings.Builder
	b.WriteString("### Targets\n\n| figure | against | target | measured | |\n|---|---|---|---|---|\n")
	for _, t := range targets {
		v, ok := r.value(t)
		if !ok {
			continue
		}
		sign, word := "at most", "**missed**"
		if t.least {
			sign = "at least"
		}
		if t.least && v >= t.limit || !t.least && v <= t.limit {
			word = "reached"
		}
		against := "the better of runc and crun"
		switch len(t.peers) {
		case 0:
			against = "(a number)"
		case 1:
			against = t.peers[0]
		}
		fmt.Fprintf(&b, "| %s | %s | %s %g | %.2f | %s |\n", t.figure, against, sign, t.limit, v, word)
	}
	return b.String() + "\n"
}
