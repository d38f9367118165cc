// Package iotest is what the tests below io share: the leak check, fifos, ptys.
package iotest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// settleLimit is how long a leak may look like one: goroutines that were told to end need the CPU once more.
const settleLimit = 5 * time.Second

// Main runs a package's tests and fails if they leave a descriptor, a goroutine or a child.
func Main(m *testing.M) {
	warmUp()
	before := take()
	code := m.Run()
	if code == 0 {
		if leak := settled(before); leak != "" {
			fmt.Fprintln(os.Stderr, leak)
			code = 1
		}
	}
	os.Exit(code)
}

type state struct {
	fds        []string
	goroutines int
	children   bool
}

// warmUp makes the runtime open what it keeps (its poller).
func warmUp() {
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	_, _ = r.Close(), w.Close()
}

func take() state {
	s := state{goroutines: runtime.NumGoroutine()}
	dir, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		panic(err)
	}
	for _, e := range dir {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
		if err != nil || strings.HasSuffix(to, "/fd") {
			continue // the listing's own
		}
		s.fds = append(s.fds, to)
	}
	slices.Sort(s.fds)
	var info unix.Siginfo
	s.children = !errors.Is(unix.Waitid(unix.P_ALL, 0, &info, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil), unix.ECHILD)
	return s
}

func settled(before state) string {
	for end := time.Now().Add(settleLimit); ; time.Sleep(time.Millisecond) {
		after := take()
		if slices.Equal(after.fds, before.fds) && after.goroutines <= before.goroutines && after.children == before.children {
			return ""
		}
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			return fmt.Sprintf("leak:\nbefore %+v\nafter  %+v\n%s", before, after, stacks)
		}
	}
}

// Descriptors counts the process's open files.
func Descriptors() int { return len(take().fds) }

// Fifo makes a fifo in a new folder.
func Fifo(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// Reader opens a fifo to read, as a client does: it does not wait for the writer, and reading does not hold a thread.
func Reader(t testing.TB, path string) *os.File { return open(t, path, os.O_RDONLY|unix.O_NONBLOCK) }

// Writer opens a fifo to write, which must have a reader.
func Writer(t testing.TB, path string) *os.File { return open(t, path, os.O_WRONLY|unix.O_NONBLOCK) }

func open(t testing.TB, path string, flags int) *os.File {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Pty opens a pseudo terminal in raw mode; pty(7).
func Pty(t testing.TB) (master, slave *os.File) {
	t.Helper()
	m, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(m, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(m, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	s, err := unix.Open(fmt.Sprintf("/dev/pts/%d", n), unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	tio, err := unix.IoctlGetTermios(s, unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	tio.Lflag, tio.Iflag, tio.Oflag = 0, 0, 0
	tio.Cc[unix.VMIN], tio.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(s, unix.TCSETS, tio); err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(m), "ptmx"), os.NewFile(uintptr(s), "pts")
}

// NonBlocking says whether O_NONBLOCK is set on f.
func NonBlocking(t testing.TB, f *os.File) bool {
	t.Helper()
	conn, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var flags int
	if cerr := conn.Control(func(fd uintptr) { flags, err = unix.FcntlInt(fd, unix.F_GETFL, 0) }); cerr != nil || err != nil {
		t.Fatal(cerr, err)
	}
	return flags&unix.O_NONBLOCK != 0
}
