package bpf

import (
	"encoding/binary"
	"slices"
)

// InstructionSize is how many bytes an instruction of eBPF has.
const InstructionSize = 8

// DeviceAccess is a set of what can be done to a device. The values are the kernel's (include/uapi/linux/bpf.h, BPF_DEVCG_ACC_*).
type DeviceAccess uint8

// The kinds of access.
const (
	DeviceMknod DeviceAccess = 1 << iota
	DeviceRead
	DeviceWrite
	DeviceAll = DeviceMknod | DeviceRead | DeviceWrite
)

// DeviceType is a kind of devices. The values are the kernel's (BPF_DEVCG_DEV_*), but for AnyDevice.
type DeviceType uint8

// The kinds of devices.
const (
	AnyDevice DeviceType = iota
	BlockDevice
	CharDevice
)

// AnyNumber stands for every major or minor number: the kernel's have 32 bits.
const AnyNumber = 1 << 32

// DeviceRule allows or denies access to devices.
type DeviceRule struct {
	Allow        bool
	Type         DeviceType
	Major, Minor uint64 // AnyNumber for all
	Access       DeviceAccess
}

func (r *DeviceRule) everything() bool {
	return r.Type == AnyDevice && r.Major >= AnyNumber && r.Minor >= AnyNumber && r.Access&DeviceAll == DeviceAll
}

// Registers of the program: the kernel passes struct bpf_cgroup_dev_ctx in r1 and takes the verdict from r0.
const (
	regVerdict = iota
	regContext
	regAccess // what is asked for and no rule has decided yet
	regKind
	regMajor
	regMinor
	regScratch
)

// Opcodes of eBPF (Documentation/bpf/standardization/instruction-set.rst). Comparisons are of 32 bits: their immediate is not sign-extended then.
const (
	eLoad32  = 0x61 // dst = *(u32 *)(src + off)
	eMove    = 0xb7 // dst = imm
	eMoveReg = 0xbf // dst = src
	eAnd     = 0x57 // dst &= imm
	eShiftR  = 0x77 // dst >>= imm
	eJumpEq  = 0x16 // if (u32)dst == imm
	eJumpNeq = 0x56 // if (u32)dst != imm
	eExit    = 0x95

	ctxMajor   = 4 // offsets in struct bpf_cgroup_dev_ctx
	ctxMinor   = 8
	typeBits   = 0xffff // access_type is (access << 16) | type
	accessBits = 16
)

// program is eBPF as it is built.
type program []byte

func (p *program) add(op, dst, src byte, off int16, imm uint32) {
	*p = append(*p, op, dst|src<<4)
	*p = binary.LittleEndian.AppendUint16(*p, uint16(off))
	*p = binary.LittleEndian.AppendUint32(*p, imm)
}

// endLength is the number of instructions of end.
const endLength = 2

// end returns the verdict.
func (p *program) end(allow bool) {
	var v uint32
	if allow {
		v = 1
	}
	p.add(eMove, regVerdict, 0, 0, v)
	p.add(eExit, 0, 0, 0, 0)
}

// Devices compiles a program of type BPF_PROG_TYPE_CGROUP_DEVICE, for a little-endian machine, that decides as the list does: of each kind of access that is
// asked for, the last rule that speaks of it and of the device decides, and what no rule speaks of is denied. The whole is allowed when all its parts are. A
// nil program stands for a list that allows everything.
//
// The rules of cgroup v1 (Documentation/admin-guide/cgroup-v1/devices.rst) decide the same, but that a rule there can only take back what another one with
// the same numbers has given: "deny c 1:3" behind "allow c 1:*" does nothing there, and denies here.
func Devices(rules []DeviceRule) []byte {
	if n := len(rules); n > 0 && rules[n-1].everything() && rules[n-1].Allow {
		return nil
	}
	p := make(program, 0, (prologue+mostOfRule*len(rules))*InstructionSize)
	p.add(eLoad32, regAccess, regContext, 0, 0)
	p.add(eMoveReg, regKind, regAccess, 0, 0)
	p.add(eAnd, regKind, 0, 0, typeBits)
	p.add(eShiftR, regAccess, 0, 0, accessBits)
	p.add(eLoad32, regMajor, regContext, ctxMajor, 0)
	p.add(eLoad32, regMinor, regContext, ctxMinor, 0)
	for _, r := range slices.Backward(rules) {
		if r.everything() { // what stands before it decides nothing; the kernel takes no program with instructions that are never reached
			p.end(r.Allow)
			return p
		}
		p.rule(r)
	}
	p.end(false)
	return p
}

// Instructions before and after the rules, and of the longest rule.
const prologue, mostOfRule = 8, 8

// rule is one rule; the last one of the list comes first. What it allows is taken out of what is asked for.
func (p *program) rule(r DeviceRule) {
	if r.Access&DeviceAll == 0 {
		return // speaks of nothing
	}
	var then program
	if r.Allow {
		then.add(eAnd, regAccess, 0, 0, uint32(DeviceAll&^r.Access))
		then.add(eJumpNeq, regAccess, 0, endLength, 0) // something is left to ask for
	} else {
		then.add(eMoveReg, regScratch, regAccess, 0, 0)
		then.add(eAnd, regScratch, 0, 0, uint32(DeviceAll&r.Access))
		then.add(eJumpEq, regScratch, 0, endLength, 0)
	}
	then.end(r.Allow)
	var is []condition
	if r.Type != AnyDevice {
		is = append(is, condition{regKind, uint32(r.Type)})
	}
	if r.Major < AnyNumber {
		is = append(is, condition{regMajor, uint32(r.Major)})
	}
	if r.Minor < AnyNumber {
		is = append(is, condition{regMinor, uint32(r.Minor)})
	}
	for i, c := range is {
		p.add(eJumpNeq, c.reg, 0, int16(len(is)-i-1+len(then)/InstructionSize), c.value)
	}
	*p = append(*p, then...)
}

// condition is a register's value without which a rule does not speak.
type condition struct {
	reg   byte
	value uint32
}
