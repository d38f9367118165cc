package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/cgroup"
	"example.io/shim/linux/children"
	"example.io/shim/linux/plainfile"
	"example.io/shim/linux/plan"
)

// A container with a Home of its own can be used by any process: its state is there, not in the bundle.
const (
	// HomeFile is the state in a Home.
	HomeFile  = "state.json"
	fifoName  = "exec.fifo" // where a created container waits; gone when it was started
	arenaName = "arena"     // the child's memory until then
)

// target is a process whose container others join: a child of ours, or not.
type target interface {
	Pid() int
	// Do runs f with a pidfd of the process; an error when it has ended.
	Do(f func(pidfd int) error) error
	Signal(sig syscall.Signal) error
}

// other is a process that is no child of ours.
type other struct{ pid, fd int }

// openOther returns the process with that pid if it is the one that started then.
func openOther(pid int, start uint64) (*other, error) {
	if pid <= 0 {
		return nil, children.ErrFinished
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil, children.ErrFinished
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	// Looked at while the pidfd is there: the number cannot pass to another process unseen.
	if t, state, err := statOf(pid); err != nil || t != start || state == 'Z' || state == 'X' {
		_ = unix.Close(fd)
		return nil, children.ErrFinished
	}
	return &other{pid, fd}, nil
}

// Pid implements target.
func (o *other) Pid() int { return o.pid }

// Do implements target.
func (o *other) Do(f func(pidfd int) error) error { return f(o.fd) }

// Signal implements target.
func (o *other) Signal(sig syscall.Signal) error {
	err := unix.PidfdSendSignal(o.fd, sig, nil, 0)
	if errors.Is(err, unix.ESRCH) {
		return children.ErrFinished
	}
	if err != nil {
		return fmt.Errorf("send signal %d to %d: %w", int(sig), o.pid, err)
	}
	return nil
}

// wait waits until the process has ended, for so long at most.
func (o *other) wait(limit time.Duration) error {
	end := time.Now().Add(limit)
	for {
		left := time.Until(end)
		if left <= 0 {
			return fmt.Errorf("process %d does not end: %w", o.pid, errdefs.ErrUnavailable)
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(o.fd), Events: unix.POLLIN}}, int(left.Milliseconds())+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for %d: poll: %w", o.pid, err)
		}
		if n > 0 {
			return nil
		}
	}
}

// target returns the init of the container.
func (c *Container) target() (target, error) {
	if c.init != nil {
		return c.init.Child, nil
	}
	if c.other == nil {
		return nil, fmt.Errorf("container not running: %w", errdefs.ErrFailedPrecondition)
	}
	return c.other, nil
}

// Status is what runtime.md calls a container's status, and "paused".
type Status string

// The statuses.
const (
	Creating Status = "creating"
	Created  Status = "created"
	Running  Status = "running"
	Paused   Status = "paused"
	Stopped  Status = "stopped"
)

// Load returns the container whose state is in dir: a Home, or the bundle of a container that a shim supervises. It is errdefs.ErrNotFound when there
// is neither. Only what can be done from outside of a shim can be done with such a one. Close gives it up.
func Load(dir string) (*Container, error) {
	s, err := readState(filepath.Join(dir, HomeFile))
	if err == nil {
		s.home = dir
	} else if errors.Is(err, errdefs.ErrNotFound) {
		s, err = readState(filepath.Join(dir, StateFile))
	}
	if err != nil {
		return nil, err
	}
	c := &Container{state: *s, keep: Request{ID: s.ID, Namespace: s.Namespace, Bundle: s.Bundle, NoNewKeyring: s.NoNewKeyring, Home: s.home}}
	if c.cg, err = cgroup.Load(s.Cgroup); err != nil {
		return nil, err
	}
	if c.other, err = openOther(s.Pid, s.StartTime); err != nil && !errors.Is(err, children.ErrFinished) {
		return nil, err
	}
	return c, nil
}

// Close gives up what a loaded container holds of its processes; they go on.
func (c *Container) Close() {
	if c.other != nil {
		_ = unix.Close(c.other.fd)
		c.other = nil
	}
}

// Use gives a loaded container what it needs to do something: the machine's facts, and its configuration.
func (c *Container) Use(deps *Deps) error {
	c.deps = deps
	_, err := c.Spec()
	return err
}

// Spec returns the configuration that the container was created with.
func (c *Container) Spec() (*specs.Spec, error) {
	if c.spec != nil {
		return c.spec, nil
	}
	var err error
	if len(c.state.Config) > 0 {
		c.spec, err = ParseSpec(c.state.path(HomeFile), c.state.Config)
	} else {
		c.spec, err = LoadSpec(c.state.Bundle)
	}
	return c.spec, err
}

// State returns what is known of the container.
func (c *Container) State() State { return c.state }

// Supervised says that a shim has the container: it alone may start, resume or delete it.
func (c *Container) Supervised() bool { return c.state.home == "" }

// Status returns the status of a loaded container.
func (c *Container) Status() (Status, error) {
	switch {
	case c.state.Pid == 0 && c.other == nil:
		return Creating, nil
	case c.other == nil:
		return Stopped, nil
	}
	if _, state, err := statOf(c.other.pid); err != nil || state == 'Z' || state == 'X' {
		return Stopped, nil //nolint:nilerr // it has ended since it was loaded
	}
	waits, err := c.waits()
	if err != nil {
		return "", err
	}
	if waits {
		return Created, nil
	}
	frozen, err := cgroup.Frozen(c.state.Cgroup)
	if err != nil {
		return "", err
	}
	if frozen {
		return Paused, nil
	}
	return Running, nil
}

