package main

import (
	"context"

	"github.com/spf13/pflag"
)

var createCommand = command{
	name: "create", args: idArg, min: 1, max: 1,
	short: "create a container, which then waits for start",
	long: `Builds the container of a bundle: a folder with config.json and a root file system. Everything is made and checked, the command is looked
up, and the process waits in its namespaces until start executes the program.`,
	setup: func(a *app, fs *pflag.FlagSet) func([]string) error {
		o := launchFlags(fs)
		return func(args []string) error {
			o.detach = true
			l, err := a.launch(context.Background(), args[0], o, true)
			if err != nil {
				return startFailure("create", err)
			}
			if err := l.c.Detach(context.Background()); err != nil {
				return startFailure("create", err)
			}
			return nil
		}
	},
}
