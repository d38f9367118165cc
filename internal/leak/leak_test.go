package leak

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { Main(m) }

// TestSeen leaves one of each kind behind, and takes it away again.
func TestSeen(t *testing.T) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		kind string
		make func() (undo func())
	}{
		{"new descriptor", func() func() {
			f, err := os.Open("/dev/null")
			must(err)
			return func() { f.Close() }
		}},
		{"lost descriptor 0 ", func() func() {
			fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 100)
			must(err)
			must(unix.Close(0))
			return func() { must(unix.Dup3(fd, 0, 0)); unix.Close(fd) }
		}},
		{"new mount", func() func() {
			dir := t.TempDir()
			must(unix.Mount("tmpfs", dir, "tmpfs", 0, ""))
			return func() { must(unix.Unmount(dir, 0)) }
		}},
		{"new child", func() func() {
			cmd := exec.Command("sleep", "1000")
			must(cmd.Start())
			return func() { must(cmd.Process.Kill()); cmd.Wait() }
		}},
		{"new goroutines", func() func() {
			ch := make(chan int)
			go func() { <-ch }()
			return func() { close(ch) }
		}},
	}
	for _, c := range cases {
		before := Take()
		undo := c.make()
		diff := before.diff(Take())
		undo()
		if !strings.Contains(diff, c.kind) {
			t.Errorf("%s: seen is %q", c.kind, diff)
		}
		if left := before.Left(); left != "" {
			t.Errorf("%s: after the undo: %q", c.kind, left)
		}
	}
}

// TestPrivateMounts looks for our mount where the parent of the test binary lives.
func TestPrivateMounts(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, 0)
	for name, want := range map[string]bool{"/proc/self/mountinfo": true, "/proc/1/mountinfo": false} {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(data), " "+dir+" "); got != want {
			t.Errorf("%s has the mount: %t, want %t", name, got, want)
		}
	}
}
