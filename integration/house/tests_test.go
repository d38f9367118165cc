package house

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// requirement is a variable of internal/need.
type requirement struct {
	what  string
	modes []string
}

// requirements reads internal/need.
func requirements(t *testing.T) map[string]requirement {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "need.go", read(t, "internal/need/need.go"), 0)
	if err != nil {
		t.Fatal(err)
	}
	list := map[string]requirement{}
	ast.Inspect(f, func(n ast.Node) bool {
		v, ok := n.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			return true
		}
		lit, ok := v.Values[0].(*ast.CompositeLit)
		if !ok {
			return true
		}
		var texts []string
		ast.Inspect(lit, func(n ast.Node) bool {
			if b, ok := n.(*ast.BasicLit); ok {
				text, err := strconv.Unquote(b.Value)
				if err != nil {
					t.Fatal(err)
				}
				texts = append(texts, text)
			}
			return true
		})
		list[v.Names[0].Name] = requirement{texts[0], texts[1:]}
		return true
	})
	if len(list) < 5 {
		t.Fatalf("internal/need has %d variables only", len(list))
	}
	return list
}

// TestNeeds holds the table of docs/testing.md against internal/need.
func TestNeeds(t *testing.T) {
	doc := read(t, "docs/testing.md")
	for name, r := range requirements(t) {
		modes := "none"
		if len(r.modes) > 0 {
			modes = "`" + strings.Join(r.modes, "`, `") + "`"
		}
		if row := sprintf("| %s | %s |", r.what, modes); !strings.Contains(doc, row) {
			t.Errorf("need.%s: docs/testing.md has no row %s", name, row)
		}
	}
}

var skips = regexp.MustCompile(`\.Skip(f|Now)?\(`)

// TestSkips: a test is left out through internal/need only, whose reasons are few and which knows where it may not be.
func TestSkips(t *testing.T) {
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, ".go") || strings.HasPrefix(name, "internal/need/") || name == "integration/house/tests_test.go" {
			continue
		}
		for i, line := range strings.Split(read(t, name), "\n") {
			if skips.MatchString(line) {
				t.Errorf("%s:%d: %s\n\treason: a skip that nobody is told of looks like a pass; use internal/need", name, i+1, strings.TrimSpace(line))
			}
		}
	}
}

var unregistered = regexp.MustCompile(`\bexec\.Command(Context)?\(.*\)\.(Run|Start|Output|CombinedOutput)\(|\bcmd\.(Run|Start|Output|CombinedOutput)\(`)

// TestCommandsRegistered: where the test process reaps orphans, package os/exec alone would lose the exits of its commands to that, now and then.
func TestCommandsRegistered(t *testing.T) {
	reaping := map[string]bool{}
	for _, name := range tracked(t) {
		if text := read(t, name); strings.HasSuffix(name, "_test.go") && (strings.Contains(text, "children.Subreaper()") || strings.Contains(text, "children.Adopt()")) {
			reaping[path.Dir(name)] = true
		}
	}
	delete(reaping, "integration/house") // this file
	if !reaping["linux/run"] {
		t.Error("the tests of linux/run reap orphans: does this test still read them rightly?")
	}
	for _, name := range tracked(t) {
		if !strings.HasSuffix(name, "_test.go") || !reaping[path.Dir(name)] {
			continue
		}
		for i, line := range strings.Split(read(t, name), "\n") {
			if unregistered.MatchString(line) {
				t.Errorf("%s:%d: %s\n\treason: the process reaps orphans; use children.StartCommand", name, i+1, strings.TrimSpace(line))
			}
		}
	}
}
