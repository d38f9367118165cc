package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/criu"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/run"
)

// launchOptions are those of create and run.
type launchOptions struct {
	bundle, consoleSocket, pidfdSocket, pidFile string
	noPivot, noNewKeyring                       bool
	preserveFDs                                 int
	detach                                      bool
	restore                                     *criu.Options // a checkpoint, nil for a new container
}

func launchFlags(fs *pflag.FlagSet) *launchOptions {
	o := &launchOptions{}
	fs.StringVarP(&o.bundle, "bundle", "b", ".", "the bundle, `DIR`")
	fs.StringVar(&o.consoleSocket, "console-socket", "", "send the terminal's master by the Unix socket `PATH`")
	fs.StringVar(&o.pidfdSocket, "pidfd-socket", "", "send a pidfd of the container's process by the Unix socket `PATH`")
	fs.StringVar(&o.pidFile, "pid-file", "", "write the process's pid to `FILE`")
	fs.BoolVar(&o.noPivot, "no-pivot", false, "move the root instead of pivot_root: for a root file system on an initial ram disk")
	fs.BoolVar(&o.noNewKeyring, "no-new-keyring", false, "keep our session keyring")
	fs.IntVar(&o.preserveFDs, "preserve-fds", 0, "hand `N` descriptors from 3 on to the process")
	return o
}

// launched is a container that was built.
type launched struct {
	c    *run.Container
	spec *specs.Spec
}

// launch builds a container, and gives away its pid, terminal and pidfd. With gate, another process is to start it. After an error nothing is left.
func (a *app) launch(ctx context.Context, id string, o *launchOptions, gate bool) (*launched, error) {
	home, err := a.home(id)
	if err != nil {
		return nil, err
	}
	bundle, err := filepath.Abs(o.bundle)
	if err != nil {
		return nil, err
	}
	s, config, err := a.readSpec(id, bundle)
	if err != nil {
		return nil, err
	}
	preserve := o.preserveFDs
	if config, preserve, err = a.activation(config, s, preserve); err != nil {
		return nil, err
	}
	if err := checkTerminal(s.Process.Terminal, o.detach, o.consoleSocket); err != nil {
		return nil, err
	}
	deps, err := a.deps()
	if err != nil {
		return nil, err
	}
	alone, err := a.withoutCgroup(deps.Facts, s, id)
	if err != nil {
		return nil, err
	}
	c, err := run.Create(ctx, deps, run.Request{
		ID: id, Bundle: bundle, Home: home, Config: config, Spec: s, Gate: gate, Detach: o.detach, Terminal: s.Process.Terminal,
		NoPivot: o.noPivot, NoNewKeyring: o.noNewKeyring, SystemdCgroup: a.systemdCgroup, PreserveFDs: preserve, NoCgroup: alone, Restore: o.restore,
		Stdio: func() ([3]*os.File, error) { return [3]*os.File{os.Stdin, os.Stdout, os.Stderr}, nil },
	})
	if err != nil {
		return nil, err
	}
	if o.restore != nil {
		return &launched{c, s}, nil
	}
	if err := handOut(c.Init(), o.consoleSocket, o.pidfdSocket, o.pidFile); err != nil {
		return nil, errors.Join(err, c.Delete(ctx))
	}
	return &launched{c, s}, nil
}

// checkTerminal refuses a terminal that nobody would hold, and a socket that nothing would be sent by.
func checkTerminal(terminal, detach bool, socket string) error {
	switch {
	case terminal && detach && socket == "":
		return errors.New("a terminal of a container that is left alone needs --console-socket: somebody has to hold it")
	case (!terminal || !detach) && socket != "":
		return errors.New("--console-socket is for a terminal of a container that is left alone")
	}
	return nil
}

// handOut gives a process's terminal, pidfd and pid to those who asked for them.
func handOut(p *run.Process, consoleSocket, pidfdSocket, pidFile string) error {
	if consoleSocket != "" {
		if err := sendConsole(consoleSocket, p.Console()); err != nil {
			return err
		}
	}
	if pidfdSocket != "" {
		if err := p.Do(func(pidfd int) error { return sendFD(pidfdSocket, "pidfd", pidfd) }); err != nil {
			return err
		}
	}
	return writePidFile(pidFile, p.Pid())
}

