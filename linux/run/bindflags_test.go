package run

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestBindFlags binds a mount whose flags are the host's. Options that name a flag say all of them; in a user namespace what the source has, and could be locked,
// stays, and is not cleared by a word.
func TestBindFlags(t *testing.T) {
	const ro, nosuid, nodev, noexec, nosymfollow = unix.MOUNT_ATTR_RDONLY, unix.MOUNT_ATTR_NOSUID, unix.MOUNT_ATTR_NODEV, unix.MOUNT_ATTR_NOEXEC, unix.MOUNT_ATTR_NOSYMFOLLOW
	const noatime, nodiratime, strictatime = unix.MOUNT_ATTR_NOATIME, unix.MOUNT_ATTR_NODIRATIME, unix.MOUNT_ATTR_STRICTATIME
	for _, c := range []struct {
		source  uint64
		options string
		want    string // the flags of the mount, "" that it is refused
		inside  string // the same in a user namespace
	}{
		{ro | nosuid | nosymfollow | nodiratime, "", "ro,nosuid,nodiratime,relatime,nosymfollow", "ro,nosuid,nodiratime,relatime,nosymfollow"},
		{ro | nosuid | nosymfollow | nodiratime, "noexec", "rw,noexec,nodiratime,relatime", "ro,nosuid,noexec,nodiratime,relatime"},
		{ro, "rw nodev", "rw,nodev,relatime", ""},
		{nodev, "ro", "ro,relatime", "ro,nodev,relatime"},
		{nodev | nosuid, "suid", "rw,relatime", ""},
		{nodev, "suid exec rw", "rw,relatime", "rw,nodev,relatime"},
		{nosymfollow | noexec, "symfollow", "rw,relatime", "rw,noexec,relatime"},
		{noatime, "atime nosuid", "rw,nosuid,noatime", "rw,nosuid,noatime"},
		{noatime, "relatime", "rw,relatime", ""},
		{noatime, "noatime", "rw,noatime", "rw,noatime"},
		{noatime | nodiratime, "strictatime", "rw", ""},
		{noatime, "nodiratime", "rw,nodiratime,relatime", ""},
		{nodiratime, "nodiratime relatime", "rw,nodiratime,relatime", "rw,nodiratime,relatime"},
		{nodiratime, "diratime", "rw,relatime", "rw,nodiratime,relatime"},
		{strictatime, "nostrictatime ro", "ro", "ro"},
		{strictatime, "noatime", "rw,noatime", ""},
	} {
		for _, inside := range []bool{false, true} {
			want := c.want
			if inside {
				want = c.inside
			}
			dir := t.TempDir()
			if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=755"); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
			if err := unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_set: c.source, Attr_clr: unix.MOUNT_ATTR__ATIME}); err != nil {
				t.Fatal(err)
			}
			got, err := boundFlags(t, dir, strings.Fields(c.options), inside)
			if want == "" && (!errors.Is(err, errdefs.ErrPermissionDenied) || !strings.Contains(err.Error(), "in a user namespace keeps")) || want != "" && (err != nil || got != want) {
				t.Errorf("%#x with %q, in a user namespace %v: %s, %v; want %s", c.source, c.options, inside, got, err, want)
			}
		}
	}
}

// TestBindReadOnlyFS: "rw" does not speak of the file system's own flag, in a user namespace neither.
func TestBindReadOnlyFS(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_RDONLY, "mode=755"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if err := unix.MountSetattr(unix.AT_FDCWD, dir, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_RDONLY}); err != nil {
		t.Fatal(err)
	}
	for _, inside := range []bool{false, true} {
		if got, err := boundFlags(t, dir, []string{"rw"}, inside); err != nil || got != "rw,relatime" {
			t.Errorf("in a user namespace %v: %s, %v", inside, got, err)
		}
	}
}

// boundFlags binds dir in a container, and returns the flags of the mount.
func boundFlags(t *testing.T, dir string, options []string, userns bool) (string, error) {
	t.Helper()
	bundle := newBundle(t, func(s *specs.Spec) {
		if userns {
			withUserns(s)
		}
		s.Process.Args = []string{"sleep", "1000"}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/home", Source: dir, Options: append([]string{"bind"}, options...)})
	})
	c, err := Create(t.Context(), newDeps(t), request(bundle))
	if err != nil {
		return "", err
	}
	line, ok := mountLines(procFile(t, c.Init().Pid(), "mountinfo"))["/home"]
	if !ok {
		t.Error("it is not mounted")
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	return strings.Join(slices.Compact(line.flags), ","), nil
}
