package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"example.io/shim/internal/need"
	"example.io/shim/linux/criu"
)

// mountsIn lists what a container has mounted where.
func mountsIn(t *testing.T, c *Container) []string {
	t.Helper()
	list, err := mountsOf(fmt.Sprintf("/proc/%d/mountinfo", c.Init().Pid()))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, m := range list {
		out = append(out, m.point+" "+m.fstype)
	}
	slices.Sort(out)
	return out
}

// TestCriuMounts: binds of files and folders, one below another, one behind a link, with what is mounted below the source; the host's /dev/null over masked
// files; the cgroup; all come back in another container with a fresh root, another id and another cgroup, whose limits hold.
func TestCriuMounts(t *testing.T) {
	need.WorkingCriu(t)
	src := t.TempDir()
	for _, d := range []string{"tree/sub", "nested"} {
		if err := os.MkdirAll(filepath.Join(src, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(src, "file"), []byte("content\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", filepath.Join(src, "tree/sub"), "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(filepath.Join(src, "tree/sub"), unix.MNT_DETACH) })
	limit := int64(50)
	edit := func(s *specs.Spec) {
		counter(s)
		bind := func(from, to string, opts ...string) specs.Mount {
			return specs.Mount{Source: filepath.Join(src, from), Destination: to, Type: "bind", Options: opts}
		}
		s.Mounts = append(s.Mounts, bind("file", "/etc/bound file", "bind", "ro"), bind("tree", "/mnt/tree", "rbind"), bind("nested", "/mnt/tree/nested", "bind"),
			bind("file", "/var/run/pid", "bind"), specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro"}})
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "cgroup"})
		s.Linux.MaskedPaths = append(s.Linux.MaskedPaths, "/proc/sched_debug", "/proc/latency_stats")
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit}
	}
	link := func(bundle string) {
		if err := os.Mkdir(filepath.Join(bundle, "rootfs/var"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("../run", filepath.Join(bundle, "rootfs/var/run")); err != nil {
			t.Fatal(err)
		}
	}
	deps := newDeps(t)
	images := filepath.Join(t.TempDir(), "images")
	first, second := newBundle(t, edit), newBundle(t, edit)
	link(first)
	link(second)
	b := openBox(t, deps, request(first))
	b.out.number(1)
	want := mountsIn(t, b.Container)
	checkpoint(t, b, criu.Options{ImagePath: images}, false)
	last := b.ended(t)
	b = restoreBox(t, deps, request(second), images)
	b.out.number(last + 1)
	if got := mountsIn(t, b.Container); !slices.Equal(got, want) {
		t.Errorf("mounts\n got %q\nwant %q", got, want)
	}
	if out := execOutput(t, b.Container, "sh", "-c", "cat '/etc/bound file' /run/pid; echo x >'/etc/bound file'; ls /mnt/tree; cat /proc/keys"); strings.Count(out, "content\n") != 2 ||
		!strings.Contains(out, "ead-only") || !strings.Contains(out, "nested\nsub") {
		t.Errorf("inside: %q", out)
	}
	for _, d := range b.state.CgroupDirs {
		if data, err := os.ReadFile(filepath.Join(d.Path, "pids.max")); err == nil && strings.TrimSpace(string(data)) != "50" {
			t.Errorf("pids.max is %q", data)
		}
	}
	if pids, err := b.Cgroup().Pids(); err != nil || !slices.Contains(pids, b.Init().Pid()) {
		t.Errorf("init %d is not in its cgroup: %v, %v", b.Init().Pid(), pids, err)
	}
	b.close(t)
}

// TestCriuJoined: a network namespace with a path is taken as it is, by the dump and by the restore.
func TestCriuJoined(t *testing.T) {
	need.WorkingCriu(t)
	ns := filepath.Join(t.TempDir(), "net")
	if err := os.WriteFile(ns, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := onThread(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return err
		}
		return unix.Mount("/proc/thread-self/ns/net", ns, "", unix.MS_BIND, "")
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(ns, unix.MNT_DETACH) })
	bundle := newBundle(t, func(s *specs.Spec) {
		counter(s)
		for i := range s.Linux.Namespaces {
			if s.Linux.Namespaces[i].Type == specs.NetworkNamespace {
				s.Linux.Namespaces[i].Path = ns
			}
		}
	})
	deps := newDeps(t)
	images := filepath.Join(t.TempDir(), "images")
	before := takeTrace(t, bundle)
	b := openBox(t, deps, request(bundle))
	b.out.number(1)
	checkpoint(t, b, criu.Options{ImagePath: images}, false)
	last := b.ended(t)
	b = restoreBox(t, deps, request(bundle), images)
	b.out.number(last + 1)
	var want, got unix.Stat_t
	if err := errors.Join(unix.Stat(ns, &want), unix.Stat(fmt.Sprintf("/proc/%d/ns/net", b.Init().Pid()), &got)); err != nil || want.Ino != got.Ino {
		t.Errorf("network namespace %d, want %d: %v", got.Ino, want.Ino, err)
	}
	b.close(t)
	noTrace(t, before, bundle)
}

// TestCriuUserns: in a user namespace device nodes are binds of the host's, and ids are mapped.
func TestCriuUserns(t *testing.T) {
	need.WorkingCriu(t)
	bundle := newBundle(t, func(s *specs.Spec) {
		counter(s)
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "user"})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
	})
	if err := filepath.WalkDir(filepath.Join(bundle, "rootfs"), func(p string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(p, 100000, 100000))
	}); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Join(bundle); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	deps := newDeps(t)
	images := filepath.Join(t.TempDir(), "images")
	before := takeTrace(t, bundle)
	b := openBox(t, deps, request(bundle))
	b.out.number(1)
	want := mountsIn(t, b.Container)
	checkpoint(t, b, criu.Options{ImagePath: images}, false)
	last := b.ended(t)
	b = restoreBox(t, deps, request(bundle), images)
	b.out.number(last + 1)
	if got := mountsIn(t, b.Container); !slices.Equal(got, want) {
		t.Errorf("mounts\n got %q\nwant %q", got, want)
	}
	if out := execOutput(t, b.Container, "sh", "-c", "cat /proc/1/uid_map; echo ok >/dev/null && cat /dev/zero | busybox head -c 1 | busybox wc -c"); strings.Join(strings.Fields(out), " ") != "0 100000 65536 1" {
		t.Errorf("inside: %q", out)
	}
	b.close(t)
	noTrace(t, before, bundle)
}

