package contract

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"example.io/shim/integration/daemon"
)

// TestExplainTime: a container's life once, its steps with their times, and nothing is left; a bundle in use is refused.
func TestExplainTime(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := newRaw(t, d, []string{"sleep", "1000"})
		// Nobody has mounted its root: the folder has to do.
		if err := os.MkdirAll(filepath.Join(r.bundle, "rootfs/bin"), 0o755); err != nil {
			t.Fatal(err)
		}
		busybox, err := os.ReadFile("/bin/busybox")
		if err == nil {
			err = os.WriteFile(filepath.Join(r.bundle, "rootfs/bin/sleep"), busybox, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(program(), "explain", "-time", "-bundle", r.bundle).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		for _, want := range []string{"compile\n", "up to the gate\n", "kill to exit\n", "at ms", " child ", "fork the child", "the longest:", "steps in "} {
			if !strings.Contains(string(out), want) {
				t.Errorf("%q is not in %s", want, out)
			}
		}
		state := filepath.Join(r.bundle, "shim-state.json")
		if _, err := os.Lstat(state); !os.IsNotExist(err) {
			t.Errorf("the state is left: %v", err)
		}
		if err := os.WriteFile(state, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err = exec.Command(program(), "explain", "-time", "-bundle", r.bundle).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "has a container") {
			t.Errorf("in use: %v, %s", err, out)
		}
	})
}
