package contract

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/integration/daemon"
)

// envMissing makes this program take system calls away, by number, and be another program then: its arguments.
const envMissing = "TEST_MISSING_CALLS"

// beWithout is for TestMain. The filter stays over execve, and is the children's too.
func beWithout() error {
	list := os.Getenv(envMissing)
	if list == "" {
		return nil
	}
	if err := os.Unsetenv(envMissing); err != nil {
		return err
	}
	prog := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}} // seccomp_data begins with the number
	for nr := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseUint(nr, 10, 32)
		if err != nil {
			return err
		}
		prog = append(prog, unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: uint32(n)},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)})
	}
	prog = append(prog, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW})
	f := unix.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	if _, _, e := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&f))); e != 0 {
		return fmt.Errorf("take system calls away: %w", e)
	}
	return syscall.Exec(os.Args[1], os.Args[1:], os.Environ())
}

// TestMissingCalls runs the shim on a kernel without a system call, as newer and older ones and other sandboxes are: a container either runs, or is refused
// with the name of what is missing, and nothing is left.
func TestMissingCalls(t *testing.T) {
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	newest(t, func(t *testing.T, d *daemon.Daemon) {
		for name, c := range map[string]struct {
			calls []int
			is    func(error) bool // nil: it runs
		}{
			"clone3":                 {[]int{unix.SYS_CLONE3}, errdefs.IsNotImplemented},
			"openat2":                {[]int{unix.SYS_OPENAT2}, errdefs.IsNotImplemented},
			"mount_setattr":          {[]int{unix.SYS_MOUNT_SETATTR}, errdefs.IsNotImplemented},
			"pidfd_getfd":            {[]int{unix.SYS_PIDFD_GETFD}, errdefs.IsNotImplemented},
			"pidfd_open":             {[]int{unix.SYS_PIDFD_OPEN}, nil}, // clone3 gives the pidfds
			"pidfd_send_signal":      {[]int{unix.SYS_PIDFD_SEND_SIGNAL}, errdefs.IsNotImplemented},
			"close_range":            {[]int{unix.SYS_CLOSE_RANGE}, errdefs.IsNotImplemented},
			"faccessat2":             {[]int{unix.SYS_FACCESSAT2}, errdefs.IsNotImplemented},
			"fsopen":                 {[]int{unix.SYS_FSOPEN}, errdefs.IsNotImplemented},
			"open_tree":              {[]int{unix.SYS_OPEN_TREE}, errdefs.IsNotImplemented},
			"move_mount":             {[]int{unix.SYS_MOVE_MOUNT}, errdefs.IsNotImplemented},
			"keyctl":                 {[]int{unix.SYS_KEYCTL}, nil},
			"newer than Linux 5.14":  {[]int{448, 449, 450, 451, 452, 453, 454, 455, 456, 457, 458, 459, 460, 461, 462, 463, 464, 465, 466, 467}, nil},
			"rseq, process_madvise":  {[]int{unix.SYS_RSEQ, unix.SYS_PROCESS_MADVISE}, nil},
			"io_uring and userfault": {[]int{unix.SYS_IO_URING_SETUP, unix.SYS_USERFAULTFD}, nil},
		} {
			var list []string
			for _, nr := range c.calls {
				list = append(list, strconv.Itoa(nr))
			}
			r := newRaw(t, d, []string{"sleep", "1000"})
			start := r.command("", "start")
			start.cmd.Path = test
			start.cmd.Args = append([]string{"test", program()}, start.cmd.Args[1:]...)
			start.cmd.Env = append(start.cmd.Env, envMissing+"="+strings.Join(list, ","))
			out, errs, err := start.run()
			if err != nil {
				t.Fatalf("%s: %v %s %s", name, err, out, errs)
			}
			r.dial("unix://" + socketOf("/run/containerd/s", r))
			err = r.errOf("Create", r.createRequest())
			switch {
			case c.is != nil && (err == nil || !c.is(err) || !strings.Contains(err.Error(), name)):
				t.Errorf("without %s: %v", name, err)
			case c.is == nil && err != nil:
				t.Errorf("without %s: %v", name, err)
			}
			if err == nil {
				err = errors.Join(r.errOf("Start", &taskapi.StartRequest{ID: r.id}), r.errOf("Kill", &taskapi.KillRequest{ID: r.id, Signal: 9}))
				if err != nil {
					t.Errorf("without %s: %v", name, err)
				}
				r.wait("")
				r.remove("")
			}
			r.shutdown()
		}
	})
}
