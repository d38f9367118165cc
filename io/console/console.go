// Package console relays a container's terminal from the pty's master end. See pty(7), ioctl_tty(2).
package console

import (
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/io/internal/nonblock"
	"example.io/shim/io/relay"
)

// Console is the master end of a pty.
type Console struct {
	file   *os.File
	closed atomic.Bool
}

// New takes over master, which is closed, also when New fails. A master that came as a blocking file cannot be waited for by
// the runtime's poller; hence the copy of its descriptor.
func New(master *os.File) (*Console, error) {
	fd := -1
	err := nonblock.Control(master, func(m int) (err error) {
		if _, err = unix.IoctlGetWinsize(m, unix.TIOCGWINSZ); err != nil {
			return fmt.Errorf("not a terminal: %w", err)
		}
		if fd, err = unix.FcntlInt(uintptr(m), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return fmt.Errorf("copy the descriptor: %w", err)
		}
		return unix.SetNonblock(fd, true)
	})
	err = errors.Join(err, nonblock.Close(master))
	if err != nil {
		if fd >= 0 {
			err = errors.Join(err, unix.Close(fd))
		}
		return nil, fmt.Errorf("take over the console: %w", err)
	}
	return &Console{file: os.NewFile(uintptr(fd), "console")}, nil
}

// Resize sets the size in characters, which sends SIGWINCH to the terminal's foreground processes. A size that the kernel's
// struct winsize cannot hold is errdefs.ErrInvalidArgument; a console that was closed is left alone.
func (c *Console) Resize(width, height uint32) error {
	if width > math.MaxUint16 || height > math.MaxUint16 {
		return fmt.Errorf("resize the console to %dx%d: more than %d: %w", width, height, math.MaxUint16, errdefs.ErrInvalidArgument)
	}
	size := unix.Winsize{Row: uint16(height), Col: uint16(width)}
	err := nonblock.Control(c.file, func(fd int) error { return unix.IoctlSetWinsize(fd, unix.TIOCSWINSZ, &size) })
	if err != nil && !c.closed.Load() {
		return fmt.Errorf("resize the console to %dx%d: %w", width, height, err)
	}
	return nil
}

// Output relays what is shown to dst (nil: nowhere) until the last process has closed the terminal. An error is a *relay.Error.
func (c *Console) Output(dst *os.File) error {
	if dst == nil {
		return hangup(relay.Discard(c.file), relay.Source)
	}
	return hangup(relay.Copy(dst, c.file), relay.Source)
}

// Input relays what is typed from src until that ends, or the terminal does. The end of src does not close the terminal.
// An error is a *relay.Error.
func (c *Console) Input(src *os.File) error {
	return hangup(relay.Copy(c.file, src), relay.Destination)
}

// Close hangs the terminal up: its processes get SIGHUP. Idempotent.
func (c *Console) Close() error {
	c.closed.Store(true)
	return nonblock.Close(c.file)
}

// hangup takes EIO at the console's side for what it is: the kernel's word for a terminal that nobody has open any more.
func hangup(err error, console relay.Side) error {
	var e *relay.Error
	if errors.As(err, &e) && e.Side == console && errors.Is(err, unix.EIO) {
		return nil
	}
	return err
}
