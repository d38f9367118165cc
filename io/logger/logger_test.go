package logger

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"example.io/shim/io/internal/iotest"
	"example.io/shim/io/internal/nonblock"
	"example.io/shim/io/pipe"
)

func TestMain(m *testing.M) {
	iotest.BeLogger()
	iotest.Main(m)
}

// longEnough is for waits that are over as soon as the other side has run.
const longEnough = time.Minute

type fixture struct {
	spec     Spec
	out, err *os.File
	file     string
}

func newFixture(t *testing.T, mode string, readyByte bool) *fixture {
	t.Helper()
	f := &fixture{file: filepath.Join(t.TempDir(), "log")}
	o, oerr := pipe.New(pipe.Neither, 0, 0)
	e, eerr := pipe.New(pipe.Neither, 0, 0)
	if oerr != nil || eerr != nil {
		t.Fatal(oerr, eerr)
	}
	f.out, f.err = o.W, e.W
	f.spec = Spec{ID: "web1", Namespace: "k8s.io", ReadyByte: readyByte, Stdout: o.R, Stderr: e.R}
	f.spec.Path, f.spec.Args = iotest.LoggerArgs(mode, f.file)
	t.Cleanup(func() {
		if err := nonblock.Close(f.out, f.err); err != nil {
			t.Error(err)
		}
		for _, r := range []*os.File{o.R, e.R} {
			if err := r.Close(); !errors.Is(err, os.ErrClosed) {
				t.Error("Start left a read end open")
			}
		}
	})
	return f
}

func (f *fixture) wants(t *testing.T, suffix, want string) {
	t.Helper()
	if got, err := os.ReadFile(f.file + suffix); string(got) != want || err != nil {
		t.Errorf("%s: got %q, %v, want %q", suffix, got, err, want)
	}
}

func TestLogs(t *testing.T) {
	for _, c := range []struct {
		mode      string
		readyByte bool
	}{{"copy", false}, {"copy", true}, {"eof", false}} {
		f := newFixture(t, c.mode, c.readyByte)
		var started, waited atomic.Int32
		l, err := Start(t.Context(), f.spec, Launch{
			Start: func(c *exec.Cmd) error { started.Add(1); return c.Start() },
			Wait:  func(c *exec.Cmd) error { waited.Add(1); return c.Wait() },
		})
		if err != nil {
			t.Fatal(c, err)
		}
		_, e1 := f.out.WriteString("out")
		_, e2 := f.err.WriteString("err")
		if err := errors.Join(e1, e2, f.out.Close(), f.err.Close(), l.Wait(t.Context()), l.Stop()); err != nil {
			t.Error(c, err)
		}
		f.wants(t, ".1", "out")
		f.wants(t, ".2", "err")
		f.wants(t, ".env", "CONTAINER_ID=web1\nCONTAINER_NAMESPACE=k8s.io")
		if started.Load() != 1 || waited.Load() != 1 {
			t.Errorf("%v: hooks: %d starts, %d waits", c, started.Load(), waited.Load())
		}
	}
}

func TestNotReady(t *testing.T) {
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		mode  string
		limit time.Duration
		ctx   context.Context
		is    error
		text  string
	}{
		{"die", longEnough, t.Context(), nil, "without writing the byte that says it is ready; it ended: exit status 3"},
		{"mute", time.Millisecond, t.Context(), context.DeadlineExceeded, "not ready within 1ms"},
		{"mute", longEnough, canceled, context.Canceled, "not ready yet"},
	} {
		f := newFixture(t, c.mode, true)
		_, err := start(c.ctx, f.spec, Launch{}, c.limit)
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.text) || !strings.Contains(err.Error(), f.spec.Path) {
			t.Errorf("%s: got %v", c.mode, err)
		}
	}
}

func TestProgramsThatCannotStart(t *testing.T) {
	noExec := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(noExec, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{noExec + ".missing": "does not exist", noExec: "access is refused"} {
		f := newFixture(t, "copy", false)
		f.spec.Path = path
		_, err := Start(t.Context(), f.spec, Launch{})
		if !errdefs.IsFailedPrecondition(err) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// TestStop: a logger that does not see EOF, for somebody else holds the pipe (here f.out), is asked, then killed.
func TestStop(t *testing.T) {
	for _, mode := range []string{"polite", "deaf"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t, mode, false)
			l, err := Start(t.Context(), f.spec, Launch{})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if err := l.Wait(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("it ended by itself: %v", err)
			}
			if err := l.Stop(); err != nil {
				t.Error(err)
			}
			if err := l.Wait(t.Context()); (err == nil) != (mode == "polite") {
				t.Errorf("got %v", err)
			}
			if mode == "polite" {
				f.wants(t, ".term", "bye")
			}
		})
	}
}
