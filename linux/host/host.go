// Package host finds out what the compiler needs to know of this machine. It asks by doing and never compares kernel versions.
package host

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/earlylimit"
	"example.io/shim/linux/facts"
	"example.io/shim/linux/plainfile"
)

// Probe returns the facts of this machine and process. An error that is errdefs.ErrNotImplemented says what the kernel lacks. It runs at every start of a
// shim, so it reads few and small files: not mountinfo, which is long on a busy node, unless the usual mount points are not there.
func Probe() (facts.Facts, error) {
	if err := probeCalls(); err != nil {
		return facts.Facts{}, err
	}
	f := facts.Facts{Arch: runtime.GOARCH, UID: uint32(os.Geteuid()), PageSize: os.Getpagesize(), InUserns: InUserNamespace()}
	f.Nofile.Soft, f.Nofile.Hard = earlylimit.Nofile()
	var uts unix.Utsname
	if err := unix.Uname(&uts); err == nil {
		f.Kernel = unix.ByteSliceToString(uts.Release[:])
	}
	var err error
	if f.LastCap, err = number("/proc/sys/kernel/cap_last_cap"); err != nil {
		return f, err
	}
	if f.OOMScoreAdj, err = number("/proc/self/oom_score_adj"); err != nil {
		return f, err
	}
	if f.Caps, err = capabilities(); err != nil {
		return f, err
	}
	if f.Ignored, err = ignoredSignals(); err != nil {
		return f, err
	}
	f.TimeNamespace = exists("/proc/self/ns/time")
	f.CgroupNamespace = exists("/proc/self/ns/cgroup")
	f.AppArmor, f.SELinux, f.Resctrl = apparmor(), selinux(), resctrl()
	f.Seccomp, f.SeccompFlags = Seccomp()
	f.Cgroup, err = Cgroups()
	return f, err
}

// probeCalls tries the system calls that every plan needs, with arguments that a kernel which has them refuses. The newest is mount_setattr (5.12);
// CLONE_CLEAR_SIGHAND, openat2 and pidfd_getfd are older.
func probeCalls() error {
	for name, nr := range map[string]uintptr{
		"clone3": unix.SYS_CLONE3, "openat2": unix.SYS_OPENAT2, "pidfd_getfd": unix.SYS_PIDFD_GETFD, "pidfd_send_signal": unix.SYS_PIDFD_SEND_SIGNAL, "close_range": unix.SYS_CLOSE_RANGE,
		"mount_setattr": unix.SYS_MOUNT_SETATTR, "faccessat2": unix.SYS_FACCESSAT2, "fsopen": unix.SYS_FSOPEN,
	} {
		bad := ^uintptr(0)
		if _, _, e := unix.Syscall6(nr, bad, bad, bad, bad, bad, 0); errors.Is(e, unix.ENOSYS) {
			return fmt.Errorf("this kernel has no %s: Linux 5.14 or newer is needed: %w", name, errdefs.ErrNotImplemented)
		}
	}
	return nil
}

func number(path string) (int, error) {
	data, err := plainfile.Read(path)
	if err != nil {
		return 0, fmt.Errorf("probe the machine: %w", err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil {
		return 0, fmt.Errorf("probe the machine: %s: %w", path, err)
	}
	return n, nil
}

func exists(path string) facts.Support {
	switch err := unix.Access(path, unix.F_OK); {
	case err == nil:
		return facts.Yes
	case errors.Is(err, unix.ENOENT):
		return facts.No
	}
	return facts.Unknown
}

// capabilities returns our effective set.
func capabilities() (uint64, error) {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&hdr, &data[0]); err != nil {
		return 0, fmt.Errorf("probe the machine: capget: %w", err)
	}
	return uint64(data[0].Effective) | uint64(data[1].Effective)<<32, nil
}

// ignoredSignals returns the mask SigIgn of /proc/PID/status (proc_pid_status(5)).
func ignoredSignals() (uint64, error) {
	data, err := plainfile.Read("/proc/self/status")
	if err != nil {
		return 0, fmt.Errorf("probe the machine: %w", err)
	}
	_, rest, ok := strings.Cut(string(data), "\nSigIgn:")
	word, _, _ := strings.Cut(rest, "\n")
	mask, err := strconv.ParseUint(strings.TrimSpace(word), 16, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("probe the machine: /proc/self/status has no mask of ignored signals")
	}
	return mask, nil
}
