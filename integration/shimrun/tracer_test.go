package shimrun

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.io/shim/integration/trace"
)

// A traced program is stopped at every system call (ptrace(2)). What it forks is not traced; its threads are.

// changes are the calls that leave something behind, or have others do something. What a process alone has, as a detached mount, goes with it.
var changes = map[uint64]string{
	unix.SYS_MKDIRAT: "mkdirat", unix.SYS_MKNODAT: "mknodat", unix.SYS_UNLINKAT: "unlinkat", unix.SYS_RENAMEAT: "renameat", unix.SYS_RENAMEAT2: "renameat2", unix.SYS_SYMLINKAT: "symlinkat",
	unix.SYS_MOUNT: "mount", unix.SYS_UMOUNT2: "umount2", unix.SYS_MOVE_MOUNT: "move_mount", unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_SENDMSG: "sendmsg",
	unix.SYS_CLONE3: "clone3", unix.SYS_SETNS: "setns", unix.SYS_UNSHARE: "unshare", unix.SYS_KILL: "kill", unix.SYS_PIDFD_SEND_SIGNAL: "pidfd_send_signal", unix.SYS_FLOCK: "flock",
	unix.SYS_FCHOWNAT: "fchownat", unix.SYS_EXIT_GROUP: "exit_group",
}

// syscallInfo is struct ptrace_syscall_info at the entry of a call.
type syscallInfo struct {
	Op   uint8
	_    [23]byte
	Nr   uint64
	Args [6]uint64
	_    [8]byte
}

const (
	syscallStop = unix.SIGTRAP | 0x80 // PTRACE_O_TRACESYSGOOD
	opEntry     = unix.PTRACE_SYSCALL_INFO_ENTRY
	sizeInfo    = unsafe.Sizeof(syscallInfo{})
)

// killAt runs a command and kills it with SIGKILL when it is about to make the n-th call that changes something, counted over its threads. It returns the
// call's name, "" when the command has ended before.
func killAt(cmd *exec.Cmd, n int) (at string, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // the tracer is a thread; it ends with its work
		at, err = traceTo(cmd, n)
	}()
	<-done
	return at, err
}

func traceTo(cmd *exec.Cmd, n int) (string, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	pid := cmd.Process.Pid
	// One that waits for something else has come to its end, for us.
	end := time.AfterFunc(trace.Limit(5*time.Second), func() { _ = cmd.Process.Kill() })
	defer end.Stop()
	defer func() { _ = cmd.Process.Release() }() // it is waited for here
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, 0, nil); err != nil {
		return "", fmt.Errorf("wait for the execve: %w", err)
	}
	if err := unix.PtraceSetOptions(pid, unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
		return "", fmt.Errorf("trace: %w", err)
	}
	at, tid := "", pid
	for sig := 0; ; {
		// One that was killed is gone by now.
		if err := unix.PtraceSyscall(tid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return "", fmt.Errorf("go on: %w", err)
		}
		var err error
		if tid, err = unix.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD, nil); err != nil {
			return "", fmt.Errorf("wait: %w", err)
		}
		sig = 0
		switch {
		case tid == pid && (ws.Exited() || ws.Signaled()):
			return at, nil
		case !ws.Stopped():
		case ws.StopSignal() == syscallStop:
			if name := change(tid); name != "" && at == "" {
				if n--; n == 0 {
					at = name
					if err := unix.Kill(pid, unix.SIGKILL); err != nil {
						return "", err
					}
				}
			}
		case ws.StopSignal() == unix.SIGTRAP || ws.StopSignal() == unix.SIGSTOP: // a thread was made, or begins
		default:
			sig = int(ws.StopSignal())
		}
	}
}

// change returns the name of the call that a thread is about to make, "" when it changes nothing.
func change(tid int) string {
	var info syscallInfo
	if _, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO, uintptr(tid), sizeInfo, uintptr(unsafe.Pointer(&info)), 0, 0); errno != 0 || info.Op != opEntry {
		return ""
	}
	if info.Nr == unix.SYS_OPENAT && info.Args[2]&unix.O_CREAT != 0 {
		return "openat O_CREAT"
	}
	return changes[info.Nr]
}
