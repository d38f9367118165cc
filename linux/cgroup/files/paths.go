// Package files says which cgroup directories a container has and what is written to their files. It is pure: the compiler makes
// steps of it, and package cgroup updates a living container by it.
package files

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/facts"
)

// Dir is the container's directory in one hierarchy.
type Dir struct {
	Controllers []string `json:"controllers,omitempty"` // of the hierarchy; for v2 those that are available
	Mount       string   `json:"mount"`                 // where the hierarchy is mounted
	Path        string   `json:"path"`                  // absolute
	Own         string   `json:"own"`                   // absolute directory of our own cgroup there
	Unified     bool     `json:"unified,omitempty"`
}

// Has says whether the hierarchy has that controller.
func (d Dir) Has(controller string) bool { return slices.Contains(d.Controllers, controller) }

// Parents returns the directories between the mount and d.Path, the outermost first, d.Path last.
func (d Dir) Parents() []string {
	var list []string
	at := d.Mount
	for part := range strings.SplitSeq(strings.TrimPrefix(d.Path, d.Mount), "/") {
		if part != "" {
			at = path.Join(at, part)
			list = append(list, at)
		}
	}
	return list
}

// Paths returns the container's directories. An absolute cgroupsPath is below each hierarchy's mount point, a relative one below our own
// cgroup (v2: beside it; not on a hybrid machine, where it gives no controllers), and the empty one is /<namespace>/<id> (runtime-spec, config-linux.md, "Cgroups Path"). ".." does not lead out of the mount.
func Paths(c facts.Cgroup, cgroupsPath, namespace, id string) ([]Dir, error) {
	if strings.Count(cgroupsPath, ":") == 2 && !strings.HasPrefix(cgroupsPath, "/") {
		return nil, fmt.Errorf("/linux/cgroupsPath: %q is of the systemd cgroup driver, which was not asked for (option systemd_cgroup): %w", cgroupsPath, errdefs.ErrInvalidArgument)
	}
	rel := cgroupsPath
	if rel == "" {
		rel = path.Join("/", namespace, id)
	}
	if path.Clean("/"+rel) == "/" {
		return nil, fmt.Errorf("/linux/cgroupsPath: %q is the root of the hierarchy: %w", cgroupsPath, errdefs.ErrInvalidArgument)
	}
	var dirs []Dir
	for _, h := range c.Hierarchies {
		own := below(h, h.Own)
		base := h.Mount
		if !path.IsAbs(rel) {
			base = own
			if h.Unified && c.Version == 2 && own != h.Mount {
				base = path.Dir(own) // we are in own, and a cgroup with processes cannot give controllers to children (cgroups(7))
			}
		}
		dirs = append(dirs, Dir{Controllers: h.Controllers, Mount: h.Mount, Own: own, Unified: h.Unified, Path: path.Join(base, path.Clean("/"+rel))})
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("no cgroup hierarchy is mounted: %w", errdefs.ErrFailedPrecondition)
	}
	return dirs, nil
}

// UnitPaths returns the directories of a systemd unit, which has the same cgroup in every hierarchy; cgroup is below the manager's. On a hybrid machine
// the v2 hierarchy is among them: there systemd looks whether the unit has processes.
func UnitPaths(c facts.Cgroup, cgroup string) ([]Dir, error) {
	var dirs []Dir
	for _, h := range c.Hierarchies {
		if c.Version == 2 && !h.Unified {
			continue // a hierarchy without a controller, beside v2
		}
		dirs = append(dirs, Dir{Controllers: h.Controllers, Mount: h.Mount, Own: below(h, h.Own), Unified: h.Unified, Path: below(h, path.Join(c.Systemd.Cgroup, cgroup))})
	}
	if len(dirs) == 0 {
		return nil, fmt.Errorf("no cgroup hierarchy is mounted: %w", errdefs.ErrFailedPrecondition)
	}
	return dirs, nil
}

// below is where a cgroup of the hierarchy is, by its mount.
func below(h facts.Hierarchy, cgroup string) string {
	return path.Join(h.Mount, path.Clean("/"+strings.TrimPrefix(cgroup, strings.TrimSuffix(h.Root, "/"))))
}

// Find returns the directory of the hierarchy that has the controller.
func Find(dirs []Dir, controller string) (Dir, bool) {
	for _, d := range dirs {
		if d.Has(controller) {
			return d, true
		}
	}
	return Dir{}, false
}
