// Package guard compares counts that do not drift with the machine's load, such as system calls, package inits and bytes, with what was noted when
// they were last looked at (allowances.txt). One that has grown by more than its allowance fails. To raise one, for a feature that is worth it:
// `go test ./guard -update`, look at the difference, and say in the commit what it bought.
package guard

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"

	"example.io/shim/integration/daemon"
)

var update = flag.Bool("update", false, "note today's counts")

const file = "allowances.txt"

func program() string { return filepath.Join(daemon.Top(), "bin", "containerd-shim-shim-v2") }

// allowance is a line of the file: what was counted, and by how many percent it may grow.
type allowance struct {
	count, percent int64
}

func load(t *testing.T) (map[string]allowance, []string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	list, order := map[string]allowance{}, []string{}
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		name, rest, _ := strings.Cut(line, ":")
		var a allowance
		if _, err := fmt.Sscan(rest, &a.count, &a.percent); err != nil {
			t.Fatalf("%s: %q: %v", file, line, err)
		}
		list[name], order = a, append(order, name)
	}
	return list, order
}

func TestAllowances(t *testing.T) {
	counts := map[string]int64{}
	size(t, counts)
	inits(t, counts)
	calls(t, counts)
	memory(t, counts)
	allowed, order := load(t)
	for name := range counts {
		if _, ok := allowed[name]; !ok {
			t.Errorf("%s has no line for %q", file, name)
		}
	}
	for _, name := range order {
		a, got := allowed[name], counts[name]
		if got == 0 {
			t.Errorf("%s: nothing counts %q", file, name)
		}
		if most := a.count * (100 + a.percent) / 100; got > most && !*update {
			t.Errorf("%s: %d, noted are %d and %d %% more allowed. Is it worth it? See package guard", name, got, a.count, a.percent)
		}
		t.Logf("%s: %d, noted %d", name, got, a.count)
	}
	if *update {
		write(t, allowed, order, counts)
	}
}

