package main

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"example.io/shim/linux/run"
)

var startCommand = command{
	name: "start", args: idArg, min: 1, max: 1,
	short: "execute the program of a created container",
	setup: func(a *app, _ *pflag.FlagSet) func([]string) error {
		return func(args []string) error {
			c, err := a.use(args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			status, err := c.Status()
			switch {
			case err != nil:
				return err
			case c.Supervised():
				return supervised("start")
			case status == run.Stopped:
				return errors.New("cannot start a container that has stopped")
			case status == run.Running || status == run.Paused:
				return errors.New("cannot start an already running container")
			case status == run.Creating:
				return errors.New("cannot start a container that is still being created")
			}
			n, err := a.listenNotify(args[0])
			if err != nil {
				return err
			}
			defer n.close()
			if err := c.Start(context.Background()); err != nil {
				return startFailure("start", err)
			}
			return n.relay(c.Pid(), closed(c.Ended()))
		}
	},
}

// closed says whether c was closed.
func closed(c <-chan struct{}) func() bool {
	return func() bool {
		select {
		case <-c:
			return true
		default:
			return false
		}
	}
}

// supervised refuses what only a container's shim may do.
func supervised(what string) error {
	return errors.New(what + ": a shim supervises this container and alone may do that; ask containerd (ctr task " + what + ")")
}
