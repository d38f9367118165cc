package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

// pkg is a package as `go list -json` shows it.
type pkg struct {
	ImportPath   string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
	SFiles       []string // assembly
}

// graph is the packages of the main module and all that they import, by import path.
type graph map[string]*pkg

// arches are what is released; files that are built for one only have imports of their own.
var arches = []string{"amd64", "arm64"}

// loadGraph lists with cgo allowed: without it, a file that imports "C" would not be seen.
func loadGraph(t *testing.T, arch string) graph {
	t.Helper()
	env := []string{"GOOS=linux", "GOARCH=" + arch, "CGO_ENABLED=1"}
	out := run(t, root, env, "go", "list", "-deps", "-json=ImportPath,Standard,Imports,TestImports,XTestImports,SFiles", "./...")
	g := graph{}
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &pkg{}
		err := dec.Decode(p)
		if errors.Is(err, io.EOF) {
			return g
		}
		if err != nil {
			t.Fatal(err)
		}
		g[p.ImportPath] = p
	}
}

// short is the folder of one of our packages, "" for those of others.
func short(path string) string {
	rest, ok := strings.CutPrefix(path, module+"/")
	if !ok {
		return ""
	}
	return rest
}

// below says whether path is prefix or stands below it.
func below(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

func belowAny(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return below(path, p) })
}

// ours returns the folders of our packages, sorted.
func (g graph) ours() []string {
	var list []string
	for path := range g {
		if s := short(path); s != "" {
			list = append(list, s)
		}
	}
	slices.Sort(list)
	return list
}

// chain returns how the package at from comes to import one that bad says yes to, by the shortest way, without those below standard packages:
// what the standard library imports is its own business.
func (g graph) chain(from string, bad func(path string) bool) []string {
	came := map[string]string{from: ""}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		at := g[queue[0]]
		if at == nil || at.Standard {
			continue
		}
		for _, to := range at.Imports {
			if _, seen := came[to]; seen {
				continue
			}
			came[to] = queue[0]
			if bad(to) {
				way := []string{to}
				for p := queue[0]; p != ""; p = came[p] {
					way = append(way, p)
				}
				slices.Reverse(way)
				return way
			}
			queue = append(queue, to)
		}
	}
	return nil
}

// direct returns the imports of the package and of its tests.
func (p *pkg) direct(tests bool) []string {
	set := map[string]bool{}
	add := func(list []string) {
		for _, path := range list {
			set[path] = true
		}
	}
	add(p.Imports)
	if tests {
		add(p.TestImports)
		add(p.XTestImports)
	}
	return slices.Sorted(maps.Keys(set))
}