// TestCriuExec: a process that was added is not in the checkpoint, and goes on when init does.
func TestCriuExec(t *testing.T) {
	need.WorkingCriu(t)
	bundle := newBundle(t, counter)
	deps := newDeps(t)
	images := t.TempDir()
	before := takeTrace(t, bundle)
	b := openBox(t, deps, request(bundle))
	at := b.out.number(1)
	p, err := b.Exec(t.Context(), ExecRequest{ExecID: "e", Spec: []byte(`{"args":["sleep","1000"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":0,"gid":0}}`)})
	if err != nil {
		t.Fatal(err)
	}
	checkpoint(t, b, criu.Options{ImagePath: filepath.Join(images, "1"), LeaveRunning: true}, false)
	b.out.number(at + 3)
	select {
	case <-p.Done():
		t.Error("the exec has ended")
	default:
	}
	checkpoint(t, b, criu.Options{ImagePath: filepath.Join(images, "2")}, false)
	<-p.Done() // with its pid namespace
	last := b.ended(t)
	b = restoreBox(t, deps, request(bundle), filepath.Join(images, "2"))
	b.out.number(last + 1)
	if pids, err := b.Cgroup().Pids(); err != nil || len(pids) > 2 { // the shell, and perhaps its sleep
		t.Errorf("pids %v, %v", pids, err)
	}
	b.close(t)
	noTrace(t, before, bundle)
}
