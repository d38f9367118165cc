package plan

import (
	"bytes"
	"math"
	"slices"

	"example.io/shim/linux/abi"
)

// maxArgs is the number of arguments of a system call (syscall(2)).
const maxArgs = 6

// maxItem bounds an item: offsets in a lowered plan are 32 bits wide, and the kernel takes 128 KiB at most for one string of execve(2).
const maxItem = 1 << 26

// form checks what lowering and the other rules take for granted.
func (v *verifier) form() {
	p := v.p
	if len(p.Regs) == 0 || len(p.Data) == 0 || len(p.Regs) > math.MaxUint16 || len(p.Data) > math.MaxUint16 {
		v.fail("data", -1, "%d registers and %d items: both lists have an unused first one and at most 65535", len(p.Regs), len(p.Data))
		return
	}
	for i := range p.Data {
		v.formItem(i)
	}
	if len(v.errs) > 0 {
		return
	}
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Label == "" {
			v.fail("label", i, "no label")
		}
		if s.Actor > Child || s.Op > OpExit {
			v.fail("actor", i, "actor %d, operation %d: unknown", s.Actor, s.Op)
			continue
		}
		v.formActor(i, s)
		v.formErrnos(i, s)
		v.formJump(i, s, "success", s.OnOK)
		v.formJump(i, s, "error", s.OnErr)
		v.formArgs(i, s)
		if s.Undo != nil {
			v.formArgList(i, s.Undo.Args, false)
			if _, ok := s.Undo.Sys.Number("amd64"); ok == (s.Undo.Call != "") || s.Undo.Call != "" && !slices.Contains(undoCalls, s.Undo.Call) {
				v.fail("args", i, "its undo has no system call and no known function, or both")
			}
		}
	}
}

// formItem checks one item of the data.
func (v *verifier) formItem(i int) {
	it := &v.p.Data[i]
	if len(it.Bytes) > maxItem {
		v.fail("data", -1, "item %d %q has %d bytes", i, it.Name, len(it.Bytes))
	}
	if it.Str && bytes.IndexByte(it.Bytes, 0) != len(it.Bytes)-1 {
		v.fail("data", -1, "string %d %q: a NUL ends it, and none stands before", i, it.Name)
	}
	for _, w := range it.Words {
		if w.Off < 0 || w.Off%8 != 0 || w.Off > len(it.Bytes)-8 {
			v.fail("data", -1, "item %d %q: a pointer at %d of %d bytes", i, it.Name, w.Off, len(it.Bytes))
		}
		if w.To == 0 || int(w.To) >= len(v.p.Data) {
			v.fail("data", -1, "item %d %q: a pointer to item %d, which is not there", i, it.Name, w.To)
		}
	}
}

func (v *verifier) formActor(i int, s *Step) {
	switch s.Op {
	case OpClone, OpCall, OpGate:
		if s.Actor != Parent {
			v.fail("actor", i, "an operation of the parent alone")
		}
	case OpCloseAll, OpExit, OpAsk:
		if s.Actor != Child {
			v.fail("actor", i, "an operation of the child alone")
		}
	}
	if s.ExitParent && (s.Actor != Child || s.Op != OpSyscall || s.Sys != abi.SysClone3) {
		v.fail("actor", i, "only the child's clone3 can leave its process behind")
	}
	if s.Undo != nil && s.Actor != Parent {
		v.fail("actor", i, "an undo is the parent's")
	}
}

func (v *verifier) formErrnos(i int, s *Step) {
	if len(s.Tolerate) > MaxErrnos {
		v.fail("errnos", i, "tolerates %d errnos", len(s.Tolerate))
	}
	for _, e := range s.Tolerate {
		if e == 0 {
			v.fail("errnos", i, "tolerates errno 0, which is a success")
		}
	}
	if s.Retry > 0 && s.RetryOn == 0 {
		v.fail("errnos", i, "is tried again without an errno")
	}
	if s.Op == OpCheck && s.Errno == 0 {
		v.fail("errnos", i, "a check that fails with no errno")
	}
}

func (v *verifier) formJump(i int, s *Step, on string, to int) {
	switch {
	case to == 0:
	case to <= i || to >= len(v.p.Steps):
		v.fail("jump", i, "goes on at step %d after a %s", to+1, on)
	case v.p.Steps[to].Actor != s.Actor:
		v.fail("jump", i, "goes on at step %d of the %s after a %s", to+1, v.p.Steps[to].Actor, on)
	}
	if on == "error" && to != 0 && len(s.Tolerate) == 0 {
		v.fail("jump", i, "has a way to go on after an error but tolerates none")
	}
}

// argCount is the number of arguments that an operation has, -1 for any.
func argCount(op Op) int {
	switch op {
	case OpCloseAll, OpGate:
		return 0
	case OpCheck, OpClone, OpExit:
		return 1
	case OpMove, OpAsk:
		return 2
	}
	return -1
}

// calls are the functions of OpCall.
var calls = []string{CallHome, CallIDMap, CallUserns, CallArmOOM, CallAdopt, CallReceive, CallMountIn, CallOOMScore,
	CallHook, CallAgent, CallCopyUp, CallMountMapped, CallMountLoop, CallTimeOffsets, CallMoveNetDevice, CallCgroup,
	CallMapMount, CallSchemata, CallHasSchemata, CallStartUnit, CallSetUnit, CallLeaveUnit}

// asks are the functions of OpAsk.
var asks = []string{CallTarget}

// undoCalls are the functions that take a step back.
var undoCalls = []string{CallStopUnit}

