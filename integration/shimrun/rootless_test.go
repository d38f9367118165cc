package shimrun

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// plainBundle makes a plain user's place with a bundle of busybox in it, and a shell there. edit changes its config.json.
func plainBundle(t *testing.T, edit func(config map[string]any)) (*shell, string) {
	t.Helper()
	dir := newPlace(t)
	if err := os.Chown(dir, user, user); err != nil {
		t.Fatal(err)
	}
	s := newShell(t, dir, true)
	for _, command := range []string{"mkdir -p bundle/rootfs/bin states && cd bundle && cp /bin/busybox rootfs/bin/",
		"for a in sh id sleep cat ls readlink; do ln -s busybox rootfs/bin/$a; done", "shimrun spec --rootless"} {
		if out := s.run(t, command); len(out) > 0 {
			t.Fatalf("%s: %q", command, out)
		}
	}
	editConfig(t, filepath.Join(dir, "bundle"), func(config map[string]any) {
		config["process"].(map[string]any)["terminal"] = false
		edit(config)
	})
	return s, dir
}

// TestRootlessHooks: a plain user's hooks run where the specification says, with `run` and with commands of their own.
func TestRootlessHooks(t *testing.T) {
	s, dir := plainBundle(t, func(config map[string]any) {
		config["process"].(map[string]any)["args"] = []string{"id"}
		config["root"].(map[string]any)["readonly"] = false
		hook := func(path, script string) []map[string]any {
			return []map[string]any{{"path": path, "args": []string{"sh", "-c", script}, "env": []string{"PATH=/usr/bin:/bin"}}}
		}
		config["hooks"] = map[string]any{
			"createRuntime":   hook("/bin/sh", "id -u > DIR/runtime"),
			"createContainer": hook("/bin/sh", "(id -u; cat /proc/self/uid_map; ls DIR/bundle/rootfs/proc/self/exe) > DIR/container; cat > DIR/state"),
			"startContainer":  hook("/bin/sh", "(id -u; readlink /proc/1/root; ls /) > /started"),
		}
	})
	path := filepath.Join(dir, "bundle", "config.json")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(text), "DIR", dir)), 0o644); err != nil {
		t.Fatal(err)
	}
	runtime := "shimrun --root " + dir + "/states "
	for name, commands := range map[string][]string{"run": {"run me"}, "create and start": {"create me", "start me", "delete --force me"}} {
		for _, file := range []string{"runtime", "container", "state", "bundle/rootfs/started"} {
			_ = os.Remove(filepath.Join(dir, file))
		}
		var out []string
		for _, c := range commands {
			out = append(out, s.run(t, runtime+c+" >../out 2>&1; grep -v 'no cgroup is delegated' ../out")...) // a pipe would be the container's too
		}
		if name == "run" && strings.Join(out, "\n") != "uid=0 gid=0" {
			t.Errorf("%s: %q", name, out)
		}
		for file, want := range map[string]string{
			"runtime":               fmt.Sprintf("%d\n", user),
			"container":             fmt.Sprintf("0\n         0 %10d          1\n", user),
			"state":                 `"status":"creating"`,
			"bundle/rootfs/started": "0\n",
		} {
			data, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil || !strings.Contains(string(data), want) {
				t.Errorf("%s: %s is %q (%v), want %q", name, file, data, err, want)
			}
		}
	}
}

// TestRootlessJoin: a plain user's container has a time namespace of its own, and another container joins its namespaces. It ends alone.
func TestRootlessJoin(t *testing.T) {
	var target map[string]any
	s, dir := plainBundle(t, func(config map[string]any) {
		config["process"].(map[string]any)["args"] = []string{"sleep", "1000"}
		linux := config["linux"].(map[string]any)
		linux["namespaces"] = append(linux["namespaces"].([]any), map[string]any{"type": "time"})
		linux["timeOffsets"] = map[string]any{"monotonic": map[string]any{"secs": 7881}, "boottime": map[string]any{"secs": 1337}}
		target = config
	})
	run := func(command string, want ...string) {
		t.Helper()
		out := strings.Join(s.run(t, "shimrun --root "+dir+"/states "+command+" >../out 2>&1; grep -av 'no cgroup is delegated' ../out"), "\n")
		for _, w := range want {
			if !strings.Contains(out, w) {
				t.Errorf("%s: %q, want %q", command, out, w)
			}
		}
		if len(want) == 0 && out != "" {
			t.Errorf("%s: %q", command, out)
		}
	}
	run("run -d target")
	run("exec target cat /proc/self/timens_offsets", "monotonic        7881", "boottime         1337")
	pid := strings.Join(s.run(t, "shimrun --root "+dir+"/states state target | grep -o '\"pid\": [0-9]*' | cut -d' ' -f2"), "")
	linux := target["linux"].(map[string]any)
	for _, name := range []string{"uidMappings", "gidMappings", "timeOffsets"} {
		delete(linux, name)
	}
	for _, n := range linux["namespaces"].([]any) {
		n := n.(map[string]any)
		if n["type"] == "user" || n["type"] == "pid" || n["type"] == "time" || n["type"] == "ipc" {
			n["path"] = "/proc/" + pid + "/ns/" + n["type"].(string)
		}
	}
	text, err := json.Marshal(target)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bundle", "config.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	run("run -d attached", "no private pid namespace")
	run("exec attached cat /proc/self/timens_offsets /proc/1/cmdline", "monotonic        7881", "boottime         1337", "sleep\x001000")
	run("list -q", "attached\ntarget")
	run("kill attached KILL")
	run("delete --force attached")
	run("exec target id", "uid=0 gid=0")
	run("delete --force target")
}
