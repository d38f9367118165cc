package run

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
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
		if err := makeTargetIn(base, rel, dir); err != nil {
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

// makeTargetIn makes a mount target below the folder base.
func makeTargetIn(base, rel string, dir bool) error {
	root, err := unix.Open(base, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(root) }()
	return makeTarget(root, rel, dir)
}

// makeTarget carries out plan.CallTarget.
func (e *engine) makeTarget(s *plan.Step) error {
	uid, gid, err := fileIDs(int(e.im.Value(s.Args[3])))
	if err != nil {
		return err
	}
	dir := s.Args[2].Value == 1
	if a := s.Args[2]; a.Kind == plan.Addr {
		mode := binary.LittleEndian.Uint64(e.im.Item(a.Data)[a.Value:]) >> abi.StatxModeShift
		dir = mode&abi.S_IFMT == abi.S_IFDIR
	}
	return onThread(func() error {
		// Without rights over what others own (credentials(7)).
		if _, err := unix.SetfsgidRetGid(gid); err != nil {
			return fmt.Errorf("setfsgid %d: %w", gid, err)
		}
		if _, err := unix.SetfsuidRetUid(uid); err != nil {
			return fmt.Errorf("setfsuid %d: %w", uid, err)
		}
		return makeTarget(int(e.im.Value(s.Args[0])), e.text(s.Args[1]), dir)
	})
}

// fileIDs are the ids that a process makes files with, as our user namespace knows them (proc_pid_status(5)).
func fileIDs(pid int) (uid, gid int, err error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, 0, err
	}
	var skip int
	for line := range strings.Lines(string(data)) {
		if n, _ := fmt.Sscanf(line, "Uid: %d %d %d %d", &skip, &skip, &skip, &uid); n > 0 {
			continue
		}
		if n, _ := fmt.Sscanf(line, "Gid: %d %d %d %d", &skip, &skip, &skip, &gid); n == 4 {
			return uid, gid, nil
		}
	}
	return 0, 0, fmt.Errorf("/proc/%d/status has no ids: %w", pid, unix.EPROTO)
}

// maxLinks is how many links a path may have, as for the kernel (path_resolution(7)).
const maxLinks = 40

// targetWalk follows a path below a root by single names from descriptor to descriptor, so that nothing that changes meanwhile leads out of it
// (CVE-2021-30465, CVE-2024-45310).
type targetWalk struct {
	at    []int // the root and the folders below it that the walk is in
	rest  []string
	links int
}

// makeTarget makes a folder or an empty file at path below root, and the folders above it, and leaves what is there. A link leads to where it says within
// the root, and what it says is made where it is not there.
func makeTarget(root int, path string, dir bool) error {
	w := &targetWalk{at: []int{root}, rest: strings.Split(path, "/")}
	defer w.up(1)
	for len(w.rest) > 0 {
		name := w.rest[0]
		w.rest = w.rest[1:]
		if err := w.step(name, dir || slices.ContainsFunc(w.rest, isName)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// up leaves all folders but the first n.
func (w *targetWalk) up(n int) {
	for _, fd := range w.at[n:] {
		_ = unix.Close(fd)
	}
	w.at = w.at[:n]
}

// isName says that a component names something else than the folder that it is in.
func isName(name string) bool { return name != "" && name != "." }

// step goes on by one component. dir says that it must be a folder, and is made as one.
func (w *targetWalk) step(name string, dir bool) error {
	here := w.at[len(w.at)-1]
	switch {
	case !isName(name):
		return nil
	case name == "..":
		w.up(max(1, len(w.at)-1))
		return nil
	}
	const look = unix.O_PATH | unix.O_NOFOLLOW | unix.O_CLOEXEC
	fd, err := unix.Openat(here, name, look, 0)
	if errors.Is(err, unix.ENOENT) {
		if err := makeOne(here, name, dir); err != nil {
			return err
		}
		fd, err = unix.Openat(here, name, look, 0)
	}
	if err != nil {
		return err
	}
	w.at = append(w.at, fd) // whatever it is: it is closed with the others
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		w.at = w.at[:len(w.at)-1]
		defer func() { _ = unix.Close(fd) }()
		return w.follow(fd)
	case unix.S_IFDIR:
		return nil
	}
	if dir {
		return unix.ENOTDIR
	}
	return nil
}

// follow puts what a link says before the rest of the path.
func (w *targetWalk) follow(link int) error {
	var fs unix.Statfs_t
	if err := unix.Fstatfs(link, &fs); err != nil {
		return err
	}
	if w.links++; w.links > maxLinks || fs.Type == unix.PROC_SUPER_MAGIC { // what a link of procfs says is not where it leads
		return unix.ELOOP
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(link, "", buf)
	if err != nil {
		return err
	}
	to := string(buf[:n])
	if path.IsAbs(to) {
		w.up(1)
	}
	w.rest = append(strings.Split(to, "/"), w.rest...)
	return nil
}

// makeOne makes a folder or an empty file; one that somebody else has made meanwhile is as good.
func makeOne(at int, name string, dir bool) error {
	if dir {
		if err := unix.Mkdirat(at, name, 0o755); !errors.Is(err, unix.EEXIST) {
			return err
		}
		return nil
	}
	file, err := unix.Openat(at, name, unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o644)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	if err != nil {
		return err
	}
	return unix.Close(file)
}
