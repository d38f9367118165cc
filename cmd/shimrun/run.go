package main

import (
	"context"
	"errors"

	"github.com/spf13/pflag"

	"example.io/shim/linux/children"
)

var runCommand = command{
	name: "run", args: idArg, min: 1, max: 1,
	short: "create a container, start it, wait for its end and delete it",
	long:  "The exit code is that of the container's process, 128 and the signal's number if one killed it.",
	setup: func(a *app, fs *pflag.FlagSet) func([]string) error {
		o := launchFlags(fs)
		fs.BoolVarP(&o.detach, "detach", "d", false, "do not wait: leave the container running")
		keep := fs.Bool("keep", false, "leave the state of the container when it has ended")
		noSubreaper := fs.Bool("no-subreaper", false, "do not become the parent of orphaned processes of the container")
		return func(args []string) error { return a.runContainer(args[0], o, *keep, *noSubreaper) }
	},
}

func (a *app) runContainer(id string, o *launchOptions, keep, noSubreaper bool) error {
	ctx := context.Background()
	if !o.detach && !noSubreaper {
		if err := children.Subreaper(); err != nil {
			return err
		}
	}
	signals := listen(!o.detach)
	defer signals.stop()
	l, err := a.launch(ctx, id, o, false)
	if err != nil {
		return startFailure("run", err)
	}
	p := l.c.Init()
	t, err := a.attach(p, l.spec.Process, !o.detach)
	if err == nil {
		defer t.close()
		err = l.c.Start(ctx)
	}
	if err != nil {
		return startFailure("run", errors.Join(err, l.c.Delete(ctx)))
	}
	if o.detach {
		return nil
	}
	status := signals.forward(p, t)
	t.drain()
	t.close()
	if !keep {
		if err := l.c.Delete(ctx); err != nil {
			return err
		}
	}
	if status != 0 {
		return exitCode(status)
	}
	return nil
}
