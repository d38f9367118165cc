package abi

import "encoding/binary"

// Sizes in bytes of structures that calls take with their size, and of the ones they fill.
const (
	OpenHowSize   = 24  // struct open_how, first version
	MountAttrSize = 32  // struct mount_attr, MOUNT_ATTR_SIZE_VER0
	StatxSize     = 256 // struct statx
	StatfsSize    = 120 // struct statfs (64 bit)
	SchedAttrSize = 56  // struct sched_attr, SCHED_ATTR_SIZE_VER1
	// union bpf_attr up to the last field that is used. There is no structure in x/sys to compare with: the layout is in include/uapi/linux/bpf.h.
	BpfProgLoadSize   = 64
	BpfProgAttachSize = 16
)

// Offsets of fields.
const (
	StatfsType      = 0   // struct statfs.f_type, 64 bits
	StatfsFlags     = 80  // struct statfs.f_flags, 64 bits
	StatxMode       = 28  // struct statx.stx_mode, 16 bits; the 64-bit word at 24 holds it in bits 32 to 47 (see StatxModeWord)
	StatxIno        = 32  // struct statx.stx_ino
	StatxRdev       = 128 // struct statx.stx_rdev_major and stx_rdev_minor, 32 bits each
	MountAttrUserns = 24  // struct mount_attr.userns_fd, 64 bits
	StatxModeWord   = 24  // aligned 64-bit word that holds stx_mode
	StatxModeShift  = 32
	CapUserHeaderV3 = 0x20080522 // _LINUX_CAPABILITY_VERSION_3
	CloneArgsSize   = 88         // struct clone_args, CLONE_ARGS_SIZE_VER2
	BpfInsns        = 8          // union bpf_attr of BPF_PROG_LOAD: insns, 64 bits
	BpfLicense      = 16         // license, 64 bits
	bpfName         = 48         // prog_name, 16 bytes with a NUL
	BpfAttachTarget = 0          // union bpf_attr of BPF_PROG_ATTACH: target_fd, 32 bits
	BpfAttachProg   = 4          // attach_bpf_fd, 32 bits
	BpfAttachType   = 8          // attach_type, and attach_flags behind it, 32 bits each
)

// OpenHow marshals a struct open_how (openat2(2)).
func OpenHow(flags, mode, resolve uint64) []byte {
	b := make([]byte, 0, OpenHowSize)
	for _, v := range []uint64{flags, mode, resolve} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// MountAttr marshals a struct mount_attr (mount_setattr(2)). The user namespace is filled in at run time, at MountAttrUserns.
func MountAttr(set, clr, propagation uint64) []byte {
	b := make([]byte, 0, MountAttrSize)
	for _, v := range []uint64{set, clr, propagation, 0} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// BpfProgLoad marshals what bpf(2) takes for BPF_PROG_LOAD. The instructions and the license are pointers, to be filled in at BpfInsns and BpfLicense.
func BpfProgLoad(typ, insns uint32, name string) []byte {
	b := make([]byte, BpfProgLoadSize)
	binary.LittleEndian.PutUint32(b, typ)
	binary.LittleEndian.PutUint32(b[4:], insns)
	copy(b[bpfName:BpfProgLoadSize-1], name)
	return b
}

// CapData marshals the header and the data of capset(2) for the calling thread: the header at 0, the data at 8.
func CapData(effective, permitted, inheritable uint64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, CapUserHeaderV3)
	b = binary.LittleEndian.AppendUint32(b, 0)
	for shift := 0; shift <= 32; shift += 32 {
		for _, v := range []uint64{effective, permitted, inheritable} {
			b = binary.LittleEndian.AppendUint32(b, uint32(v>>shift))
		}
	}
	return b
}

// SockFprogSize is the size of struct sock_fprog (linux/filter.h): a 16-bit count of instructions, and at offset 8 their address.
const SockFprogSize = 16

// Rlimit marshals a struct rlimit64 (prlimit(2)).
func Rlimit(soft, hard uint64) []byte {
	return binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(nil, soft), hard)
}

// SchedAttr marshals a struct sched_attr (sched_setattr(2)). Its clamps of utilization, which runtime-spec has no values for, are 0.
func SchedAttr(policy uint32, flags uint64, nice, priority int32, runtime, deadline, period uint64) []byte {
	b := binary.LittleEndian.AppendUint32(nil, SchedAttrSize)
	b = binary.LittleEndian.AppendUint32(b, policy)
	b = binary.LittleEndian.AppendUint64(b, flags)
	b = binary.LittleEndian.AppendUint32(b, uint32(nice))
	b = binary.LittleEndian.AppendUint32(b, uint32(priority))
	for _, v := range []uint64{runtime, deadline, period, 0} {
		b = binary.LittleEndian.AppendUint64(b, v)
	}
	return b
}

// Groups marshals the list of setgroups(2).
func Groups(gids []uint32) []byte {
	var b []byte
	for _, g := range gids {
		b = binary.LittleEndian.AppendUint32(b, g)
	}
	return b
}

// Mkdev is the kernel's encoding of a device number for mknod(2) (new_encode_dev).
func Mkdev(major, minor uint32) uint64 {
	return uint64(minor&0xff | major<<8&0xfff00 | minor&^0xff<<12)
}
