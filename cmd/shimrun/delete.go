package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/containerd/errdefs"
	"github.com/spf13/pflag"

	"example.io/shim/linux/run"
)

var deleteCommand = command{
	name: "delete", args: idArg, min: 1, max: 1,
	short: "remove what is left of a container",
	long: `Removes a container that has stopped or was not started. With --force it is killed first, whatever it does, and it is no error when there
is none of that id.`,
	setup: func(a *app, fs *pflag.FlagSet) func([]string) error {
		force := fs.BoolP("force", "f", false, "kill the container if it runs")
		return func(args []string) error { return a.remove(args[0], *force) }
	},
}

func (a *app) remove(id string, force bool) error {
	c, err := a.load(id)
	if errors.Is(err, errdefs.ErrNotFound) && force {
		return a.removeRest(id)
	}
	if err != nil {
		return err
	}
	defer c.Close()
	if c.Supervised() {
		return supervised("delete")
	}
	status, err := c.Status()
	if err != nil {
		return err
	}
	if !force && status != run.Stopped && status != run.Created {
		return fmt.Errorf("cannot delete container %s that is not stopped: %s", id, status)
	}
	if deps, err := a.deps(); err == nil { // only for what hooks say
		_ = c.Use(deps)
	}
	return errors.Join(c.Remove(context.Background()), os.RemoveAll(a.notifyDir(id)))
}

// removeRest removes the folder of a container whose create was killed before it wrote a state: nothing else was made then.
func (a *app) removeRest(id string) error {
	home, err := a.home(id)
	if err != nil {
		return err
	}
	return errors.Join(run.RemoveHome(home), os.RemoveAll(a.notifyDir(id)))
}
