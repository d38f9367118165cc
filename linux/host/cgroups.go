package host

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/facts"
	"example.io/shim/linux/plainfile"
)

// cgroupRoot is where distributions mount the hierarchies.
const cgroupRoot = "/sys/fs/cgroup"

// Cgroups returns the mounted cgroup hierarchies and our place in each.
func Cgroups() (facts.Cgroup, error) {
	own, err := plainfile.Read("/proc/self/cgroup")
	if err != nil {
		return facts.Cgroup{}, fmt.Errorf("probe the cgroups: %w", err)
	}
	list := parseOwn(own)
	var missing bool
	for i := range list {
		found := usualMount(&list[i])
		// Beside controllers of v1, which are listed first, the v2 hierarchy has none: nobody needs its mount, which may be missing.
		missing = missing || !found && !(list[i].Unified && version(list[:i]) == 1)
	}
	if missing { // mounted elsewhere, or not at all
		data, err := plainfile.Read("/proc/self/mountinfo")
		if err != nil {
			return facts.Cgroup{}, fmt.Errorf("probe the cgroups: %w", err)
		}
		placeByMountinfo(list, data)
	}
	list = slices.DeleteFunc(list, func(h facts.Hierarchy) bool { return h.Mount == "" })
	c := facts.Cgroup{Version: version(list), Hierarchies: list}
	if c.Version == 2 {
		err = unified(&c)
	}
	return c, err
}

// unified completes what is known of the v2 hierarchy, where it is the only one.
func unified(c *facts.Cgroup) error {
	h := &c.Hierarchies[slices.IndexFunc(c.Hierarchies, func(h facts.Hierarchy) bool { return h.Unified })]
	c.Hierarchies = []facts.Hierarchy{*h} // without named ones of v1, which control nothing
	h = &c.Hierarchies[0]
	data, err := plainfile.Read(path.Join(h.Mount, "cgroup.controllers"))
	if err != nil {
		return fmt.Errorf("probe the cgroups: %w", err)
	}
	h.Controllers = strings.Fields(string(data))
	data, err = plainfile.Read("/sys/kernel/cgroup/delegate") // not there without sysfs: then nothing but the directory is delegated
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("probe the cgroups: %w", err)
	}
	c.Delegate = strings.Fields(string(data))
	return nil
}

// version is 2 where only the v2 hierarchy is mounted, 1 where there is a v1 hierarchy with a controller.
func version(list []facts.Hierarchy) int {
	v := 0
	for _, h := range list {
		switch {
		case !h.Unified && !strings.HasPrefix(h.Controllers[0], "name="):
			return 1
		case h.Unified:
			v = 2
		}
	}
	return v
}

// parseOwn parses /proc/PID/cgroup (cgroups(7)): "ID:CONTROLLERS:PATH" lines, without controllers for v2.
func parseOwn(data []byte) []facts.Hierarchy {
	var list []facts.Hierarchy
	for line := range bytes.Lines(data) {
		f := strings.SplitN(strings.TrimRight(string(line), "\n"), ":", 3)
		if len(f) != 3 {
			continue
		}
		h := facts.Hierarchy{Own: f[2], Root: "/", Unified: f[1] == ""}
		if !h.Unified {
			h.Controllers = strings.Split(f[1], ",")
		}
		list = append(list, h)
	}
	return list
}

// usualMount fills in the mount point when the hierarchy is where it usually is: recognised by its file system and by our own cgroup
// being there, so the mount shows the hierarchy from its root.
func usualMount(h *facts.Hierarchy) bool {
	var candidates []string
	want := int64(unix.CGROUP_SUPER_MAGIC)
	if h.Unified {
		want = unix.CGROUP2_SUPER_MAGIC
		candidates = []string{cgroupRoot, path.Join(cgroupRoot, "unified")}
	} else {
		candidates = []string{path.Join(cgroupRoot, strings.TrimPrefix(strings.Join(h.Controllers, ","), "name="))}
	}
	for _, dir := range candidates {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == want && unix.Access(path.Join(dir, h.Own, "cgroup.procs"), unix.F_OK) == nil {
			h.Mount = dir
			return true
		}
	}
	return false
}

// placeByMountinfo fills in what is missing from /proc/PID/mountinfo (proc_pid_mountinfo(5)).
func placeByMountinfo(list []facts.Hierarchy, data []byte) {
	for line := range bytes.Lines(data) {
		before, after, ok := strings.Cut(string(line), " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 6 || len(g) < 3 {
			continue
		}
		options := strings.Split(g[2], ",")
		for i := range list {
			h := &list[i]
			same := h.Unified && g[0] == "cgroup2" || !h.Unified && g[0] == "cgroup" && slices.Contains(options, h.Controllers[0])
			if same && h.Mount == "" {
				h.Root, h.Mount = Unescape(f[3]), Unescape(f[4])
			}
		}
	}
}

// Unescape takes back the octal escapes of mountinfo (\040 is a space).
func Unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
