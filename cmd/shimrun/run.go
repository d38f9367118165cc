package main

import (
	"context"
	"errors"
	"os"

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
		return func(args []string) error { return a.runContainer("run", args[0], o, *keep, *noSubreaper) }
	},
}

func (a *app) runContainer(what, id string, o *launchOptions, keep, noSubreaper bool) error {
	ctx := context.Background()
	if !o.detach && !noSubreaper {
		if err := children.Subreaper(); err != nil {
			return err
		}
	}
	signals, err := listen(!o.detach)
	if err != nil {
		return err
	}
	l, err := a.launch(ctx, id, o, false)
	if err != nil {
		return startFailure(what, err)
	}
	n, err := a.listenNotify(id)
	defer n.close()
	var t *terminal
	if err == nil {
		t, err = a.startLaunched(ctx, l, o)
	}
	if err != nil {
		return startFailure(what, errors.Join(err, l.c.Delete(ctx)))
	}
	pid, ended := l.c.Init().Pid(), closed(l.c.Init().Done())
	if o.detach {
		return n.relay(pid, ended)
	}
	go func() {
		if err := n.relay(pid, ended); err != nil {
			a.log.warn("%v", err)
		}
	}()
	defer t.close()
	status := signals.forward(l.c.Init(), t)
	t.drain()
	t.close()
	if !keep {
		if err := errors.Join(l.c.Delete(ctx), os.RemoveAll(a.notifyDir(id))); err != nil {
			return err
		}
	}
	if status != 0 {
		return exitCode(status)
	}
	return nil
}

// startLaunched starts the container with its terminal attached. A restored one has its process only then.
func (a *app) startLaunched(ctx context.Context, l *launched, o *launchOptions) (*terminal, error) {
	if o.restore != nil {
		if err := l.c.Start(ctx); err != nil {
			return nil, err
		}
		if err := handOut(l.c.Init(), o.consoleSocket, o.pidfdSocket, o.pidFile); err != nil {
			return nil, err
		}
		return a.attach(l.c.Init(), l.spec.Process, !o.detach)
	}
	t, err := a.attach(l.c.Init(), l.spec.Process, !o.detach)
	if err != nil {
		return nil, err
	}
	if err := l.c.Start(ctx); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}
