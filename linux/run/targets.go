package run

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/spec"
)

// makeTargets makes the places where CRIU mounts what config.json mounts, as far as they are in the root file system or in a bind's source: the container
// that was dumped had them made when it was created, and this root may be a fresh one.
func (c *Container) makeTargets() error {
	for i := range c.spec.Mounts {
		m := &c.spec.Mounts[i]
		opt, err := spec.ParseMountOptions(m.Options)
		if err != nil || opt.Remount {
			continue // a remount makes nothing; and the options were good when the plan was compiled
		}
		base, rel, ok := c.targetBase(i)
		if !ok {
			continue
		}
		dir := true
		if opt.Bind {
			st, err := os.Stat(c.hostPath(m.Source))
			if err != nil {
				return fmt.Errorf("/mounts/%d/source: %w", i, err)
			}
			dir = st.IsDir()
		}
		if err := makeTarget(base, rel, dir); err != nil {
			return fmt.Errorf("/mounts/%d/destination: make %s in %s: %w", i, rel, base, err)
		}
	}
	return nil
}

// targetBase returns the folder of the host that holds the target of a mount, and the target's path in it; false when it is in a file system that is
// only mounted by the restore.
func (c *Container) targetBase(i int) (base, rel string, ok bool) {
	dst := spec.Destination(&c.spec.Mounts[i])
	base, rel = c.state.Rootfs, dst
	for j := range i {
		m := &c.spec.Mounts[j]
		at := spec.Destination(m)
		if !strings.HasPrefix(dst, at+"/") {
			continue
		}
		opt, err := spec.ParseMountOptions(m.Options)
		switch {
		case err != nil || opt.Remount:
		case opt.Bind:
			base, rel = c.hostPath(m.Source), strings.TrimPrefix(dst, at)
		default:
			return "", "", false
		}
	}
	return base, rel, true
}

// makeTarget makes a folder or an empty file, and the folders above it, without leaving base: links in it lead to places in it (CVE-2021-30465).
func makeTarget(base, rel string, dir bool) error {
	at, err := unix.Open(base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(at) }()
	lookup := func(p string) (int, error) {
		for {
			fd, err := unix.Openat2(at, p, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS})
			if err != unix.EAGAIN {
				return fd, err
			}
		}
	}
	rel = path.Clean("/" + rel)
	if fd, err := lookup(rel); err == nil {
		return unix.Close(fd)
	} else if !errors.Is(err, unix.ENOENT) {
		return err
	}
	parent, name := path.Split(rel)
	if parent != "/" {
		if err := makeTarget(base, parent, true); err != nil {
			return err
		}
	}
	fd, err := lookup(parent)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	if dir {
		return unix.Mkdirat(fd, name, 0o755)
	}
	file, err := unix.Openat(fd, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return err
	}
	return unix.Close(file)
}
