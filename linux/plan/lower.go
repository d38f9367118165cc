package plan

import (
	"encoding/binary"
	"fmt"

	"example.io/shim/linux/abi"
)

// The lowered form of a plan is an image: header, registers, instructions of the child, data; in this order, all of it position
// dependent. Both actors map it at the same address. Package child has the same numbers in its assembly.
const (
	// HeaderSize is the size in bytes of the image's header.
	HeaderSize = 192
	// InstrSize is the size in bytes of a lowered instruction.
	InstrSize = 128

	// Offsets in the header, 64 bits each.
	HdrStep   = 0  // index of the step that the child is at
	HdrState  = 8  // StateRunning, StateFailed or StateLeft
	HdrFailed = 16 // index of the step that failed
	HdrResult = 24 // its result: -errno, or an unwanted value
	HdrTimes  = 32 // address of a table with a struct timespec for each step, when it began; 0 for none
	HdrClone  = 64 // struct clone_args of OpClone

	// StateRunning, StateFailed and StateLeft are the values at HdrState.
	StateRunning = 0
	StateFailed  = 1 // the child left because a step failed
	StateLeft    = 2 // the child left in favour of the one it cloned (Step.ExitParent)

	// Offsets in an instruction.
	inOp      = 0   // 32 bits
	inFlags   = 4   // 32 bits
	inNumber  = 8   // 64 bits: number of the system call
	inArgs    = 16  // 6 × 64 bits
	inLoad    = 64  // 64 bits: bit n says that argument n is the address of its value
	inSave    = 72  // 64 bits: address for the result, or 0
	inWant    = 80  // 64 bits
	inMask    = 88  // 64 bits
	inErrnos  = 96  // MaxErrnos × 16 bits
	inOnOK    = 104 // 32 bits: distance in bytes to the next instruction after a success
	inOnErr   = 108 // 32 bits: the same after a tolerated error
	inRetries = 112 // 32 bits
	inRetryOn = 116 // 32 bits
	inErrno   = 120 // 32 bits
	inStep    = 124 // 32 bits: index of the step

	opSyscall = 0
	opCheck   = 1
	opMove    = 2
	opFault   = 3
	opExit    = 4

	flagWant       = 1
	flagExitParent = 2
)

// Image is a lowered plan.
type Image struct {
	Bytes []byte
	Entry int // offset of the child's first instruction

	plan     *Plan
	base     uint64
	items    []int // offset of each item
	closeAll []int // offset of the first instruction of the OpCloseAll step
}

// Size returns the size in bytes of the image that Lower makes for p.
func Size(p *Plan) int {
	n := HeaderSize + 8*len(p.Regs)
	for i := range p.Steps {
		if p.Steps[i].Actor == Child {
			n += InstrSize * width(&p.Steps[i])
		}
	}
	for i := range p.Data {
		n = align(n) + len(p.Data[i].Bytes)
	}
	return n
}

// width is the number of instructions a step is lowered to: closing all but k descriptors is closing k+1 ranges, asking is a message and its answer.
func width(s *Step) int {
	switch s.Op {
	case OpCloseAll:
		return len(s.Keep) + 1
	case OpAsk:
		return 2 // write, read
	}
	return 1
}

// align rounds up to 16, which suits every structure of the kernel's interface.
func align(n int) int { return (n + 15) &^ 15 }

// Lower makes the image of p for arch (a GOARCH) in mem, which is zeroed, as large as Size says and at the address base. It is deterministic.
func Lower(p *Plan, arch string, mem []byte, base uint64) (*Image, error) {
	im := &Image{Bytes: mem[:Size(p)], plan: p, base: base, items: make([]int, len(p.Data))}
	off := HeaderSize + 8*len(p.Regs)
	im.Entry = off
	at := make([]int, len(p.Steps)) // offset of each child step's first instruction
	for i := range p.Steps {
		if p.Steps[i].Actor == Child {
			at[i] = off
			off += InstrSize * width(&p.Steps[i])
		}
	}
	for i := range p.Data {
		off = align(off)
		im.items[i] = off
		copy(im.Bytes[off:], p.Data[i].Bytes)
		off += len(p.Data[i].Bytes)
	}
	for i := range p.Data {
		for _, w := range p.Data[i].Words {
			im.put64(im.items[i]+w.Off, im.ItemAddr(w.To))
		}
	}
	for i := range p.Steps {
		if p.Steps[i].Actor != Child {
			continue
		}
		if err := im.lowerStep(i, arch, at); err != nil {
			return nil, fmt.Errorf("lower step %d %q: %w", i, p.Steps[i].Label, err)
		}
	}
	return im, nil
}

func (im *Image) lowerStep(i int, arch string, at []int) error {
	s := &im.plan.Steps[i]
	for n := range width(s) {
		o := at[i] + n*InstrSize
		im.put32(o+inStep, uint32(i))
		im.put32(o+inOnOK, InstrSize)
		im.put32(o+inOnErr, InstrSize)
	}
	o := at[i]
	if s.OnOK != 0 {
		im.put32(o+inOnOK, uint32(at[s.OnOK]-o))
	}
	if s.OnErr != 0 {
		im.put32(o+inOnErr, uint32(at[s.OnErr]-o))
	}
	for n, e := range s.Tolerate {
		binary.LittleEndian.PutUint16(im.Bytes[o+inErrnos+2*n:], uint16(e))
	}
	im.put32(o+inRetries, uint32(s.Retry))
	im.put32(o+inRetryOn, uint32(s.RetryOn))
	if s.Save != 0 {
		im.put64(o+inSave, im.RegAddr(s.Save))
	}
	for n, a := range s.Args {
		v, load := im.arg(a)
		im.put64(o+inArgs+8*n, v)
		if load {
			im.put64(o+inLoad, im.get64(o+inLoad)|1<<n)
		}
	}
	return im.lowerOp(s, o, arch)
}

