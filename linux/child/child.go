// Package child forks the process that becomes a container's: a child without a Go runtime, which runs the lowered
// instructions of a plan one after the other and ends in execve.
//
// The child is a plain fork (no CLONE_VM: a container with CAP_SYS_PTRACE could write the shim's memory, and its memory limit and
// its oom_score_adj would be the shim's). It runs on registers only, in assembly: all private memory of the runtime is
// left out of the fork (MADV_DONTFORK), the stack that its stack pointer names included. What it has is the program's text and one shared
// mapping, the arena, with the image of its plan. So a fork costs the same however large the heap is, and nothing of the heap is in the child.
package child

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/plan"
	"example.io/shim/linux/slack"
)

// Arena is a shared mapping outside the Go heap that holds one plan's image for the parent and its child.
type Arena struct{ mem []byte }

// NewArena maps an arena of at least size bytes (mmap(2)). Free gives it back.
func NewArena(size int) (*Arena, error) {
	page := os.Getpagesize()
	mem, err := unix.Mmap(-1, 0, (size+page-1)/page*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map an arena of %d bytes: %w", size, err)
	}
	return &Arena{mem: mem}, nil
}

// NewArenaIn maps an arena that lies in a file: another process can read there how far the child has come.
func NewArenaIn(file *os.File, size int) (*Arena, error) {
	page := os.Getpagesize()
	size = (size + page - 1) / page * page
	if err := file.Truncate(int64(size)); err != nil {
		return nil, fmt.Errorf("an arena of %d bytes: %w", size, err)
	}
	mem, err := unix.Mmap(int(file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map an arena of %d bytes: %w", size, err)
	}
	return &Arena{mem: mem}, nil
}

// Base returns the arena's address.
func (a *Arena) Base() uint64 { return uint64(uintptr(unsafe.Pointer(unsafe.SliceData(a.mem)))) }

// Bytes returns the arena's content.
func (a *Arena) Bytes() []byte { return a.mem }

// Free unmaps the arena. A child that runs from it has its own mapping. Idempotent.
func (a *Arena) Free() {
	if a.mem != nil {
		_ = unix.Munmap(a.mem) // cannot fail: it is a whole mapping of ours
		a.mem = nil
	}
}

// Fork clones the child (clone3(2)) with the given CLONE_ flags, CLONE_PIDFD and CLONE_CLEAR_SIGHAND added, and starts it at the image's entry.
// The image must lie in a. The pidfd is written to the register pidfd. All signals are blocked in the child; its plan resets the mask.
//
// The caller has locked its OS thread. Forks of one process must not run at the same time (which arena is left in the
// fork is a property of the process): Fork takes a lock.
func Fork(a *Arena, im *plan.Image, flags uint64, cgroupFD int, pidfd plan.Reg) (pid int, err error) {
	forkMu.Lock()
	defer forkMu.Unlock()
	if err := leaveOut(a); err != nil {
		return 0, err
	}
	slack.Restore() // the child inherits it
	const sigChld = uint64(unix.SIGCHLD)
	flags |= unix.CLONE_PIDFD | unix.CLONE_CLEAR_SIGHAND
	args := [11]uint64{0: flags, 1: im.RegAddr(pidfd), 4: sigChld}
	if flags&unix.CLONE_INTO_CGROUP != 0 {
		args[10] = uint64(cgroupFD)
	}
	for i, v := range args {
		im.SetHeader(plan.HdrClone+8*i, v)
	}
	base := uintptr(a.Base())
	r := forkChild(base+plan.HdrClone, unsafe.Sizeof(args), base+uintptr(im.Entry), base)
	if r < 0 {
		return 0, fmt.Errorf("clone3: %w", unix.Errno(-r))
	}
	return int(r), nil
}

// forkChild blocks all signals, calls clone3(args, size), and in the child runs the instructions from entry on; hdr is the image's
// header. In the parent it restores the signal mask and returns the pid or -errno. The child never returns.
//
//go:noescape
func forkChild(args, size, entry, hdr uintptr) int64
