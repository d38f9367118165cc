package main

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"example.io/shim/linux/run"
)

var pauseCommand = command{
	name: "pause", args: idArg, min: 1, max: 1,
	short: "stop all processes of a container for a while",
	long:  "The processes are frozen by the container's cgroup, and notice nothing of it.",
	setup: func(a *app, _ *pflag.FlagSet) func([]string) error {
		return func(args []string) error {
			return a.inStatus(args[0], func(c *run.Container, status run.Status) error {
				if status != run.Running && status != run.Created {
					return errors.New("container not running")
				}
				return c.Cgroup().Freeze(context.Background())
			})
		}
	},
}

var resumeCommand = command{
	name: "resume", args: idArg, min: 1, max: 1,
	short: "let the processes of a paused container go on",
	setup: func(a *app, _ *pflag.FlagSet) func([]string) error {
		return func(args []string) error {
			return a.inStatus(args[0], func(c *run.Container, status run.Status) error {
				if status != run.Paused {
					return errors.New("container not paused")
				}
				return c.Cgroup().Thaw(context.Background())
			})
		}
	},
}

// inStatus calls f with the container and its status.
func (a *app) inStatus(id string, f func(*run.Container, run.Status) error) error {
	c, err := a.load(id)
	if err != nil {
		return err
	}
	defer c.Close()
	status, err := c.Status()
	if err != nil {
		return err
	}
	return f(c, status)
}