func (v *verifier) formArgs(i int, s *Step) {
	if n := argCount(s.Op); n >= 0 && len(s.Args) != n && !(s.Op == OpClone && len(s.Args) == n+1) {
		v.fail("args", i, "%d arguments instead of %d", len(s.Args), n)
		return
	}
	if len(s.Args) > maxArgs {
		v.fail("args", i, "%d arguments", len(s.Args))
		return
	}
	if s.Op == OpSyscall {
		_, amd := s.Sys.Number("amd64")
		_, arm := s.Sys.Number("arm64")
		if !amd || !arm || s.Sys == abi.SysNone {
			v.fail("args", i, "no system call")
			return
		}
	}
	if s.Op == OpCall && !slices.Contains(calls, s.Call) {
		v.fail("args", i, "calls %q, which is not known", s.Call)
	}
	if s.Op == OpMove && s.Args[1].Kind != Addr {
		v.fail("args", i, "moves to no place in the data")
		return
	}
	if int(s.Save) >= len(v.p.Regs) {
		v.fail("register", i, "saves to register %d, which is not there", s.Save)
	}
	if s.FD && s.Save == 0 {
		v.fail("register", i, "its descriptor is saved nowhere")
	}
	for _, r := range s.Keep {
		if r == 0 || int(r) >= len(v.p.Regs) {
			v.fail("register", i, "keeps register %d, which is not there", r)
		}
	}
	n := len(v.errs)
	v.formArgList(i, s.Args, s.Op == OpCheck || s.Op == OpExit)
	if len(v.errs) == n {
		v.formBuffers(i, s)
		v.formAsk(i, s)
	}
}

// formAsk checks what the child asks its parent for, and that the message is one.
func (v *verifier) formAsk(i int, s *Step) {
	if s.Op != OpAsk {
		return
	}
	if !slices.Contains(asks, s.Call) || s.OnOK != 0 || len(s.Tolerate) > 0 || s.Save != 0 {
		v.fail("args", i, "asks for %q, or has another way on than to the next step", s.Call)
	}
	v.formArgList(i, s.Ask, false)
	if b, ok := v.p.bytes(s.Args[1], 1); !ok || b[0] != Asks || s.Args[0].Kind != FromReg || v.p.Regs[s.Args[0].Reg] != RegSyncC {
		v.fail("args", i, "what it sends is no question")
	}
}

func (v *verifier) formArgList(i int, args []Arg, mem bool) {
	if len(args) > maxArgs {
		v.fail("args", i, "%d arguments", len(args))
		return
	}
	for n, a := range args {
		switch {
		case a.Kind > Mem:
			v.fail("args", i, "argument %d is of kind %d", n, a.Kind)
		case a.Kind == FromReg && (a.Reg == 0 || int(a.Reg) >= len(v.p.Regs)):
			v.fail("register", i, "argument %d is register %d, which is not there", n, a.Reg)
		case a.Kind == Mem && !mem:
			v.fail("args", i, "argument %d: only a check and an exit can look into the data", n)
		case a.Kind == Addr || a.Kind == Mem:
			v.formRef(i, n, a)
		}
	}
}

// formRef checks a reference into the data.
func (v *verifier) formRef(i, n int, a Arg) {
	if a.Data == 0 || int(a.Data) >= len(v.p.Data) {
		v.fail("data", i, "argument %d names item %d, which is not there", n, a.Data)
		return
	}
	size, need := uint64(len(v.p.Data[a.Data].Bytes)), uint64(0)
	switch {
	case a.Kind == Mem:
		need = 8
	case v.p.Data[a.Data].Str:
		need = 1 // its NUL at least
	}
	if a.Value > size || size-a.Value < need {
		v.fail("data", i, "argument %d names byte %d of %d of %q", n, a.Value, size, v.p.Data[a.Data].Name)
	}
}

// formBuffers checks the sizes of what the kernel reads and writes by address.
func (v *verifier) formBuffers(i int, s *Step) {
	if s.Op == OpMove {
		v.formBuffer(i, s, 1, 8)
		return
	}
	if s.Op != OpSyscall {
		return
	}
	for _, b := range buffers[s.Sys] {
		size := uint64(b.size)
		if b.lenArg >= 0 {
			n, ok := imm(s, b.lenArg)
			if !ok {
				continue // the length is in a register
			}
			size *= n
		}
		if b.ifArg >= 0 {
			if cmd, ok := imm(s, b.ifArg); !ok || cmd != b.ifValue {
				continue
			}
		}
		v.formBuffer(i, s, b.arg, size)
	}
	if vec := vectors[s.Sys]; vec != 0 {
		v.formVector(i, s, vec)
		v.formVector(i, s, vec+1)
	}
}

func (v *verifier) formBuffer(i int, s *Step, n int, size uint64) {
	a := arg(s, n)
	if a.Kind != Addr {
		return
	}
	if have := uint64(len(v.p.Data[a.Data].Bytes)) - a.Value; have < size {
		v.fail("buffer", i, "argument %d: %d bytes at byte %d of %q, which has %d", n, size, a.Value, v.p.Data[a.Data].Name, a.Value+have)
	}
}

// formVector checks argv or envp: a nil pointer ends it.
func (v *verifier) formVector(i int, s *Step, n int) {
	a := arg(s, n)
	if a.Kind != Addr {
		return
	}
	it := &v.p.Data[a.Data]
	end := len(it.Bytes) - 8
	ok := len(it.Bytes)%8 == 0 && end >= 0 && a.Value == 0 && !it.Str
	for _, w := range it.Words {
		ok = ok && w.Off != end
	}
	if !ok || !bytes.Equal(it.Bytes[end:], make([]byte, 8)) {
		v.fail("buffer", i, "argument %d: %q is no list of pointers that ends with nil", n, it.Name)
	}
}
