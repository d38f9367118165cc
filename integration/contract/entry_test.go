package contract

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"google.golang.org/protobuf/proto"

	"example.io/shim/integration/daemon"
)

// calls counts the system calls of a command and of what it leaves, by strace.
func calls(t *testing.T, dir string, args ...string) (count int, out string) {
	t.Helper()
	log := filepath.Join(t.TempDir(), "strace")
	cmd := exec.Command("strace", append([]string{"-o", log, program()}, args...)...)
	cmd.Dir = dir
	data, err := cmd.Output()
	if err != nil && cmd.ProcessState == nil {
		t.Fatalf("%v: %v", args, err)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), ") = "), string(data)
}

// TestEntry: the program's first code answers a `delete` where nothing is left without a runtime of Go's, and leaves the rest to it.
func TestEntry(t *testing.T) {
	if f, err := elf.Open(program()); err != nil || f.Machine != elf.EM_X86_64 {
		t.Fatalf("the entry is for amd64 only (%v)", err)
	}
	const few, many = 15, 100 // Go's runtime alone makes more than 150
	bundle := t.TempDir()
	usual := []string{"-namespace", daemon.Namespace, "-address", "/a", "-publish-binary", "/p", "-id", "entry", "-bundle", bundle}
	n, out := calls(t, "/", append(usual, "delete")...)
	a := &taskapi.DeleteResponse{}
	if err := proto.Unmarshal([]byte(out), a); err != nil || a.GetExitStatus() != 137 || !a.GetExitedAt().IsValid() || a.GetPid() != 0 || n > few {
		t.Errorf("nothing is left: %q %v, %d system calls", out, err, n)
	}
	for _, name := range []string{"shim-state.json", "address"} {
		file := filepath.Join(bundle, name)
		if err := os.WriteFile(file, []byte(`{"version":1}`), 0o600); err != nil {
			t.Fatal(err)
		}
		if n, _ := calls(t, "/", append(usual, "delete")...); n < many {
			t.Errorf("%s is there: %d system calls", name, n)
		}
		if err := os.Remove(file); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
	}
	if n, out := calls(t, "/", "-v"); n < many || !strings.Contains(out, "Version:") {
		t.Errorf("-v: %d system calls, %q", n, out)
	}
}

// TestEntryStreams starts a shim where descriptors 0 to 2 are not all open, and where nothing can be mounted: the view of the program is the file then.
func TestEntryStreams(t *testing.T) {
	for name, script := range map[string]string{
		"no standard input":        `exec "$0" "$@" <&-`,
		"nor standard error":       `exec "$0" "$@" <&- 2>&-`,
		"no right to mount at all": `exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin "$0" "$@"`,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRaw(t, daemons[1], []string{"true"})
			c := r.command("", "start")
			c.cmd.Path, c.cmd.Args = "/bin/sh", append([]string{"sh", "-c", script, program()}, c.cmd.Args[1:]...)
			out, errs, err := c.run()
			if err != nil {
				t.Fatal(err, out, errs)
			}
			r.dial("unix://" + socketOf("/run/containerd/s", r))
			if group, err := syscall.Getpgid(r.pid); err != nil || group != r.pid {
				t.Errorf("process group %d (%v), want its own, %d", group, err, r.pid)
			}
			r.shutdown()
		})
	}
}
