package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"
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
	mounts, err := mountsOf("/proc/self/mountinfo")
	for _, m := range mounts {
		if m.point == path {
			n++
		}
	}
	return n, err
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
