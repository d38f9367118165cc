package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func output(t *testing.T, args ...string) string {
	t.Helper()
	var b bytes.Buffer
	if err := newApp("shimrun", &b).run(args); err != nil {
		t.Fatalf("shimrun %s: %v", strings.Join(args, " "), err)
	}
	return b.String()
}

// TestPages: every command and every option stands in the help, in the manual page and in the completions, with words about it.
func TestPages(t *testing.T) {
	a := newApp("shimrun", nil)
	main, bash, fish := output(t, "man"), output(t, "completion", "bash"), output(t, "completion", "fish")
	for _, c := range a.commands {
		help, page := output(t, c.name, "--help"), output(t, "man", c.name)
		if !strings.Contains(output(t, "help"), c.name+" ") || !strings.Contains(main, `shimrun\-`+c.name) || c.short == "" {
			t.Errorf("%s is not listed", c.name)
		}
		fs, _ := c.flags(a)
		fs.VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s: nothing is said about it", c.name, f.Name)
			}
			for where, text := range map[string]string{"help": help, "man": strings.ReplaceAll(page, `\-`, "-"), "bash": bash} {
				if !strings.Contains(text, "--"+f.Name) {
					t.Errorf("%s --%s is not in %s", c.name, f.Name, where)
				}
			}
			if !strings.Contains(fish, "from "+c.name+"' -l "+f.Name+" ") {
				t.Errorf("%s --%s is not in fish's completion", c.name, f.Name)
			}
		})
	}
}

// TestManIsRoff: troff has nothing to say against the pages, where there is one.
func TestManIsRoff(t *testing.T) {
	a := newApp("shimrun", nil)
	for _, c := range a.commands {
		page := output(t, "man", c.name)
		for line := range strings.Lines(page) {
			if strings.HasPrefix(line, ".") && !strings.HasPrefix(line, ".TH ") && !strings.HasPrefix(line, ".SH ") && !strings.HasPrefix(line, ".TP") &&
				!strings.HasPrefix(line, ".B") && !strings.HasPrefix(line, ".br") && !strings.HasPrefix(line, ".I ") {
				t.Errorf("%s: %q is no request of ours", c.name, line)
			}
		}
	}
}

// TestBashCompletes asks a bash what it makes of some words.
func TestBashCompletes(t *testing.T) {
	script := filepath.Join(t.TempDir(), "completion")
	if err := os.WriteFile(script, []byte(output(t, "completion", "bash")), 0o600); err != nil {
		t.Fatal(err)
	}
	for words, want := range map[string]string{
		"shimrun st":                "start state",
		"shimrun --ro":              "--root --rootless",
		"shimrun delete --f":        "--force",
		"shimrun --debug exec --cw": "--cwd",
	} {
		cmd := exec.Command("bash", "-c", `source "$0"; COMP_WORDS=($1); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _shimrun; echo "${COMPREPLY[@]}"`, script, words)
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %q, want %q (%v)", words, got, want, err)
		}
	}
}

func TestParseUser(t *testing.T) {
	for text, ok := range map[string]bool{"0": true, "1000:100": true, "4294967294:0": true, "": false, "1000x": false, "1000:": false, ":5": false, "-1": false,
		"4294967295": false, "99999999999": false, "1:2:3": false, " 1": false, "0x10": false} {
		if _, err := parseUser(text); (err == nil) != ok {
			t.Errorf("user %q: %v", text, err)
		}
	}
}

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]int64{"-1": -1, "0": 0, "4096": 4096, "50M": 50 << 20, "1k": 1 << 10, "2g": 2 << 30, "1Gib": 1 << 30, "3KB": 3 << 10} {
		if got, err := parseBytes(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "k", "-2", "1.5M", "9999999999999g", "12x"} {
		if n, err := parseBytes(text); err == nil {
			t.Errorf("%q is taken as %d", text, n)
		}
	}
}

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]int{"KILL": 9, "SIGKILL": 9, "term": 15, "9": 9, "0": 0, "64": 64} {
		if got, err := parseSignal(text); err != nil || int(got) != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "NONE", "65", "-1", "SIGSIGKILL"} {
		if n, err := parseSignal(text); err == nil {
			t.Errorf("%q is taken as %d", text, n)
		}
	}
}

// TestGlobals: options before the command that are none are refused by name, before anything is done.
func TestGlobals(t *testing.T) {
	for _, c := range [][2]string{{"--rootless=maybe", `--rootless: "maybe"`}, {"--cgroup-manager=runc", `--cgroup-manager: "runc"`}, {"--log-format=xml", `log-format: "xml"`}} {
		if err := newApp("shimrun", nil).run([]string{c[0], "list"}); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v, want %s", c[0], err, c[1])
		}
	}
}
