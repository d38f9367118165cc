package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"example.io/shim/internal/need"
	"example.io/shim/linux/criu"
)

// TestCriuMissing: without CRIU a checkpoint and a restore are refused by its name, and nothing has happened. It needs no CRIU.
func TestCriuMissing(t *testing.T) {
	bundle := newBundle(t, counter)
	deps := newDeps(t)
	images := filepath.Join(t.TempDir(), "images")
	before := takeTrace(t, bundle)
	b := openBox(t, deps, request(bundle))
	t.Setenv("PATH", t.TempDir())
	missing := func(err error) {
		t.Helper()
		if !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(fmt.Sprint(err), `"criu" was not found in PATH`) {
			t.Errorf("error %v", err)
		}
	}
	missing(b.Checkpoint(t.Context(), criu.Options{ImagePath: images}, false))
	b.out.number(b.out.number(0) + 3) // it goes on
	b.close(t)
	noTrace(t, before, bundle)
	if err := writeAbout(images, [3]string{}, &criu.Options{}); err != nil {
		t.Fatal(err)
	}
	r := request(bundle)
	r.Restore = &criu.Options{ImagePath: images}
	_, err := Create(t.Context(), deps, r)
	missing(err)
	noTrace(t, before, bundle)
}

// TestRestoreRefused: what cannot work is refused before anything is made.
func TestRestoreRefused(t *testing.T) {
	bundle := newBundle(t, counter)
	deps := newDeps(t)
	terminal, empty, broken := t.TempDir(), t.TempDir(), t.TempDir()
	if err := writeAbout(terminal, [3]string{terminalName, terminalName, terminalName}, &criu.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(broken, descriptorsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := takeTrace(t, bundle)
	for words, o := range map[string]criu.Options{
		"/no/such/images":            {ImagePath: "/no/such/images"},
		empty:                        {ImagePath: empty},
		broken:                       {ImagePath: broken},
		"has a terminal: true":       {ImagePath: terminal},
		`cgroups mode "firm"`:        {ImagePath: terminal, ManageCgroups: "firm"},
		`empty namespace "mount"`:    {ImagePath: terminal, EmptyNS: []string{"mount"}},
		`page server "host"`:         {ImagePath: terminal, PageServer: "host"},
		`page server ":8080"`:        {ImagePath: terminal, PageServer: ":8080"},
		`page server "host:1000000"`: {ImagePath: terminal, PageServer: "host:1000000"},
	} {
		r := request(bundle)
		r.Restore = &o
		_, err := Create(t.Context(), deps, r)
		if !errors.Is(err, errdefs.ErrInvalidArgument) || !strings.Contains(fmt.Sprint(err), words) || strings.Contains(fmt.Sprint(err), "no such file") {
			t.Errorf("%s: %v", words, err)
		}
	}
	noTrace(t, before, bundle)
}

// TestCheckpointNotStarted: there is nothing to dump.
func TestCheckpointNotStarted(t *testing.T) {
	bundle := newBundle(t, counter)
	c, err := Create(t.Context(), newDeps(t), request(bundle))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Checkpoint(t.Context(), criu.Options{ImagePath: t.TempDir()}, false); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("error %v", err)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
}

// restoreBox restores a container from images.
func restoreBox(t *testing.T, deps *Deps, r Request, images string) *box {
	t.Helper()
	r.Restore = &criu.Options{ImagePath: images}
	began := time.Now()
	b := openBox(t, deps, r)
	t.Logf("restored in %s", time.Since(began))
	return b
}

// ended waits for the end of a container that its checkpoint has ended, and removes it; it returns the last number that it wrote.
func (b *box) ended(t *testing.T) int {
	t.Helper()
	b.closed = true
	select {
	case <-b.Init().Done():
	case <-time.After(patience):
		t.Fatal("init goes on")
	}
	if err := b.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	last := b.out.last()
	b.file.Close()
	return last
}

// TestCriuPaused: a frozen container is dumped, and stays frozen; and one that its checkpoint ends is restored running.
func TestCriuPaused(t *testing.T) {
	need.WorkingCriu(t)
	bundle := newBundle(t, counter)
	deps := newDeps(t)
	images := t.TempDir()
	before := takeTrace(t, bundle)
	b := openBox(t, deps, request(bundle))
	at := b.out.number(2)
	if err := b.Cgroup().Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkpoint(t, b, criu.Options{ImagePath: filepath.Join(images, "1"), LeaveRunning: true}, true)
	for len(b.out.lines) > 0 {
		<-b.out.lines
	}
	select {
	case line := <-b.out.lines:
		t.Errorf("%q from a paused container", line)
	case <-time.After(2 * time.Second):
	}
	if err := b.Cgroup().Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.out.number(at + 3)
	if err := b.Cgroup().Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	checkpoint(t, b, criu.Options{ImagePath: filepath.Join(images, "2")}, true)
	last := b.ended(t)
	noTrace(t, before, bundle)
	b = restoreBox(t, deps, request(bundle), filepath.Join(images, "2"))
	if n := b.out.number(0); n < last {
		t.Errorf("%d after %d", n, last)
	}
	b.out.number(last + 3)
	b.close(t)
	noTrace(t, before, bundle)
}

// TestCriuTerminal: the restored process has a terminal again, whose master is ours.
func TestCriuTerminal(t *testing.T) {
	need.WorkingCriu(t)
	bundle := newBundle(t, func(s *specs.Spec) {
		s.Process.Terminal = true
		s.Process.Args = []string{"sh", "-c", "stty -echo 2>/dev/null; n=0; while read x; do n=$((n+x)); echo $n; done"}
	})
	deps := newDeps(t)
	images := filepath.Join(t.TempDir(), "images")
	before := takeTrace(t, bundle)
	r := request(bundle)
	r.Terminal = true
	b := openBox(t, deps, r)
	fmt.Fprintln(b.file, "40")
	b.out.number(40)
	checkpoint(t, b, criu.Options{ImagePath: images}, false)
	b.ended(t)
	noTrace(t, before, bundle)
	b = restoreBox(t, deps, r, images)
	if err := unix.IoctlSetWinsize(int(b.file.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 33, Col: 44}); err != nil {
		t.Error(err)
	}
	fmt.Fprintln(b.file, "500")
	if n := b.out.number(500); n != 540 {
		t.Errorf("%d, want 540", n)
	}
	b.close(t)
	noTrace(t, before, bundle)
}

// TestCriuStdin: all three streams are the new container's pipes.
func TestCriuStdin(t *testing.T) {
	need.WorkingCriu(t)
	bundle := newBundle(t, func(s *specs.Spec) {
		s.Process.Args = []string{"sh", "-c", "n=0; while read x; do n=$((n+x)); echo $n; echo err$n >&2; done; exit 7"}
	})
	deps := newDeps(t)
	images := filepath.Join(t.TempDir(), "images")
	before := takeTrace(t, bundle)
	open := func(restore *criu.Options) (c *Container, in, out, errs *os.File) {
		var theirs [3]*os.File
		pipe := func() (r, w *os.File) {
			r, w, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			return r, w
		}
		theirs[0], in = pipe()
		out, theirs[1] = pipe()
		errs, theirs[2] = pipe()
		r := request(bundle)
		r.Restore, r.Stdio = restore, func() ([3]*os.File, error) { return theirs, nil }
		c, err := Create(t.Context(), deps, r)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err, c.Delete(t.Context()))
		}
		for _, f := range theirs {
			f.Close()
		}
		return c, in, out, errs
	}
	line := func(f *os.File) string {
		buf := make([]byte, 100)
		_ = f.SetReadDeadline(time.Now().Add(patience))
		n, err := f.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(buf[:n]))
	}
	say := func(in, out, errs *os.File, x, want string) {
		t.Helper()
		fmt.Fprintln(in, x)
		if got := line(out) + " " + line(errs); got != want+" err"+want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	c, in, out, errs := open(nil)
	say(in, out, errs, "4", "4")
	if err := c.Checkpoint(t.Context(), criu.Options{ImagePath: images}, false); err != nil {
		t.Fatal(err)
	}
	<-c.Init().Done()
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, f := range []*os.File{in, out, errs} {
		f.Close()
	}
	noTrace(t, before, bundle)
	c, in, out, errs = open(&criu.Options{ImagePath: images})
	say(in, out, errs, "50", "54")
	in.Close() // the end of file arrives: nobody else holds the pipe
	select {
	case <-c.Init().Done():
		if status, _ := c.Init().Exit(); status != 7 {
			t.Errorf("exit status %d", status)
		}
	case <-time.After(patience):
		t.Error("stdin has no end")
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	out.Close()
	errs.Close()
	noTrace(t, before, bundle)
}

// connected makes a container's process count beside a connection of its own.
func connected(s *specs.Spec) {
	counter(s)
	s.Process.Args[2] = "sleep 1000 | busybox nc -l -p 99 >/dev/null & sleep 1; sleep 1000 | busybox nc 127.0.0.1 99 >/dev/null & sleep 1; " + s.Process.Args[2]
}

// TestCriuDumpFails: the container goes on, and the error has CRIU's reason.
func TestCriuDumpFails(t *testing.T) {
	need.WorkingCriu(t)
	bundle := newBundle(t, connected)
	deps := newDeps(t)
	before := takeTrace(t, bundle)
	b := openBox(t, deps, request(bundle))
	b.out.number(1)
	for _, paused := range []bool{false, true} {
		if paused {
			if err := b.Cgroup().Freeze(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		err := b.Checkpoint(t.Context(), criu.Options{ImagePath: t.TempDir()}, paused)
		if err == nil || !strings.Contains(err.Error(), "dump.log") || !strings.Contains(err.Error(), "tcp-established") {
			t.Errorf("error %v", err)
		}
		t.Log(err)
		if paused {
			if err := b.Cgroup().Thaw(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		for len(b.out.lines) > 0 {
			<-b.out.lines
		}
		b.out.number(b.out.number(0) + 2)
	}
	images := t.TempDir()
	checkpoint(t, b, criu.Options{ImagePath: images, TCPEstablished: true}, false)
	last := b.ended(t)
	noTrace(t, before, bundle)
	b = restoreBox(t, deps, request(bundle), images) // with the connections of the dump, though nobody says so
	b.out.number(last + 2)
	if out := execOutput(t, b.Container, "busybox", "netstat", "-tn"); strings.Count(out, "ESTABLISHED") != 2 {
		t.Errorf("connections: %s", out)
	}
	b.close(t)
	noTrace(t, before, bundle)
}

// TestCriuRestoreFails: the error has CRIU's reason, and nothing is left.
func TestCriuRestoreFails(t *testing.T) {
	need.WorkingCriu(t)
	bundle := newBundle(t, counter)
	deps := newDeps(t)
	images := t.TempDir()
	before := takeTrace(t, bundle)
	b := openBox(t, deps, request(bundle))
	b.out.number(1)
	checkpoint(t, b, criu.Options{ImagePath: images}, false)
	b.ended(t)
	r := request(bundle)
	r.Restore = &criu.Options{ImagePath: images}
	for _, name := range []string{"pages-1.img", "core-1.img", "inventory.img"} { // each fails earlier
		if err := os.Remove(filepath.Join(images, name)); err != nil {
			t.Fatal(err)
		}
		c, err := Create(t.Context(), deps, r)
		if err != nil {
			t.Fatal(err)
		}
		err = c.Start(t.Context())
		if err == nil || !strings.Contains(err.Error(), "restore.log") || !strings.Contains(err.Error(), "Error (") {
			t.Errorf("without %s: error %v", name, err)
		}
		t.Log(err)
		if c.Init() != nil {
			t.Error("there is an init")
		}
		if err := c.Delete(t.Context()); err != nil {
			t.Error(err)
		}
		noTrace(t, before, bundle)
	}
}

// tracksMemory says whether the kernel knows what a process has written since an earlier dump.
func tracksMemory() bool {
	_, err := hostCommand(criu.Program, "check", "--feature", "mem_dirty_track")
	return err == nil
}

// TestCriuParent: the memory that was dumped before is not dumped again. Where the kernel does not track it, a pre-dump is refused, and nothing has happened.
func TestCriuParent(t *testing.T) {
	need.WorkingCriu(t)
	bundle := newBundle(t, func(s *specs.Spec) {
		counter(s)
		s.Process.Args[2] = "x=$(busybox head -c 4000000 /dev/zero | busybox tr '\\0' a); " + s.Process.Args[2]
	})
	deps := newDeps(t)
	dir := t.TempDir()
	before := takeTrace(t, bundle)
	b := openBox(t, deps, request(bundle))
	b.out.number(1)
	if !tracksMemory() {
		for name, o := range map[string]criu.Options{"pre-dump": {PreDump: true}, "parent": {ParentPath: "."}} {
			o.ImagePath = dir
			if err := b.Checkpoint(t.Context(), o, false); !errors.Is(err, errdefs.ErrNotImplemented) || !strings.Contains(err.Error(), "mem_dirty_track") {
				t.Errorf("%s: %v", name, err)
			}
		}
		b.out.number(b.out.number(0) + 2)
		b.close(t)
		noTrace(t, before, bundle)
		return
	}
	checkpoint(t, b, criu.Options{ImagePath: filepath.Join(dir, "first"), PreDump: true}, false)
	b.out.number(b.out.number(0) + 1)
	checkpoint(t, b, criu.Options{ImagePath: filepath.Join(dir, "second"), ParentPath: "../first"}, false)
	last := b.ended(t)
	size := func(name string) (n int64) {
		list, _ := filepath.Glob(filepath.Join(dir, name, "pages-*.img"))
		for _, p := range list {
			if st, err := os.Stat(p); err == nil {
				n += st.Size()
			}
		}
		return n
	}
	if size("first") < 4000000 || size("second") > 1000000 {
		t.Errorf("memory: %d bytes, then %d", size("first"), size("second"))
	}
	b = restoreBox(t, deps, request(bundle), filepath.Join(dir, "second"))
	b.out.number(last + 1)
	b.close(t)
	noTrace(t, before, bundle)
}
