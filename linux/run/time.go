package run

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// writeTimeOffsets sets the clocks of the time namespace that a process, or with 0 the calling thread, has made for its children. The file is in the folder of
// a process only, which a thread has too, under its own number.
func writeTimeOffsets(text string, pid int) error {
	if pid == 0 {
		pid = unix.Gettid()
	}
	path := fmt.Sprintf("/proc/%d/timens_offsets", pid)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	_, err = unix.Write(fd, []byte(text)) // one write: all clocks or none
	_ = unix.Close(fd)
	if err != nil {
		return fmt.Errorf("write %q to %s: %w", text, path, err)
	}
	return nil
}
