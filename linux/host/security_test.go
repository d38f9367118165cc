package host

import (
	"encoding/binary"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/facts"
)

// TestSecurityModules compares with the kernel's own list (lsm_list_modules(2), Linux 6.8), where there is that call.
func TestSecurityModules(t *testing.T) {
	const sysListModules, selinuxID, apparmorID = 461, 101, 104
	want := map[uint64]facts.Support{selinuxID: facts.No, apparmorID: facts.No}
	buf := make([]byte, 512)
	size := uint32(len(buf))
	n, _, errno := unix.Syscall(sysListModules, uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno == unix.ENOSYS {
		n = 0
		want[selinuxID], want[apparmorID] = selinux(), apparmor() // nobody to ask
	}
	for i := range int(n) {
		want[binary.LittleEndian.Uint64(buf[8*i:])] = facts.Yes
	}
	if got := selinux(); got != want[selinuxID] {
		t.Errorf("SELinux: %v, want %v", got, want[selinuxID])
	}
	if got := apparmor(); got != want[apparmorID] {
		t.Errorf("AppArmor: %v, want %v", got, want[apparmorID])
	}
}

func TestMountOf(t *testing.T) {
	info := []byte("21 1 0:20 / /proc rw - proc proc rw\n30 21 0:27 / /mnt/resctrl\\040x rw,nosuid shared:5 - resctrl resctrl rw\n31 21 0:28 / /x rw - resctrl2 a rw\nbroken - resctrl\n")
	for typ, want := range map[string]string{"resctrl": "/mnt/resctrl x", "proc": "/proc", "none": ""} {
		if got := mountOf(info, typ); got != want {
			t.Errorf("%s: %q, want %q", typ, got, want)
		}
	}
}
