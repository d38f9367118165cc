// Package nonblock has the few calls that every package below io needs around non-blocking files.
package nonblock

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Retry calls f until it returns something else than EINTR: Go's runtime preempts its threads by signals,
// and not every call restarts after one (signal(7)).
func Retry[T any](f func() (T, error)) (T, error) {
	for {
		v, err := f()
		if !errors.Is(err, unix.EINTR) {
			return v, err
		}
	}
}

// Ready says whether one of events, or an error or a hang-up, is pending on fd. It does not wait. See poll(2).
func Ready(fd uintptr, events int16) (bool, error) {
	set := [1]unix.PollFd{{Fd: int32(fd), Events: events}}
	n, err := Retry(func() (int, error) { return unix.Poll(set[:], 0) })
	if err != nil {
		return false, fmt.Errorf("poll: %w", err)
	}
	return n > 0, nil
}

// Control runs f with f's descriptor, which stays open until f has returned. It replaces os.File.Fd, which would
// take the file out of the runtime's poller.
func Control(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var ferr error
	if err := conn.Control(func(fd uintptr) { ferr = f(int(fd)) }); err != nil {
		return err
	}
	return ferr
}

// Pending is how many bytes can be read from a pipe, a fifo or a terminal; 0 of a file that is nil or closed. FIONREAD, pipe(7), by its other name, TIOCINQ.
func Pending(file *os.File) (n int) {
	if file == nil {
		return 0
	}
	err := Control(file, func(fd int) (err error) {
		n, err = unix.IoctlGetInt(fd, unix.TIOCINQ)
		return err
	})
	if err != nil {
		return 0 // closed: nobody can read anything from it
	}
	return n
}

// Await waits for done or for ctx to end, and says whether it was done; what is done counts even if ctx has ended too.
func Await(ctx context.Context, done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-ctx.Done():
	}
	select {
	case <-done:
		return true
	default:
		return false
	}
}

// Close closes files, of which some may be nil or closed already, and returns what failed.
func Close(files ...*os.File) error {
	var errs []error
	for _, f := range files {
		if f == nil {
			continue
		}
		if err := f.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
