package run

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/compile"
	"example.io/shim/linux/plan"
)

// A created container that waits for a start by another process holds one descriptor of ours: the fifo in its Home, both ends. The starter
// writes a byte, and sees by the fifo having no reader that the program was executed or the process is dead. Which of the two it was, and at
// which step, stands in the child's memory, which is a file beside the fifo until then.

// ownInputs adds the descriptors that a container in a Home gets.
func (c *Container) ownInputs(inputs map[string]int) error {
	if err := preserved(inputs, c.keep.PreserveFDs); err != nil {
		return err
	}
	if !c.keep.Gate {
		return nil
	}
	path := c.state.path(fifoName)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return fmt.Errorf("make %s: %w", path, err)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, err)
	}
	inputs[plan.RegGate] = fd
	return nil
}

// preserved adds our own descriptors from 3 on.
func preserved(inputs map[string]int, n int) error {
	const first = 3
	for i := range n {
		if _, err := unix.FcntlInt(uintptr(first+i), unix.F_GETFD, 0); err != nil {
			return fmt.Errorf("descriptor %d is to be preserved, and is not open: %w", first+i, errdefs.ErrInvalidArgument)
		}
	}
	for i := range n {
		inputs[plan.Preserved(i)] = first + i
	}
	return nil
}

// startSteps are the child's steps from its fifo on, in the form of the errors that they could be.
func startSteps(id string, p *plan.Plan) []plan.StepError {
	var list []plan.StepError
	behind := false
	for i := range p.Steps {
		s := &p.Steps[i]
		behind = behind || s.Label == compile.WaitLabel || s.Label == compile.GateLabel
		var e *plan.StepError
		if behind && s.Actor == plan.Child && errors.As(plan.NewStepError(id, "start", p, i, 0, ""), &e) {
			list = append(list, *e)
		}
	}
	return list
}

// Detach lets a container with a Gate live without this process, which gives up everything it holds of it.
func (c *Container) Detach(ctx context.Context) error {
	e := c.gate
	if e == nil || !c.keep.Gate {
		return fmt.Errorf("detach %s: it was not created for that: %w", c.state.ID, errdefs.ErrFailedPrecondition)
	}
	c.gate = nil
	if err := e.run(ctx); err != nil {
		return errors.Join(err, c.state.remove())
	}
	e.release()
	return nil
}

// startLoaded starts a container that another process has created.
func (c *Container) startLoaded(ctx context.Context) error {
	if c.Supervised() {
		return fmt.Errorf("start %s: a shim supervises it, which alone can start it: %w", c.state.ID, errdefs.ErrFailedPrecondition)
	}
	unlock, err := c.lock()
	if err != nil {
		return err
	}
	defer unlock()
	fifo, err := unix.Open(c.state.path(fifoName), unix.O_WRONLY|unix.O_NONBLOCK|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, unix.ENOENT):
		return fmt.Errorf("cannot start an already running container: %w", errdefs.ErrFailedPrecondition)
	case errors.Is(err, unix.ENXIO): // nobody has it open
		return fmt.Errorf("cannot start a container that has stopped: %w", errdefs.ErrFailedPrecondition)
	case err != nil:
		return fmt.Errorf("start %s: open the gate: %w", c.state.ID, err)
	}
	defer func() { _ = unix.Close(fifo) }()
	for i := range hooksOf(c.spec.Hooks, "startContainer") {
		if err := c.hookStep(ctx, "startContainer", i); err != nil {
			return errors.Join(err, c.other.Signal(unix.SIGKILL))
		}
	}
	if _, err := unix.Write(fifo, []byte{'!'}); errors.Is(err, unix.EPIPE) { // a signal has ended it meanwhile
		return fmt.Errorf("cannot start a container that has stopped: %w", errdefs.ErrFailedPrecondition)
	} else if err != nil {
		return fmt.Errorf("start %s: open the gate: %w", c.state.ID, err)
	}
	if err := waitNoReader(ctx, fifo); err != nil {
		return fmt.Errorf("start %s: %w", c.state.ID, err)
	}
	if err := c.started(); err != nil {
		return err
	}
	for i := range hooksOf(c.spec.Hooks, "poststart") {
		if err := c.hookStep(ctx, "poststart", i); err != nil {
			return errors.Join(err, c.other.Signal(unix.SIGKILL)) // config.md, "poststart": the start fails
		}
	}
	return nil
}

// hookStep runs a hook; its error has the words of a step's.
func (c *Container) hookStep(ctx context.Context, kind string, i int) error {
	err := c.runHook(ctx, c.other, kind, i)
	if err == nil {
		return nil
	}
	h := hooksOf(c.spec.Hooks, kind)[i]
	e := plan.StepError{ID: c.state.ID, Action: "start", Label: fmt.Sprintf("run the %s hook %s", kind, h.Path), Source: fmt.Sprintf("/hooks/%s/%d", kind, i),
		Op: plan.OpCall, Call: plan.CallHook, Path: h.Path, Detail: err.Error()}
	return &e
}

// waitPoll is how often a start looks whether it is to end, in milliseconds; the program's being executed wakes it at once.
const waitPoll = 100

// waitNoReader returns when no process has the fifo open for reading (poll(2), POLLERR).
func waitNoReader(ctx context.Context, fifo int) error {
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		fds := []unix.PollFd{{Fd: int32(fifo)}}
		if _, err := unix.Poll(fds, waitPoll); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("poll: %w", err)
		}
		if fds[0].Revents&unix.POLLERR != 0 {
			return nil
		}
	}
}

// started finds out how the child left its fifo, and takes the fifo and its memory away.
func (c *Container) started() error {
	var header [plan.HdrResult + 8]byte
	f, err := os.Open(c.state.path(arenaName))
	if err != nil {
		return fmt.Errorf("start %s: how did it go: %w", c.state.ID, err)
	}
	_, err = f.ReadAt(header[:], 0)
	_ = f.Close()
	if err != nil {
		return fmt.Errorf("start %s: how did it go: %w", c.state.ID, err)
	}
	at := func(offset int) int { return int(int64(binary.LittleEndian.Uint64(header[offset:]))) }
	for _, name := range []string{fifoName, arenaName} {
		if err := os.Remove(c.state.path(name)); err != nil {
			return fmt.Errorf("start %s: %w", c.state.ID, err)
		}
	}
	step := at(plan.HdrStep)
	failed := at(plan.HdrState) == plan.StateFailed
	if failed {
		step = at(plan.HdrFailed)
	}
	for _, e := range c.state.StartSteps {
		if e.Step != step+1 {
			continue
		}
		if failed {
			if e.Errno = abi.EPROTO; at(plan.HdrResult) < 0 {
				e.Errno = abi.Errno(-at(plan.HdrResult))
			}
			return &e
		}
		if e.Sys != abi.SysExecve && e.Sys != abi.SysExecveat {
			e.Detail = "the process was killed here"
			return &e
		}
	}
	return nil
}

// lock keeps other commands from working on the container at the same time. It goes with the process.
func (c *Container) lock() (func(), error) {
	fd, err := unix.Open(c.state.home, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", c.state.ID, err)
	}
	for {
		err := unix.Flock(fd, unix.LOCK_EX)
		if err == nil {
			return func() { _ = unix.Close(fd) }, nil
		}
		if !errors.Is(err, unix.EINTR) {
			_ = unix.Close(fd)
			return nil, fmt.Errorf("lock %s: %w", c.state.ID, err)
		}
	}
}
