package run

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/children"
)

// writeIDMaps fills the maps of the user namespace of pid (user_namespaces(7)). A plain user may map its own ids alone, and others by the helpers newuidmap
// and newgidmap, which look into /etc/subuid and /etc/subgid.
func (e *engine) writeIDMaps(pid int, uids, gids string) error {
	plain := os.Geteuid() != 0
	if plain && ownIDs(gids, os.Getegid()) {
		// Without this a process could leave a group by which it is kept out of a file (CVE-2014-8989).
		if err := writeProc(pid, "setgroups", "deny"); err != nil {
			return err
		}
	}
	for _, m := range []struct {
		file, text, helper string
		own                int
	}{{"uid_map", uids, "newuidmap", os.Geteuid()}, {"gid_map", gids, "newgidmap", os.Getegid()}} {
		var err error
		if plain && !ownIDs(m.text, m.own) {
			err = mapByHelper(m.helper, pid, m.text)
		} else {
			err = writeProc(pid, m.file, m.text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// ownIDs says that a map has one id, the caller's.
func ownIDs(text string, own int) bool {
	f := strings.Fields(text)
	return len(f) == 3 && f[1] == strconv.Itoa(own) && f[2] == "1"
}

func writeProc(pid int, name, text string) error {
	path := fmt.Sprintf("/proc/%d/%s", pid, name)
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	_, err = unix.Write(fd, []byte(text)) // one write: the kernel takes no second
	_ = unix.Close(fd)
	if err != nil {
		return fmt.Errorf("write %q to %s: %w", text, path, err)
	}
	return nil
}

// mapByHelper runs newuidmap(1) or newgidmap(1), which are setuid.
func mapByHelper(helper string, pid int, text string) error {
	path, err := exec.LookPath(helper)
	if err != nil {
		return fmt.Errorf("a map of more than one id needs %s: %w", helper, err)
	}
	var out bytes.Buffer
	cmd := exec.Command(path, append([]string{strconv.Itoa(pid)}, strings.Fields(text)...)...)
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := children.StartCommand(cmd); err != nil {
		return err
	}
	if err := children.WaitCommand(cmd); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", helper, err), errors.New(strings.TrimSpace(out.String())))
	}
	return nil
}

// receiveFD receives a message with one descriptor (unix(7), SCM_RIGHTS).
func receiveFD(socket int) (int, error) {
	var buf [1]byte
	control := make([]byte, unix.CmsgSpace(4))
	n, controlN, _, _, err := unix.Recvmsg(socket, buf[:], control, unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return -1, fmt.Errorf("recvmsg: %w", err)
	}
	if n == 0 {
		return -1, unix.EPIPE // the child died
	}
	messages, err := unix.ParseSocketControlMessage(control[:controlN])
	if err != nil || len(messages) != 1 {
		return -1, fmt.Errorf("a message without a descriptor: %w", unix.EPROTO)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil || len(fds) != 1 {
		return -1, fmt.Errorf("a message without a descriptor: %w", unix.EPROTO)
	}
	return fds[0], nil
}

// mapMount gives a detached mount that the child has made the maps of a user namespace (mount_setattr(2)): a child in a user namespace of its own has no
// right to map the ids of a file system of the host's.
func (e *engine) mapMount(mount, ns int, recursive bool) error {
	fd, err := e.fetch(mount)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	flags := uint(unix.AT_EMPTY_PATH)
	if recursive {
		flags |= unix.AT_RECURSIVE
	}
	if err := unix.MountSetattr(fd, "", flags, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns)}); err != nil {
		return fmt.Errorf("mount_setattr: %w", err)
	}
	return nil
}
