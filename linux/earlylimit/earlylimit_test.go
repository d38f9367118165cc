package earlylimit_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"example.io/shim/linux/earlylimit"
)

// The test is in a package of its own: one in the package would add imports to it, and so come after syscall.

// TestBeforeSyscall starts this binary again with a soft limit below the hard one, which package syscall raises.
func TestBeforeSyscall(t *testing.T) {
	if os.Getenv("EARLYLIMIT_CHILD") != "" {
		soft, hard := earlylimit.Nofile()
		fmt.Printf("limits %d %d\n", soft, hard)
		return
	}
	cmd := exec.Command("sh", "-c", `ulimit -n 456 && ulimit -Sn 123 && exec "$0" -test.run=TestBeforeSyscall`, os.Args[0])
	cmd.Env = append(os.Environ(), "EARLYLIMIT_CHILD=1")
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "limits 123 456\n") {
		t.Fatalf("%v: %s", err, out)
	}
}
