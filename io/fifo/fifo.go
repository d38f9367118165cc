// Package fifo opens the named pipes over which a client of containerd reads and writes a container's stdio.
//
// Both ends of each fifo are held: when the client goes away (containerd restarts), a writer gets no EPIPE but waits once the
// fifo is full, and a reader gets no EOF. See fifo(7).
package fifo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/io/internal/nonblock"
)

// OpenLimit is how long OpenWriter waits for a reader. Clients open their ends before they call Create or Exec, so a reader that
// is late at all is a goroutine waiting for a busy machine's CPU; 5 s is ample for that, and far below the 100 s that containerd
// gives a shim to start and the minutes that a kubelet gives a request.
const OpenLimit = 5 * time.Second

// Between attempts OpenWriter sleeps, first for retryFirst, then twice as long each time up to retryMost. Nothing in the
// kernel tells of a reader that waits inside open(2), inotify neither; a blocking open would hold a thread and can only be
// ended by pretending to be the reader.
const (
	retryFirst = 500 * time.Microsecond // a goroutine switch or two at the client
	retryMost  = 20 * time.Millisecond  // not felt by a user; 250 attempts at most
)

// Reader reads what a client writes.
type Reader struct {
	// File is non-blocking. It gives EOF when every writer has closed, which is not before Release.
	File *os.File
	mu   sync.Mutex
	hold *os.File // our write end; nil when released or not a fifo
}

// OpenReader opens path for reading. It does not wait: a client may open its end at any later time, or never.
// A path that is a regular file or a device is opened as it is (containerd's shim does that too). Errors: see OpenWriter.
func OpenReader(path string) (*Reader, error) {
	n, err := lookup(path)
	if err != nil {
		return nil, err
	}
	defer n.close()
	f, err := n.open(unix.O_RDONLY)
	if err != nil {
		return nil, fmt.Errorf("open %q for reading: %w", path, nonblock.Explain(err))
	}
	r := &Reader{File: f}
	if n.isFIFO() {
		if r.hold, err = n.openHeld(unix.O_WRONLY); err != nil {
			return nil, errors.Join(fmt.Errorf("hold the write end of %q: %w", path, err), f.Close())
		}
	}
	return r, nil
}

// Release closes our write end: File gives EOF once the client has closed its end and all that was written has been read.
// It may be called at any time, and again.
func (r *Reader) Release() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hold == nil {
		return nil
	}
	err := r.hold.Close()
	r.hold = nil
	return err
}

// Close closes both ends. Idempotent.
func (r *Reader) Close() error {
	return errors.Join(nonblock.Close(r.File), r.Release())
}

// Writer writes what a client reads.
type Writer struct {
	// File is non-blocking if it is a fifo. Writing never gives EPIPE: it waits while nobody reads.
	File *os.File
	hold *os.File // our read end; nil when not a fifo
}

// OpenWriter opens path for writing, and waits up to OpenLimit until somebody has it open for reading, or waits in open(2) to
// read. Without that wait a wrong path would look like a slow reader for ever. A path that is a regular file or a device
// is opened as it is, for appending; it is not created.
//
// Errors name the path: context.DeadlineExceeded when nobody came, ErrFailedPrecondition when it does not exist or may not
// be opened, ErrInvalidArgument when it is a directory or a socket, the context's error when that ended.
func OpenWriter(ctx context.Context, path string) (*Writer, error) {
	return openWriter(ctx, path, OpenLimit)
}

func openWriter(ctx context.Context, path string, limit time.Duration) (*Writer, error) {
	n, err := lookup(path)
	if err != nil {
		return nil, err
	}
	defer n.close()
	if !n.isFIFO() {
		f, err := n.open(unix.O_WRONLY | unix.O_APPEND)
		if err != nil {
			return nil, fmt.Errorf("open %q for appending: %w", path, nonblock.Explain(err))
		}
		return &Writer{File: f}, nil
	}
	f, err := n.awaitReader(ctx, limit)
	if err != nil {
		return nil, fmt.Errorf("open fifo %q for writing: %w", path, err)
	}
	w := &Writer{File: f}
	if w.hold, err = n.openHeld(unix.O_RDONLY); err != nil {
		return nil, errors.Join(fmt.Errorf("hold the read end of %q: %w", path, err), f.Close())
	}
	return w, nil
}

// End closes the end for writing: the client reads what is left, then EOF. Unread still knows what is left. Idempotent.
func (w *Writer) End() error {
	return nonblock.Close(w.File)
}

// Unread is how many bytes of what was written nobody has read yet; 0 after Close, and where there is no fifo. FIONREAD, pipe(7).
func (w *Writer) Unread() int { return nonblock.Pending(w.hold) }

// Close closes both ends. Idempotent.
func (w *Writer) Close() error {
	return nonblock.Close(w.File, w.hold)
}

// node holds an inode without opening it, so that what was looked at is what is opened, however often.
type node struct {
	fd   int
	path string
	mode uint32
}

func lookup(path string) (*node, error) {
	fd, err := nonblock.Retry(func() (int, error) { return unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, fmt.Errorf("look up %q: %w", path, nonblock.Explain(err))
	}
	n := &node{fd: fd, path: path}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		n.close()
		return nil, fmt.Errorf("stat %q: %w", path, err)
	}
	n.mode = st.Mode & unix.S_IFMT
	switch n.mode {
	case unix.S_IFIFO, unix.S_IFREG, unix.S_IFCHR:
		return n, nil
	}
	n.close()
	return nil, fmt.Errorf("%q is neither a fifo nor a file nor a character device: %w", path, errdefs.ErrInvalidArgument)
}

func (n *node) isFIFO() bool { return n.mode == unix.S_IFIFO }

// close cannot fail in a way that matters: an O_PATH descriptor has nothing to flush.
func (n *node) close() { _ = unix.Close(n.fd) }

func (n *node) openFD(flags int) (int, error) {
	name := "/proc/self/fd/" + strconv.Itoa(n.fd)
	return nonblock.Retry(func() (int, error) {
		return unix.Open(name, flags|unix.O_NONBLOCK|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	})
}

func (n *node) open(flags int) (*os.File, error) {
	fd, err := n.openFD(flags)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), n.path), nil
}

// openHeld opens an end that is only held. It is made blocking, which keeps it out of the runtime's poller: there
// it would wake the shim each time the other end is used.
func (n *node) openHeld(flags int) (*os.File, error) {
	fd, err := n.openFD(flags)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), n.path), nil
}

// awaitReader opens the write end. Non-blocking, that gives ENXIO as long as nobody reads; open(2).
func (n *node) awaitReader(ctx context.Context, limit time.Duration) (*os.File, error) {
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	for pause := retryFirst; ; pause = min(2*pause, retryMost) {
		f, err := n.open(unix.O_WRONLY)
		if !errors.Is(err, unix.ENXIO) {
			return f, nonblock.Explain(err)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("nobody has opened it for reading: %w", context.Cause(ctx))
		case <-deadline.C:
			return nil, fmt.Errorf("nobody opened it for reading within %v: %w", limit, context.DeadlineExceeded)
		case <-time.After(pause):
		}
	}
}
