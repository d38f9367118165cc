// Package cgroup works on the cgroup of a living container. Making the directories and the first limits are steps of its plan (package
// compile); this is what comes after: pids, freezing, updates, accounting, killing, removal.
package cgroup

import (
	"context"
	"fmt"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/cgroup/stats"
)

// Cgroup is a container's cgroup, in all hierarchies.
type Cgroup interface {
	// Pids lists every process in it and below, in our pid namespace.
	Pids() ([]int, error)
	// Freeze stops all its processes and returns when they stand; on an error they run. Thaw lets them go on.
	Freeze(ctx context.Context) error
	Thaw(ctx context.Context) error
	// Update changes limits. When one cannot be written, those before it get their former values back.
	Update(r *specs.LinuxResources) error
	Stats() (*stats.Metrics, error)
	// Kill signals every process. With SIGKILL it goes on until there is none that has not got it.
	Kill(sig syscall.Signal) error
	// Delete removes the directories, also those the container made below. Nothing to remove is no error.
	Delete(ctx context.Context) error
}

// State says where a cgroup is, for another process that loads it.
type State struct {
	Version int         `json:"version"` // 1 or 2
	Dirs    []files.Dir `json:"dirs"`    // one for v2
}

// StateOf returns the state of a container with these directories.
func StateOf(dirs []files.Dir) State {
	if len(dirs) == 1 && dirs[0].Unified {
		return State{Version: 2, Dirs: dirs}
	}
	return State{Version: 1, Dirs: dirs}
}

// Load returns the cgroup at s. It need not exist.
func Load(s State) (Cgroup, error) {
	switch {
	case s.Version == 1 && len(s.Dirs) > 0:
		return &v1{dirs: s.Dirs}, nil
	case s.Version == 2 && len(s.Dirs) == 1:
		return &v2{dir: s.Dirs[0]}, nil
	}
	return nil, fmt.Errorf("cgroup state of version %d with %d directories: %w", s.Version, len(s.Dirs), errdefs.ErrNotImplemented)
}
