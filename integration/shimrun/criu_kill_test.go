package shimrun

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestCriuKilled kills checkpoint and restore with SIGKILL so long after their start, and then so much longer: `delete --force` leaves nothing behind, CRIU and
// its folders neither.
func TestCriuKilled(t *testing.T) {
	const points = 6
	m := newMoving(t, counts("true"), nil)
	m.run()
	m.number(1)
	m.do("checkpoint", "--image-path", m.images, "--leave-running", m.id)
	m.do("delete", "--force", m.id)
	before := criuTraces(t)
	for name, args := range map[string][]string{
		"checkpoint": {"checkpoint", "--image-path", filepath.Join(m.dir, "other"), m.id},
		"restore":    {"restore", "-d", "-b", m.bundle, "--image-path", m.images, m.id},
	} {
		t.Run(name, func(t *testing.T) {
			m.t = t
			whole := time.Duration(0) // of the first, which is not killed
			for n := range points + 1 {
				if name == "checkpoint" {
					m.run()
					m.number(1)
				}
				out, err := os.CreateTemp(m.dir, "output")
				if err != nil {
					t.Fatal(err)
				}
				cmd := m.command(args...)
				cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = m.bundle, m.null, out, out
				began := time.Now()
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					_ = cmd.Wait() // its output is a file, which cannot be dumped, and need not be
					whole = time.Since(began)
				} else {
					time.Sleep(whole * time.Duration(n) / points)
					_ = cmd.Process.Signal(unix.SIGKILL) // it may have ended
					_ = cmd.Wait()
				}
				out.Close()
				m.gone()
				var left []string
				for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
					if left = criuTraces(t); len(left) <= len(before) || time.Now().After(end) {
						break
					}
				}
				if len(left) > len(before) {
					t.Fatalf("killed at %d of %d in %s: left are %q, before %q", n, points, whole, left, before)
				}
			}
		})
	}
}

// criuTraces lists the processes of CRIU, and the folders that it makes on the host.
func criuTraces(t *testing.T) []string {
	t.Helper()
	list, err := filepath.Glob("/tmp/.criu*")
	if err != nil {
		t.Fatal(err)
	}
	procs, err := filepath.Glob("/proc/[0-9]*/comm")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range procs {
		if name, err := os.ReadFile(path); err == nil && strings.HasPrefix(string(name), "criu") {
			list = append(list, path)
		}
	}
	return list
}
