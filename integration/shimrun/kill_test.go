package shimrun

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
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
	editConfig(t, bundle, func(config map[string]any) {
		process := config["process"].(map[string]any)
		process["terminal"], process["args"] = false, []string{"sleep", seconds}
	})
	return bundle
}

// editConfig changes a bundle's config.json.
func editConfig(t *testing.T, bundle string, edit func(config map[string]any)) {
	t.Helper()
	path := filepath.Join(bundle, "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	edit(config)
	if text, err = json.Marshal(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text, 0o644); err != nil {
		t.Fatal(err)
	}
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

// TestKilled kills every command before each of its system calls that changes something: `delete --force` always leaves nothing behind.
func TestKilled(t *testing.T) {
	dir := newPlace(t)
	seconds := strconv.Itoa(100000 + os.Getpid())
	id := "killed-" + seconds
	bundle := newBundle(t, dir, seconds)
	create, run := []string{"create", "--bundle", bundle, id}, []string{"run", "--detach", "--bundle", bundle, id}
	for name, c := range map[string]struct{ before, args []string }{
		"create":         {nil, create},
		"run":            {nil, []string{"run", "--bundle", bundle, id}},
		"run detached":   {nil, run},
		"start":          {create, []string{"start", id}},
		"exec":           {run, []string{"exec", "--detach", id, "/bin/sleep", seconds}},
		"pause":          {run, []string{"pause", id}},
		"update":         {run, []string{"update", "--pids-limit", "20", "--memory", "64M", id}},
		"kill":           {run, []string{"kill", id, "KILL"}},
		"delete":         {run, []string{"delete", "--force", id}},
		"delete created": {create, []string{"delete", "--force", id}},
	} {
		t.Run(name, func(t *testing.T) {
			begin, n := time.Now(), 1
			for ; ; n++ {
				if c.before != nil {
					if err := command(dir, c.before...).Run(); err != nil { // its output would be the container's too
						t.Fatal(err)
					}
				}
				at, err := killAt(command(dir, c.args...), n)
				if err != nil {
					t.Fatalf("call %d: %v", n, err)
				}
				if out, err := command(dir, "delete", "--force", id).CombinedOutput(); err != nil {
					t.Fatalf("killed before call %d, %s: delete: %v: %s", n, at, err, out)
				}
				var rest []string
				for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
					if rest = left(t, dir, id, seconds); len(rest) == 0 || time.Now().After(end) {
						break
					}
				}
				if len(rest) > 0 {
					t.Fatalf("killed before call %d, %s: left are %q", n, at, rest)
				}
				if at == "" || at == "exit_group" { // it did all that it does
					break
				}
			}
			if n == 1 {
				t.Error("it makes no call that changes something: the tracer does not see them")
			}
			t.Logf("killed at %d points in %v", n, time.Since(begin).Round(time.Millisecond))
		})
	}
}
