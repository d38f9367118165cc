package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/spf13/pflag"
)

var completionCommand = command{
	name: "completion", args: "bash|zsh|fish", min: 1, max: 1,
	short: "print what a shell needs to complete our words",
	long:  "For bash: source <(shimrun completion bash). For zsh: the same, after compinit. For fish: shimrun completion fish | source.",
	setup: func(a *app, _ *pflag.FlagSet) func([]string) error {
		return func(args []string) error {
			var b bytes.Buffer
			switch args[0] {
			case "bash":
				a.completeBash(&b)
			case "zsh":
				b.WriteString("autoload -U bashcompinit && bashcompinit\n")
				a.completeBash(&b)
			case "fish":
				a.completeFish(&b)
			default:
				return fmt.Errorf("there is no completion for %q", args[0])
			}
			_, err := b.WriteTo(a.stdout)
			return err
		}
	},
}

// words are a flag set's options as they are typed.
func words(fs *pflag.FlagSet) string {
	var list []string
	fs.VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			list = append(list, "--"+f.Name)
		}
	})
	return strings.Join(list, " ")
}

// completeBash writes a function for complete(1): options behind a -, else commands, else the ids that `list -q` prints.
func (a *app) completeBash(b *bytes.Buffer) {
	var names []string
	for _, c := range a.commands {
		names = append(names, c.name)
	}
	fmt.Fprintf(b, `_shimrun() {
	local cur=${COMP_WORDS[COMP_CWORD]} cmd= word options
	for word in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
		case $word in %s) cmd=$word; break ;; esac
	done
	case $cmd in
	"") options="%s" ;;
`, strings.Join(names, "|"), words(a.globals()))
	for _, c := range a.commands {
		fs, _ := c.flags(a)
		fmt.Fprintf(b, "\t%s) options=\"%s\" ;;\n", c.name, words(fs))
	}
	fmt.Fprintf(b, `	esac
	case $cur in
	-*) COMPREPLY=($(compgen -W "$options" -- "$cur")) ;;
	*)
		if [ -z "$cmd" ]; then
			COMPREPLY=($(compgen -W "%s help" -- "$cur"))
		else
			COMPREPLY=($(compgen -W "$(shimrun list -q 2>/dev/null)" -f -- "$cur"))
		fi ;;
	esac
}
complete -F _shimrun shimrun
`, strings.Join(names, " "))
}

func (a *app) completeFish(b *bytes.Buffer) {
	quote := func(s string) string { return "'" + strings.ReplaceAll(s, "'", `\'`) + "'" }
	option := func(condition string, f *pflag.Flag) {
		if f.Hidden {
			return
		}
		_, usage := pflag.UnquoteUsage(f)
		fmt.Fprintf(b, "complete -c shimrun -n %s -l %s -d %s\n", quote(condition), f.Name, quote(usage))
	}
	a.globals().VisitAll(func(f *pflag.Flag) { option("__fish_use_subcommand", f) })
	for _, c := range a.commands {
		fmt.Fprintf(b, "complete -c shimrun -f -n __fish_use_subcommand -a %s -d %s\n", c.name, quote(c.short))
		in := "__fish_seen_subcommand_from " + c.name
		if strings.Contains(c.args, idArg) && c.name != "create" && c.name != "run" && c.name != "restore" {
			fmt.Fprintf(b, "complete -c shimrun -f -n %s -a '(shimrun list -q 2>/dev/null)'\n", quote(in))
		}
		fs, _ := c.flags(a)
		fs.VisitAll(func(f *pflag.Flag) { option(in, f) })
	}
}
