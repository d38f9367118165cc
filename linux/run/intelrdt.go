package run

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/compile"
)

// claimGroups notes the resctrl groups that go with the container, before anything is made. One that is there is somebody else's.
func (s *State) claimGroups(class *compile.Class) error {
	for _, dir := range class.Made() {
		if _, err := os.Lstat(dir); err == nil {
			return fmt.Errorf("create %s: /linux/intelRdt: the resctrl group %s is there already: %w", s.ID, dir, errdefs.ErrFailedPrecondition)
		}
		s.Resctrl = append(s.Resctrl, dir)
	}
	return nil
}

// removeGroups removes them. The kernel gives what they measured and held back (Documentation/filesystems/resctrl.rst).
func (s *State) removeGroups() error {
	var errs []error
	for _, dir := range s.Resctrl {
		err := retryBusy(func() error { return unix.Rmdir(dir) })
		if err != nil && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("remove the resctrl group %s: %w", dir, err))
		}
	}
	return errors.Join(errs...)
}

// SetSchemata changes what the container's resctrl group has of caches and memory bandwidth, a line a resource. A group that has a name of its own may be
// others' too: then it is theirs as well.
func (c *Container) SetSchemata(lines []string) error {
	resctrl := c.deps.Facts.Resctrl
	if resctrl == "" {
		return fmt.Errorf("schemata of %s: resctrl is not mounted: %w", c.state.ID, errdefs.ErrFailedPrecondition)
	}
	class := compile.ClassOf(resctrl, c.state.ID, c.spec)
	if class == nil {
		return fmt.Errorf("schemata of %s: its configuration has no /linux/intelRdt: %w", c.state.ID, errdefs.ErrFailedPrecondition)
	}
	for _, line := range lines { // one write a line: the kernel may take a part of several
		if err := writeSchemata(resctrl, class.Group, line+"\n"); err != nil {
			return fmt.Errorf("schemata of %s: %w", c.state.ID, err)
		}
	}
	return nil
}

// writeSchemata writes lines to a group's schemata. What the kernel says about a line that it does not take is in the error.
func writeSchemata(resctrl, group, lines string) error {
	err := writeOnce(filepath.Join(group, "schemata"), lines)
	if err == nil {
		return nil
	}
	if why, e := os.ReadFile(filepath.Join(resctrl, "info/last_cmd_status")); e == nil {
		if text := strings.TrimSpace(string(why)); text != "" && text != "ok" {
			return fmt.Errorf("%w: %s", err, text)
		}
	}
	return err
}

// writeOnce is one open and one write of a file that is there.
func writeOnce(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	defer func() { _ = unix.Close(fd) }()
	if _, err := unix.Write(fd, []byte(text)); err != nil {
		return fmt.Errorf("write %q to %s: %w", text, path, err)
	}
	return nil
}

// hasSchemata compares what lines ask for with a group's schemata.
func hasSchemata(group, lines string) error {
	path := filepath.Join(group, "schemata")
	data, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	have := map[string]string{}
	for _, s := range schemata(string(data)) {
		have[s[0]] = s[1]
	}
	for _, s := range schemata(lines) {
		if have[s[0]] != s[1] {
			return fmt.Errorf("%s has %s, not %s, for %s: %w", path, orNothing(have[s[0]]), s[1], s[0], unix.EEXIST)
		}
	}
	return nil
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// schemata reads lines "RESOURCE:ID=VALUE;ID=VALUE" as pairs of "RESOURCE:ID" and VALUE. The kernel pads what it writes with spaces and zeros.
func schemata(text string) (list [][2]string) {
	for line := range bytes.Lines([]byte(text)) {
		resource, domains, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		for d := range strings.SplitSeq(domains, ";") {
			id, value, ok := strings.Cut(d, "=")
			if !ok {
				continue
			}
			value = strings.TrimSpace(value)
			if n, err := strconv.ParseUint(value, 16, 64); err == nil { // masks are in hex; percentages are compared, not counted
				value = strconv.FormatUint(n, 16)
			}
			list = append(list, [2]string{strings.TrimSpace(resource) + ":" + strings.TrimSpace(id), value})
		}
	}
	return list
}
