package shim

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"example.io/shim/shim/ttrpc"
)

// Caller is who executed `start`, as the daemon sees it that does the work of `start` itself.
type Caller struct {
	Stdin  io.Reader
	Stdout io.Writer
	// Word takes the exit status of `start`, one byte: who waits for it then ends.
	Word io.WriteCloser
}

// ServeStarted is the daemon that was executed in place of `start`: it makes the socket, answers the address, lets the caller go, and serves.
func ServeStarted(f Flags, c Caller, d Daemon) error {
	b, err := begin(f, c.Stdin)
	if err != nil {
		return err
	}
	if b.reused { // a living shim serves it: only the answer was needed
		return errors.Join(b.boot.answer(c.Stdout, address(b.path)), c.letGo())
	}
	if err := b.settle(c); err != nil {
		return errors.Join(err, b.l.Close(), os.Remove(b.path))
	}
	f.Socket = b.path
	return serve(f, d, func() (*ttrpc.Listener, error) { return b.l, nil })
}

// settle makes a daemon of us.
func (b begun) settle(c Caller) error {
	if err := place(os.Getpid(), b.opts); err != nil {
		return err
	}
	if b.boot.ttrpc != "" {
		if err := os.Setenv(envTTRPC, b.boot.ttrpc); err != nil {
			return fmt.Errorf("take the address of containerd: %w", err)
		}
	}
	if err := b.boot.answer(c.Stdout, address(b.path)); err != nil {
		return err
	}
	return c.letGo()
}

// letGo closes the caller's streams, for whose end it waits, and then ends the wait for us. Before, an error can still be told.
func (c Caller) letGo() error {
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open /dev/null: %w", err)
	}
	defer func() { _ = unix.Close(null) }()
	for fd := range 3 {
		if err := unix.Dup3(null, fd, 0); err != nil {
			return fmt.Errorf("leave the streams of `start`: %w", err)
		}
	}
	// A process group, like containerd's own shim's, and no session: the scheduler may give each session a share of its own (autogroups in sched(7)), and then
	// whatever goes to and fro between containerd and the shim waits for its turn in two queues.
	if err := unix.Setpgid(0, 0); err != nil {
		return fmt.Errorf("make a process group: %w", err)
	}
	if _, err := c.Word.Write([]byte{0}); err != nil {
		return fmt.Errorf("nobody waits for this start: %w", err)
	}
	return c.Word.Close()
}
