package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// sendFD sends a descriptor with a name to the Unix socket at path (unix(7), SCM_RIGHTS).
func sendFD(path, name string, fd int) error {
	s, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer func() { _ = unix.Close(s) }()
	if err := unix.Connect(s, &unix.SockaddrUnix{Name: path}); err != nil {
		return fmt.Errorf("connect to %s: %w", path, err)
	}
	if err := unix.Sendmsg(s, []byte(name), unix.UnixRights(fd), nil, 0); err != nil {
		return fmt.Errorf("send a descriptor to %s: %w", path, err)
	}
	return nil
}

// sendConsole sends a terminal's master, and gives it up.
func sendConsole(path string, master *os.File) error {
	raw, err := master.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		// The receiver reads it as it is used to: blocking.
		if sent = unix.SetNonblock(int(fd), false); sent == nil {
			sent = sendFD(path, "/dev/ptmx", int(fd))
		}
	})
	return errors.Join(err, sent, master.Close())
}

// activation hands sockets on that we were started with (sd_listen_fds(3)): they are preserved, and the process is told of them.
func (a *app) activation(config []byte, s *specs.Spec, preserve int) ([]byte, int, error) {
	fds := os.Getenv("LISTEN_FDS")
	if fds == "" {
		return config, preserve, nil
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 {
		return nil, 0, fmt.Errorf("LISTEN_FDS=%s is no number of descriptors", fds)
	}
	s.Process.Env = append(s.Process.Env, "LISTEN_FDS="+fds, "LISTEN_PID=1")
	changed, err := json.Marshal(s)
	return changed, preserve + n, err
}
