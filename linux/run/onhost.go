package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/host"
)

// noteMounts notes what is at the root of a container without a mount namespace of its own, before anything is made of it.
func (s *State) noteMounts(sp *specs.Spec) error {
	if hasNamespace(sp, specs.MountNamespace) {
		return nil
	}
	n, err := mountsAt(s.Rootfs)
	if err != nil {
		return fmt.Errorf("create %s: the mounts at %s (/root/path): %w", s.ID, s.Rootfs, err)
	}
	s.OnHost = n + 1
	return nil
}

// mountsAt is how many mounts are on a path in our mount namespace (proc_pid_mountinfo(5)).
func mountsAt(path string) (n int, err error) {
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return 0, err
	}
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 && host.Unescape(f[4]) == path {
			n++
		}
	}
	return n, nil
}

// unmountTo takes mounts off a path until there are as many as before. What is mounted below goes with them.
func unmountTo(path string, keep int) error {
	for {
		n, err := mountsAt(path)
		if errors.Is(err, os.ErrNotExist) || err == nil && n <= keep {
			return nil
		}
		if err == nil {
			err = unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		}
		if err != nil {
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
}
