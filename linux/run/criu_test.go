package run

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"example.io/shim/internal/need"
	"example.io/shim/linux/criu"
)

// pace is how long a counting process sleeps between two numbers, and patience how long something may take on an emulated CPU.
const (
	pace     = "0.2"
	patience = 60 * time.Second
)

// counter makes a container's process count in its memory; each number goes to its output.
func counter(s *specs.Spec) {
	s.Process.Args = []string{"sh", "-c", "i=0; while :; do i=$((i+1)); echo $i; sleep " + pace + "; done"}
}

// stream is one end of a container's pipe or terminal, read line by line.
type stream struct {
	t     *testing.T
	lines chan string
	seen  int // the last number
}

func readLines(t *testing.T, f *os.File) *stream {
	s := &stream{t: t, lines: make(chan string, 10000)}
	go func() {
		defer close(s.lines)
		buf, rest := make([]byte, 4096), ""
		for {
			n, err := f.Read(buf)
			rest += string(buf[:n])
			for {
				line, more, ok := strings.Cut(rest, "\n")
				if !ok {
					break
				}
				s.lines <- strings.TrimSpace(line)
				rest = more
			}
			if err != nil {
				return
			}
		}
	}()
	return s
}

// number waits for the next number that is at least min.
func (s *stream) number(min int) int {
	s.t.Helper()
	for end := time.After(patience); ; {
		select {
		case line, ok := <-s.lines:
			if !ok {
				s.t.Fatalf("the stream has ended before %d", min)
			}
			n, err := strconv.Atoi(line)
			if err != nil {
				s.t.Fatalf("%q is no number", line)
			}
			s.seen = n
			if n >= min {
				return n
			}
		case <-end:
			s.t.Fatalf("no number %d in %s", min, patience)
		}
	}
}

// last returns the last number of a stream that has ended.
func (s *stream) last() int {
	n := s.seen
	for line := range s.lines {
		if got, err := strconv.Atoi(line); err == nil {
			n = got
		}
	}
	return n
}

// box is a container with a stream for its output.
type box struct {
	*Container
	out    *stream
	file   *os.File // our end
	closed bool
}

// openBox creates and starts a container whose output is a pipe, or a terminal.
func openBox(t *testing.T, deps *Deps, r Request) *box {
	t.Helper()
	b := &box{}
	var w *os.File
	if !r.Terminal {
		var err error
		if b.file, w, err = os.Pipe(); err != nil {
			t.Fatal(err)
		}
		r.Stdio = func() ([3]*os.File, error) { return [3]*os.File{nil, w, w}, nil }
	}
	var err error
	if b.Container, err = Create(t.Context(), deps, r); err != nil {
		t.Fatal(err)
	}
	if err := b.Start(t.Context()); err != nil {
		t.Error(b.Delete(t.Context()))
		t.Fatal(err)
	}
	if r.Terminal {
		b.file = b.Init().Console()
	} else {
		w.Close()
	}
	b.out = readLines(t, b.file)
	t.Cleanup(func() { // of a test that failed
		if !b.closed {
			_ = b.Init().Signal(unix.SIGKILL)
			_ = b.Delete(context.Background())
		}
	})
	return b
}

// close ends the container.
func (b *box) close(t *testing.T) {
	t.Helper()
	b.closed = true
	_ = b.Init().Signal(unix.SIGKILL)
	select {
	case <-b.Init().Done():
	case <-time.After(patience):
		t.Fatal("init does not die")
	}
	if err := b.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	for range b.out.lines {
	}
	b.file.Close()
}

func checkpoint(t *testing.T, b *box, o criu.Options, paused bool) {
	t.Helper()
	began := time.Now()
	if err := b.Checkpoint(t.Context(), o, paused); err != nil {
		if data, rerr := os.ReadFile(filepath.Join(o.ImagePath, criu.DumpLog)); rerr == nil {
			t.Logf("%s", tailOf(data))
		}
		t.Fatal(err)
	}
	t.Logf("dumped in %s", time.Since(began))
}

func tailOf(data []byte) []byte { return data[max(0, len(data)-6000):] }

// TestCriuCounter dumps a process that counts, with the end of it and without, and restores it: it goes on counting.
func TestCriuCounter(t *testing.T) {
	need.WorkingCriu(t)
	bundle := newBundle(t, counter)
	deps := newDeps(t)
	images := filepath.Join(t.TempDir(), "images")
	before := takeTrace(t, bundle)

	b := openBox(t, deps, request(bundle))
	b.out.number(3)
	checkpoint(t, b, criu.Options{ImagePath: images}, false)
	last := b.ended(t)
	if status, _ := b.Init().Exit(); status != 128+uint32(unix.SIGKILL) {
		t.Errorf("the dumped init has exit status %d", status)
	}
	noTrace(t, before, bundle)

	r := request(bundle)
	r.Restore = &criu.Options{ImagePath: images}
	b = openBox(t, deps, r)
	if n := b.out.number(0); n != last+1 && n != last {
		t.Errorf("it goes on at %d after %d", n, last)
	}
	b.out.number(last + 4)
	out := execOutput(t, b.Container, "sh", "-c", "echo $$; hostname; cat /proc/1/cmdline")
	if !strings.Contains(out, "box") {
		t.Errorf("exec in the restored container: %q", out)
	}
	// CRIU has made a time namespace.
	want, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/time", b.Init().Pid()))
	if got := strings.TrimSpace(execOutput(t, b.Container, "busybox", "readlink", "/proc/self/ns/time")); err != nil || got != want {
		t.Errorf("an exec is in the time namespace %q, init in %q, %v", got, want, err)
	}
	b.close(t)
	noTrace(t, before, bundle)
}

// execOutput runs a command in the container.
func execOutput(t *testing.T, c *Container, args ...string) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	spec := fmt.Sprintf(`{"args":["%s"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":0,"gid":0}}`, strings.Join(args, `","`))
	p, err := c.Exec(t.Context(), ExecRequest{ExecID: "e", Spec: []byte(spec), Stdio: [3]*os.File{nil, w, w}})
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	data, _ := io.ReadAll(r)
	<-p.Done()
	return string(data)
}
