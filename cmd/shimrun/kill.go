package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"example.io/shim/linux/run"
	"example.io/shim/linux/spec"
)

var killCommand = command{
	name: "kill", args: idArg + " [SIGNAL]", min: 1, max: 2,
	short: "send a signal to a container's first process",
	long: `SIGNAL is a name, with or without SIG, or a number; TERM without one. KILL reaches every process of a container that has no pid namespace of
its own.`,
	setup: func(a *app, fs *pflag.FlagSet) func([]string) error {
		all := fs.BoolP("all", "a", false, "send it to every process of the container")
		return func(args []string) error {
			name := "TERM"
			if len(args) > 1 {
				name = args[1]
			}
			sig, err := parseSignal(name)
			if err != nil {
				return err
			}
			return a.kill(args[0], sig, *all)
		}
	},
}

func (a *app) kill(id string, sig unix.Signal, all bool) error {
	return a.inStatus(id, func(c *run.Container, status run.Status) error { return killIn(c, status, sig, all) })
}

func killIn(c *run.Container, status run.Status, sig unix.Signal, all bool) error {
	own := true
	if s, err := c.Spec(); err == nil {
		own = spec.OwnPidNamespace(s)
	}
	if status == run.Stopped {
		if !own && sig == unix.SIGKILL || all {
			return c.Cgroup().Kill(sig) // init is gone, others are not
		}
		return errors.New("container not running")
	}
	var err error
	if all || !own && sig == unix.SIGKILL {
		err = c.Cgroup().Kill(sig)
	} else {
		err = c.Signal(sig)
	}
	if err == nil && sig == unix.SIGKILL && status == run.Paused {
		err = c.Cgroup().Thaw(context.Background()) // what is frozen cannot die
	}
	return err
}

func parseSignal(name string) (unix.Signal, error) {
	if n, err := strconv.Atoi(name); err == nil {
		const last = 64
		if n < 0 || n > last {
			return 0, fmt.Errorf("unknown signal %q", name)
		}
		return unix.Signal(n), nil
	}
	upper := strings.ToUpper(name)
	if !strings.HasPrefix(upper, "SIG") {
		upper = "SIG" + upper
	}
	if n := unix.SignalNum(upper); n != 0 {
		return n, nil
	}
	return 0, fmt.Errorf("unknown signal %q", name)
}
