// Package unit says which systemd unit a container has, where the unit's cgroup is, and which properties make systemd want what the runtime
// writes to that cgroup. It is pure: the compiler makes steps of it, and package cgroup updates a living container by it.
package unit

import (
	"fmt"
	"path"
	"strings"

	"github.com/containerd/errdefs"
)

const (
	scopeSuffix = ".scope"
	sliceSuffix = ".slice"
	rootSlice   = "-.slice"
	// defaultPrefix is that of the unit's name when config.json names none: ctr and others leave cgroupsPath out.
	defaultPrefix = "shim"
	maxName       = 255 // bytes, UNIT_NAME_MAX (systemd.unit(5): "must not exceed 255 characters")
)

// Unit is the unit of a container: a scope, or a slice when its name ends so.
type Unit struct {
	Name  string `json:"name"`           // "cri-containerd-ab12.scope"
	Slice string `json:"slice"`          // that it is in; "-.slice" is the root
	User  bool   `json:"user,omitempty"` // of the user's manager, not the system's
}

// Parse reads a cgroupsPath of the form SLICE:PREFIX:NAME. The empty one is a scope of the container's id. user says that the manager is the one
// of a user who is not root.
func Parse(cgroupsPath, id string, user bool) (Unit, error) {
	u := Unit{Slice: "system.slice", User: user}
	if user {
		u.Slice = "user.slice"
	}
	if cgroupsPath == "" {
		u.Name = defaultPrefix + "-" + id + scopeSuffix
		return u, u.check(cgroupsPath)
	}
	parts := strings.Split(cgroupsPath, ":")
	if len(parts) != 3 {
		return u, bad(cgroupsPath, "is not of the form SLICE:PREFIX:NAME, as the systemd cgroup driver needs it")
	}
	if parts[2] == "" {
		return u, bad(cgroupsPath, "has no name behind its second colon")
	}
	if parts[0] != "" {
		u.Slice = parts[0]
	}
	u.Name = parts[1] + "-" + parts[2] + scopeSuffix
	if strings.HasSuffix(parts[2], sliceSuffix) {
		u.Name = parts[2]
		if u.Name == rootSlice {
			return u, bad(cgroupsPath, "is the root of the hierarchy")
		}
		in := parentSlice(u.Name)
		if parts[0] != "" && parts[0] != in {
			return u, bad(cgroupsPath, "the slice %s is in %s by its name (systemd.slice(5)), not in %s", u.Name, in, parts[0])
		}
		u.Slice = in
	}
	return u, u.check(cgroupsPath)
}

func bad(cgroupsPath, format string, args ...any) error {
	return fmt.Errorf("/linux/cgroupsPath: %q: %s: %w", cgroupsPath, fmt.Sprintf(format, args...), errdefs.ErrInvalidArgument)
}

func (u Unit) check(cgroupsPath string) error {
	for _, name := range []string{u.Name, u.Slice} {
		if len(name) > maxName {
			return bad(cgroupsPath, "a unit's name has %d bytes: at most %d", len(name), maxName)
		}
		if i := strings.IndexFunc(name, notInName); i >= 0 {
			return bad(cgroupsPath, "%q cannot be in a unit's name (systemd.unit(5))", name[i:i+1])
		}
	}
	if msg := checkSlice(u.Slice); msg != "" {
		return bad(cgroupsPath, "%s", msg)
	}
	if u.IsSlice() {
		if msg := checkSlice(u.Name); msg != "" {
			return bad(cgroupsPath, "%s", msg)
		}
	}
	return nil
}

// notInName says that a unit's name cannot have r (systemd.unit(5), "String Escaping for Inclusion in Unit Names"). "@" would make it an instance of a
// template, which a transient unit cannot be.
func notInName(r rune) bool {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune(`:-_.\`, r):
		return false
	}
	return true
}

// checkSlice says what is wrong with the name of a slice (systemd.slice(5)): between dashes stand the names of the slices it is in.
func checkSlice(name string) string {
	if name == rootSlice {
		return ""
	}
	stem, ok := strings.CutSuffix(name, sliceSuffix)
	switch {
	case !ok:
		return fmt.Sprintf("%q does not end in %s", name, sliceSuffix)
	case stem == "", strings.HasPrefix(stem, "-"), strings.HasSuffix(stem, "-"), strings.Contains(stem, "--"):
		return fmt.Sprintf("the slice %q has an empty part between its dashes (systemd.slice(5))", name)
	}
	return ""
}

// parentSlice is the slice that a slice is in, by its name.
func parentSlice(name string) string {
	i := strings.LastIndexByte(strings.TrimSuffix(name, sliceSuffix), '-')
	if i <= 0 {
		return rootSlice
	}
	return name[:i] + sliceSuffix
}

// IsSlice says that the unit is a slice: systemd puts no process into one, and does not delegate it.
func (u Unit) IsSlice() bool { return strings.HasSuffix(u.Name, sliceSuffix) }

// Cgroup is the unit's cgroup below the manager's: "/a.slice/a-b.slice/x.scope".
func (u Unit) Cgroup() string {
	if u.IsSlice() {
		return expand(u.Name)
	}
	return path.Join(expand(u.Slice), u.Name)
}

// expand is the cgroup of a slice: that of "a-b.slice" is in that of "a.slice" (systemd.slice(5)).
func expand(slice string) string {
	at := "/"
	if slice == rootSlice {
		return at
	}
	stem := strings.TrimSuffix(slice, sliceSuffix)
	for i := range len(stem) {
		if stem[i] == '-' {
			at = path.Join(at, stem[:i]+sliceSuffix)
		}
	}
	return path.Join(at, slice)
}
