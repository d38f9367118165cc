package relay

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"example.io/shim/io/internal/nonblock"
)

// spliceMost is how much one call may move, in bytes: the most that an unprivileged process can make a pipe hold
// (pipe-max-size in pipe(7)), so that one call empties any.
const spliceMost = 1 << 20

// A stream that fills a pipe, which holds usualPipe bytes (pipe(7)), gets larger ones: fewer turns of writer, relay and reader. A pipe takes memory for what is
// in it only. It is no error when the kernel refuses (pipe-max-size, pipe-user-pages-soft): the stream goes on as it is.
const (
	usualPipe = 64 << 10
	largePipe = 512 << 10
)

// Splice moves bytes between two non-blocking pipes or fifos inside the kernel, see splice(2), until no writer of src is left and
// all was moved. An error is an *Error; EPIPE at the destination means that nobody can read it any more.
func Splice(dst, src *os.File) error {
	in, err := src.SyscallConn()
	if err != nil {
		return &Error{Source, err}
	}
	out, err := dst.SyscallConn()
	if err != nil {
		return &Error{Destination, err}
	}
	s := splicer{out: out}
	attempt, hasRoom := s.attempt, s.hasRoom
	s.splice = s.once
	for {
		if err := in.Read(attempt); err != nil {
			return &Error{Source, err}
		}
		switch {
		case s.err == nil && s.n == 0:
			return nil
		case s.err == nil:
			continue
		case !errors.Is(s.err, unix.EAGAIN):
			return &Error{s.side(), s.err}
		}
		// There is something to move and no room for it.
		s.err = nil
		if err := out.Write(hasRoom); err != nil {
			return &Error{Destination, err}
		}
		if s.err != nil {
			return &Error{Destination, s.err}
		}
	}
}

// splicer holds what the callbacks share; they are bound once, so that moving allocates nothing.
type splicer struct {
	out    syscall.RawConn
	splice func(uintptr)
	from   uintptr
	large  bool // the pipes were enlarged
	n      int64
	err    error
}

// attempt runs inside the source's Read. It returns false to wait there; EAGAIN in err with true means that the
// destination is what has to be waited for. splice(2) does not say which of the two it was.
func (s *splicer) attempt(from uintptr) bool {
	s.from, s.n, s.err = from, 0, nil
	if err := s.out.Control(s.splice); err != nil {
		s.err = &Error{Destination, err}
		return true
	}
	if !errors.Is(s.err, unix.EAGAIN) {
		return true
	}
	ready, err := nonblock.Ready(from, unix.POLLIN)
	if err != nil {
		s.err = err
	}
	return ready || err != nil
}

func (s *splicer) once(to uintptr) {
	s.n, s.err = nonblock.Retry(func() (int64, error) {
		return unix.Splice(int(s.from), nil, int(to), nil, spliceMost, unix.SPLICE_F_NONBLOCK)
	})
	if s.n >= usualPipe && !s.large {
		s.large = true
		_, _ = unix.FcntlInt(s.from, unix.F_SETPIPE_SZ, largePipe)
		_, _ = unix.FcntlInt(to, unix.F_SETPIPE_SZ, largePipe)
	}
}

// hasRoom runs inside the destination's Write; false waits there. The kernel counts a pipe's room in slots here as for
// splice, so that ready means that the next attempt moves something.
func (s *splicer) hasRoom(to uintptr) bool {
	ready, err := nonblock.Ready(to, unix.POLLOUT)
	s.err = err
	return ready || err != nil
}

// side is where err came from: of splice's own errors only EPIPE is the destination's.
func (s *splicer) side() Side {
	var e *Error
	if errors.Is(s.err, unix.EPIPE) || errors.As(s.err, &e) && e.Side == Destination {
		return Destination
	}
	return Source
}
