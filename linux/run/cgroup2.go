package run

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/plainfile"
)

// openCgroup opens the cgroup v2 directory dir of a container for a further process. When the container has made cgroups of its own in it, it is the
// one that its init is in: a cgroup that gives controllers to others takes no processes (cgroups(7), "no internal processes"). So it is when the directory is
// gone, which it can only be when init has gone elsewhere.
func openCgroup(mount, dir string, init int) (int, error) {
	control, err := plainfile.Read(filepath.Join(dir, "cgroup.subtree_control"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		dir, err = cgroupOf(mount, mount, init)
	case err != nil:
		err = fmt.Errorf("look into the cgroup: %w", err)
	case len(bytes.TrimSpace(control)) > 0:
		dir, err = cgroupOf(mount, dir, init)
	}
	if err != nil {
		return -1, err
	}
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open %s: %w", dir, err)
	}
	return fd, nil
}

// cgroupOf is the v2 directory of a process, which must be below dir.
func cgroupOf(mount, dir string, pid int) (string, error) {
	data, err := plainfile.Read(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return "", fmt.Errorf("find the cgroup of init: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::")
		if !ok {
			continue
		}
		if at := filepath.Join(mount, path); at == dir || strings.HasPrefix(at, dir+"/") {
			return at, nil
		}
		return "", fmt.Errorf("init is in the cgroup %s, not in %s: %w", path, dir, unix.ESTALE)
	}
	return "", fmt.Errorf("init is in no cgroup v2: %w", unix.ENOENT)
}
