// Package relay moves bytes from one file to another until the source ends.
//
// An idle relay holds no thread, no buffer and makes no wake-ups: it waits in the runtime's poller, first for the source, then
// for the destination. Closing a file ends a relay
// that waits on it, with an error.
package relay

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"example.io/shim/io/internal/nonblock"
)

// chunkSize is how much is read at once where splice(2) cannot be used, in bytes: four times what a terminal gives at
// once, a quarter of a pipe, and small beside an idle shim's memory. A buffer exists only while bytes are under way.
const chunkSize = 16 << 10

var buffers = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// Side is a relay's end.
type Side uint8

// The sides.
const (
	Source Side = iota + 1
	Destination
)

// Error is what a relay failed with, and at which of its ends.
type Error struct {
	Side Side
	Err  error
}

func (e *Error) Error() string {
	if e.Side == Source {
		return fmt.Sprintf("read: %v", e.Err)
	}
	return fmt.Sprintf("write: %v", e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Run moves bytes until src ends: by Splice where both files are pipes, else by Copy. An error is an *Error.
func Run(dst, src *os.File) error {
	from, err := isPipe(src)
	if err != nil {
		return &Error{Source, err}
	}
	to, err := isPipe(dst)
	if err != nil {
		return &Error{Destination, err}
	}
	if from && to {
		return Splice(dst, src)
	}
	return Copy(dst, src)
}

// Copy moves bytes through memory until src ends. src and dst may be any files; one that can block must be non-blocking.
// An error is an *Error; after one at the destination, up to chunkSize bytes are lost and Copy may be called again.
func Copy(dst, src *os.File) error {
	return consume(src, func(b []byte) error {
		_, err := dst.Write(b)
		return err
	})
}

// Discard reads until src ends, so that its writer is not stopped. An error is an *Error.
func Discard(src *os.File) error {
	return consume(src, func([]byte) error { return nil })
}

func consume(src *os.File, sink func([]byte) error) error {
	conn, err := src.SyscallConn()
	if err != nil {
		return &Error{Source, err}
	}
	var r reader
	attempt := r.attempt
	for {
		err := conn.Read(attempt)
		if err == nil {
			err = r.err
		}
		if err != nil || r.n == 0 {
			r.release()
			if err == nil || errors.Is(err, io.EOF) {
				return nil
			}
			return &Error{Source, err}
		}
		err = sink(r.buf[:r.n])
		r.release()
		if err != nil {
			return &Error{Destination, err}
		}
	}
}

// reader reads once; it takes a buffer for each attempt and keeps it only if there was something.
type reader struct {
	buf *[chunkSize]byte
	n   int
	err error
}

func (r *reader) attempt(fd uintptr) bool {
	r.buf = buffers.Get().(*[chunkSize]byte)
	r.n, r.err = nonblock.Retry(func() (int, error) { return unix.Read(int(fd), r.buf[:]) })
	if errors.Is(r.err, unix.EAGAIN) {
		r.release()
		return false
	}
	return true
}

func (r *reader) release() {
	if r.buf != nil {
		buffers.Put(r.buf)
		r.buf = nil
	}
}

func isPipe(f *os.File) (is bool, err error) {
	err = nonblock.Control(f, func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return fmt.Errorf("fstat: %w", err)
		}
		is = st.Mode&unix.S_IFMT == unix.S_IFIFO
		return nil
	})
	return is, err
}
