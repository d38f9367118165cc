package oom

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// eventsSize is more than a memory.events has: seven lines of a word and a number.
const eventsSize = 512

// newUnified arms a watcher for a directory of cgroup v2.
func newUnified(dir string) (*Watcher, error) {
	path := filepath.Join(dir, "memory.events")
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) // O_NONBLOCK is what makes Go poll it
	if err != nil {
		return nil, fmt.Errorf("watch for OOM kills: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	w := newWatcher(path, os.NewFile(uintptr(fd), path), true)
	conn, err := w.event.SyscallConn()
	if err != nil {
		_ = w.event.Close()
		return nil, fmt.Errorf("watch for OOM kills: %w", err)
	}
	go func() {
		defer close(w.ended)
		defer close(w.c)
		_ = conn.Read(w.changed) // ends with Close
	}()
	return w, nil
}

// changed is called when the file may have changed, once before. The kernel counts a kill before it wakes us. It returns true when there is nothing to wait
// for any more.
func (w *Watcher) changed(uintptr) bool {
	n, there := w.look(false)
	if n > 0 {
		select {
		case w.c <- struct{}{}:
		default: // one that nobody has taken yet says the same
		}
	}
	return !there
}

// read reads the file with the counter. That of v2 is the one that is polled: a read is what makes the kernel wake the next time.
func (w *Watcher) read() ([]byte, error) {
	if !w.unified {
		return os.ReadFile(w.control)
	}
	buf := make([]byte, eventsSize)
	n, err := w.event.ReadAt(buf, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return buf[:n], nil
}