func (im *Image) lowerOp(s *Step, o int, arch string) error {
	if s.Fault != 0 {
		im.put32(o+inOp, opFault)
		im.put32(o+inErrno, uint32(s.Fault))
		if width(s) > 1 && s.OnOK == 0 { // the rest of it is not carried out either
			im.put32(o+inOnOK, uint32(width(s)*InstrSize))
		}
		return nil
	}
	switch s.Op {
	case OpSyscall:
		nr, ok := s.Sys.Number(arch)
		if !ok {
			return fmt.Errorf("no number of %v on %s", s.Sys, arch)
		}
		im.put64(o+inNumber, nr)
		var flags uint32
		if s.HasWant {
			flags |= flagWant
			im.put64(o+inWant, uint64(s.Want))
		}
		if s.ExitParent {
			flags |= flagExitParent
		}
		im.put32(o+inFlags, flags)
	case OpCheck:
		im.put32(o+inOp, opCheck)
		im.put64(o+inMask, s.Mask)
		im.put64(o+inWant, s.Equal)
		im.put32(o+inErrno, uint32(s.Errno))
	case OpMove:
		im.put32(o+inOp, opMove)
	case OpExit:
		im.put32(o+inOp, opExit)
		im.put64(o+inWant, s.Equal)
	case OpAsk:
		for n, sys := range []abi.Sys{abi.SysWrite, abi.SysRead} {
			nr, ok := sys.Number(arch)
			if !ok {
				return fmt.Errorf("no number of %v on %s", sys, arch)
			}
			i := o + n*InstrSize
			copy(im.Bytes[i+inArgs:i+inArgs+16], im.Bytes[o+inArgs:])
			im.put64(i+inLoad, im.get64(o+inLoad))
			im.put64(i+inNumber, nr)
			im.put64(i+inArgs+16, 1)
			im.put64(i+inWant, 1)
			im.put32(i+inFlags, flagWant)
		}
	case OpCloseAll:
		im.closeAll = append(im.closeAll, o)
	default:
		return fmt.Errorf("operation %d is not for the child", s.Op)
	}
	return nil
}

// arg returns an argument's lowered value, and whether that is the address of the value.
func (im *Image) arg(a Arg) (uint64, bool) {
	switch a.Kind {
	case FromReg:
		return im.RegAddr(a.Reg), true
	case Addr:
		return im.ItemAddr(a.Data) + a.Value, false
	case Mem:
		return im.ItemAddr(a.Data) + a.Value, true
	default:
		return a.Value, false
	}
}

// Value returns the argument's value now.
func (im *Image) Value(a Arg) uint64 {
	v, load := im.arg(a)
	if load {
		return im.get64(int(v - im.base))
	}
	return v
}

// FillCloseAll completes the OpCloseAll step: keep are the descriptors to be kept, in ascending order and without repetition, at most as
// many as the step names registers. number is close_range's.
func (im *Image) FillCloseAll(number uint64, keep []int) {
	for _, o := range im.closeAll {
		step := &im.plan.Steps[im.get32(o+inStep)]
		first, slots := 0, width(step)
		for n := range slots {
			last := uint64(^uint32(0))
			if n < len(keep) {
				last = uint64(keep[n]) - 1
			}
			i := o + n*InstrSize
			if n > len(keep) || n < len(keep) && keep[n] == first { // nothing between two neighbours
				im.put32(i+inOp, opCheck) // 0&0 == 0: passes
			} else {
				im.put64(i+inNumber, number)
				im.put64(i+inArgs, uint64(first))
				im.put64(i+inArgs+8, last)
			}
			if n < len(keep) {
				first = keep[n] + 1
			}
		}
	}
}

// CloseAllKeeps returns the registers that the plan's OpCloseAll steps keep.
func (im *Image) CloseAllKeeps() []Reg {
	for _, o := range im.closeAll {
		return im.plan.Steps[im.get32(o+inStep)].Keep
	}
	return nil
}

// RegAddr returns the address of a register.
func (im *Image) RegAddr(r Reg) uint64 { return im.base + HeaderSize + 8*uint64(r) }

// ItemAddr returns the address of a data item.
func (im *Image) ItemAddr(r Ref) uint64 { return im.base + uint64(im.items[r]) }

// Reg returns a register's content.
func (im *Image) Reg(r Reg) int64 { return int64(im.get64(HeaderSize + 8*int(r))) }

// SetReg sets a register.
func (im *Image) SetReg(r Reg, v int64) { im.put64(HeaderSize+8*int(r), uint64(v)) }

// Header returns the word of the header at one of the Hdr offsets.
func (im *Image) Header(off int) uint64 { return im.get64(off) }

// SetHeader sets a word of the header.
func (im *Image) SetHeader(off int, v uint64) { im.put64(off, v) }

// Item returns the bytes of a data item as they are now.
func (im *Image) Item(r Ref) []byte {
	return im.Bytes[im.items[r] : im.items[r]+len(im.plan.Data[r].Bytes)]
}

func (im *Image) put64(off int, v uint64) { binary.LittleEndian.PutUint64(im.Bytes[off:], v) }
func (im *Image) put32(off int, v uint32) { binary.LittleEndian.PutUint32(im.Bytes[off:], v) }
func (im *Image) get64(off int) uint64    { return binary.LittleEndian.Uint64(im.Bytes[off:]) }
func (im *Image) get32(off int) uint32    { return binary.LittleEndian.Uint32(im.Bytes[off:]) }

// Store writes a 64-bit word at an address within the image (OpMove of the parent).
func (im *Image) Store(addr, v uint64) { im.put64(int(addr-im.base), v) }
