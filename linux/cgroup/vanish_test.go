package cgroup

import (
	"os"
	"path/filepath"
	"testing"

	"example.io/shim/linux/cgroup/files"
)

// TestVanish: empty directories go, a directory that has something in it stays, and is told of.
func TestVanish(t *testing.T) {
	for name, load := range map[string]func(dirs []files.Dir) Cgroup{
		"v1": func(dirs []files.Dir) Cgroup { return &v1{dirs: dirs} }, "v2": func(dirs []files.Dir) Cgroup { return &v2{dir: dirs[0]} },
	} {
		top := t.TempDir()
		a, b := filepath.Join(top, "a"), filepath.Join(top, "b")
		c := load([]files.Dir{{Path: a}, {Path: b}})
		if !c.Vanish() {
			t.Errorf("%s: nothing is there, and stays", name)
		}
		if err := os.MkdirAll(filepath.Join(a, "below"), 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(a); c.Vanish() || err != nil {
			t.Errorf("%s: a cgroup with one below it is gone: %v", name, err)
		}
		if err := os.Remove(filepath.Join(a, "below")); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(a); !c.Vanish() || err != nil {
			t.Errorf("%s: an empty one stays: %v", name, err)
		}
		if _, err := os.Stat(a); err == nil {
			t.Errorf("%s: it is still there", name)
		}
	}
}
