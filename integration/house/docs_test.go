package house

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	backticks = regexp.MustCompile("`([^`\n]+)`")
	mdLink    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	makeCall  = regexp.MustCompile(`\bmake((?: [a-zA-Z_-]+=?)+)`) // a variable is named with its =
	target    = regexp.MustCompile(`(?m)^([a-z][a-z-]*):`)
)

// words are what ARCHITECTURE.md sets in backticks with a slash or a suffix and is not a path of ours: none, so far.
var words = map[string]bool{}

// namedPaths returns the paths in backticks of a document's line: what has a slash or a file's suffix.
func namedPaths(line string) []string {
	var list []string
	for _, m := range backticks.FindAllStringSubmatch(line, -1) {
		if s := m[1]; !words[s] && !strings.ContainsAny(s, " *$<>{}") && (strings.Contains(s, "/") || slices.Contains([]string{".go", ".md", ".sh"}, path.Ext(s))) {
			list = append(list, s)
		}
	}
	return list
}

// exists looks for a path that a document names: from the root, below linux, or in a folder that the same line names.
func exists(name string, line []string) bool {
	for _, dir := range append([]string{"", "linux"}, line...) {
		if _, err := os.Stat(filepath.Join(root, dir, name)); err == nil {
			return true
		}
	}
	return false
}

// TestArchitecturePaths tries every path that ARCHITECTURE.md names.
func TestArchitecturePaths(t *testing.T) {
	var n int
	for i, line := range strings.Split(read(t, "ARCHITECTURE.md"), "\n") {
		list := namedPaths(line)
		for _, name := range list {
			n++
			if !exists(name, list) {
				t.Errorf("ARCHITECTURE.md:%d: there is no %s", i+1, name)
			}
		}
	}
	if n < 20 {
		t.Errorf("ARCHITECTURE.md names %d paths only: does the test still read it rightly?", n)
	}
}

// unnamed returns the folders that the document does not name, neither themselves nor one above. A folder above counts only when every package below
// it belongs to it: those of linux are named one by one.
func unnamed(doc string, folders []string) []string {
	var entries []string
	for _, s := range namedPaths(doc) {
		if dir, ok := strings.CutSuffix(s, "/"); ok {
			entries = append(entries, dir)
		}
	}
	var list []string
	for _, f := range folders {
		if !belowAny(f, entries) {
			list = append(list, f)
		}
	}
	return list
}

// TestArchitectureNamesPackages looks for every package folder in the table of ARCHITECTURE.md.
func TestArchitectureNamesPackages(t *testing.T) {
	var folders []string
	for _, dir := range []string{".", "integration"} {
		out := run(t, filepath.Join(root, dir), nil, "go", "list", "-f", "{{.Dir}}", "./...")
		for name := range strings.Lines(string(out)) {
			rel, err := filepath.Rel(root, strings.TrimSpace(name))
			if err != nil {
				t.Fatal(err)
			}
			folders = append(folders, rel)
		}
	}
	for _, f := range unnamed(strings.Join(table(read(t, "ARCHITECTURE.md")), "\n"), folders) {
		t.Errorf("ARCHITECTURE.md does not say what %s/ is for", f)
	}
}

// table returns the lines of a document that are rows of a table.
func table(doc string) []string {
	return slices.DeleteFunc(strings.Split(doc, "\n"), func(line string) bool { return !strings.HasPrefix(line, "|") })
}

func targets(makefile string) []string {
	var list []string
	for _, m := range target.FindAllStringSubmatch(makefile, -1) {
		list = append(list, m[1])
	}
	return list
}

// code returns the indented lines of a document and what stands in backticks.
func code(doc string) []string {
	var list []string
	for _, line := range strings.Split(doc, "\n") {
		if strings.HasPrefix(line, "    ") {
			list = append(list, line)
		}
		for _, m := range backticks.FindAllStringSubmatch(line, -1) {
			list = append(list, m[1])
		}
	}
	return list
}

// called returns the targets that the commands in a document name.
func called(doc string) []string {
	var list []string
	for _, line := range code(doc) {
		line, _, _ = strings.Cut(line, "#")
		for _, m := range makeCall.FindAllStringSubmatch(line, -1) {
			list = append(list, slices.DeleteFunc(strings.Fields(m[1]), func(word string) bool { return strings.HasSuffix(word, "=") })...)
		}
	}
	return list
}

