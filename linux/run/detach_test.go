package run

import (
	"encoding/json"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// exitOf takes the exit of a process, as its next parent would when we have ended.
func exitOf(t *testing.T, p *Process) int {
	t.Helper()
	<-p.Done()
	var status unix.WaitStatus
	if _, err := unix.Wait4(p.Pid(), &status, 0, nil); err != nil {
		t.Fatalf("the exit is gone: %v", err)
	}
	p.Reap()
	return status.ExitStatus()
}

// TestDetached: the exit of a process that is to live on without us is not taken from its next parent. Seen with Podman: `podman exec` answered 255 when the
// process had ended before the command that made it.
func TestDetached(t *testing.T) {
	bundle := newBundle(t, func(s *specs.Spec) { s.Process.Args = []string{"sh", "-c", "exit 5"} })
	r := request(bundle)
	r.Detach = true
	c, err := Create(t.Context(), newDeps(t), r)
	if err != nil {
		t.Fatal(err)
	}
	deleteAtEnd(t, c)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if code := exitOf(t, c.Init()); code != 5 {
		t.Errorf("init: exit code %d, want 5", code)
	}
}

// TestDetachedExec: a further process likewise, born once and born twice.
func TestDetachedExec(t *testing.T) {
	box := sleeping(t, newDeps(t), nil)
	for name, caps := range map[string][]string{"born once": nil, "born twice": {"CAP_SYS_PTRACE"}} {
		p := *box.spec.Process
		p.Args = []string{"sh", "-c", "exit 4"}
		p.Capabilities = &specs.LinuxCapabilities{Bounding: caps, Permitted: caps, Effective: caps}
		text, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		proc, err := box.Exec(t.Context(), ExecRequest{ExecID: "x", Spec: text, Detach: true})
		if err != nil {
			t.Fatal(err)
		}
		if code := exitOf(t, proc); code != 4 {
			t.Errorf("%s: exit code %d, want 4", name, code)
		}
	}
}
