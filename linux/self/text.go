package self

import (
	"bytes"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// DropText takes the pages of this program's text and constants out of our page tables. They stay in the page cache, where all shims share them, and come
// back one by one when they are used (MADV_DONTNEED in madvise(2)): what an idle shim does not execute, it does not hold. Where it fails nothing is lost.
func DropText() {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range bytes.Lines(maps) {
		if start, end, ok := fileReadOnly(line); ok {
			_, _, _ = unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), unix.MADV_DONTNEED)
		}
	}
}

// fileReadOnly parses a line of /proc/PID/maps (proc_pid_maps(5)); ok when the mapping is a file's and cannot be written to: dropping any other
// page would lose its content.
func fileReadOnly(line []byte) (start, end uint64, ok bool) {
	f := bytes.Fields(line)
	if len(f) < 6 || f[1][0] != 'r' || f[1][1] != '-' || string(f[4]) == "0" {
		return 0, 0, false
	}
	lo, hi, _ := bytes.Cut(f[0], []byte{'-'})
	start, err1 := strconv.ParseUint(string(lo), 16, 64)
	end, err2 := strconv.ParseUint(string(hi), 16, 64)
	return start, end, err1 == nil && err2 == nil
}
