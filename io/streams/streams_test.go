package streams

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/io/internal/iotest"
	"example.io/shim/io/internal/nonblock"
)

func TestMain(m *testing.M) {
	iotest.BeLogger()
	beProcess()
	iotest.Main(m)
}

// processArg is the first argument of a test binary that is to be a container's process.
const processArg = "be-a-process"

// beProcess is the process: "cat" copies stdin to stdout and its length to stderr; "noise N" writes N patterned bytes to
// stdout; "fork" leaves a child behind that holds its stdio until its stdin ends.
func beProcess() {
	if len(os.Args) < 3 || os.Args[1] != processArg {
		return
	}
	var err error
	switch os.Args[2] {
	case "cat":
		var n int64
		n, err = io.Copy(os.Stdout, os.Stdin)
		fmt.Fprint(os.Stderr, n)
	case "noise":
		n, _ := strconv.ParseInt(os.Args[3], 10, 64)
		_, err = io.Copy(os.Stdout, noise(n))
	case "fork":
		c := exec.Command(os.Args[0], processArg, "cat")
		c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
		err = c.Start()
		fmt.Print("parent")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		syscall.Exit(1)
	}
	syscall.Exit(0) // os.Exit takes a second under the race detector
}

// noise is n bytes without a short period, so that a lost or doubled page shows.
func noise(n int64) io.Reader { return io.LimitReader(rand.NewChaCha8([32]byte{}), n) }