// waits says that the program was not executed yet.
func (c *Container) waits() (bool, error) {
	if !c.Supervised() {
		_, err := os.Lstat(c.state.path(fifoName))
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("was it started: %w", err)
		}
		return true, nil
	}
	// A child at its gate still has the program of the shim, its parent.
	own, err := os.Stat(procExe(c.other.pid))
	if err != nil {
		return false, nil //nolint:nilerr // it ended, or is beyond our rights: then its status is what the rest says
	}
	parent, err := parentOf(c.other.pid)
	if err != nil {
		return false, nil //nolint:nilerr // as above
	}
	shim, err := os.Stat(procExe(parent))
	return err == nil && os.SameFile(own, shim), nil
}

func procExe(pid int) string { return "/proc/" + strconv.Itoa(pid) + "/exe" }

// Pid returns init's pid, 0 when it has ended.
func (c *Container) Pid() int {
	if c.init != nil {
		return c.init.Pid()
	}
	if c.other == nil {
		return 0
	}
	return c.other.pid
}

// Signal sends a signal to init.
func (c *Container) Signal(sig syscall.Signal) error {
	t, err := c.target()
	if err != nil {
		return err
	}
	return t.Signal(sig)
}

// killWait is how long a killed init gets to be gone: it frees its memory first.
const killWait = 10 * time.Second

// Remove kills and removes a loaded container, whatever is left of it. Idempotent.
func (c *Container) Remove(ctx context.Context) error {
	if c.Supervised() {
		return fmt.Errorf("delete %s: a shim supervises it, which alone can delete it: %w", c.state.ID, errdefs.ErrFailedPrecondition)
	}
	if c.other != nil {
		if err := c.other.Signal(unix.SIGKILL); err != nil && !errors.Is(err, children.ErrFinished) {
			return err
		}
	}
	if c.state.Pid == 0 {
		c.state.waitForCriu(ctx, c.cg)
	}
	// Killing by the cgroup reaches what is frozen, too.
	if err := c.cg.Kill(unix.SIGKILL); err != nil {
		return fmt.Errorf("kill what is left of %s: %w", c.state.ID, err)
	}
	if c.other != nil {
		if err := c.other.wait(killWait); err != nil {
			return err
		}
	}
	if err := c.state.cleanup(ctx, c.cg); err != nil {
		return err
	}
	s, err := c.Spec()
	if err != nil {
		return nil //nolint:nilerr // a configuration that cannot be read has made no hook
	}
	log := func(string, ...any) {}
	if c.deps != nil && c.deps.Log != nil {
		log = c.deps.Log
	}
	c.stopped.Do(func() { c.state.poststop(context.WithoutCancel(ctx), 0, s, log) })
	return nil
}

// statOf returns when the process started and its state's letter, fields 22 and 3 of /proc/PID/stat (proc_pid_stat(5)).
func statOf(pid int) (start uint64, state byte, err error) {
	f, err := statFields(pid)
	if err != nil {
		return 0, 0, err
	}
	const startField, stateField = 22, 3
	start, err = strconv.ParseUint(string(f[startField-stateField]), 10, 64)
	return start, f[0][0], err
}

// parentOf returns the parent's pid, field 4 of /proc/PID/stat.
func parentOf(pid int) (int, error) {
	f, err := statFields(pid)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(f[1]))
}

// statFields returns the fields of /proc/PID/stat behind the name, from field 3 on, up to 22 at least.
func statFields(pid int) ([][]byte, error) {
	data, err := plainfile.Read("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return nil, fmt.Errorf("look at process %d: %w", pid, err)
	}
	// The second field, the name, may hold spaces and parentheses: count from its end.
	const wanted = 22 - 2
	f := bytes.Fields(data[bytes.LastIndexByte(data, ')')+1:])
	if len(f) < wanted {
		return nil, fmt.Errorf("look at process %d: %q is too short", pid, data)
	}
	return f, nil
}

// startTime returns when the process started, in clock ticks since boot.
func startTime(pid int) (uint64, error) {
	t, _, err := statOf(pid)
	return t, err
}

// path is a file of the container's state.
func (s *State) path(name string) string {
	dir := s.home
	if dir == "" {
		dir = s.Bundle
	}
	return filepath.Join(dir, name)
}

// first writes the state for the first time.
func (s *State) first(p *plan.Plan, r Request) error {
	if s.home == "" {
		return s.create()
	}
	err := os.Mkdir(s.home, 0o700)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(s.home), 0o700); err != nil {
			return fmt.Errorf("make the folder of states: %w", err)
		}
		err = os.Mkdir(s.home, 0o700)
	}
	if err != nil {
		if errors.Is(err, os.ErrExist) {
			return fmt.Errorf("container with given ID already exists: %s: %w", s.ID, errdefs.ErrAlreadyExists)
		}
		return fmt.Errorf("make the state: %w", err)
	}
	s.Config = json.RawMessage(r.Config)
	if r.Gate {
		s.StartSteps = startSteps(s.ID, p)
	}
	if err := s.create(); err != nil {
		return errors.Join(err, s.remove())
	}
	return nil
}

// RemoveHome removes a Home without a state: its create was killed before anything else was made.
func RemoveHome(dir string) error {
	if _, err := readState(filepath.Join(dir, HomeFile)); !errors.Is(err, errdefs.ErrNotFound) {
		return fmt.Errorf("%s has a state: %w", dir, errdefs.ErrFailedPrecondition)
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}

// Ended returns a channel that is closed when a loaded container's init has ended. One that cannot be waited for counts as ended.
func (c *Container) Ended() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		o := c.other
		if o == nil {
			return
		}
		for {
			_, err := unix.Poll([]unix.PollFd{{Fd: int32(o.fd), Events: unix.POLLIN}}, -1)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	return done
}
