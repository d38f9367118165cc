package ttrpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/internal/leak"
	"example.io/shim/shim/wire"
)

// With containerd's own client and server both sides are tested in integration/wire.

func TestMain(m *testing.M) { leak.Main(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// echo answers with its request.
func echo(string) Method {
	return Unary(func(_ context.Context, q *wire.Any) (*wire.Any, error) { return q, nil })
}

// serve serves echo and ends with the test. Its log is what it returns.
func serve(t *testing.T, l *Listener, service Service) (s *Server, log chan string) {
	t.Helper()
	log = make(chan string, 1000)
	s = NewServer(map[string]Service{"echo": service}, func(f string, args ...any) { log <- fmt.Sprintf(f, args...) })
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	t.Cleanup(func() {
		must(t, s.Close())
		must(t, s.Close()) // the second one is nothing
		s.HangUp(context.Background())
		if err := <-served; !errors.Is(err, ErrClosed) {
			t.Errorf("the server ended: %v", err)
		}
	})
	return s, log
}

func call(c *Client) error {
	return c.Call(context.Background(), "echo", "Echo", &wire.Any{TypeUrl: "x"}, &wire.Any{})
}

func dial(t *testing.T, path string) *Client {
	t.Helper()
	c, err := Dial(path)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestNoDescriptors has a process without a free descriptor: it accepts when there is one again.
func TestNoDescriptors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	must(t, err)
	c := dial(t, path)
	var old unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &old))
	free, err := unix.Dup(0) // the lowest that is free
	must(t, err)
	must(t, unix.Close(free))
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(free), Max: old.Max}))
	_, log := serve(t, l, echo)
	for range 3 {
		if line := <-log; !strings.Contains(line, "too many open files") {
			t.Errorf("logged: %s", line)
		}
	}
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &old))
	must(t, call(c))
}

// TestServerGoes ends a server between calls and within one: the client says so, again and again.
func TestServerGoes(t *testing.T) {
	arrived := make(chan struct{})
	for name, service := range map[string]Service{"between": echo, "within": func(string) Method {
		return Unary(func(ctx context.Context, _ *wire.Any) (*wire.Any, error) {
			close(arrived)
			<-ctx.Done()
			return nil, ctx.Err()
		})
	}} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := Listen(path)
		must(t, err)
		s, _ := serve(t, l, service)
		c := dial(t, path)
		if name == "between" {
			must(t, call(c))
			must(t, s.Close())
		} else {
			go func() { <-arrived; _ = s.Close() }()
		}
		first := call(c)
		if first == nil || CodeOf(first) != Unknown {
			t.Errorf("%s: %v", name, first)
		}
		if again := call(c); !errors.Is(again, first) {
			t.Errorf("%s: then %v, first %v", name, again, first)
		}
		if _, err := Dial(path); !errors.Is(err, unix.ECONNREFUSED) {
			t.Errorf("%s: a new connection: %v", name, err)
		}
		if err := NewServer(nil, t.Logf).Close(); err != nil { // one that never served
			t.Error(err)
		}
	}
}

// TestServeAfterClose closes first: the listener is not left open.
func TestServeAfterClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	must(t, err)
	s := NewServer(nil, t.Logf)
	must(t, s.Close())
	if err := s.Serve(l); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	if Listens(path) {
		t.Error("it listens still")
	}
}

// TestHangUp waits for clients, and no longer than it is to.
func TestHangUp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	must(t, err)
	s, _ := serve(t, l, echo)
	a, b := dial(t, path), dial(t, path)
	must(t, call(a))
	must(t, call(b))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if s.HangUp(ctx); ctx.Err() == nil {
		t.Error("two are connected, and it did not wait")
	}
	go func() { _, _ = a.Close(), b.Close() }()
	s.HangUp(context.Background())
	if n := s.connections(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
}

// TestIdleTimer ends a call with a limit: no timer is left that would wake the process up for nothing.
func TestIdleTimer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	must(t, err)
	serve(t, l, echo)
	c := dial(t, path)
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	must(t, c.Call(ctx, "echo", "Echo", &wire.Any{}, &wire.Any{}))
	<-ctx.Done()
	cancel()
	must(t, call(c)) // the limit of the first call is not that of the second
	if err := c.Call(ctx, "echo", "Echo", &wire.Any{}, &wire.Any{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call whose time is over: %v", err)
	}
	must(t, call(c)) // it was not sent, so the connection is as it was
}

// TestWrongAnswer has a server that answers with something else.
func TestWrongAnswer(t *testing.T) {
	for name, answer := range map[string]string{
		"of another stream": "\x00\x00\x00\x00\x00\x00\x00\x03\x02\x00",
		"data":              "\x00\x00\x00\x00\x00\x00\x00\x01\x03\x00",
		"no message":        "\x00\x00\x00\x01\x00\x00\x00\x01\x02\x00\xff",
		"an end within":     "\x00\x00\x00\x09\x00\x00\x00\x01\x02\x00\x0a",
		"a part of a head":  "\x00\x00\x00",
	} {
		path := filepath.Join(t.TempDir(), "s")
		l, err := Listen(path)
		must(t, err)
		c := dial(t, path)
		go func() {
			f, err := l.accept()
			if err == nil {
				_, _ = f.Read(make([]byte, 1000))
				_, _ = io.WriteString(f, answer)
				_ = f.Close()
			}
		}()
		err = call(c)
		if err == nil || CodeOf(err) != Unknown || !errors.Is(call(c), err) {
			t.Errorf("%s: %v, then %v", name, err, call(c))
		}
		must(t, l.Close())
	}
}

// TestInherit takes what listens, and nothing else.
func TestInherit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path)
	must(t, err)
	fd, err := unix.Dup(int(l.File().Fd())) // as exec does it: the descriptor blocks now, and goes to programs
	must(t, err)
	must(t, l.Close())
	inherited, err := Inherit(fd)
	must(t, err)
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("descriptor flags %#x (%v)", flags, err)
	}
	serve(t, inherited, echo)
	must(t, call(dial(t, path)))
	f, err := os.Open("/dev/null")
	must(t, err)
	defer f.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(pair[1])
	defer unix.Close(pair[0])
	for _, fd := range []int{int(f.Fd()), pair[0]} {
		if _, err := Inherit(fd); err == nil {
			t.Errorf("descriptor %d was taken", fd)
		}
	}
}

// TestListenWrong leaves neither a descriptor nor a file.
func TestListenWrong(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]error{dir: unix.EADDRINUSE, dir + "/a/b": unix.ENOENT, dir + "/" + strings.Repeat("x", 200): unix.EINVAL} {
		if _, err := Listen(path); !errors.Is(err, want) {
			t.Errorf("listen on %s: %v, want %v", path, err, want)
		}
		if _, err := Dial(path); err == nil {
			t.Errorf("connected to %s", path)
		}
	}
}

func TestCodes(t *testing.T) {
	if got := (&Error{NotFound, "web1"}).Error(); got != "web1 (NotFound)" {
		t.Error(got)
	}
	if got := Code(99).String() + Code(-1).String(); got != "Code(99)Code(-1)" {
		t.Error(got)
	}
	for err, want := range map[error]Code{nil: OK, io.EOF: Unknown, fmt.Errorf("a: %w", &Error{Code: Aborted}): Aborted} {
		if got := CodeOf(err); got != want {
			t.Errorf("%v is %v", err, got)
		}
	}
}
