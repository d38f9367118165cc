package shimrun

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/integration/trace"
)

// newBundle makes a bundle whose process sleeps, recognisable by how long.
func newBundle(t *testing.T, dir, seconds string) string {
	t.Helper()
	bundle := filepath.Join(dir, "bundle")
	if err := os.MkdirAll(filepath.Join(bundle, "rootfs", "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "rootfs", "bin", "sleep"), data, 0o755); err != nil {
		t.Fatal(err)
	}
	shimrun(t, dir, "spec", "--bundle", bundle)
	path := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	process := config["process"].(map[string]any)
	process["terminal"], process["args"] = false, []string{"sleep", seconds}
	if text, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return bundle
}

// shimrun runs a command that is to succeed.
func shimrun(t *testing.T, dir string, args ...string) {
	t.Helper()
	if out, err := command(dir, args...).CombinedOutput(); err != nil {
		t.Fatalf("shimrun %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// command is one whose output goes nowhere: a container that is left must not keep the test waiting for it.
func command(dir string, args ...string) *exec.Cmd {
	return exec.Command(program, append([]string{"--root", filepath.Join(dir, "states")}, args...)...)
}

// left returns what there is of a container: cgroups of its name, processes that sleep so long, its state, mounts.
func left(t *testing.T, dir, id, seconds string) (list []string) {
	t.Helper()
	err := filepath.WalkDir("/sys/fs/cgroup", func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && d.Name() == id {
			list = append(list, path)
		}
		return nil // others' cgroups come and go
	})
	if err != nil {
		t.Fatal(err)
	}
	pids, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range pids {
		// A child that was not executed yet has the command line of its creator.
		if data, err := os.ReadFile(path); err == nil && (strings.Contains(string(data), "sleep\x00"+seconds) || strings.Contains(string(data), dir)) {
			list = append(list, path+": "+strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "states", id)); err == nil {
		list = append(list, "its state")
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(mounts), dir) {
		list = append(list, "a mount")
	}
	return list
}

// TestKilled kills commands with SIGKILL so long after their start, and then so much longer, until they are done sooner: `delete --force` always leaves
// nothing behind.
func TestKilled(t *testing.T) {
	const points = 30
	step := trace.Limit(700 * time.Microsecond)
	dir := newPlace(t)
	seconds := strconv.Itoa(100000 + os.Getpid())
	id := "killed-" + seconds
	bundle := newBundle(t, dir, seconds)
	run := []string{"run", "--detach", "--bundle", bundle, id}
	for name, c := range map[string]struct{ before, args []string }{
		"create":         {nil, []string{"create", "--bundle", bundle, id}},
		"run":            {nil, []string{"run", "--bundle", bundle, id}},
		"run detached":   {nil, run},
		"start":          {[]string{"create", "--bundle", bundle, id}, []string{"start", id}},
		"exec":           {run, []string{"exec", id, "/bin/sleep", seconds}},
		"delete":         {run, []string{"delete", "--force", id}},
		"delete created": {[]string{"create", "--bundle", bundle, id}, []string{"delete", id}},
	} {
		t.Run(name, func(t *testing.T) {
			for n := range points {
				if c.before != nil {
					if err := command(dir, c.before...).Run(); err != nil {
						t.Fatal(err)
					}
				}
				cmd := command(dir, c.args...)
				if err := cmd.Start(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(n) * step)
				_ = cmd.Process.Signal(unix.SIGKILL) // it may have ended
				_ = cmd.Wait()
				what := fmt.Sprintf("killed %v after its start", time.Duration(n)*step)
				if out, err := command(dir, "delete", "--force", id).CombinedOutput(); err != nil {
					t.Fatalf("%s: delete: %v: %s", what, err, out)
				}
				var rest []string
				for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
					if rest = left(t, dir, id, seconds); len(rest) == 0 || time.Now().After(end) {
						break
					}
				}
				if len(rest) > 0 {
					t.Fatalf("%s: left are %q", what, rest)
				}
			}
		})
	}
}
