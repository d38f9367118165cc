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
	"example.io/shim/linux/cgroup/unit"
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
	// Vanish removes the directories if there is nothing in them, and says whether they are gone: what nearly always is so needs neither Kill nor Delete.
	Vanish() bool
	// Delete removes the directories, also those the container made below. Nothing to remove is no error.
	Delete(ctx context.Context) error
}

// State says where a cgroup is, for another process that loads it.
type State struct {
	Version int         `json:"version"`        // 1 or 2
	None    bool        `json:"none,omitempty"` // the container has no cgroup of its own
	Dirs    []files.Dir `json:"dirs"`           // one for v2
	Unit    *unit.Unit  `json:"unit,omitempty"` // of systemd, whose cgroups they are
}

// StateOf returns the state of a container with these directories; u is nil without systemd.
func StateOf(dirs []files.Dir, u *unit.Unit) State {
	s := State{Version: 1, Dirs: dirs, Unit: u}
	switch {
	case len(dirs) == 0:
		return State{None: true}
	case len(dirs) == 1 && dirs[0].Unified:
		s.Version = 2
	}
	return s
}

// Load returns the cgroup at s. It need not exist.
func Load(s State) (Cgroup, error) {
	var c updater
	switch {
	case s.None:
		return none{}, nil
	case s.Version == 1 && len(s.Dirs) > 0:
		c = &v1{dirs: s.Dirs, unit: s.Unit != nil}
	case s.Version == 2 && len(s.Dirs) == 1:
		c = &v2{dir: s.Dirs[0]}
	}
	switch {
	case c != nil && s.Unit != nil:
		return &ofUnit{updater: c, unit: *s.Unit, version: s.Version}, nil
	case c != nil:
		return c, nil
	}
	return nil, fmt.Errorf("cgroup state of version %d with %d directories: %w", s.Version, len(s.Dirs), errdefs.ErrNotImplemented)
}
