package trace

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// envOwn marks the program that Own has run.
const envOwn = "TRACE_OWN"

// sockets is where containerd's shims have their sockets.
const sockets = "/run/containerd/s"

// Own makes Take see what is this program's alone, though others on the machine run the same tests: it gets a mount namespace of its own with its own place
// for sockets, and a parent whose descendants are looked at. It runs the program again, as a child; the first one stays as that parent.
func Own() error {
	if os.Getenv(envOwn) == "" {
		code, err := parent()
		if err == nil {
			os.Exit(code)
		}
		return err
	}
	if err := os.Unsetenv(envOwn); err != nil {
		return err
	}
	if err := os.MkdirAll(sockets, 0o711); err != nil {
		return fmt.Errorf("make %s: %w", sockets, err)
	}
	if err := unix.Mount("tmpfs", sockets, "tmpfs", 0, "mode=0700"); err != nil {
		return fmt.Errorf("mount a place for sockets: %w", err)
	}
	return nil
}

// parent runs the program and adopts its orphans: it reaps them, as init does, for the first process of a pid namespace is there until all others of it were
// reaped. The program itself could not, beside package os/exec, which waits for its own children.
func parent() (int, error) {
	runtime.LockOSThread() // the child's death signal is for the end of this thread
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("become a subreaper: %w", err)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.Env = os.Stdin, os.Stdout, os.Stderr, append(os.Environ(), envOwn+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL} // Go makes the mounts private
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("run in a mount namespace (the tests need root): %w", err)
	}
	for {
		var ws syscall.WaitStatus
		switch pid, err := syscall.Wait4(-1, &ws, 0, nil); {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return 0, fmt.Errorf("wait: %w", err)
		case pid == cmd.Process.Pid && ws.Exited():
			return ws.ExitStatus(), nil
		case pid == cmd.Process.Pid && ws.Signaled():
			return 128 + int(ws.Signal()), nil
		}
	}
}
