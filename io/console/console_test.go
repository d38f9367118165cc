package console

import (
	"errors"
	"io"
	"math"
	"os"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/io/internal/iotest"
	"example.io/shim/io/internal/nonblock"
	"example.io/shim/io/pipe"
)

func TestMain(m *testing.M) { iotest.Main(m) }

func newConsole(t *testing.T) (*Console, *os.File) {
	t.Helper()
	master, slave := iotest.Pty(t)
	c, err := New(master)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(c.Close(), c.Close(), nonblock.Close(slave)); err != nil {
			t.Error(err)
		}
	})
	if _, err := master.Stat(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("the master was not taken over: %v", err)
	}
	return c, slave
}

func TestBothWays(t *testing.T) {
	c, slave := newConsole(t)
	p, err := pipe.New(pipe.Write, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	in, err := pipe.New(pipe.Read, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	typed, shown := make(chan error, 1), make(chan error, 1)
	go func() { typed <- errors.Join(c.Input(in.R), in.R.Close()) }()
	go func() { shown <- errors.Join(c.Output(p.W), p.W.Close()) }()

	if _, err := in.W.WriteString("typed"); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 5)
	if _, err := io.ReadFull(slave, got); string(got) != "typed" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	// The end of the input leaves the terminal open: output goes on until the last slave is closed.
	if err := errors.Join(in.W.Close(), <-typed); err != nil {
		t.Fatal(err)
	}
	if _, err := slave.WriteString("shown"); err != nil {
		t.Fatal(err)
	}
	if err := slave.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(p.R)
	if err := errors.Join(err, <-shown, p.R.Close()); string(out) != "shown" || err != nil {
		t.Errorf("got %q, %v", out, err)
	}
}

func TestInputEndsWithTheTerminal(t *testing.T) {
	c, slave := newConsole(t)
	in, err := pipe.New(pipe.Read, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := slave.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := in.W.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	// Linux takes what is typed without a slave, or answers EIO; in neither case is that an error.
	if err := errors.Join(in.W.Close(), c.Input(in.R), in.R.Close()); err != nil {
		t.Error(err)
	}
}

func TestOutputToNowhere(t *testing.T) {
	c, slave := newConsole(t)
	done := make(chan error, 1)
	go func() { done <- c.Output(nil) }()
	if _, err := slave.Write(make([]byte, 1<<20)); err != nil { // far more than a pty holds
		t.Error(err)
	}
	if err := errors.Join(slave.Close(), <-done); err != nil {
		t.Error(err)
	}
}

func TestResize(t *testing.T) {
	c, slave := newConsole(t)
	if err := c.Resize(132, 43); err != nil {
		t.Fatal(err)
	}
	err := nonblock.Control(slave, func(fd int) error {
		ws, err := unix.IoctlGetWinsize(fd, unix.TIOCGWINSZ)
		if err == nil && (ws.Col != 132 || ws.Row != 43) {
			t.Errorf("got %+v", ws)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if err := c.Resize(math.MaxUint16+1, 1); !errdefs.IsInvalidArgument(err) {
		t.Errorf("got %v", err)
	}
	if err := errors.Join(c.Close(), c.Resize(1, 1)); err != nil {
		t.Errorf("after Close: %v", err)
	}
}

func TestNotATerminal(t *testing.T) {
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(f); err == nil {
		t.Error("no error")
	}
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("it was left open: %v", err)
	}
}
