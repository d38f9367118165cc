package run

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/plan"
)

// maxDepth bounds how deep folders are copied: deeper than any package's tree (PATH_MAX of one-letter names is 2048), and every level holds two descriptors.
const maxDepth = 400

// copyUp fills a tmpfs that the child has made, and that nobody sees yet, with what the image has at its destination.
func (e *engine) copyUp(s *plan.Step) error {
	arg := func(n int) int { return int(e.im.Value(s.Args[n])) }
	how := &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC | unix.O_NONBLOCK, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	path := "." + e.text(s.Args[1])
	from, err := openat2(arg(0), path, how)
	if errors.Is(err, unix.ENOENT) {
		return nil // the image has nothing there
	}
	if err != nil {
		return fmt.Errorf("open the image's folder: %w", err)
	}
	src := os.NewFile(uintptr(from), path)
	defer func() { _ = src.Close() }()
	mount, err := e.fetch(arg(2))
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(mount) }()
	// fsmount(2) gives an O_PATH descriptor: open the folder itself.
	dst, err := unix.Openat(mount, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the tmpfs: %w", err)
	}
	defer func() { _ = unix.Close(dst) }()
	c := &copier{ctx: e.ctx.Err, uids: parseIDMap(e.text(s.Args[4])), gids: parseIDMap(e.text(s.Args[5]))}
	if len(c.uids) > 0 {
		if err := actAs(c.uids.host(0), c.gids.host(0)); err != nil {
			return err
		}
	}
	if err := c.dir(src, dst, 0); err != nil {
		return err
	}
	if arg(3) == 1 {
		return nil
	}
	return c.meta(from, dst)
}

// openat2 is openat2(2), tried again when a rename somewhere disturbed it.
func openat2(dir int, path string, how *unix.OpenHow) (int, error) {
	const tries = 128 // as many as the plans' own lookups
	for range tries - 1 {
		if fd, err := unix.Openat2(dir, path, how); !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
	return unix.Openat2(dir, path, how)
}

// actAs makes this thread, which ends with its work, create files as uid and gid and keep its capabilities: in a file system that belongs to a user
// namespace only ids that are mapped there can own files (EOVERFLOW else).
func actAs(uid, gid int) error {
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, secbitNoSetuidFixup, 0, 0, 0); err != nil {
		return fmt.Errorf("keep capabilities: %w", err)
	}
	_, _ = unix.SetfsgidRetGid(gid)
	_, _ = unix.SetfsuidRetUid(uid)
	return nil
}

// secbitNoSetuidFixup is SECBIT_NO_SETUID_FIXUP (capabilities(7)).
const secbitNoSetuidFixup = 1 << 2

// copier copies trees by descriptors: no link is followed, whatever the image's files become meanwhile.
type copier struct {
	ctx        func() error
	uids, gids idMap
}

// idMap are the lines of a uid_map or gid_map: id in the namespace, id outside, number of ids (user_namespaces(7)).
type idMap [][3]uint32

func parseIDMap(text string) (m idMap) {
	for line := range strings.Lines(text) {
		var r [3]uint32
		if n, _ := fmt.Sscan(line, &r[0], &r[1], &r[2]); n == len(r) {
			m = append(m, r)
		}
	}
	return m
}

// host is the id outside of an id in the namespace, or of the first one that there is.
func (m idMap) host(id uint32) int {
	for _, r := range m {
		if id >= r[0] && id-r[0] < r[2] {
			return int(r[1] + id - r[0])
		}
	}
	return int(m[0][1])
}

// owner is an owner that the namespace knows: a file of somebody else's is nobody's there, and its copy is root's.
func (m idMap) owner(id uint32) int {
	if len(m) == 0 {
		return int(id)
	}
	for _, r := range m {
		if id >= r[1] && id-r[1] < r[2] {
			return int(id)
		}
	}
	return m.host(0)
}

