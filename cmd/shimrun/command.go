package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/pflag"
)

// command is one of our commands. Help, manual pages and completions are made of it too.
type command struct {
	name  string
	args  string // how arguments are shown
	short string // one line
	long  string // paragraphs for help and the manual page
	min   int    // number of arguments
	max   int    // -1 for any
	// stops says that what follows the first argument is not ours to parse.
	stops bool
	// setup defines the options and returns what the command does with its arguments.
	setup func(a *app, fs *pflag.FlagSet) func(args []string) error
}

// commands are all commands, in the order in which help shows them.
func commands() []*command {
	return []*command{
		&createCommand, &startCommand, &runCommand, &execCommand, &killCommand, &deleteCommand,
		&listCommand, &stateCommand, &psCommand, &eventsCommand, &pauseCommand, &resumeCommand, &updateCommand,
		&checkpointCommand, &restoreCommand,
		&specCommand, &featuresCommand, &explainCommand, &manCommand, &completionCommand,
	}
}

const idArg = "ID"

func newFlags(name string) *pflag.FlagSet {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.SortFlags = false
	fs.Usage = func() {} // the caller says what is wrong
	return fs
}

// flags returns the command's options and what it does.
func (c *command) flags(a *app) (*pflag.FlagSet, func([]string) error) {
	fs := newFlags(c.name)
	fs.SetInterspersed(!c.stops)
	do := c.setup(a, fs)
	fs.BoolP("help", "h", false, "print help")
	return fs, do
}

func (a *app) find(name string) *command {
	for _, c := range a.commands {
		if c.name == name {
			return c
		}
	}
	return nil
}

func (a *app) dispatch(name string, args []string) error {
	if name == "help" {
		if len(args) == 0 {
			return a.usage(a.globals())
		}
		name, args = args[0], []string{"--help"}
	}
	c := a.find(name)
	if c == nil {
		return fmt.Errorf("No help topic for '%s'", name) //nolint:staticcheck // runc's text
	}
	fs, do := c.flags(a)
	err := fs.Parse(args)
	if errors.Is(err, pflag.ErrHelp) {
		return a.commandUsage(c, fs)
	}
	if help, _ := fs.GetBool("help"); err == nil && help {
		return a.commandUsage(c, fs)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if n := fs.NArg(); n < c.min || c.max >= 0 && n > c.max {
		return fmt.Errorf("%s: %s: %d given", name, c.wanted(), n)
	}
	return do(fs.Args())
}

func (c *command) wanted() string {
	switch {
	case c.max == c.min:
		return fmt.Sprintf("exactly %d argument(s) are needed", c.min)
	case c.max < 0:
		return fmt.Sprintf("%d argument(s) are needed at least", c.min)
	}
	return fmt.Sprintf("%d to %d arguments are needed", c.min, c.max)
}

func (a *app) usage(fs *pflag.FlagSet) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "NAME:\n   %s - Open Container Initiative runtime\n\nUSAGE:\n   %s [global options] command [options] [arguments]\n\nCOMMANDS:\n", a.prog, a.prog)
	for _, c := range a.commands {
		fmt.Fprintf(&b, "   %-11s %s\n", c.name, c.short)
	}
	fmt.Fprintf(&b, "   %-11s %s\n\nGLOBAL OPTIONS:\n%s", "help", "print help, about a command too", fs.FlagUsages())
	_, err := b.WriteTo(a.stdout)
	return err
}

func (a *app) commandUsage(c *command, fs *pflag.FlagSet) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "NAME:\n   %s %s - %s\n\nUSAGE:\n   %s %s [options] %s\n", a.prog, c.name, c.short, a.prog, c.name, c.args)
	if c.long != "" {
		fmt.Fprintf(&b, "\nDESCRIPTION:\n   %s\n", strings.ReplaceAll(strings.TrimSpace(c.long), "\n", "\n   "))
	}
	fmt.Fprintf(&b, "\nOPTIONS:\n%s", fs.FlagUsages())
	_, err := b.WriteTo(a.stdout)
	return err
}
