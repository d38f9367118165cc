package bpf

import "github.com/opencontainers/runtime-spec/specs-go"

// Arch is an architecture whose system calls have a table here.
type Arch uint8

// The architectures, in the order of the table's columns.
const (
	X8664 Arch = iota
	X86
	X32
	AArch64
	ARM
	RISCV64
	S390X
	PPC64LE
	arches // how many there are
)

// x32Bit marks the numbers of x32, whose calls the kernel reports as x86_64's (__X32_SYSCALL_BIT in asm/unistd.h).
const x32Bit = 1 << 30

// archs says what the kernel and config.json call an architecture. audit is AUDIT_ARCH_ of linux/audit.h.
var archs = [arches]struct {
	name   specs.Arch
	audit  uint32
	big    bool // the high half of an argument comes first
	narrow bool // conditions look at the low half of an argument only, as libseccomp's do
	mux    bool // has socketcall(2) and ipc(2), by which calls can be made that have a number of their own too
}{
	X8664:   {name: specs.ArchX86_64, audit: 0xc000003e},
	X86:     {name: specs.ArchX86, audit: 0x40000003, narrow: true, mux: true},
	X32:     {name: specs.ArchX32, audit: 0xc000003e, narrow: true},
	AArch64: {name: specs.ArchAARCH64, audit: 0xc00000b7},
	ARM:     {name: specs.ArchARM, audit: 0x40000028, narrow: true},
	RISCV64: {name: specs.ArchRISCV64, audit: 0xc00000f3},
	S390X:   {name: specs.ArchS390X, audit: 0x80000016, big: true, mux: true},
	PPC64LE: {name: specs.ArchPPC64LE, audit: 0xc0000015, mux: true},
}

func (a Arch) String() string { return string(archs[a].name) }

// Audit returns what the kernel calls the architecture in a filter's input.
func (a Arch) Audit() uint32 { return archs[a].audit }

// Native returns the architecture of a GOARCH, and whether this package knows it.
func Native(goarch string) (Arch, bool) {
	switch goarch {
	case "amd64":
		return X8664, true
	case "arm64":
		return AArch64, true
	case "riscv64":
		return RISCV64, true
	case "s390x":
		return S390X, true
	case "ppc64le":
		return PPC64LE, true
	}
	return 0, false
}

// guests are the architectures whose calls a kernel of an architecture takes besides its own. A filter says nothing about others: no call comes from them.
func (a Arch) guests() []Arch {
	switch a {
	case X8664:
		return []Arch{X86, X32}
	case AArch64:
		return []Arch{ARM}
	}
	return nil
}

// ArchNames are the architectures that a profile can name (config-linux.md, "Seccomp").
var ArchNames = []specs.Arch{
	specs.ArchX86, specs.ArchX86_64, specs.ArchX32, specs.ArchARM, specs.ArchAARCH64, specs.ArchMIPS, specs.ArchMIPS64, specs.ArchMIPS64N32, specs.ArchMIPSEL,
	specs.ArchMIPSEL64, specs.ArchMIPSEL64N32, specs.ArchPPC, specs.ArchPPC64, specs.ArchPPC64LE, specs.ArchS390, specs.ArchS390X, specs.ArchPARISC,
	specs.ArchPARISC64, specs.ArchRISCV64, specs.ArchLOONGARCH64, specs.ArchM68K, specs.ArchSH, specs.ArchSHEB,
}