func (c *copier) dir(src *os.File, dst, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("folders %d deep: %w", depth, unix.ELOOP)
	}
	for {
		entries, err := src.ReadDir(256) // so many at a time
		for _, e := range entries {
			if err := c.ctx(); err != nil {
				return err
			}
			if err := c.entry(int(src.Fd()), dst, e.Name(), depth); err != nil {
				return fmt.Errorf("%s: %w", e.Name(), err)
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *copier) entry(src, dst int, name string, depth int) error {
	var st unix.Stat_t
	if err := unix.Fstatat(src, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return err
	}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return c.subdir(src, dst, name, depth)
	case unix.S_IFREG:
		return c.file(src, dst, name)
	case unix.S_IFLNK:
		return c.link(src, dst, name, &st)
	}
	if err := unix.Mknodat(dst, name, st.Mode, int(st.Rdev)); err != nil {
		return err
	}
	return c.chown(dst, name, &st)
}

func (c *copier) subdir(src, dst int, name string, depth int) error {
	from, err := unix.Openat(src, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(from), name)
	defer func() { _ = f.Close() }()
	if err := unix.Mkdirat(dst, name, 0o700); err != nil {
		return err
	}
	to, err := unix.Openat(dst, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(to) }()
	if err := c.dir(f, to, depth+1); err != nil {
		return err
	}
	return c.meta(from, to)
}

func (c *copier) file(src, dst int, name string) error {
	from, err := unix.Openat(src, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	in := os.NewFile(uintptr(from), name)
	defer func() { _ = in.Close() }()
	to, err := unix.Openat(dst, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	out := os.NewFile(uintptr(to), name)
	defer func() { _ = out.Close() }()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	return c.meta(from, to)
}

func (c *copier) link(src, dst int, name string, st *unix.Stat_t) error {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(src, name, buf)
	if err != nil {
		return err
	}
	if err := unix.Symlinkat(string(buf[:n]), dst, name); err != nil {
		return err
	}
	return c.chown(dst, name, st)
}

// meta copies owner, mode, times and extended attributes of an open file or folder. The mode comes last: a change of owner clears set-user-ID bits.
func (c *copier) meta(from, to int) error {
	var st unix.Stat_t
	if err := unix.Fstat(from, &st); err != nil {
		return err
	}
	if err := unix.Fchown(to, c.uids.owner(st.Uid), c.gids.owner(st.Gid)); err != nil {
		return err
	}
	if err := unix.Fchmod(to, st.Mode&0o7777); err != nil {
		return err
	}
	copyXattrs(from, to)
	times := []unix.Timespec{st.Atim, st.Mtim}
	return unix.UtimesNanoAt(to, "", times, unix.AT_EMPTY_PATH)
}

func (c *copier) chown(dir int, name string, st *unix.Stat_t) error {
	return unix.Fchownat(dir, name, c.uids.owner(st.Uid), c.gids.owner(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
}

// copyXattrs copies what tmpfs takes: it knows security.* and trusted.*, and user.* since Linux 6.6. The rest cannot be had there.
func copyXattrs(from, to int) {
	const limit = 64 << 10 // XATTR_LIST_MAX and XATTR_SIZE_MAX (xattr(7))
	n, err := unix.Flistxattr(from, nil)
	if err != nil || n <= 0 || n > limit {
		return
	}
	list := make([]byte, n)
	if n, err = unix.Flistxattr(from, list); err != nil {
		return
	}
	for _, name := range splitNames(list[:n]) {
		value := make([]byte, limit)
		if n, err := unix.Fgetxattr(from, name, value); err == nil {
			_ = unix.Fsetxattr(to, name, value[:n], 0)
		}
	}
}

func splitNames(list []byte) (names []string) {
	for i, start := 0, 0; i < len(list); i++ {
		if list[i] == 0 {
			names = append(names, string(list[start:i]))
			start = i + 1
		}
	}
	return names
}
