package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/pflag"
)

var listCommand = command{
	name: "list", args: "", max: 0,
	short: "list the containers",
	long: `Lists the containers whose states are in the root folder (--root). With the folder of a containerd namespace as the root,
/run/containerd/io.containerd.runtime.v2.task/NAMESPACE, it lists those that shims supervise.`,
	setup: func(a *app, fs *pflag.FlagSet) func([]string) error {
		format := fs.StringP("format", "f", "table", "table or json")
		quiet := fs.BoolP("quiet", "q", false, "print ids only")
		return func([]string) error { return a.list(*format, *quiet) }
	},
}

func (a *app) list(format string, quiet bool) error {
	if format != "table" && format != "json" {
		return fmt.Errorf("invalid format option %q", format)
	}
	containers, err := a.containers()
	if err != nil {
		return err
	}
	states := []*containerState{}
	for _, c := range containers {
		defer c.Close()
		if quiet {
			if _, err := fmt.Fprintln(a.stdout, c.State().ID); err != nil {
				return err
			}
			continue
		}
		s, err := stateOf(c)
		if err != nil {
			a.log.warn("%s: %v", c.State().ID, err)
			continue
		}
		states = append(states, s)
	}
	switch {
	case quiet:
		return nil
	case format == "json":
		return json.NewEncoder(a.stdout).Encode(states)
	}
	const minWidth, padding = 12, 3
	w := tabwriter.NewWriter(a.stdout, minWidth, 1, padding, ' ', 0)
	fmt.Fprint(w, "ID\tPID\tSTATUS\tBUNDLE\tCREATED\tOWNER\n")
	for _, s := range states {
		fmt.Fprintf(w, "%s\t%d\t%s\t%s\t%s\t%s\n", s.ID, s.Pid, s.Status, s.Bundle, s.Created.Format(time.RFC3339Nano), s.Owner)
	}
	return w.Flush()
}
