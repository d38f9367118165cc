package bpf

import "encoding/binary"

// Insn is an instruction of classic BPF, the kernel's struct sock_filter (linux/filter.h).
type Insn struct {
	Code   uint16
	Jt, Jf uint8
	K      uint32
}

// The codes that a filter is made of (linux/bpf_common.h). A filter has one register, the accumulator.
const (
	opLoad = 0x20 // BPF_LD|BPF_W|BPF_ABS: the 32-bit word at offset K of struct seccomp_data
	opAnd  = 0x54 // BPF_ALU|BPF_AND|BPF_K
	opJump = 0x05 // BPF_JMP|BPF_JA: K instructions further
	opJeq  = 0x15 // BPF_JMP|BPF_JEQ|BPF_K: Jt instructions further when it holds, else Jf
	opJgt  = 0x25 // BPF_JMP|BPF_JGT|BPF_K
	opJge  = 0x35 // BPF_JMP|BPF_JGE|BPF_K
	opJset = 0x45 // BPF_JMP|BPF_JSET|BPF_K
	opRet  = 0x06 // BPF_RET|BPF_K
)

// Offsets in struct seccomp_data (linux/seccomp.h).
const (
	offNr, offArch, offArgs, dataSize = 0, 4, 16, 64
)

// maxInsns is the kernel's limit of a program (BPF_MAXINSNS in linux/bpf_common.h).
const maxInsns = 4096

// maxSkip is how far a conditional jump leads.
const maxSkip = 255

// label is an instruction by its distance from the program's end.
type label int

// asm writes a program from its end to its beginning: what a jump leads to is always there already, and what is the same is written once.
type asm struct {
	rev  []Insn  // the last instruction first
	near []label // for each instruction, the copy of it that was written last
	rets []label // one of each value returned
}

func (a *asm) emit(in Insn) label {
	at := label(len(a.rev))
	a.rev, a.near = append(a.rev, in), append(a.near, at)
	return at
}

// ret is where k is returned.
func (a *asm) ret(k uint32) label {
	for _, at := range a.rets {
		if a.rev[at].K == k {
			return at
		}
	}
	at := a.emit(Insn{Code: opRet, K: k})
	a.rets = append(a.rets, at)
	return at
}

// jump goes on at yes when the accumulator compares so with k, else at no.
func (a *asm) jump(code uint16, k uint32, yes, no label) label {
	if yes == no {
		return yes
	}
	for { // an island moves what stands before it
		at := label(len(a.rev))
		switch {
		case at-1-a.near[yes] > maxSkip:
			a.island(yes)
		case at-1-a.near[no] > maxSkip:
			a.island(no)
		default:
			return a.emit(Insn{Code: code, K: k, Jt: uint8(at - 1 - a.near[yes]), Jf: uint8(at - 1 - a.near[no])})
		}
	}
}

// island brings a far place near: by a copy when it returns, else by a jump of any length.
func (a *asm) island(far label) {
	in := a.rev[far]
	if in.Code != opRet {
		in = Insn{Code: opJump, K: uint32(label(len(a.rev)) - 1 - far)}
	}
	a.near[far] = a.emit(in)
}

// load puts a word of the input into the accumulator and goes on at next.
func (a *asm) load(off uint32, next label) label {
	a.follow(next)
	return a.emit(Insn{Code: opLoad, K: off})
}

// and masks the accumulator and goes on at next.
func (a *asm) and(k uint32, next label) label {
	a.follow(next)
	return a.emit(Insn{Code: opAnd, K: k})
}

// follow makes the next instruction that is written be followed by next.
func (a *asm) follow(next label) {
	if int(next) != len(a.rev)-1 {
		a.emit(Insn{Code: opJump, K: uint32(label(len(a.rev)) - 1 - next)})
	}
}

// program returns what was written, in the order of execution.
func (a *asm) program() []Insn {
	list := make([]Insn, len(a.rev))
	for i, in := range a.rev {
		list[len(list)-1-i] = in
	}
	return list
}

// Parse is Bytes' inverse.
func Parse(b []byte) []Insn {
	list := make([]Insn, 0, len(b)/8)
	for ; len(b) >= 8; b = b[8:] {
		list = append(list, Insn{binary.LittleEndian.Uint16(b), b[2], b[3], binary.LittleEndian.Uint32(b[4:])})
	}
	return list
}

// Bytes returns the instructions as the kernel reads them on a little-endian machine.
func Bytes(list []Insn) []byte {
	b := make([]byte, 0, 8*len(list))
	for _, in := range list {
		b = binary.LittleEndian.AppendUint16(b, in.Code)
		b = append(b, in.Jt, in.Jf)
		b = binary.LittleEndian.AppendUint32(b, in.K)
	}
	return b
}
