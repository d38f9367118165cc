package trace

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// envOwn marks a program that Own has started again.
const envOwn = "TRACE_OWN"

// sockets is where containerd's shims have their sockets.
const sockets = "/run/containerd/s"

// Own makes Take see what is this program's alone, though others on the machine run the same tests: it gets a mount namespace of its own with its own place
// for sockets, and orphans below it become its children. It starts the program again: execve keeps the namespaces of the calling thread, and the pid.
func Own() error {
	if os.Getenv(envOwn) == "" {
		return again()
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
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	return nil
}

func again() error {
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare the mounts (the tests need root): %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	path, err := os.Executable() // by its path: /proc/self/exe would be the file on the mount of the namespace that we left
	if err != nil {
		return err
	}
	return syscall.Exec(path, os.Args, append(os.Environ(), envOwn+"=1"))
}
