package main

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/run"
	"example.io/shim/linux/spec"
)

// readSpec reads a bundle's config.json and settles what it leaves to the runtime. The content that it returns is what was settled.
func (a *app) readSpec(id, bundle string) (*specs.Spec, []byte, error) {
	data, err := run.ReadConfig(bundle)
	if err != nil {
		return nil, nil, err
	}
	file := filepath.Join(bundle, run.ConfigFile)
	s, usual, err := spec.ParseUsual(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", file, err)
	}
	changed := a.dropUnknownCaps(s)
	changed = a.dropUnknownAccess(s) || changed
	root := bundle
	if s.Root != nil {
		if root = s.Root.Path; !filepath.IsAbs(root) {
			root = filepath.Join(bundle, root)
		}
	}
	changed = stripRoot(s, root) || changed
	changed = inheritModes(s, root) || changed
	if s.Linux != nil && s.Linux.Resources != nil && noPids(s.Linux.Resources) {
		settle(s.Linux.Resources)
		changed = true
	}
	notify, err := a.addNotify(id, s)
	if err != nil {
		return nil, nil, err
	}
	changed = notify || changed
	if err := run.ValidateSpec(file, s, usual); err != nil {
		return nil, nil, err
	}
	if changed {
		data, err = json.Marshal(s)
	}
	return s, data, err
}

// dropUnknownCaps leaves capabilities out that no kernel knows, and says so (config.md, "Linux Process": a warning, not an error).
func (a *app) dropUnknownCaps(s *specs.Spec) (changed bool) {
	if s.Process == nil || s.Process.Capabilities == nil {
		return false
	}
	c := s.Process.Capabilities
	told := map[string]bool{}
	for _, set := range []*[]string{&c.Bounding, &c.Effective, &c.Inheritable, &c.Permitted, &c.Ambient} {
		*set = slices.DeleteFunc(*set, func(name string) bool {
			if _, ok := spec.CapNumber(name); ok {
				return false
			}
			if !told[name] {
				a.log.warn("ignoring unknown or unavailable capabilities: [%s]", name)
			}
			changed, told[name] = true, true
			return true
		})
	}
	// One line: buildah asks for every capability of the process like that.
	var not []string
	for _, name := range c.Ambient {
		if !slices.Contains(c.Inheritable, name) || !slices.Contains(c.Permitted, name) {
			not = append(not, name)
		}
	}
	if len(not) > 0 {
		a.log.warn("can't raise ambient capability %s: not both permitted and inheritable", strings.Join(not, ", "))
	}
	return changed
}

// dropUnknownAccess leaves letters out of device rules that are no access to a device, and says so, as runc's users are used to.
func (a *app) dropUnknownAccess(s *specs.Spec) (changed bool) {
	if s.Linux == nil || s.Linux.Resources == nil {
		return false
	}
	for i := range s.Linux.Resources.Devices {
		d := &s.Linux.Resources.Devices[i]
		known := strings.Map(func(r rune) rune {
			if strings.ContainsRune("rwm", r) {
				return r
			}
			return -1
		}, d.Access)
		if known != d.Access && known != "" {
			a.log.warn("device rule %d: access %q is taken as %q", i, d.Access, known)
			d.Access, changed = known, true
		}
	}
	return changed
}

// stripRoot takes the host's path of the root away from mounts' destinations, which some tools write before them.
func stripRoot(s *specs.Spec, root string) (changed bool) {
	for i := range s.Mounts {
		if rest, ok := strings.CutPrefix(s.Mounts[i].Destination, root+"/"); ok && root != "/" {
			s.Mounts[i].Destination, changed = "/"+rest, true
		}
	}
	return changed
}

// inheritModes gives a tmpfs without a mode that of the folder it is mounted on, as mount(8) users expect of runc. A folder that another mount
// brings has the default.
func inheritModes(s *specs.Spec, root string) (changed bool) {
	for i := range s.Mounts {
		m := &s.Mounts[i]
		if m.Type != "tmpfs" || slices.ContainsFunc(m.Options, func(o string) bool { return strings.HasPrefix(o, "mode=") || o == "remount" || o == "tmpcopyup" }) {
			continue
		}
		if mode, ok := modeBelow(root, m.Destination); ok {
			m.Options, changed = append(m.Options, fmt.Sprintf("mode=%o", mode)), true
		}
	}
	return changed
}

// modeBelow returns the mode of a folder, looked up within root (openat2(2)).
func modeBelow(root, dst string) (uint32, bool) {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer func() { _ = unix.Close(dir) }()
	fd, err := unix.Openat2(dir, strings.TrimPrefix(path.Clean("/"+dst), "/"), &unix.OpenHow{
		Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return 0, false
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return 0, false
	}
	return st.Mode & 0o7777, true
}