// run starts the process on the Set's files, as the runtime does, and tells the Set.
func run(t *testing.T, s *Set, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.Command(os.Args[0], append([]string{processArg}, args...)...)
	for i, to := range []func(*os.File){
		func(f *os.File) { c.Stdin = f }, func(f *os.File) { c.Stdout = f }, func(f *os.File) { c.Stderr = f },
	} {
		if f := s.Files()[i]; f != nil {
			if iotest.NonBlocking(t, f) {
				t.Errorf("the process's fd %d is non-blocking", i)
			}
			to(f)
		}
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := s.Started(nil); err != nil {
		t.Fatal(err)
	}
	for _, f := range s.Files() {
		if f != nil && !errors.Is(f.Close(), os.ErrClosed) {
			t.Error("Started left a file of the process open")
		}
	}
	return c
}

func opened(t *testing.T, o Opener, cfg Config) *Set {
	t.Helper()
	s, err := o.Open(t.Context(), Owner{ID: "web1", Namespace: "ns", Bundle: t.TempDir()}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func drained(t *testing.T, s *Set) {
	t.Helper()
	if err := s.Drain(t.Context()); err != nil {
		t.Error(err)
	}
}

// client reads a fifo to its end.
func client(t *testing.T, path string) (f *os.File, text func() string) {
	t.Helper()
	f = iotest.Reader(t, path)
	return f, func() string {
		t.Helper()
		b, err := io.ReadAll(f)
		if err != nil {
			t.Error(err)
		}
		return string(b)
	}
}

// TestStdioThroughFifos: and what the client wrote before CloseStdin arrives, then EOF; in this order.
func TestStdioThroughFifos(t *testing.T) {
	in, out, errs := iotest.Fifo(t), iotest.Fifo(t), iotest.Fifo(t)
	_, stdout := client(t, out)
	_, stderr := client(t, errs)
	s := opened(t, Opener{}, Config{Stdin: in, Stdout: out, Stderr: "fifo://" + errs})
	w := iotest.Writer(t, in)
	c := run(t, s, "cat")
	const size = 4 << 20 // far more than all pipes between hold
	sent := make(chan error, 1)
	go func() {
		_, err := io.Copy(w, noise(size))
		sent <- errors.Join(err, s.CloseStdin(), s.CloseStdin(), w.Close())
	}()
	got := stdout()
	want, _ := io.ReadAll(noise(size))
	if got != string(want) {
		t.Errorf("got %d bytes that differ", len(got))
	}
	if n := stderr(); n != strconv.Itoa(size) {
		t.Errorf("the process read %s bytes", n)
	}
	if err := errors.Join(c.Wait(), <-sent); err != nil {
		t.Error(err)
	}
	drained(t, s)
}

func TestCloseStdinBeforeStart(t *testing.T) {
	in, out := iotest.Fifo(t), iotest.Fifo(t)
	_, stdout := client(t, out)
	s := opened(t, Opener{}, Config{Stdin: in, Stdout: out})
	w := iotest.Writer(t, in)
	if _, err := w.WriteString("early"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), s.CloseStdin()); err != nil {
		t.Fatal(err)
	}
	c := run(t, s, "cat")
	if got := stdout(); got != "early" {
		t.Errorf("got %q", got)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

func TestManyBytes(t *testing.T) {
	const size = 100 << 20
	out := iotest.Fifo(t)
	f, _ := client(t, out)
	s := opened(t, Opener{}, Config{Stdout: out})
	c := run(t, s, "noise", strconv.Itoa(size))
	got, want := sha256.New(), sha256.New()
	_, err := io.Copy(got, f)
	_, _ = io.Copy(want, noise(size))
	if err != nil || string(got.Sum(nil)) != string(want.Sum(nil)) {
		t.Errorf("the bytes differ, %v", err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	drained(t, s)
}

// TestClientComesBack: a client that goes away in the middle and comes back gets everything, without EPIPE at the process.
func TestClientComesBack(t *testing.T) {
	const size = 4 << 20
	out := iotest.Fifo(t)
	first, _ := client(t, out)
	s := opened(t, Opener{}, Config{Stdout: out})
	c := run(t, s, "noise", strconv.Itoa(size))
	head := make([]byte, size/3)
	_, err := io.ReadFull(first, head)
	if err := errors.Join(err, first.Close()); err != nil {
		t.Fatal(err)
	}
	_, rest := client(t, out)
	got := string(head) + rest()
	want, _ := io.ReadAll(noise(size))
	if got != string(want) {
		t.Errorf("got %d bytes that differ from the %d sent", len(got), size)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
}

// TestStuckReaderStallsOnlyItsStream: and Drain and Close are not held up for ever.
func TestStuckReaderStallsOnlyItsStream(t *testing.T) {
	in, out, errs := iotest.Fifo(t), iotest.Fifo(t), iotest.Fifo(t)
	iotest.Reader(t, out) // never read from
	f := iotest.Reader(t, errs)
	s := opened(t, Opener{}, Config{Stdin: in, Stdout: out, Stderr: errs})
	files := s.Files()
	process := [3]*os.File{}
	for i := range files {
		fd, err := unix.FcntlInt(files[i].Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		process[i] = os.NewFile(uintptr(fd), names[i])
	}
	if err := s.Started(nil); err != nil {
		t.Fatal(err)
	}
	stuck := make(chan error, 1)
	go func() {
		_, err := process[1].Write(make([]byte, 4<<20)) // more than the pipes between hold, which grow to 512 KiB
		stuck <- err
	}()
	for range 100 {
		if _, err := process[2].WriteString("x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(f, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-stuck; !errors.Is(err, unix.EPIPE) {
		t.Errorf("the stuck writer got %v", err)
	}
	if err := nonblock.Close(process[:]...); err != nil {
		t.Error(err)
	}
}

// TestGrandchildHoldsStdio: what the process wrote is passed on, Drain ends with its context, Close at once.
func TestGrandchildHoldsStdio(t *testing.T) {
	in, out := iotest.Fifo(t), iotest.Fifo(t)
	f := iotest.Reader(t, out)
	s := opened(t, Opener{}, Config{Stdin: in, Stdout: out})
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0) }()
	c := run(t, s, "fork")
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := s.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Drain: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(f); string(got) != "parent" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	var ws unix.WaitStatus // its stdin has ended, so it ends
	if _, err := nonblock.Retry(func() (int, error) { return unix.Wait4(-1, &ws, 0, nil) }); err != nil {
		t.Error(err)
	}
}

func TestLogFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "not", "yet", "there.log")
	uri := "file://" + path
	for range 2 {
		s := opened(t, Opener{}, Config{Stdout: uri, Stderr: uri})
		c := run(t, s, "cat")
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
		drained(t, s)
	}
	got, err := os.ReadFile(path)
	if string(got) != "00" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != logFileMode {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
}

// TestFullDisk: the process is not stopped, the loss is reported at once and by Drain.
func TestFullDisk(t *testing.T) {
	var reports []error // one relay, and Drain comes after it
	s := opened(t, Opener{Report: func(err error) { reports = append(reports, err) }}, Config{Stdout: "/dev/full"})
	c := run(t, s, "noise", "1000000")
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	err := s.Drain(t.Context())
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "stdout") || len(reports) != 1 || !errors.Is(reports[0], unix.ENOSPC) {
		t.Errorf("Drain: %v; reports: %v", err, reports)
	}
}

func TestNothing(t *testing.T) {
	before := iotest.Descriptors()
	s := opened(t, Opener{}, Config{})
	if s.Files() != [3]*os.File{} || iotest.Descriptors() != before {
		t.Error("something was opened")
	}
	if err := errors.Join(s.Drain(t.Context()), s.Started(nil), s.CloseStdin(), s.Resize(80, 25), s.Drain(t.Context())); err != nil {
		t.Error(err)
	}
	if err := s.Started(nil); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("started twice: %v", err)
	}
	if err := errors.Join(s.Close(), s.Drain(t.Context())); err != nil {
		t.Error(err)
	}
	if err := s.Started(nil); !errdefs.IsFailedPrecondition(err) {
		t.Errorf("started after Close: %v", err)
	}
}

func TestBadConfigs(t *testing.T) {
	dir := t.TempDir()
	fifo, missing := iotest.Fifo(t), filepath.Join(dir, "missing")
	iotest.Reader(t, fifo)
	before := iotest.Descriptors()
	for _, c := range []struct {
		cfg   Config
		is    func(error) bool
		texts []string
	}{
		{Config{Stdout: "ftp://x/y"}, errdefs.IsInvalidArgument, []string{"stdout", "ftp://x/y", "unknown scheme"}},
		{Config{Stdin: fifo, Stdout: fifo, Stderr: "nope:///x"}, errdefs.IsInvalidArgument, []string{"stderr", "nope:///x"}},
		{Config{Stdin: "file:///x"}, errdefs.IsInvalidArgument, []string{"stdin", "file:///x"}},
		{Config{Stdin: fifo, Stdout: "binary:///x", Stderr: "binary:///y"}, errdefs.IsInvalidArgument, []string{"stderr", "binary:///y"}},
		{Config{Stderr: "binary:///y"}, errdefs.IsInvalidArgument, []string{"stderr", "binary:///y"}},
		{Config{Stdin: missing}, errdefs.IsFailedPrecondition, []string{"stdin", missing}},
		{Config{Stdin: fifo, Stdout: fifo, Stderr: missing}, errdefs.IsFailedPrecondition, []string{"stderr", missing}},
		{Config{Stdout: iotest.Fifo(t), Stderr: missing}, errdefs.IsFailedPrecondition, []string{"stderr", missing}},
		{Config{Stdout: dir}, errdefs.IsInvalidArgument, []string{"stdout", dir}},
		{Config{Stdin: fifo, Stdout: "binary://" + missing}, errdefs.IsFailedPrecondition, []string{"stdout", missing}},
		{Config{Stdout: "file:///proc/nowhere/x"}, errdefs.IsFailedPrecondition, []string{"stdout", "/proc/nowhere"}},
		{Config{Stdin: fifo, Stdout: iotest.LoggerURI("binary-v2", "die", dir)}, func(err error) bool { return err != nil }, []string{"exit status 3"}},
	} {
		s, err := Open(t.Context(), Owner{ID: "x"}, c.cfg)
		if s != nil || !c.is(err) {
			t.Errorf("%+v: %v, %v", c.cfg, s, err)
			continue
		}
		for _, text := range c.texts {
			if !strings.Contains(err.Error(), text) {
				t.Errorf("%+v: %q is not in %q", c.cfg, text, err)
			}
		}
		if n := iotest.Descriptors(); n != before {
			t.Errorf("%+v: %d files are left open", c.cfg, n-before)
		}
	}
}

func TestNobodyReads(t *testing.T) {
	out := iotest.Fifo(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, err := Open(ctx, Owner{}, Config{Stdout: out})
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "stdout") || !strings.Contains(err.Error(), out) {
		t.Errorf("got %v", err)
	}
}

// TestOutputsInAnyOrder: a client that opens stderr first, and stdout only when that has got its writer.
func TestOutputsInAnyOrder(t *testing.T) {
	out, errs := iotest.Fifo(t), iotest.Fifo(t)
	done := make(chan error, 1)
	go func() {
		e, err := os.Open(errs)
		if err != nil {
			done <- err
			return
		}
		o, err := os.Open(out)
		done <- errors.Join(err, nonblock.Close(o, e))
	}()
	opened(t, Opener{}, Config{Stdout: out, Stderr: errs})
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestLogger(t *testing.T) {
	for _, scheme := range []string{"binary", "binary-v2"} {
		path := filepath.Join(t.TempDir(), "log")
		uri := iotest.LoggerURI(scheme, "copy", path)
		s := opened(t, Opener{}, Config{Stdout: uri, Stderr: uri})
		c := run(t, s, "cat")
		if err := c.Wait(); err != nil {
			t.Error(err)
		}
		drained(t, s)
		for suffix, want := range map[string]string{".1": "", ".2": "0", ".env": "CONTAINER_ID=web1\nCONTAINER_NAMESPACE=ns"} {
			if got, err := os.ReadFile(path + suffix); string(got) != want || err != nil {
				t.Errorf("%s%s: %q, %v", scheme, suffix, got, err)
			}
		}
	}
}

// TestCloseGivesLoggerTheRest: Close without Drain, and without a process.
func TestCloseGivesLoggerTheRest(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := opened(t, Opener{}, Config{Stdout: iotest.LoggerURI("binary", "copy", path)})
	if _, err := s.Files()[2].WriteString("last words"); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(path + ".2"); string(got) != "last words" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
