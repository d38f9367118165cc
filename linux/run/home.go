package run

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/plan"
)

// passwdLimit bounds what is read of a container's /etc/passwd: it is the image's file, and may be anything. 1 MiB is some 15,000 users.
const passwdLimit = 1 << 20

// setHome puts HOME=<home of uid> into the last word of the environment that was left free. The container's own file is read, through
// the root of its process pid, without leaving that root; where it says nothing about uid, HOME is "/".
func (e *engine) setHome(pid int, uid uint32) error {
	env, home := e.plan.Item(plan.ItemEnv), e.plan.Item(plan.ItemHome)
	if env == 0 || home == 0 {
		return fmt.Errorf("the plan has no room for HOME: %w", unix.EINVAL)
	}
	dir, err := homeOf(e.rootfs, pid, uid)
	if err != nil {
		return err
	}
	text := "HOME=" + dir
	buf := e.im.Item(home)
	if len(text) >= len(buf) {
		return fmt.Errorf("the home folder of uid %d in /etc/passwd is longer than %d bytes: %w", uid, len(buf)-len("HOME=")-1, unix.ENAMETOOLONG)
	}
	copy(buf, text+"\x00")
	words := e.im.Item(env)
	e.im.Store(e.im.ItemAddr(env)+uint64(len(words))-16, e.im.ItemAddr(home))
	return nil
}

func homeOf(rootfs string, pid int, uid uint32) (string, error) {
	root, err := unix.Open(fmt.Sprintf("/proc/%d/root", pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) && rootfs != "" {
		root, err = unix.Open(rootfs, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return "", fmt.Errorf("open the container's root: %w", err)
	}
	defer func() { _ = unix.Close(root) }()
	// O_NONBLOCK: the image may have a fifo there, which must not hold us.
	fd, err := unix.Openat2(root, "etc/passwd", &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_NONBLOCK | unix.O_NOCTTY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS,
	})
	if err != nil {
		return "/", nil // no such file, or none we may read: as good as no entry
	}
	f := os.NewFile(uintptr(fd), "etc/passwd")
	defer f.Close()
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		return "/", nil
	}
	data, err := io.ReadAll(io.LimitReader(f, passwdLimit))
	if err != nil {
		return "", fmt.Errorf("read the container's /etc/passwd: %w", err)
	}
	return parseHome(data, uid), nil
}

// parseHome returns the home folder of uid in a passwd(5) file, "/" when there is none.
func parseHome(passwd []byte, uid uint32) string {
	for line := range bytes.Lines(passwd) {
		f := bytes.Split(bytes.TrimSpace(line), []byte{':'})
		if len(f) < 6 || len(f[5]) == 0 || bytes.IndexByte(f[5], 0) >= 0 {
			continue
		}
		if n, err := strconv.ParseUint(string(f[2]), 10, 32); err == nil && uint32(n) == uid {
			return string(f[5])
		}
	}
	return "/"
}
