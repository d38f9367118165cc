package run

import (
	"encoding/json"
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/plan"
)

// agentWait is how long a seccomp agent may take to accept a connection and to read from it. The container's process waits meanwhile; an agent on a
// machine under load answers within milliseconds.
const agentWait = 10 // seconds

// keepFilter keeps the container's filter for its further processes.
func (c *Container) keepFilter(p *plan.Plan) {
	if i := p.Item(plan.ItemFilter); i != 0 {
		c.filter = p.Data[i].Bytes
	}
}

// sendListener sends the listener of the filter of process pid to the agent at a socket, with the state of the process (config-linux.md, "The Container
// Process State"): one on each connection.
func (c *Container) sendListener(listener int, path string, pid int) error {
	status := specs.StateRunning
	if pid == c.Pid() {
		status = specs.StateCreated // its program is not executed yet
	}
	text, err := json.Marshal(specs.ContainerProcessState{
		Version: specs.Version, Fds: []string{specs.SeccompFdName}, Pid: pid, Metadata: c.spec.Linux.Seccomp.ListenerMetadata,
		State: specs.State{Version: specs.Version, ID: c.state.ID, Status: status, Pid: c.Pid(), Bundle: c.state.Bundle, Annotations: c.spec.Annotations},
	})
	if err != nil {
		return fmt.Errorf("encode the process's state: %w", err)
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socket: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: agentWait}); err != nil { // for connect too: socket(7)
		return fmt.Errorf("set how long to wait for the agent: %w", err)
	}
	if err := retryIntr(func() error { return unix.Connect(fd, &unix.SockaddrUnix{Name: path}) }); err != nil {
		return fmt.Errorf("connect to the agent: %w", err)
	}
	for rights := unix.UnixRights(listener); len(text) > 0; rights = nil { // descriptors go with the first message only
		n := 0
		err := retryIntr(func() (err error) {
			n, err = unix.SendmsgN(fd, text, rights, nil, unix.MSG_NOSIGNAL)
			return err
		})
		if err != nil {
			return fmt.Errorf("send the state to the agent: %w", err)
		}
		text = text[n:]
	}
	return nil
}

// retryIntr repeats a call that a signal of Go's runtime has interrupted.
func retryIntr(f func() error) error {
	for {
		if err := f(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}
