package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/children"
	"example.io/shim/linux/compile"
	"example.io/shim/linux/plan"
)

const (
	// hookOutput is how many bytes of a failed hook's output an error shows: a line or ten; containerd's own messages have a limit too.
	hookOutput = 2048
	// hookDrain is how long a hook that has ended may keep its output open through a daemon that it left behind.
	hookDrain = 100 * time.Millisecond
	// poststopLimit ends a poststop hook that has no timeout where somebody waits 5 s at most: containerd for the command delete, and for a create to fail.
	poststopLimit = 4 * time.Second
)

// hookStates are what the state on a hook's standard input says (runtime.md, "State").
var hookStates = map[string]specs.ContainerState{
	"prestart": specs.StateCreating, "createRuntime": specs.StateCreating, "createContainer": specs.StateCreating,
	"startContainer": specs.StateCreated, "poststart": specs.StateRunning, "poststop": specs.StateStopped,
}

// hooksOf returns the hooks of a kind.
func hooksOf(h *specs.Hooks, kind string) []specs.Hook {
	if h == nil {
		return nil
	}
	switch kind {
	case "prestart":
		return h.Prestart //nolint:staticcheck // deprecated, and used
	case "createRuntime":
		return h.CreateRuntime
	case "createContainer":
		return h.CreateContainer
	case "startContainer":
		return h.StartContainer
	case "poststart":
		return h.Poststart
	case "poststop":
		return h.Poststop
	}
	return nil
}

// runHook runs one hook while init waits or, for poststart, runs.
func (c *Container) runHook(ctx context.Context, init target, kind string, i int) error {
	list := hooksOf(c.spec.Hooks, kind)
	if i >= len(list) {
		return fmt.Errorf("there is no %s hook %d: %w", kind, i, unix.EINVAL)
	}
	inside := kind == "createContainer" || kind == "startContainer"
	pid := init.Pid()
	if inside {
		var err error
		if pid, err = pidInside(pid); err != nil {
			return err
		}
	}
	state, err := c.state.forHook(kind, c.spec, pid)
	if err != nil {
		return err
	}
	ctx, cancel := withTimeout(ctx, list[i])
	defer cancel()
	if inside {
		err = c.hookInside(ctx, init, kind, list[i], state)
	} else {
		err = hookOutside(ctx, c.state.Bundle, list[i], state)
	}
	if err != nil && errors.Is(context.Cause(ctx), errHookTimeout) {
		return fmt.Errorf("%w of %d s", errHookTimeout, *list[i].Timeout)
	}
	return err
}

// pidInside is the pid that a process has in its own pid namespace (NSpid in proc_pid_status(5)): what hooks in the container are told (runtime.md, "State").
func pidInside(pid int) (int, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("find the pid in the container: %w", err)
	}
	_, rest, _ := strings.Cut(string(data), "\nNSpid:")
	line, _, _ := strings.Cut(rest, "\n")
	list := strings.Fields(line)
	if len(list) == 0 {
		return 0, fmt.Errorf("find the pid in the container: /proc/%d/status has no NSpid", pid)
	}
	return strconv.Atoi(list[len(list)-1])
}

var errHookTimeout = errors.New("it did not end within its timeout")

func withTimeout(ctx context.Context, h specs.Hook) (context.Context, context.CancelFunc) {
	if h.Timeout == nil {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, time.Duration(*h.Timeout)*time.Second, errHookTimeout)
}

// forHook is the JSON of the container's state (runtime.md, "State").
func (s *State) forHook(kind string, sp *specs.Spec, pid int) ([]byte, error) {
	if kind == "poststop" {
		pid = 0
	}
	data, err := json.Marshal(specs.State{Version: specs.Version, ID: s.ID, Status: hookStates[kind], Pid: pid, Bundle: s.Bundle, Annotations: sp.Annotations})
	if err != nil {
		return nil, fmt.Errorf("encode the state: %w", err)
	}
	return data, nil
}

