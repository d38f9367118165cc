package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

var manCommand = command{
	name: "man", args: "[COMMAND]", max: 1,
	short: "print a manual page",
	long:  "Prints the page of a command, or that of shimrun itself, for man -l or a folder man8.",
	setup: func(a *app, _ *pflag.FlagSet) func([]string) error {
		return func(args []string) error {
			var b bytes.Buffer
			if len(args) == 0 {
				a.manMain(&b)
			} else if c := a.find(args[0]); c != nil {
				a.manOf(&b, c)
			} else {
				return fmt.Errorf("there is no command %q", args[0])
			}
			_, err := b.WriteTo(a.stdout)
			return err
		}
	},
}

// roff protects what troff would take for its own (groff_man(7)).
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return strings.ReplaceAll(s, "\n", "\n.br\n")
}

func manHead(b *bytes.Buffer, name, short, synopsis string) {
	fmt.Fprintf(b, ".TH %s 8 \"\" \"shimrun\"\n.SH NAME\n%s \\- %s\n.SH SYNOPSIS\n.B %s\n", strings.ToUpper(name), roff(name), roff(short), roff(synopsis))
}

func manFlags(b *bytes.Buffer, title string, fs *pflag.FlagSet) {
	fmt.Fprintf(b, ".SH %s\n", title)
	fs.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		value, usage := pflag.UnquoteUsage(f)
		name := "--" + f.Name
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if value != "" {
			name += " " + value
		}
		fmt.Fprintf(b, ".TP\n.B %s\n%s\n", roff(name), roff(usage))
	})
}

func (a *app) manMain(b *bytes.Buffer) {
	manHead(b, "shimrun", "Open Container Initiative runtime", "shimrun [global options] command [options] [arguments]")
	b.WriteString(".SH COMMANDS\n")
	for _, c := range a.commands {
		fmt.Fprintf(b, ".TP\n.BR %s (8)\n%s\n", roff("shimrun-"+c.name), roff(c.short))
	}
	manFlags(b, "OPTIONS", a.globals())
	fmt.Fprintf(b, ".SH FILES\n.TP\n.I /run/shimrun\nthe states of the containers; %s for a plain user\n", roff("$XDG_RUNTIME_DIR/shimrun"))
}

func (a *app) manOf(b *bytes.Buffer, c *command) {
	fs, _ := c.flags(a)
	manHead(b, "shimrun-"+c.name, c.short, strings.TrimSpace("shimrun "+c.name+" [options] "+c.args))
	if c.long != "" {
		fmt.Fprintf(b, ".SH DESCRIPTION\n%s\n", roff(strings.ReplaceAll(c.long, "\n", " ")))
	}
	manFlags(b, "OPTIONS", fs)
	b.WriteString(".SH SEE ALSO\n.BR shimrun (8)\n")
}