func write(t *testing.T, allowed map[string]allowance, order []string, counts map[string]int64) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# What was counted when it was last looked at, and the percentage by which it may grow. See guard_test.go.\n")
	for _, name := range order {
		fmt.Fprintf(&b, "%s: %d %d\n", name, counts[name], allowed[name].percent)
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

func size(t *testing.T, counts map[string]int64) {
	t.Helper()
	st, err := os.Stat(program())
	if err != nil {
		t.Fatal(err)
	}
	counts["bytes of the binary"] = st.Size()
}

// inits counts what happens before main (inittrace in the documentation of package runtime).
func inits(t *testing.T, counts map[string]int64) {
	t.Helper()
	cmd := exec.Command(program(), "-v")
	cmd.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^init \S+ .* (\d+) bytes, (\d+) allocs$`).FindAllStringSubmatch(string(out), -1) {
		bytes, _ := strconv.ParseInt(m[1], 10, 64)
		allocs, _ := strconv.ParseInt(m[2], 10, 64)
		counts["package inits"]++
		counts["bytes allocated by inits"] += bytes
		counts["allocations of inits"] += allocs
	}
}

// Calls of Go's scheduler and timers: their number is the machine's load's.
var ofTheScheduler = regexp.MustCompile(`^\d+ +(<\.\.\. )?(futex|sched_yield|nanosleep|epoll_\w+|tgkill|rt_sig\w+|restart_syscall|madvise|mmap|munmap|clone3?|sigaltstack|gettid|getpid|write\(\d+, "\\1\\0\\0\\0\\0\\0\\0\\0")`)

// calls counts system calls of a whole life of a container, by parent and child, without containerd, and of a delete where nothing is left.
func calls(t *testing.T, counts map[string]int64) {
	t.Helper()
	bundle := t.TempDir()
	if err := os.MkdirAll(filepath.Join(bundle, "rootfs/bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"proc", "dev", "sys", "run"} {
		if err := os.MkdirAll(filepath.Join(bundle, "rootfs", dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"true", "sleep"} {
		if err := os.WriteFile(filepath.Join(bundle, "rootfs/bin", name), busybox, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	config, err := os.ReadFile("config.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o644); err != nil {
		t.Fatal(err)
	}
	counts["system calls of a container's life"] = strace(t, program(), "explain", "-time", "-bundle", bundle)
	counts["system calls of a delete"] = strace(t, program(), "-namespace", "n", "-address", "/a", "-publish-binary", "/p", "-id", "x", "-bundle", t.TempDir(), "delete")
	commands(t, counts, bundle, config)
}

// commands counts those of `shimrun run`, and of `shimrun exec` into a container that sleeps.
func commands(t *testing.T, counts map[string]int64, bundle string, config []byte) {
	t.Helper()
	shimrun, root, id := filepath.Join(daemon.Top(), "bin", "shimrun"), filepath.Join(t.TempDir(), "states"), fmt.Sprintf("guard-%d", os.Getpid())
	counts["system calls of shimrun run"] = strace(t, shimrun, "--root", root, "run", "--bundle", bundle, id)
	var c map[string]any
	if err := json.Unmarshal(config, &c); err != nil {
		t.Fatal(err)
	}
	c["process"].(map[string]any)["args"] = []string{"sleep", "1000"}
	config, err := json.Marshal(c)
	if err == nil {
		err = os.WriteFile(filepath.Join(bundle, "config.json"), config, 0o644)
	}
	if err == nil {
		err = exec.Command(shimrun, "--root", root, "run", "--detach", "--bundle", bundle, id).Run() // no pipes: the container would hold them
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if out, err := exec.Command(shimrun, "--root", root, "delete", "--force", id).CombinedOutput(); err != nil {
			t.Errorf("delete: %v: %s", err, out)
		}
	}()
	counts["system calls of shimrun exec"] = strace(t, shimrun, "--root", root, "exec", id, "true")
}

func strace(t *testing.T, program string, args ...string) int64 {
	t.Helper()
	log := filepath.Join(t.TempDir(), "strace")
	if out, err := exec.Command("strace", append([]string{"-f", "-o", log, program}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	var n int64
	for line := range strings.Lines(string(text)) {
		if !strings.Contains(line, "<... ") && strings.Contains(line, "(") && !ofTheScheduler.MatchString(line) {
			n++
		}
	}
	return n
}

// settle is how long a shim is left alone: it gives memory back after 3 s.
const settle = 5 * time.Second

// memory is an idle shim's, the smallest of a few: what the garbage collector leaves differs from shim to shim.
func memory(t *testing.T, counts map[string]int64) {
	t.Helper()
	const shims = 3
	d, err := daemon.Start(daemon.Versions()[1])
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}()
	ctx := daemon.Context()
	img, err := d.Client.GetImage(ctx, daemon.Image)
	if err != nil {
		t.Fatal(err)
	}
	var tasks []client.Task
	for i := range shims {
		id := fmt.Sprintf("guard-%d-%d", os.Getpid(), i)
		c, err := d.Client.NewContainer(ctx, id, client.WithImage(img), client.WithNewSnapshot(id, img), client.WithRuntime(daemon.Runtime, nil),
			client.WithNewSpec(oci.WithImageConfig(img), oci.WithProcessArgs("sleep", "1000")))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Delete(ctx, client.WithSnapshotCleanup)
		task, err := c.NewTask(ctx, cio.NullIO)
		if err != nil {
			t.Fatal(err)
		}
		defer task.Delete(ctx, client.WithProcessKill)
		if err := task.Start(ctx); err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, task)
	}
	time.Sleep(settle)
	for _, task := range tasks {
		parent := status(t, int(task.Pid()), "PPid")
		for name, field := range map[string]string{"KiB of an idle shim's own memory": "RssAnon", "KiB of files in an idle shim": "RssFile", "threads of an idle shim": "Threads"} {
			if v := status(t, int(parent), field); counts[name] == 0 || v < counts[name] {
				counts[name] = v
			}
		}
	}
}

// status reads a number of /proc/PID/status (proc_pid_status(5)).
func status(t *testing.T, pid int, field string) int64 {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(data), field+":")
	f := strings.Fields(rest)
	if !ok || len(f) == 0 {
		t.Fatalf("no %s of %d", field, pid)
	}
	n, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
