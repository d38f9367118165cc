package shim

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/shim/ttrpc"
)

// TestSocketPath has sums that were made by sha256sum(1) of the text in the comment: containerd finds the socket by the same rule.
func TestSocketPath(t *testing.T) {
	cases := []struct {
		dir  string
		f    Flags
		want string
	}{
		// /run/containerd/containerd.sock/default/web1
		{"", Flags{Address: "/run/containerd/containerd.sock", Namespace: "default", ID: "web1"}, "/run/containerd/s/a74decd473e9b18c325dac30b287059a87b73d3e3b63eed878c2a13c2fae8e4f"},
		{"/run/s", Flags{Address: "/run/containerd/containerd.sock", Namespace: "default", ID: "web1"}, "/run/s/a74decd473e9b18c325dac30b287059a87b73d3e3b63eed878c2a13c2fae8e4f"},
		// /run/containerd/containerd.sock/k8s.io/web1
		{"", Flags{Address: "/run/containerd/containerd.sock", Namespace: "k8s.io", ID: "web1"}, "/run/containerd/s/56586d0bdcac342ab2650f9cbcf498dbe651b8e4767919aebe67dda796a0082b"},
		// default/web1
		{"", Flags{Namespace: "default", ID: "web1"}, "/run/containerd/s/84e4c3cf014b34ef11bcbcb516f86d8098428b38d0d2b5de370e8e12306f8808"},
	}
	for _, c := range cases {
		got, err := socketPath(c.dir, c.f)
		if err != nil || got != c.want {
			t.Errorf("%+v: %s (%v), want %s", c.f, got, err, c.want)
		}
	}
}

// TestSocketPathLength has a folder that is as long as can be, and one that is longer.
func TestSocketPathLength(t *testing.T) {
	base, err := os.MkdirTemp("", "s")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(base)) })
	const sum = 2 * 32 // hexadecimal digits of SHA-256
	dir := filepath.Join(base, strings.Repeat("d", maxSocketPath-sum-len("//")-len(base)))
	path, err := socketPath(dir, Flags{Namespace: "default", ID: "web1"})
	if err != nil || len(path) != maxSocketPath {
		t.Fatalf("%s: %d bytes, %v", path, len(path), err)
	}
	l, _, err := listen(path)
	if err != nil {
		t.Fatal(err)
	}
	must(t, l.Close())
	_, err = socketPath(dir+"d", Flags{Namespace: "default", ID: "web1"})
	holds(t, "one byte more", err, "the socket's path "+dir+"d/", "107 bytes")
	if !errors.Is(err, errdefs.ErrInvalidArgument) {
		t.Errorf("%v is no ErrInvalidArgument", err)
	}
	if _, _, err := listen(path + "x"); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("one byte more is taken: %v", err)
	}
}

// mode is a file's type and permissions.
func mode(t *testing.T, path string) os.FileMode {
	t.Helper()
	fi, err := os.Stat(path)
	must(t, err)
	return fi.Mode()
}

func TestListen(t *testing.T) {
	old := unix.Umask(0) // containerd's umask is not ours to rely on
	defer unix.Umask(old)
	dir := filepath.Join(t.TempDir(), "a", "s")
	path := filepath.Join(dir, "x")
	l, reused, err := listen(path)
	if err != nil || reused {
		t.Fatal(reused, err)
	}
	if m := mode(t, path); m != os.ModeSocket|0o600 {
		t.Errorf("the socket is %v", m)
	}
	if m := mode(t, dir); m != os.ModeDir|0o700 {
		t.Errorf("its folder is %v", m)
	}
	if flags, err := unix.FcntlInt(fdOf(t, l), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("the socket's descriptor has flags %#x (%v): programs get it", flags, err)
	}
	// A living shim is found.
	again, reused, err := listen(path)
	if err != nil || !reused || again != nil {
		t.Errorf("a second time: %v, %t, %v", again, reused, err)
	}
	// The file outlives our descriptor: the daemon goes on with it.
	must(t, l.Close())
	if m := mode(t, path); m != os.ModeSocket|0o600 {
		t.Errorf("after the end of ours the socket is %v", m)
	}
	// Now nobody listens: a shim was killed.
	before := inode(t, path)
	l, reused, err = listen(path)
	if err != nil || reused {
		t.Fatal(reused, err)
	}
	defer l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the socket made in the dead one's place (inode %d before, %d now): %v", before, inode(t, path), err)
	}
	must(t, c.Close())
	if m := mode(t, path); m != os.ModeSocket|0o600 {
		t.Errorf("made anew the socket is %v", m)
	}
}

func inode(t *testing.T, path string) uint64 {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Stat(path, &st))
	return st.Ino
}

// fdOf is the number of l's own descriptor.
func fdOf(t *testing.T, l *ttrpc.Listener) (fd uintptr) {
	t.Helper()
	raw, err := l.File().SyscallConn()
	must(t, err)
	must(t, raw.Control(func(n uintptr) { fd = n }))
	return fd
}

// TestListenBesideBusy has a shim that is alive and does not get to accept: its backlog is full. That is no dead socket.
func TestListenBesideBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	defer unix.Close(fd)
	must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	must(t, unix.Listen(fd, 0))
	c, err := net.Dial("unix", path) // one fits
	must(t, err)
	defer c.Close()
	if l, reused, err := listen(path); l != nil || !reused || err != nil {
		t.Errorf("%v, %t, %v", l, reused, err)
	}
}

func TestListenWrong(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, nil, 0o600))
	full := filepath.Join(dir, "full")
	must(t, os.MkdirAll(filepath.Join(full, "x"), 0o700))
	cases := []struct {
		name, path string
		words      []string
	}{
		{"the folder is a file", file + "/s", []string{"make the folder of the socket", file}},
		{"a folder is in its place", full, []string{"remove the dead socket", full}},
	}
	for _, c := range cases {
		l, reused, err := listen(c.path)
		holds(t, c.name, err, c.words...)
		if l != nil || reused {
			t.Errorf("%s: %v, %t", c.name, l, reused)
		}
	}
	// A file that is no socket is dead too.
	l, reused, err := listen(file)
	if err != nil || reused {
		t.Fatal(reused, err)
	}
	must(t, l.Close())
}

func TestAddress(t *testing.T) {
	for _, c := range []struct{ address, path string }{{"unix:///run/s/x", "/run/s/x"}, {"/run/s/x", "/run/s/x"}, {"unix://", ""}} {
		if got := pathOf(c.address); got != c.path {
			t.Errorf("%s: %s", c.address, got)
		}
	}
	if got := address("/run/s/x"); got != "unix:///run/s/x" {
		t.Error(got)
	}
}
