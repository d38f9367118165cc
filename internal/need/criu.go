package need

import (
	"fmt"
	"os/exec"
	"testing"
)

// WorkingCriu leaves a test out where there is no CRIU, or one that does not know the kernel: what it says itself.
func WorkingCriu(t testing.TB) {
	t.Helper()
	if out, err := exec.Command("criu", "check").CombinedOutput(); err != nil {
		Criu.Lacking(t, fmt.Sprintf("criu check: %v %s", err, out))
	}
}
