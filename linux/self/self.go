// Package self is about this program's own file.
package self

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"
)

// file keeps the descriptors behind a path open.
type file struct{ fd int }

func (f file) Close() error { return unix.Close(f.fd) }

// viewFD is above every descriptor that exec.Cmd moves about in the child.
const viewFD = 64

// exe is, in whatever process opens or executes it, that process's program (proc_pid_exe(5)).
const exe = "/proc/self/exe"

// ReadOnly returns a path by which this program can be executed until the Closer is closed: that of its own file on a read-only mount which is in no
// mount namespace. A process that is traced out of a container reaches /proc/PID/exe, but cannot open it for writing, nor change that mount
// (CVE-2019-5736). No copy is made. Where the kernel does not let us mount, it is the plain file.
func ReadOnly() (string, io.Closer, error) {
	tree, err := unix.OpenTree(unix.AT_FDCWD, exe, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		return plain()
	}
	defer func() { _ = unix.Close(tree) }()
	attr := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID, Propagation: unix.MS_PRIVATE}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH, &attr); err != nil {
		return plain()
	}
	fd, err := unix.FcntlInt(uintptr(tree), unix.F_DUPFD_CLOEXEC, viewFD)
	if err != nil {
		return "", nil, fmt.Errorf("keep the view of our program: %w", err)
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), file{fd}, nil
}

// plain is right for a program that was itself executed by a view, too: such a file has no path.
func plain() (string, io.Closer, error) { return exe, io.NopCloser(nil), nil }
