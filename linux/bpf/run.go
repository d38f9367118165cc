package bpf

import "fmt"

// Data is what a seccomp filter is asked about, the kernel's struct seccomp_data.
type Data struct {
	Nr, Arch uint32
	IP       uint64
	Args     [maxArgs]uint64
}

// word returns the 32-bit word at an offset of the structure, as a machine of the call's architecture has it in memory.
func (d *Data) word(off uint32) uint32 {
	switch off {
	case offNr:
		return d.Nr
	case offArch:
		return d.Arch
	}
	v := d.IP
	if off >= offArgs {
		v = d.Args[(off-offArgs)/8]
	}
	const littleEndian = 0x40000000 // __AUDIT_ARCH_LE
	if upper := off%8 != 0; upper == (d.Arch&littleEndian != 0) {
		v >>= 32
	}
	return uint32(v)
}

// Run carries out a filter as the kernel does and returns what it returns. An error says that the kernel would not take the program.
func Run(list []Insn, d *Data) (uint32, error) {
	var acc uint32
	for pc := 0; pc < len(list); pc++ {
		in := list[pc]
		var holds bool
		switch in.Code {
		case opLoad:
			if in.K%4 != 0 || in.K >= dataSize {
				return 0, fmt.Errorf("instruction %d loads a word at %d", pc, in.K)
			}
			acc = d.word(in.K)
			continue
		case opAnd:
			acc &= in.K
			continue
		case opRet:
			return in.K, nil
		case opJump:
			pc += int(in.K)
			continue
		case opJeq:
			holds = acc == in.K
		case opJgt:
			holds = acc > in.K
		case opJge:
			holds = acc >= in.K
		case opJset:
			holds = acc&in.K != 0
		default:
			return 0, fmt.Errorf("instruction %d has the code %#x", pc, in.Code)
		}
		if holds {
			pc += int(in.Jt)
		} else {
			pc += int(in.Jf)
		}
	}
	return 0, fmt.Errorf("the program of %d instructions runs out", len(list))
}
