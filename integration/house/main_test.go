// Package house holds the tests that keep the rules of this repository: who may import whom, how long a file may be, what must not stand in
// one, whether the documents are true, and what the binary is made of.
package house

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// module is the path of the main module; the folder with its go.mod is the repository's root.
const module = "example.io/shim"

// root is the repository's root.
var root = mustRoot()

func mustRoot() string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		data, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && strings.HasPrefix(string(data), "module "+module+"\n") {
			return dir
		}
		if dir == filepath.Dir(dir) {
			panic("no go.mod of " + module + " above the test's folder")
		}
	}
}

// run runs a command in dir and returns its stdout.
func run(t *testing.T, dir string, env []string, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, stderr.Bytes())
	}
	return out
}

// tracked returns the files that are tracked or that the next `git add` takes, relative to the root, without those that are deleted.
func tracked(t *testing.T) []string {
	t.Helper()
	var list []string
	for name := range strings.SplitSeq(string(run(t, root, nil, "git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")), "\x00") {
		if info, err := os.Lstat(filepath.Join(root, name)); name == "" || errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		list = append(list, name)
	}
	if len(list) == 0 {
		t.Fatal("git lists no file")
	}
	return list
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// report fails the test with every broken rule and the reason for it.
func report(t *testing.T, broken []string, reason string) {
	t.Helper()
	for _, b := range broken {
		t.Errorf("%s\n\treason: %s", b, reason)
	}
}

func sprintf(format string, args ...any) string { return fmt.Sprintf(format, args...) }
