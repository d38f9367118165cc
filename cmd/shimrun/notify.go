package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// A service of systemd's tells by a socket that it is ready (sd_notify(3)). The container gets a socket of ours; that it is ready is passed on, with the
// pid that it has on the host.

const (
	notifyVariable = "NOTIFY_SOCKET"
	notifyInside   = "/run/notify" // folder in the container
	notifyName     = "notify.sock"
	notifyPoll     = 100     // milliseconds between looks whether the container has ended
	notifyMessage  = 4 << 10 // bytes of a message: systemd takes no longer ones
)

// notifyDir is beside a container's state, which is made later.
func (a *app) notifyDir(id string) string { return filepath.Join(a.root, "."+id+".notify") }

// addNotify puts the folder of the socket into the container's configuration.
func (a *app) addNotify(id string, s *specs.Spec) (bool, error) {
	if os.Getenv(notifyVariable) == "" || s.Process == nil {
		return false, nil
	}
	dir := a.notifyDir(id)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return false, fmt.Errorf("make the folder of the notify socket: %w", err)
	}
	s.Mounts = append(s.Mounts, specs.Mount{Destination: notifyInside, Type: "bind", Source: dir, Options: []string{"bind", "nosuid", "noexec", "nodev", "ro"}})
	s.Process.Env = append(s.Process.Env, notifyVariable+"="+path.Join(notifyInside, notifyName))
	return true, nil
}

// notifier is the socket of a container that is being started; nil without.
type notifier struct {
	fd   int
	host string
}

// listenNotify makes the socket, before the program could look for it.
func (a *app) listenNotify(id string) (*notifier, error) {
	host := os.Getenv(notifyVariable)
	if _, err := os.Stat(a.notifyDir(id)); host == "" || err != nil {
		return nil, nil //nolint:nilerr // nobody asked at the create
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make the notify socket: %w", err)
	}
	at := filepath.Join(a.notifyDir(id), notifyName)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: at})
	if err == nil {
		err = os.Chmod(at, 0o777) // whoever the container's user is
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make the notify socket: %w", err)
	}
	return &notifier{fd, host}, nil
}

// relay waits until the container says that it is ready, and passes that on. It returns also when the container's process has ended.
func (n *notifier) relay(pid int, ended func() bool) error {
	if n == nil {
		return nil
	}
	defer n.close()
	buf := make([]byte, notifyMessage)
	for !ended() {
		fds := []unix.PollFd{{Fd: int32(n.fd), Events: unix.POLLIN}}
		if k, err := unix.Poll(fds, notifyPoll); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for the container to be ready: %w", err)
		} else if k <= 0 {
			continue
		}
		size, _, err := unix.Recvfrom(n.fd, buf, 0)
		if err != nil {
			return fmt.Errorf("wait for the container to be ready: %w", err)
		}
		for line := range bytes.Lines(buf[:size]) {
			if bytes.HasPrefix(line, []byte("READY=")) {
				return n.tell(string(bytes.TrimSpace(line)) + "\nMAINPID=" + strconv.Itoa(pid) + "\n")
			}
		}
	}
	return nil
}

func (n *notifier) tell(text string) error {
	err := unix.Sendto(n.fd, []byte(text), 0, &unix.SockaddrUnix{Name: n.host})
	if err != nil {
		return fmt.Errorf("notify %s: %w", n.host, err)
	}
	return nil
}

func (n *notifier) close() {
	if n != nil && n.fd >= 0 {
		_ = unix.Close(n.fd)
		n.fd = -1
	}
}
