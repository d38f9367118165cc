// Command containerd-shim-shim-v2 is the runtime io.example.shim.v2 of containerd: a shim with its own OCI runtime inside.
//
// containerd executes it with `start` for each container, which leaves a daemon behind, and with `delete` to clean up after a daemon that was
// killed. People can use `explain --bundle DIR [-v]`, which prints what would be done for a bundle, `features`, which prints what this version can do, and -v.
//
// containerd sets GOMAXPROCS; following the cgroup's CPU limit instead would keep its files open and look at them every second.
//
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	goruntime "runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"

	"example.io/shim/io/logger"
	"example.io/shim/io/streams"
	"example.io/shim/linux/children"
	"example.io/shim/linux/entry"
	"example.io/shim/linux/features"
	"example.io/shim/linux/host"
	"example.io/shim/linux/run"
	"example.io/shim/linux/self"
	"example.io/shim/linux/signalpipe"
	"example.io/shim/process"
	"example.io/shim/shim"
)

// version is set by the linker.
var version = "dev"

func main() {
	if err := dispatch(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func dispatch(args []string) error {
	if len(args) > 0 && args[0] == "explain" {
		return explain(args[1:], os.Stdout)
	}
	f, err := shim.ParseFlags(args)
	if err != nil {
		return err
	}
	switch {
	case f.Version:
		fmt.Printf("containerd-shim-shim-v2:\n  Version:  %s\n  Go:       %s\n", version, goruntime.Version())
		return nil
	case f.Info:
		document, err := features.JSON(version)
		if err != nil {
			return err
		}
		return shim.Info(os.Stdin, os.Stdout, version, "", document)
	}
	switch f.Action {
	case "start":
		return shim.Start(f, shim.Starter{Program: self.ReadOnly, Stdin: os.Stdin, Stdout: os.Stdout})
	case "serve": // the program's entry made this of `start`
		return serveStarted(f)
	case "delete":
		return shim.Delete(f, os.Stdout, cleanup)
	case "features":
		return printFeatures(f.Args[1:], os.Stdout)
	case "":
		if f.Socket == "" {
			return fmt.Errorf("there is no action (start, delete, explain or features), and no socket to serve: %w", errdefs.ErrInvalidArgument)
		}
		return serve(f)
	}
	return fmt.Errorf("unknown action %q: %w", f.Action, errdefs.ErrInvalidArgument)
}

// serve is the daemon that was started by `start`.
func serve(f shim.Flags) error { return shim.Serve(f, daemon()) }

// serveStarted is the daemon that does the work of `start`. Until it has answered, an error is told to who executed `start`; then to the log.
func serveStarted(f shim.Flags) error {
	unix.CloseOnExec(entry.WordFD)
	word := os.NewFile(entry.WordFD, "the word to who executed start")
	err := shim.ServeStarted(f, shim.Caller{Stdin: os.Stdin, Stdout: os.Stdout, Word: word}, daemon())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		_, _ = word.Write([]byte{1}) // it fails once the word was given
		os.Exit(1)
	}
	return nil
}

func daemon() shim.Daemon {
	return shim.Daemon{
		Runtime: newRuntime(),
		IO:      stdio{streams.Opener{Launch: logger.Launch{Start: children.StartCommand, Wait: children.WaitCommand}}},
		Prepare: prepare,
		Signals: takeSignals,
		Trim:    self.DropText,
		Run:     runCommand,
	}
}

// commName is what the process is called in lists: it was executed by a descriptor's path, whose name says nothing.
const commName = "containerd-shim"

func prepare() error {
	// Nobody in a container may trace the daemon or open its files.
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("be not dumpable: %w", err)
	}
	if err := os.WriteFile("/proc/self/comm", []byte(commName), 0); err != nil {
		return fmt.Errorf("take our name: %w", err)
	}
	return children.Adopt()
}

// takeSignals calls f for each signal that would end a shim. By os/signal each shim would keep a thread for them.
func takeSignals(f func(syscall.Signal)) error {
	return signalpipe.Take([]syscall.Signal{unix.SIGCHLD, unix.SIGUSR1, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPIPE}, func(s syscall.Signal) {
		if s == unix.SIGCHLD {
			children.LookAgain()
		} else {
			f(s)
		}
	})
}

// runCommand executes a program of the host; what it says when it fails is in the error.
func runCommand(cmd *exec.Cmd) error {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := children.StartCommand(cmd); err != nil {
		return err
	}
	if err := children.WaitCommand(cmd); err != nil {
		return errors.Join(err, errors.New(out.String()))
	}
	return nil
}

// newRuntime probes the machine when the first container is created: a machine that cannot be used is an answer to a Create, not a shim that dies.
func newRuntime() process.Runtime {
	return &runtime{deps: sync.OnceValues(func() (*run.Deps, error) {
		f, err := host.Probe()
		if err != nil {
			return nil, err
		}
		return &run.Deps{Facts: f, ArmOOM: armOOM, Log: logf}, nil
	})}
}

// cleanup removes what a shim has left. What is no error of it goes to standard error, which containerd logs as a warning.
func cleanup(ctx context.Context, bundle string) (int, error) {
	return run.Cleanup(ctx, bundle, func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) })
}

// logf writes to the log of the daemon, which is on standard error.
func logf(format string, args ...any) { shim.Logf(format, args...) }