// writePidFile writes the file aside and renames it: who waits for it finds the whole number.
func writePidFile(path string, pid int) error {
	if path == "" {
		return nil
	}
	tmp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path))
	if err := os.WriteFile(tmp, []byte(strconv.Itoa(pid)), 0o644); err != nil {
		return fmt.Errorf("write the pid file: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("write the pid file: %w", errors.Join(err, os.Remove(tmp)))
	}
	return nil
}

// startFailure puts the words before an error that runc's have: tools look for them.
func startFailure(what string, err error) error {
	var s *plan.StepError
	if !errors.As(err, &s) {
		if errdefs.IsInvalidArgument(err) || errdefs.IsNotImplemented(err) {
			return fmt.Errorf("%s failed: invalid configuration: %s%w", verb(what), fieldWords(err), err)
		}
		return fmt.Errorf("%s failed: %w", verb(what), err)
	}
	if s.Sys == abi.SysExecve && s.Errno != 0 && what != "exec" { // as execve's error it is the program's
		return &plainError{fmt.Sprintf("exec %s: %v", s.Command, s.Errno), err}
	}
	return fmt.Errorf("%s failed: unable to start container process: %s%w", verb(what), stepWords(s), err)
}

// fields are runc's words for what is wrong in some fields.
var fields = []struct{ text, words string }{
	{"/linux/memoryPolicy/mode", "invalid memory policy mode: "}, {"/linux/memoryPolicy/flags", "invalid memory policy flag: "},
	{"/linux/memoryPolicy/nodes", "invalid memory policy node: "}, {"write cannot have SCMP_ACT_NOTIFY", "SCMP_ACT_NOTIFY cannot be used for the write syscall: "},
}

func fieldWords(err error) string {
	for _, f := range fields {
		if strings.Contains(err.Error(), f.text) {
			return f.words
		}
	}
	return ""
}

// verb is the command with the program's name, as runc says it.
func verb(what string) string { return filepath.Base(os.Args[0]) + " " + what }

// stepWords are runc's words for what a step is part of.
func stepWords(s *plan.StepError) string {
	var kind string
	var n int
	switch {
	case s.Call == plan.CallHook:
		if _, err := fmt.Sscanf(pointerWords(s.Source), "hooks %s %d", &kind, &n); err == nil {
			return fmt.Sprintf("error running %s hook #%d: ", kind, n)
		}
	case strings.HasPrefix(s.Label, "open the cgroup ") || strings.HasPrefix(s.Label, "join the cgroup "):
		return fmt.Sprintf("error adding pid to cgroups: %v: ", s.Errno)
	case s.Label == "fork the child" && s.Errno == abi.EBUSY:
		return fmt.Sprintf("error adding pid of the process to cgroups: %v: ", s.Errno)
	case s.Call == plan.CallStartUnit && s.Errno == abi.EEXIST:
		return "container's cgroup is not empty: "
	case s.Source == "/process/scheduler" && strings.Contains(s.Label, " on the CPUs ") && s.Errno == abi.EPERM:
		return "process scheduler can't be used together with AllowedCPUs: "
	case s.Call == plan.CallAgent:
		return "failed to connect with seccomp agent: "
	case s.Command != "" && s.Errno != 0:
		return fmt.Sprintf("exec %s: %v: ", s.Command, s.Errno)
	case strings.HasPrefix(s.Source, "/mounts/") && (s.Actor == plan.Child || s.Errno == abi.EPERM): // what others leave to the child our parent may refuse
		return fmt.Sprintf("error during container init: error mounting %s: ", s.Path)
	case s.Actor == plan.Child:
		return "error during container init: "
	}
	return ""
}

// pointerWords makes words of a JSON pointer.
func pointerWords(pointer string) string {
	b := []byte(strings.TrimPrefix(pointer, "/"))
	for i, c := range b {
		if c == '/' {
			b[i] = ' '
		}
	}
	return string(b)
}
