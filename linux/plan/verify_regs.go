package plan

import (
	"encoding/binary"
	"slices"

	"example.io/shim/linux/abi"
)

func le64(b []byte) uint64 { return binary.LittleEndian.Uint64(b) }

// inputs are the registers that package run fills in before the first step.
var inputs = []string{RegStdin, RegStdout, RegStderr, RegSyncP, RegSyncC, RegGate, RegInit, RegInitPid}

// regSet is a set of registers.
type regSet []uint64

func newRegSet(n int) regSet { return make(regSet, (n+63)/64) }

func (s regSet) has(r Reg) bool { return s[r/64]>>(r%64)&1 != 0 }
func (s regSet) add(r Reg) {
	if r != 0 {
		s[r/64] |= 1 << (r % 64)
	}
}

func (s regSet) remove(r Reg) { s[r/64] &^= 1 << (r % 64) }

func (s regSet) union(o regSet) {
	for i := range o {
		s[i] |= o[i]
	}
}

func (s regSet) intersect(o regSet) {
	for i := range o {
		s[i] &= o[i]
	}
}

// flow follows which registers are set, along both ways of every branch, and from one actor to the other at each message.
type flow struct {
	v     *verifier
	in    []regSet // what is set before each step on every way to it; nil: no way leads to it
	born  regSet   // what is set when the child begins
	sent  [2][]regSet
	stale bool     // sent or born has grown: another pass is needed
	rows  []uint64 // the memory of in: a plan has hundreds of steps, and each start of a container verifies two
	// out and failed are the sets behind the step that is looked at.
	out, failed regSet
}

func (v *verifier) newFlow() *flow {
	n := len(v.p.Regs)
	born := newRegSet(n)
	return &flow{v: v, born: born, in: make([]regSet, len(v.p.Steps)), rows: make([]uint64, len(v.p.Steps)*len(born)), out: newRegSet(n), failed: newRegSet(n)}
}

// enter notes what is set before step n, to which no other way was known.
func (f *flow) enter(n int, set regSet) {
	f.in[n] = regSet(f.rows[n*len(set) : (n+1)*len(set)])
	copy(f.in[n], set)
}

// registers checks that what is read was set.
func (v *verifier) registers() {
	f, begin := v.newFlow(), v.inputs()
	if v.clone < 0 {
		f.born = begin
	}
	// What one actor has set reaches the other through messages, which only ever add: a pass for each message at most.
	for range len(v.p.Steps) + 2 {
		f.stale = false
		clear(f.in)
		f.pass(Parent, begin)
		f.pass(Child, f.born)
		if !f.stale {
			break
		}
	}
	f.reports(Parent)
	f.reports(Child)
}

// inputs are the registers that are set before the first step.
func (v *verifier) inputs() regSet {
	s := newRegSet(len(v.p.Regs))
	for r, name := range v.p.Regs {
		if slices.Contains(inputs, name) || isPreserved(name) {
			s.add(Reg(r))
		}
	}
	return s
}

// pass goes through the steps of one actor once; jumps are forward only.
func (f *flow) pass(a Actor, begin regSet) {
	list := f.v.steps[a]
	if len(list) == 0 {
		return
	}
	f.enter(list[0], begin)
	reads, writes := 0, 0
	for _, i := range list {
		s := &f.v.p.Steps[i]
		w, r := f.v.message(s)
		if f.in[i] != nil {
			out := f.after(i, s)
			if w {
				f.send(a, writes, out)
			}
			failed := f.failed
			copy(failed, out)
			if s.FD {
				failed.remove(s.Save) // what is saved then is -errno, and no descriptor
			}
			if r {
				f.receive(a, reads, out)
			}
			f.leave(i, s, out, failed)
		}
		if w {
			writes++
		}
		if r {
			reads++
		}
	}
}

// receive adds what the other actor's n-th message brings.
func (f *flow) receive(a Actor, n int, out regSet) {
	if other := f.sent[1-a]; n < len(other) && other[n] != nil {
		out.union(other[n])
	}
}

// reports fails for each step of an actor that no way leads to, and for what the others read and is not set.
func (f *flow) reports(a Actor) {
	reads := 0
	for _, i := range f.v.steps[a] {
		s := &f.v.p.Steps[i]
		_, r := f.v.message(s)
		if f.in[i] == nil {
			f.v.fail("jump", i, "no way leads to it")
		} else {
			out := f.in[i]
			if s.Undo != nil { // it is carried out later
				if out = f.after(i, s); r {
					f.receive(a, reads, out)
				}
			}
			f.report(i, s, out)
		}
		if r {
			reads++
		}
	}
}

// message says whether s sends a message to the other actor, or waits for one.
func (v *verifier) message(s *Step) (sends, receives bool) {
	if len(s.Args) == 0 || s.Args[0].Kind != FromReg || s.Args[0].Reg == 0 || s.Args[0].Reg != v.sync[s.Actor] {
		return false, false
	}
	if s.Op != OpSyscall {
		return false, s.Op == OpCall && s.Call == CallReceive
	}
	return s.Sys == abi.SysWrite || s.Sys == abi.SysSendmsg, s.Sys == abi.SysRead
}

// after returns what is set behind step i, in f.out.
func (f *flow) after(i int, s *Step) regSet {
	out := f.out
	copy(out, f.in[i])
	out.add(s.Save)
	if s.Op == OpClone {
		old := slices.Clone(f.born)
		f.born.union(out)
		f.stale = f.stale || !slices.Equal(old, f.born)
		out.add(f.v.p.Reg(RegPid))
		out.add(f.v.p.Reg(RegPidfd))
	}
	return out
}

func (f *flow) send(a Actor, n int, set regSet) {
	for len(f.sent[a]) <= n {
		f.sent[a] = append(f.sent[a], nil)
	}
	if !slices.Equal(f.sent[a][n], set) {
		f.sent[a][n], f.stale = slices.Clone(set), true
	}
}

// leave hands the sets on to the steps that can follow.
func (f *flow) leave(i int, s *Step, out, failed regSet) {
	to := func(n int, set regSet) {
		if n == 0 {
			n = f.v.next(i)
		}
		switch {
		case n >= len(f.in):
		case f.in[n] == nil:
			f.enter(n, set)
		default:
			f.in[n].intersect(set)
		}
	}
	if !ends(s) {
		to(s.OnOK, out)
	}
	if len(s.Tolerate) > 0 {
		to(s.OnErr, failed)
	}
}

// ends says that a successful s is the actor's last one.
func ends(s *Step) bool {
	return s.Op == OpExit || s.Op == OpSyscall && (isExec(s) || s.Sys == abi.SysExitGroup)
}

func isExec(s *Step) bool {
	return s.Op == OpSyscall && (s.Sys == abi.SysExecve || s.Sys == abi.SysExecveat)
}

// report fails for each register that step i reads and that may be unset.
func (f *flow) report(i int, s *Step, out regSet) {
	for _, a := range s.Args {
		if a.Kind == FromReg && !f.in[i].has(a.Reg) {
			f.v.fail("register", i, "reads %%%s, which is not set on every way here", f.v.p.Regs[a.Reg])
		}
	}
	for _, r := range s.Keep {
		if !f.in[i].has(r) {
			f.v.fail("register", i, "keeps %%%s, which is not set on every way here", f.v.p.Regs[r])
		}
	}
	if s.Undo == nil {
		return
	}
	for _, a := range s.Undo.Args {
		if a.Kind == FromReg && !out.has(a.Reg) {
			f.v.fail("register", i, "its undo reads %%%s, which is not set on every way here", f.v.p.Regs[a.Reg])
		}
	}
}
