package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"path/filepath"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/features"
	"example.io/shim/linux/host"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/run"
)

// explain prints the plan of a bundle: what a create and a start of it would do on this machine. Nothing is done, unless -time asks for it.
func explain(args []string, w io.Writer) error {
	fs := flag.NewFlagSet("explain", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	bundle := fs.String("bundle", ".", "folder with config.json")
	verbose := fs.Bool("v", false, "print every system call with its arguments, source and reason")
	timed := fs.Bool("time", false, "create, start and remove the container once, and print when each step began and how long it took")
	id := fs.String("id", "", "id of the container; the bundle's name without it")
	namespace := fs.String("namespace", "default", "namespace of the container")
	bySystemd := fs.Bool("systemd-cgroup", false, "the cgroups are made by systemd")
	if err := fs.Parse(args); err != nil {
		return fmt.Errorf("usage: containerd-shim-shim-v2 explain --bundle DIR [-v | -time] [-id ID] [-namespace NS] [-systemd-cgroup]: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("explain: %q is one argument too many: %w", fs.Arg(0), errdefs.ErrInvalidArgument)
	}
	dir, err := filepath.Abs(*bundle)
	if err != nil {
		return err
	}
	if *id == "" {
		*id = filepath.Base(dir)
	}
	if *timed {
		return explainTime(w, run.Request{ID: *id, Namespace: *namespace, Bundle: dir, SystemdCgroup: *bySystemd})
	}
	facts, err := host.Probe()
	if err != nil {
		return err
	}
	s, err := run.LoadSpec(dir)
	if err != nil {
		return err
	}
	if *bySystemd {
		if facts, err = run.SystemdFacts(context.Background(), facts); err != nil {
			return err
		}
	}
	p, err := run.Compile(run.Request{ID: *id, Namespace: *namespace, Bundle: dir, Terminal: s.Process.Terminal, SystemdCgroup: *bySystemd}, s, facts)
	if err != nil {
		return err
	}
	if err := plan.Verify(p); err != nil {
		return err
	}
	return plan.Print(w, p, plan.PrintOptions{Verbose: *verbose})
}

// printFeatures prints the OCI features document, for people and for what asks runtimes by it.
func printFeatures(args []string, w io.Writer) error {
	if len(args) > 0 {
		return fmt.Errorf("features: %q is one argument too many: %w", args[0], errdefs.ErrInvalidArgument)
	}
	data, err := features.JSON(version)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, data, "", "    "); err != nil {
		return fmt.Errorf("features: %w", err)
	}
	_, err = fmt.Fprintln(w, text.String())
	return err
}
