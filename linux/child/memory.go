package child

import (
	"bytes"
	"fmt"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

var forkMu sync.Mutex

// mapsBuffer is for /proc/self/maps of a usual shim (about 40 lines of 80 bytes); more is read in further turns.
const mapsBuffer = 16 << 10

// leaveOut marks every mapping that the child does not need, so that the fork does not copy it: everything but text, read-only data of a file,
// the kernel's own pages and the arena keep. The marks stay; mappings made since the last time are marked now, and the arena is
// unmarked again. Memory that another thread maps during the fork is copied: a cost, not an error.
func leaveOut(keep *Arena) error {
	maps, err := readMaps()
	if err != nil {
		return err
	}
	for len(maps) > 0 {
		line, rest, _ := bytes.Cut(maps, []byte{'\n'})
		maps = rest
		start, end, ok := leftOut(line)
		if !ok {
			continue
		}
		advice := uintptr(unix.MADV_DONTFORK)
		if start <= keep.Base() && keep.Base() < end {
			advice = unix.MADV_DOFORK
			// Neighbouring shared mappings are separate ones (each has its own file), so this is the arena alone.
		}
		// ENOMEM: another thread has unmapped some of it since; then it is not copied either.
		if _, _, e := unix.Syscall(unix.SYS_MADVISE, uintptr(start), uintptr(end-start), advice); e != 0 && e != unix.ENOMEM {
			return fmt.Errorf("keep memory %s out of the child: madvise: %w", line, e)
		}
	}
	return nil
}

// leftOut parses a line of /proc/PID/maps (proc_pid_maps(5)) and says whether the child can do without that mapping.
func leftOut(line []byte) (start, end uint64, out bool) {
	addr, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok || len(rest) < 4 {
		return 0, 0, false
	}
	perms := rest[:4]
	writable, exec := perms[1] == 'w', perms[2] == 'x'
	reserved := perms[0] == '-' && !writable && !exec
	if !writable && !reserved || bytes.Contains(rest, []byte("[v")) { // [vdso], [vvar], [vsyscall]
		return 0, 0, false
	}
	lo, hi, ok := bytes.Cut(addr, []byte{'-'})
	if !ok {
		return 0, 0, false
	}
	start, err1 := strconv.ParseUint(string(lo), 16, 64)
	end, err2 := strconv.ParseUint(string(hi), 16, 64)
	return start, end, err1 == nil && err2 == nil
}

var mapsBuf []byte // guarded by forkMu

func readMaps() ([]byte, error) {
	fd, err := unix.Open("/proc/self/maps", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("read our memory map: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if mapsBuf == nil {
		mapsBuf = make([]byte, mapsBuffer)
	}
	n := 0
	for {
		m, err := unix.Read(fd, mapsBuf[n:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read our memory map: %w", err)
		}
		if m == 0 {
			return mapsBuf[:n], nil
		}
		if n += m; n == len(mapsBuf) {
			mapsBuf = append(mapsBuf, make([]byte, len(mapsBuf))...)
		}
	}
}
