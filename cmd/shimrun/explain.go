package main

import (
	"context"
	"encoding/json"
	"path/filepath"

	"github.com/spf13/pflag"

	"example.io/shim/linux/plan"
	"example.io/shim/linux/run"
)

var explainCommand = command{
	name: "explain", args: "", max: 0,
	short: "print what would be done for a bundle, and why",
	long:  "Prints the plan of a container: every step of the parent and of the child, in order. Nothing is done.",
	setup: func(a *app, fs *pflag.FlagSet) func([]string) error {
		bundle := fs.StringP("bundle", "b", ".", "the bundle, `DIR`")
		id := fs.String("id", "", "id of the container; the bundle's name without it")
		verbose := fs.BoolP("verbose", "v", false, "print every system call with its arguments, source and reason")
		asJSON := fs.Bool("json", false, "print the plan as JSON")
		return func([]string) error { return a.explain(*bundle, *id, *verbose, *asJSON) }
	},
}

func (a *app) explain(bundle, id string, verbose, asJSON bool) error {
	dir, err := filepath.Abs(bundle)
	if err != nil {
		return err
	}
	if id == "" {
		id = filepath.Base(dir)
	}
	home, err := a.home(id)
	if err != nil {
		return err
	}
	s, err := run.LoadSpec(dir)
	if err != nil {
		return err
	}
	deps, err := a.deps()
	if err != nil {
		return err
	}
	facts := deps.Facts
	if a.systemdCgroup {
		if facts, err = run.SystemdFacts(context.Background(), facts); err != nil {
			return err
		}
	}
	p, err := run.Compile(run.Request{ID: id, Bundle: dir, Home: home, Terminal: s.Process.Terminal, SystemdCgroup: a.systemdCgroup}, s, facts)
	if err != nil {
		return err
	}
	if err := plan.Verify(p); err != nil {
		return err
	}
	if !asJSON {
		return plan.Print(a.stdout, p, plan.PrintOptions{Verbose: verbose})
	}
	e := json.NewEncoder(a.stdout)
	e.SetIndent("", "  ")
	return e.Encode(explained(p))
}

// explainedStep is a step of a plan as JSON.
type explainedStep struct {
	Step     int      `json:"step"`
	Actor    string   `json:"actor"`
	Phase    string   `json:"phase"`
	Label    string   `json:"label"`
	Call     string   `json:"call,omitempty"`
	Path     string   `json:"path,omitempty"`
	Source   string   `json:"source,omitempty"`
	Why      string   `json:"why,omitempty"`
	Tolerate []string `json:"tolerates,omitempty"`
	Command  string   `json:"command,omitempty"`
}

func explained(p *plan.Plan) []explainedStep {
	list := make([]explainedStep, len(p.Steps))
	for i := range p.Steps {
		s := &p.Steps[i]
		list[i] = explainedStep{Step: i + 1, Actor: s.Actor.String(), Phase: string(s.Phase), Label: s.Label, Call: s.Call, Path: s.Path, Source: s.Source,
			Why: s.Why, Command: s.Command}
		if s.Op == plan.OpSyscall {
			list[i].Call = s.Sys.String()
		}
		for _, e := range s.Tolerate {
			list[i].Tolerate = append(list[i].Tolerate, e.Error())
		}
	}
	return list
}
