package main

import (
	"encoding/hex"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// tellPlan logs what is going to be done. Who searches a log for the stages of runc's finds them by its names.
func (a *app) tellPlan(p *plan.Plan) *plan.Plan {
	exec := strings.HasPrefix(p.Name, "exec ")
	ready := false
	for i := range p.Steps {
		s := &p.Steps[i]
		switch {
		case s.Op == plan.OpClone:
			a.log.debug("%s: what runc calls nsexec: affinity: %s", p.Name, launchMask(p))
		case s.Op == plan.OpCloseAll:
			a.log.debug("%s: what runc calls nsexec container setup and child process in init() begins here", p.Name)
		case s.Actor == plan.Child && s.Phase == plan.Ready && !ready:
			ready = true
			a.log.debug("%s: what runc calls init: closing the pipe to signal completion", p.Name)
		case s.Sys == abi.SysSeccomp:
			a.log.debug("seccomp filter flags: %d", s.Args[1].Value)
		case exec && s.Sys == abi.SysExecve:
			a.log.debug("%s: what runc calls setns_init: about to exec", p.Name)
		}
		a.log.debug("%s: step %d/%d of the %s: %s", p.Name, i+1, len(p.Steps), s.Actor, s.Label)
	}
	return p
}

// launchMask is the set of CPUs on which the child is forked, as a number: what the plan asks for, or our own.
func launchMask(p *plan.Plan) string {
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Actor == plan.Parent && s.Sys == abi.SysSchedSetaffinity {
			return hexMask(p.Data[s.Args[2].Data].Bytes)
		}
	}
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return "unknown"
	}
	const bits = 8
	bytes := make([]byte, len(set)*bits)
	for n := range len(bytes) * bits {
		if set.IsSet(n) {
			bytes[n/bits] |= 1 << (n % bits)
		}
	}
	return hexMask(bytes)
}

// hexMask is a set of bits, the lowest first, as a number.
func hexMask(set []byte) string {
	set = slices.Clone(set)
	slices.Reverse(set)
	return "0x" + strings.TrimLeft(hex.EncodeToString(set), "0")
}
