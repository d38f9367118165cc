package house

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// binaries are what `make build` makes.
var binaries = []string{"bin/containerd-shim-shim-v2", "bin/shimrun"}

// copyTree copies what the main module is built of to a new folder.
func copyTree(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range tracked(t) {
		if strings.HasPrefix(name, "integration/") || strings.HasPrefix(name, "docs/") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		path := filepath.Join(to, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(read(t, name)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return to
}

// build runs `make build` in a copy of the tree and returns the binaries' paths. What the caller's environment says to go must not matter.
func build(t *testing.T, env ...string) []string {
	t.Helper()
	dir := copyTree(t)
	run(t, dir, env, "make", "--no-print-directory", "build", "VERSION=1.2.3")
	var paths []string
	for _, name := range binaries {
		paths = append(paths, filepath.Join(dir, name))
	}
	return paths
}

// isStatic returns what of a file needs a loader or another file at run time.
func isStatic(f *elf.File) []string {
	var list []string
	for _, p := range f.Progs {
		if slices.Contains([]elf.ProgType{elf.PT_INTERP, elf.PT_DYNAMIC}, p.Type) {
			list = append(list, "segment "+p.Type.String())
		}
	}
	for _, s := range f.Sections {
		if slices.Contains([]string{".interp", ".dynamic", ".dynsym"}, s.Name) || s.Type == elf.SHT_DYNAMIC {
			list = append(list, "section "+s.Name)
		}
	}
	return list
}

// TestBinary looks into the binaries, and builds them a second time elsewhere with nothing in the cache: they are the same, byte for byte.
func TestBinary(t *testing.T) {
	again := build(t, "GOCACHE="+t.TempDir())
	for i, path := range build(t) {
		t.Run(filepath.Base(path), func(t *testing.T) { checkBinary(t, path, again[i]) })
	}
}

func checkBinary(t *testing.T, path, again string) {
	f, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	report(t, isStatic(f), "the binary starts where there is no C library, and the same everywhere")
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range [][2]string{{"CGO_ENABLED", "0"}, {"-trimpath", "true"}} {
		var got string
		for _, s := range info.Settings {
			if s.Key == want[0] {
				got = s.Value
			}
		}
		if got != want[1] {
			t.Errorf("built with %s=%q, want %q", want[0], got, want[1])
		}
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(filepath.Dir(path)), root} {
		if bytes.Contains(first, []byte(dir)) {
			t.Errorf("the binary holds the path %s", dir)
		}
	}
	second, err := os.ReadFile(again)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first, second) {
		t.Errorf("two builds differ: %d bytes (%x) and %d bytes (%x)", len(first), sha256.Sum256(first), len(second), sha256.Sum256(second))
	}
}

// TestIsStaticCanFail looks into a program of this machine that is linked dynamically.
func TestIsStaticCanFail(t *testing.T) {
	f, err := elf.Open("/usr/bin/env")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got := isStatic(f); len(got) < 3 {
		t.Errorf("env is dynamic, seen is %q", got)
	}
}
