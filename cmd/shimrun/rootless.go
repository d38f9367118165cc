package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/facts"
	"example.io/shim/linux/host"
	"example.io/shim/linux/spec"
)

// isRootless says whether to do without what only root may do.
func (a *app) isRootless() bool {
	switch a.rootless {
	case "true":
		return true
	case "false":
		return false
	}
	return os.Geteuid() != 0 || host.InUserNamespace()
}

// withoutCgroup says that the container gets no cgroup of its own: a plain user has none unless one was delegated. That is said, not done in silence.
func (a *app) withoutCgroup(f facts.Facts, s *specs.Spec, id string) (bool, error) {
	if a.cgroupManager == managerNone {
		if s.Linux.CgroupsPath != "" {
			a.log.warn("--cgroup-manager=%s: %s is not made", managerNone, s.Linux.CgroupsPath)
		}
		a.warnUnkillable(s)
		return true, nil
	}
	if !a.isRootless() || a.systemdCgroup { // the user's own systemd delegates
		return false, nil
	}
	dirs, err := files.Paths(f.Cgroup, s.Linux.CgroupsPath, "", id)
	if err == nil && delegated(dirs) {
		return false, nil
	}
	if path, own := spec.Namespace(s, specs.UserNamespace); f.UID != 0 && (!own || path == "" && len(s.Linux.UIDMappings) == 0) {
		return false, errors.New("rootless container requires user namespaces")
	}
	if s.Linux.CgroupsPath != "" && err == nil {
		return false, fmt.Errorf("unable to apply cgroup configuration: rootless needs no limits + no cgrouppath when no permission is granted for cgroups: %s: %w",
			s.Linux.CgroupsPath, unix.EACCES)
	}
	if !a.warnUnkillable(s) {
		a.log.warn("no cgroup is delegated to us: the container has none of its own, and so no limits, pause and statistics")
	}
	return true, nil
}

// warnUnkillable says when nothing holds the processes of a container without a cgroup together.
func (a *app) warnUnkillable(s *specs.Spec) bool {
	if spec.OwnPidNamespace(s) {
		return false
	}
	a.log.warn("Creating a rootless container with no cgroup and no private pid namespace. Such configuration is strongly discouraged: " +
		"nothing can kill all processes of the container")
	return true
}

// delegated says that we may make each of these directories.
func delegated(dirs []files.Dir) bool {
	for _, d := range dirs {
		at := d.Path
		for at != d.Mount && at != "/" {
			if _, err := os.Stat(at); !errors.Is(err, fs.ErrNotExist) {
				break
			}
			at = filepath.Dir(at)
		}
		if unix.Access(at, unix.W_OK) != nil || unix.Access(filepath.Join(at, "cgroup.procs"), unix.W_OK) != nil {
			return false
		}
	}
	return len(dirs) > 0
}
