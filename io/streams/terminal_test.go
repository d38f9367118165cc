package streams

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/io/internal/iotest"
	"example.io/shim/io/internal/nonblock"
)

func TestTerminal(t *testing.T) {
	in, out := iotest.Fifo(t), iotest.Fifo(t)
	_, stdout := client(t, out)
	// Stderr means nothing with a terminal: nobody opens this one.
	s := opened(t, Opener{}, Config{Stdin: in, Stdout: out, Stderr: iotest.Fifo(t), Terminal: true})
	if s.Files() != [3]*os.File{} {
		t.Error("files with a terminal")
	}
	if err := s.Resize(1, 1); err != nil {
		t.Errorf("resize before the console is there: %v", err)
	}
	master, slave := iotest.Pty(t)
	if err := s.Started(master); err != nil {
		t.Fatal(err)
	}
	w := iotest.Writer(t, in)
	if _, err := w.WriteString("typed"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(slave, got); string(got) != "typed" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if err := errors.Join(s.CloseStdin(), w.Close(), s.Resize(100, 30)); err != nil {
		t.Error(err)
	}
	err := nonblock.Control(slave, func(fd int) error {
		ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		if err == nil && (ws.Col != 100 || ws.Row != 30) {
			t.Errorf("size %+v", ws)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := slave.WriteString("shown"); err != nil {
		t.Fatal(err)
	}
	if err := slave.Close(); err != nil {
		t.Fatal(err)
	}
	done := flushing(t.Context(), s)
	if !still(done) {
		t.Error("Flush returned though nobody has read")
	}
	if got := stdout(); got != "shown" {
		t.Errorf("got %q", got)
	}
	drained(t, s)
}

// TestTerminalWithoutClient: a process must not be stopped by a terminal that nobody looks at.
func TestTerminalWithoutClient(t *testing.T) {
	s := opened(t, Opener{}, Config{Terminal: true})
	master, slave := iotest.Pty(t)
	if err := s.Started(master); err != nil {
		t.Fatal(err)
	}
	if _, err := slave.Write(make([]byte, 1<<20)); err != nil {
		t.Error(err)
	}
	if err := slave.Close(); err != nil {
		t.Error(err)
	}
	drained(t, s)
}

func TestTerminalToLogger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	s := opened(t, Opener{}, Config{Stdout: iotest.LoggerURI("binary", "copy", path), Terminal: true})
	master, slave := iotest.Pty(t)
	if err := s.Started(master); err != nil {
		t.Fatal(err)
	}
	if _, err := slave.WriteString("shown"); err != nil {
		t.Fatal(err)
	}
	if err := slave.Close(); err != nil {
		t.Error(err)
	}
	drained(t, s)
	if got, err := os.ReadFile(path + ".1"); string(got) != "shown" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestLoggerDies: on a terminal its end is ours to notice; the process goes on.
func TestLoggerDies(t *testing.T) {
	s := opened(t, Opener{}, Config{Stdout: iotest.LoggerURI("binary", "die", "/"), Terminal: true})
	master, slave := iotest.Pty(t)
	if err := s.Started(master); err != nil {
		t.Fatal(err)
	}
	if _, err := slave.Write(make([]byte, 1<<20)); err != nil {
		t.Error(err)
	}
	if err := slave.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Drain(t.Context()); !errors.Is(err, unix.EPIPE) {
		t.Errorf("got %v", err)
	}
}

// TestCloseHangsUp: with a process that still has the terminal open.
func TestCloseHangsUp(t *testing.T) {
	in := iotest.Fifo(t)
	s := opened(t, Opener{}, Config{Stdin: in, Terminal: true})
	master, slave := iotest.Pty(t)
	if err := errors.Join(s.Started(master), s.Close(), s.Resize(1, 1)); err != nil {
		t.Fatal(err)
	}
	if n, err := slave.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("got %d, %v", n, err)
	}
	if err := slave.Close(); err != nil {
		t.Error(err)
	}
}

func TestConsoleAndTerminalGoTogether(t *testing.T) {
	master, slave := iotest.Pty(t)
	s := opened(t, Opener{}, Config{})
	if err := s.Started(master); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a console without a terminal: %v", err)
	}
	if err := master.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the master was left open: %v", err)
	}
	if err := slave.Close(); err != nil {
		t.Error(err)
	}
	s = opened(t, Opener{}, Config{Terminal: true})
	if err := s.Started(nil); !errdefs.IsInvalidArgument(err) {
		t.Errorf("a terminal without a console: %v", err)
	}
}
