package run

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// onHost takes the mount namespace out of a container, and what cannot be without it.
func onHost(s *specs.Spec) {
	s.Linux.Namespaces = slices.DeleteFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.MountNamespace })
	s.Linux.MaskedPaths, s.Linux.ReadonlyPaths = nil, nil
}

// TestOnHost: a container without a mount namespace has its mounts on the host below its root, where hooks see them; its processes, also further ones, have that
// root; and everything goes with it but what was mounted there before.
func TestOnHost(t *testing.T) {
	deps, ctx := newDeps(t), t.Context()
	bundle := newBundle(t, func(s *specs.Spec) {
		onHost(s)
		s.Process.Args = []string{"sleep", "1000"}
		hook := func(script string) []specs.Hook {
			return []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", script}, Env: []string{"PATH=/usr/bin:/bin"}}}
		}
		s.Hooks = &specs.Hooks{CreateRuntime: hook("ls rootfs/proc/1 >/dev/null && touch rootfs/runtime"), CreateContainer: hook("test -e dev/null && pwd >container"),
			StartContainer: hook("pwd >/start")}
	})
	root := filepath.Join(bundle, "rootfs")
	// A mount of somebody else's, which stays.
	if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(root, unix.MNT_DETACH)
	elsewhere := t.TempDir()
	before := takeTrace(t, elsewhere)
	c, err := Create(ctx, deps, request(bundle))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || !strings.Contains(string(mounts), " "+root+"/dev/pts ") {
		t.Errorf("its mounts are not on the host (%v)", err)
	}
	for name, want := range map[string]string{"runtime": "", "container": root + "\n", "start": "/\n"} {
		if data, err := os.ReadFile(filepath.Join(root, name)); err != nil || string(data) != want {
			t.Errorf("hook %s: %q, %v", name, data, err)
		}
	}
	p, err := c.Exec(ctx, ExecRequest{ExecID: "x", Spec: []byte(`{"args": ["sh", "-c", "cd / && test -e /start && test -e /dev/null && test \"$(readlink /proc/self/root)\" = / && exit 5"], "cwd": "/tmp", "env": ["PATH=/bin"], "user": {}}`)})
	if err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	if status, _ := p.Exit(); status != 5 {
		t.Errorf("exec ended with %d", status)
	}
	_ = c.Signal(unix.SIGKILL)
	<-c.Init().Done()
	if err := c.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	noTrace(t, before, elsewhere)
	if n, err := mountsAt(root); err != nil || n != 1 {
		t.Errorf("%d mounts are at the root (%v), not the one that was there", n, err)
	}
}