// hookOutside runs a hook in the runtime's own namespaces, with the bundle as its working directory.
func hookOutside(ctx context.Context, bundle string, h specs.Hook, state []byte) error {
	out := &tail{}
	cmd := exec.CommandContext(ctx, h.Path)
	if len(h.Args) > 0 {
		cmd.Args = h.Args
	}
	cmd.Env = append([]string{}, h.Env...) // no nil: that would be our own
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = bundle, bytes.NewReader(state), out, out, hookDrain
	// A hook that is killed takes along what it started: a shell's programs would go on for ever.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return unix.Kill(-cmd.Process.Pid, unix.SIGKILL) }
	if err := children.StartCommand(cmd); err != nil {
		var pe *os.PathError
		if errors.As(err, &pe) {
			err = pe.Err // the step has the path
		}
		return err
	}
	err := children.WaitCommand(cmd)
	var exit *exec.ExitError
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay):
		return nil
	case errors.As(err, &exit):
		return hookFailed(exit.Error(), out)
	}
	return err
}

// endedBy says how a process ended that did not end well.
func endedBy(status uint32) string {
	const signalled = 128
	if status > signalled {
		return "killed by signal: " + unix.Signal(status-signalled).String()
	}
	return fmt.Sprintf("exit status %d", status)
}

// hookFailed is the error of a hook that ended badly.
func hookFailed(how string, out *tail) error {
	if text := strings.TrimSpace(string(out.data)); text != "" {
		how += ": " + text
	}
	return errors.New(how)
}

// tail keeps the last bytes that are written to it.
type tail struct{ data []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if n := len(t.data) - hookOutput; n > 0 {
		t.data = append(t.data[:0], t.data[n:]...)
	}
	return len(p), nil
}

// hookInside runs a hook in the container's namespaces and cgroups, as a further process of it.
func (c *Container) hookInside(ctx context.Context, init target, kind string, h specs.Hook, state []byte) error {
	p, err := compile.Hook(compile.HookInput{Kind: kind, Hook: h, Rootfs: c.state.Rootfs, Exec: compile.ExecInput{
		ID: c.state.ID, ExecID: kind + " hook", Rootfs: c.state.Rootfs, Spec: c.spec, Facts: c.deps.Facts, CgroupDirs: c.state.CgroupDirs, NoNewKeyring: true,
	}})
	if err != nil {
		return err
	}
	in, err := memfd("state", state)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := memfd("output", nil)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	proc, err := c.execPlan(ctx, init, p, kind+" hook in", ExecRequest{Stdio: [3]*os.File{in, out, out}})
	if err != nil {
		var se *plan.StepError
		if errors.As(err, &se) && (se.Path == h.Path || se.Label == "find the command") {
			return unix.Errno(se.Errno) // the step that runs the hook has the path
		}
		return err
	}
	select {
	case <-proc.Done():
	case <-ctx.Done():
		_ = proc.Signal(unix.SIGKILL)
		<-proc.Done()
		return context.Cause(ctx)
	}
	if status, _ := proc.Exit(); status != 0 {
		text := &tail{}
		if size, err := out.Seek(0, io.SeekEnd); err == nil {
			_, _ = io.Copy(text, io.NewSectionReader(out, max(0, size-hookOutput), hookOutput))
		}
		return hookFailed(endedBy(status), text)
	}
	return nil
}

// memfd returns a file in memory with that content, read from its beginning and written at its end (memfd_create(2)).
func memfd(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.WriteAt(content, 0); err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("write the %s: %w", name, err)
	}
	return f, nil
}

// poststop runs the poststop hooks when everything is removed. One that fails is logged, and the others run (runtime.md, "Lifecycle", 13). limit ends a hook
// that has no timeout of its own; 0 is none but the end of ctx.
func (s *State) poststop(ctx context.Context, limit time.Duration, sp *specs.Spec, log func(format string, args ...any)) {
	list := hooksOf(sp.Hooks, "poststop")
	if len(list) == 0 {
		return
	}
	if log == nil {
		log = func(string, ...any) {}
	}
	state, err := s.forHook("poststop", sp, 0)
	if err != nil {
		log("%s: poststop hooks: %v", s.ID, err)
		return
	}
	for i, h := range list {
		hctx, cancel := withTimeout(ctx, h)
		if h.Timeout == nil && limit > 0 {
			hctx, cancel = context.WithTimeout(ctx, limit)
		}
		if err := hookOutside(hctx, s.Bundle, h, state); err != nil {
			log("%s: poststop hook %s (/hooks/poststop/%d): %v", s.ID, h.Path, i, err)
		}
		cancel()
	}
}
