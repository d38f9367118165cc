package shimrun

import (
	"debug/elf"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// slackOf returns the timer slack of a thread, in nanoseconds.
func slackOf(t *testing.T, tid string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("/proc", tid, "timerslack_ns"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// TestSlack: the monitor thread of our runtime has a coarse timer, and no process of a container inherits it.
func TestSlack(t *testing.T) {
	if f, err := elf.Open(program); err != nil || f.Machine != elf.EM_X86_64 {
		t.Fatalf("the entry is for amd64 only (%v)", err)
	}
	dir := newPlace(t)
	seconds := strconv.Itoa(200000 + os.Getpid())
	bundle, id, own := newBundle(t, dir, seconds), "slack-"+seconds, slackOf(t, "self")
	pidFile := filepath.Join(dir, "pid")
	pid := func() string {
		t.Helper()
		for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
			if data, err := os.ReadFile(pidFile); err == nil {
				_ = os.Remove(pidFile)
				return string(data)
			}
		}
		t.Fatal("no process began")
		return ""
	}
	run := command(dir, "run", "--pid-file", pidFile, "--bundle", bundle, id)
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = run.Wait() }()
	defer func() {
		if out, err := command(dir, "delete", "--force", id).CombinedOutput(); err != nil {
			t.Errorf("delete: %v: %s", err, out)
		}
	}()
	if got := slackOf(t, pid()); got != own {
		t.Errorf("the container's timer slack is %s ns, ours is %s", got, own)
	}
	var slacks []string
	threads, err := filepath.Glob("/proc/" + strconv.Itoa(run.Process.Pid) + "/task/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, thread := range threads {
		slacks = append(slacks, slackOf(t, filepath.Base(thread)))
	}
	if slices.Max(slacks) == own || slacks[0] != own {
		t.Errorf("the threads' timer slacks are %q: the monitor's is to be more than %s, the first thread's is not", slacks, own)
	}
	if err := command(dir, "exec", "--detach", "--pid-file", pidFile, id, "/bin/sleep", seconds).Run(); err != nil { // its output would be the process's too
		t.Fatal(err)
	}
	if got := slackOf(t, pid()); got != own {
		t.Errorf("a further process's timer slack is %s ns, ours is %s", got, own)
	}
}
