// Package shimrun tests the command line as its users have it: the built binary, from a shell, as root and as a plain user.
package shimrun

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"example.io/shim/integration/trace"
)

// limit bounds a wait for something that must come: far above what it takes.
var limit = trace.Limit(20 * time.Second)

var (
	root    string // of the repository
	program string
)

func TestMain(m *testing.M) {
	dir, err := filepath.Abs("../..")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	root, program = dir, filepath.Join(dir, "bin", "shimrun")
	if _, err := os.Stat(program); err != nil {
		fmt.Fprintln(os.Stderr, "make build first:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}
