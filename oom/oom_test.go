package oom

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newCgroup makes a memory cgroup with a limit of 16 MiB.
func newCgroup(t *testing.T) string {
	t.Helper()
	dir := filepath.Join("/sys/fs/cgroup/memory", fmt.Sprintf("shim-oom-test-%d", os.Getpid()))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 500 {
			err := unix.Rmdir(dir)
			if err == nil || err == unix.ENOENT {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Errorf("cannot remove %s", dir)
	})
	if err := os.WriteFile(filepath.Join(dir, "memory.limit_in_bytes"), []byte("16777216"), 0); err != nil {
		t.Fatal(err)
	}
	return dir
}

// eat runs a process that is OOM-killed in dir.
func eat(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `echo 0 > "$0"/tasks; exec tail /dev/zero`, dir)
	err := cmd.Run()
	if ws, ok := cmd.ProcessState.Sys().(interface{ Signaled() bool }); err == nil || !ok || !ws.Signaled() {
		t.Fatalf("the process was not killed: %v", err)
	}
}

// TestKills tells of every kill exactly once, by the channel or by Pending right after the exit.
func TestKills(t *testing.T) {
	dir := newCgroup(t)
	w, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	told := make(chan struct{}, 100)
	go func() {
		for range w.C() {
			told <- struct{}{}
		}
		close(told)
	}()
	const kills = 20
	pending := 0
	for range kills {
		eat(t, dir)
		pending += w.Pending()
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	byChannel := 0
	for range told {
		byChannel++
	}
	if pending+byChannel != kills {
		t.Errorf("told of %d kills by the channel and %d by Pending, want %d together", byChannel, pending, kills)
	}
}

// TestIdle tells of the kill without anybody asking, and of nothing when the cgroup goes.
func TestIdle(t *testing.T) {
	dir := newCgroup(t)
	w, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	eat(t, dir)
	select {
	case <-w.C():
	case <-time.After(30 * time.Second):
		t.Fatal("no word of the kill")
	}
	for end := time.Now().Add(10 * time.Second); unix.Rmdir(dir) != nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if _, more := <-w.C(); more {
		t.Error("told of a kill when the cgroup was removed")
	}
	if n := w.Pending(); n != 0 {
		t.Errorf("%d kills pending in a removed cgroup", n)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal("second close:", err)
	}
}

func TestNoCgroup(t *testing.T) {
	before := fds(t)
	if _, err := New("/sys/fs/cgroup/memory/does-not-exist-" + strconv.Itoa(os.Getpid())); err == nil {
		t.Fatal("no error for a missing cgroup")
	}
	if after := fds(t); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}

func fds(t *testing.T) int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
