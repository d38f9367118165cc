package abi

import (
	"errors"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// arches are those with a table of numbers.
var arches = []string{"amd64", "arm64"}

// stub imports package syscall as the two types that the constants of x/sys have. Nothing else is needed of what its files import.
type stub struct{}

func (stub) Import(path string) (*types.Package, error) {
	if path != "syscall" {
		return nil, errors.New("not needed")
	}
	p := types.NewPackage("syscall", "syscall")
	for name, kind := range map[string]types.BasicKind{"Errno": types.Uintptr, "Signal": types.Int} {
		obj := types.NewTypeName(token.NoPos, p, name, nil)
		types.NewNamed(obj, types.Typ[kind], nil)
		p.Scope().Insert(obj)
	}
	p.MarkComplete()
	return p, nil
}

// constants returns the exported constants of Go files by name.
func constants(t *testing.T, paths ...string) map[string]constant.Value {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	for _, path := range paths {
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	// Some of the files need others for their types and functions: constants need only one another.
	conf := types.Config{Importer: stub{}, IgnoreFuncBodies: true, Error: func(error) {}}
	p, _ := conf.Check("p", fset, files, nil)
	m := map[string]constant.Value{}
	for _, name := range p.Scope().Names() {
		if c, ok := p.Scope().Lookup(name).(*types.Const); ok && c.Exported() && c.Val().Kind() != constant.Unknown {
			m[name] = c.Val()
		}
	}
	return m
}

// xsys is where the module golang.org/x/sys is that this module uses.
func xsys(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "golang.org/x/sys").Output()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(strings.TrimSpace(string(out)), "unix")
}

// kernelConstants are those of x/sys for an architecture, made from the kernel's headers.
func kernelConstants(t *testing.T, arch string) map[string]constant.Value {
	t.Helper()
	dir := xsys(t)
	var paths []string
	for _, kind := range []string{"zerrors", "ztypes", "zsysnum"} {
		if kind != "zsysnum" {
			paths = append(paths, filepath.Join(dir, kind+"_linux.go"))
		}
		paths = append(paths, filepath.Join(dir, kind+"_linux_"+arch+".go"))
	}
	m := constants(t, paths...)
	if len(m) < 5000 {
		t.Fatalf("x/sys has %d constants for %s only: are its files still called so?", len(m), arch)
	}
	return m
}

// errnoTexts are the words of strerror(3) by name, from the table in x/sys.
func errnoTexts(t *testing.T, arch string) map[string]string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), filepath.Join(xsys(t), "zerrors_linux_"+arch+".go"), nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	m := map[string]string{}
	ast.Inspect(f, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok || len(lit.Elts) != 3 {
			return true
		}
		name, ok1 := lit.Elts[1].(*ast.BasicLit)
		text, ok2 := lit.Elts[2].(*ast.BasicLit)
		if ok1 && ok2 && strings.HasPrefix(name.Value, `"E`) {
			n, err1 := strconv.Unquote(name.Value)
			s, err2 := strconv.Unquote(text.Value)
			if err := errors.Join(err1, err2); err != nil {
				t.Fatal(err)
			}
			m[n] = s
		}
		return true
	})
	return m
}