// documents returns the tracked Markdown files.
func documents(t *testing.T) []string {
	return slices.DeleteFunc(tracked(t), func(name string) bool { return path.Ext(name) != ".md" })
}

// TestMakeTargets looks for the targets that the documents name, and for what README.md promises.
func TestMakeTargets(t *testing.T) {
	makefile := read(t, "Makefile")
	have := targets(makefile)
	for _, doc := range documents(t) {
		for _, name := range called(read(t, doc)) {
			if !slices.Contains(have, name) {
				t.Errorf("%s names `make %s`: there is no such target", doc, name)
			}
		}
	}
	readme := called(read(t, "README.md"))
	for _, name := range []string{"demo", "test"} {
		if !slices.Contains(readme, name) {
			t.Errorf("README.md does not name `make %s`", name)
		}
	}
	_, phony, _ := strings.Cut(makefile, ".PHONY:")
	phony, _, _ = strings.Cut(phony, "\n")
	for _, name := range have {
		if !slices.Contains(strings.Fields(phony), name) {
			t.Errorf("Makefile: %s is not in .PHONY: a file of that name would hide it", name)
		}
		if !regexp.MustCompile(`(?m)^` + name + `:.*## `).MatchString(makefile) {
			t.Errorf("Makefile: %s has no text for `make help`", name)
		}
	}
}

// deadLinks returns the relative links of a document at name that lead nowhere; is says whether there is a file.
func deadLinks(name, text string, is func(string) bool) []string {
	var list []string
	for _, m := range mdLink.FindAllStringSubmatch(text, -1) {
		to, _, _ := strings.Cut(m[1], "#")
		if to == "" || strings.Contains(to, "://") || strings.HasPrefix(to, "mailto:") {
			continue
		}
		if !is(path.Join(path.Dir(name), to)) {
			list = append(list, m[1])
		}
	}
	return list
}

// TestLinks follows every relative link. CHANGELOG.md and the others that a reader looks for are there.
func TestLinks(t *testing.T) {
	docs := documents(t)
	for _, name := range []string{"README.md", "CHANGELOG.md", "ARCHITECTURE.md"} {
		if !slices.Contains(docs, name) {
			t.Errorf("there is no %s", name)
		}
	}
	is := func(name string) bool { _, err := os.Stat(filepath.Join(root, name)); return err == nil }
	for _, name := range docs {
		for _, to := range deadLinks(name, read(t, name), is) {
			t.Errorf("%s links to %s, which is not there", name, to)
		}
	}
}

// TestDocumentChecksCanFail gives the checks above what they are to find.
func TestDocumentChecksCanFail(t *testing.T) {
	is := func(name string) bool { return name == "docs/a.md" }
	if got := deadLinks("docs/b.md", "[x](a.md#top) [y](../docs/a.md) [z](https://x/y) [w](#here) [v](c.md) [u](../a.md)", is); !slices.Equal(got, []string{"c.md", "../a.md"}) {
		t.Errorf("dead links: %q", got)
	}
	doc := "make sure of `make all`, and:\n    make demo lint X=y # make sense\n    cmake x\n"
	if got := called(doc); !slices.Equal(got, []string{"all", "demo", "lint"}) {
		t.Errorf("targets in a document: %q", got)
	}
	if got := targets("a: b ## x\nVAR := y\n\tz: w\nc-d:\n"); !slices.Equal(got, []string{"a", "c-d"}) {
		t.Errorf("targets of a Makefile: %q", got)
	}
	if got := unnamed("| x | `io/`, `linux/spec/` |", []string{"io/fifo", "linux/spec", "linux/specs", "oom"}); !slices.Equal(got, []string{"linux/specs", "oom"}) {
		t.Errorf("folders without an entry: %q", got)
	}
	if got := namedPaths("`a/b` and `c.go`, `cmd`, `x y/z`, `docs/*`"); !slices.Equal(got, []string{"a/b", "c.go"}) {
		t.Errorf("paths in a line: %q", got)
	}
	if exists("ports.go", nil) || !exists("ports.go", []string{"process/"}) || !exists("cgroup/files", nil) || exists("linux/nothing/", nil) {
		t.Error("exists looks elsewhere")
	}
}
