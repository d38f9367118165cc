package host

import (
	"bytes"
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/facts"
	"example.io/shim/linux/plainfile"
)

// apparmor says whether AppArmor is active: a kernel that has it can be started without.
func apparmor() facts.Support {
	data, err := plainfile.Read("/sys/module/apparmor/parameters/enabled")
	switch {
	case errors.Is(err, os.ErrNotExist):
		return facts.No
	case err != nil:
		return facts.Unknown
	case strings.HasPrefix(string(data), "Y"):
		return facts.Yes
	}
	return facts.No
}

// selinux says whether SELinux is active. Its file system is registered then only, and every distribution mounts it there.
func selinux() facts.Support {
	if isMounted("/sys/fs/selinux", unix.SELINUX_MAGIC) {
		return facts.Yes
	}
	return facts.No
}

// Seccomp says whether the kernel takes filters, and which flags with them. A filter that is not there is answered by EFAULT when the flags are known, by EINVAL
// when they are not (seccomp(2)).
func Seccomp() (facts.Support, uint64) {
	knows := func(flags uintptr) error {
		_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, flags, 0)
		return errno
	}
	switch err := knows(0); {
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EINVAL):
		return facts.No, 0
	case !errors.Is(err, unix.EFAULT):
		return facts.Unknown, 0
	}
	var flags uint64
	for _, f := range []uintptr{unix.SECCOMP_FILTER_FLAG_TSYNC, unix.SECCOMP_FILTER_FLAG_LOG, unix.SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV} {
		with := f
		if f == unix.SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV {
			with |= unix.SECCOMP_FILTER_FLAG_NEW_LISTENER // it says how a listener waits
		}
		if errors.Is(knows(with), unix.EFAULT) {
			flags |= uint64(f)
		}
	}
	return facts.Yes, flags
}

func isMounted(path string, magic int64) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == magic
}

const (
	resctrlPoint = "/sys/fs/resctrl" // the kernel makes it when the processor has something to allocate
	resctrlMagic = 0x7655821         // RDTGROUP_SUPER_MAGIC (include/uapi/linux/magic.h)
)

// resctrl returns where the file system for cache and memory bandwidth is mounted, "" for nowhere.
func resctrl() string {
	if isMounted(resctrlPoint, resctrlMagic) {
		return resctrlPoint
	}
	if exists(resctrlPoint) != facts.Yes {
		return ""
	}
	data, err := plainfile.Read("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return mountOf(data, "resctrl")
}

// mountOf returns the first mount point of a type of file system in a mountinfo (proc_pid_mountinfo(5)).
func mountOf(mountinfo []byte, typ string) string {
	for line := range bytes.Lines(mountinfo) {
		place, fs, ok := strings.Cut(string(line), " - ")
		f := strings.Fields(place)
		if ok && len(f) > 4 && strings.HasPrefix(fs, typ+" ") {
			return Unescape(f[4])
		}
	}
	return ""
}
