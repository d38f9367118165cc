// Package pipe makes the pipes between the shim and a container's processes.
package pipe

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Ours says which end of a pipe the shim itself uses.
type Ours uint8

// The ends that can be ours. Our end is non-blocking and in the runtime's poller, so that waiting on it holds no thread.
// The other end is blocking, as programs expect of their stdio; the two ends are different open file descriptions
// (pipe(7)), so neither sees the other's flag.
const (
	Neither Ours = iota // both ends go to other processes
	Read
	Write
)

// Pipe is a pipe; both files are close-on-exec.
type Pipe struct {
	R, W *os.File
}

// New makes a pipe owned by uid and gid, so that a process that is not root can open its /dev/stdout anew.
// See pipe(2) and fchown(2), whose errors it returns.
func New(ours Ours, uid, gid uint32) (Pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return Pipe{}, fmt.Errorf("make a pipe: %w", err)
	}
	if err := prepare(fds, ours, uid, gid); err != nil {
		return Pipe{}, errors.Join(err, unix.Close(fds[0]), unix.Close(fds[1]))
	}
	// NewFile looks at O_NONBLOCK to decide whether the poller gets the descriptor.
	return Pipe{R: os.NewFile(uintptr(fds[0]), "|0"), W: os.NewFile(uintptr(fds[1]), "|1")}, nil
}

func prepare(fds [2]int, ours Ours, uid, gid uint32) error {
	if uid != 0 || gid != 0 { // the shim is root: that is the owner already
		if err := unix.Fchown(fds[0], int(uid), int(gid)); err != nil {
			return fmt.Errorf("give a pipe to %d:%d: %w", uid, gid, err)
		}
	}
	if ours == Neither {
		return nil
	}
	if err := unix.SetNonblock(fds[ours-Read], true); err != nil {
		return fmt.Errorf("make a pipe's end non-blocking: %w", err)
	}
	return nil
}
