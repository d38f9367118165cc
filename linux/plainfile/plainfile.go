// Package plainfile reads files that answer at once: regular ones and those of procfs, sysfs and cgroups. It asks the kernel to open, read and close; package os
// first finds out whether the runtime's poller can wait for a file, which is six calls more for each.
package plainfile

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// firstRead is room for most of these files, in bytes.
const firstRead = 1 << 10

// Read returns the file's content. The error is an *os.PathError.
func Read(path string) ([]byte, error) {
	fd, err := retry(func() (int, error) { return unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0) })
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	data := make([]byte, 0, firstRead)
	for {
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
		n, err := retry(func() (int, error) { return unix.Read(fd, data[len(data):cap(data)]) })
		if err != nil {
			return nil, &os.PathError{Op: "read", Path: path, Err: err}
		}
		if n == 0 { // a shorter answer is no end: seq_file gives a page at a time
			return data, nil
		}
		data = data[:len(data)+n]
	}
}

func retry(f func() (int, error)) (int, error) {
	for {
		n, err := f()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}
