package abi

import (
	"bytes"
	"encoding/binary"
	"math"
	"path/filepath"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.io/shim/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

// TestLayouts compares sizes and offsets with the structures of x/sys, which are the kernel's.
func TestLayouts(t *testing.T) {
	var (
		statfs unix.Statfs_t
		statx  unix.Statx_t
		attr   unix.MountAttr
	)
	for name, c := range map[string][2]uintptr{
		"OpenHowSize":     {OpenHowSize, unsafe.Sizeof(unix.OpenHow{})},
		"MountAttrSize":   {MountAttrSize, unsafe.Sizeof(attr)},
		"SockFprogSize":   {SockFprogSize, unsafe.Sizeof(unix.SockFprog{})},
		"its pointer":     {8, unsafe.Offsetof(unix.SockFprog{}.Filter)},
		"StatxSize":       {StatxSize, unsafe.Sizeof(statx)},
		"SchedAttrSize":   {SchedAttrSize, unsafe.Sizeof(unix.SchedAttr{})},
		"StatfsSize":      {StatfsSize, unsafe.Sizeof(statfs)},
		"StatfsType":      {StatfsType, unsafe.Offsetof(statfs.Type)},
		"StatfsFlags":     {StatfsFlags, unsafe.Offsetof(statfs.Flags)},
		"StatxMode":       {StatxMode, unsafe.Offsetof(statx.Mode)},
		"StatxIno":        {StatxIno, unsafe.Offsetof(statx.Ino)},
		"StatxRdev":       {StatxRdev, unsafe.Offsetof(statx.Rdev_major)},
		"its minor":       {StatxRdev + 4, unsafe.Offsetof(statx.Rdev_minor)},
		"StatxModeWord":   {StatxModeWord + StatxModeShift/8, unsafe.Offsetof(statx.Mode)},
		"its alignment":   {StatxModeWord % 8, 0},
		"MountAttrUserns": {MountAttrUserns, unsafe.Offsetof(attr.Userns_fd)},
		"CapUserHeaderV3": {CapUserHeaderV3, unix.LINUX_CAPABILITY_VERSION_3},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %d, want %d", name, c[0], c[1])
		}
	}
}

// raw is a structure as it lies in memory.
func raw[T any](t *testing.T, v T) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestMarshalled compares what is marshalled with the structures of x/sys.
func TestMarshalled(t *testing.T) {
	const eff, perm, inh = 0x1_2345_6789, 0xffff_ffff_ffff_ffff, 0x8000_0000_0000_0001
	type caps struct {
		H unix.CapUserHeader
		D [2]unix.CapUserData
	}
	for name, c := range map[string]struct{ got, want []byte }{
		"open_how":   {OpenHow(O_PATH|O_CLOEXEC, 0o755, RESOLVE_IN_ROOT), raw(t, unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Mode: 0o755, Resolve: unix.RESOLVE_IN_ROOT})},
		"mount_attr": {MountAttr(1, 2, 3), raw(t, unix.MountAttr{Attr_set: 1, Attr_clr: 2, Propagation: 3})},
		"capset": {CapData(eff, perm, inh), raw(t, caps{unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{
			{Effective: 0x2345_6789, Permitted: 0xffff_ffff, Inheritable: 1}, {Effective: 1, Permitted: 0xffff_ffff, Inheritable: 0x8000_0000}}})},
		"rlimit64":       {Rlimit(7, math.MaxUint64), raw(t, unix.Rlimit{Cur: 7, Max: math.MaxUint64})},
		"setgroups":      {Groups([]uint32{0, 1000, math.MaxUint32}), raw(t, []uint32{0, 1000, math.MaxUint32})},
		"setgroups of 0": {Groups(nil), []byte{}},
	} {
		if !bytes.Equal(c.got, c.want) {
			t.Errorf("%s:\n got %x\nwant %x", name, c.got, c.want)
		}
	}
}

// TestMkdev makes device nodes, and looks what the kernel understood.
func TestMkdev(t *testing.T) {
	for _, c := range [][2]uint32{{0, 0}, {1, 3}, {1, 255}, {8, 256}, {255, 4096}, {256, 1}, {4095, 1<<20 - 1}} {
		path := filepath.Join(t.TempDir(), "node")
		if err := unix.Mknod(path, unix.S_IFCHR|0o600, int(Mkdev(c[0], c[1]))); err != nil {
			t.Fatal(err)
		}
		var st unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_BASIC_STATS, &st); err != nil {
			t.Fatal(err)
		}
		if st.Rdev_major != c[0] || st.Rdev_minor != c[1] {
			t.Errorf("Mkdev(%d, %d) = %#x is %d:%d for the kernel", c[0], c[1], Mkdev(c[0], c[1]), st.Rdev_major, st.Rdev_minor)
		}
	}
}

// TestCapset sets our own capabilities by what is marshalled: the kernel takes it, and they are as before.
func TestCapset(t *testing.T) {
	get := func() (d [2]unix.CapUserData) {
		if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &d[0]); err != nil {
			t.Fatal(err)
		}
		return d
	}
	before := get()
	join := func(f func(unix.CapUserData) uint32) uint64 { return uint64(f(before[0])) | uint64(f(before[1]))<<32 }
	b := CapData(join(func(d unix.CapUserData) uint32 { return d.Effective }), join(func(d unix.CapUserData) uint32 { return d.Permitted }),
		join(func(d unix.CapUserData) uint32 { return d.Inheritable }))
	if _, _, e := unix.RawSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&b[8])), 0); e != 0 {
		t.Fatal(e)
	}
	if after := get(); after != before {
		t.Errorf("capabilities were %+v and are %+v", before, after)
	}
}
