package oom

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// unified says that this machine has cgroup v2 only.
func unified(t *testing.T) bool {
	var st unix.Statfs_t
	if err := unix.Statfs("/sys/fs/cgroup", &st); err != nil {
		t.Fatal(err)
	}
	return st.Type == unix.CGROUP2_SUPER_MAGIC
}

// newCgroup makes a memory cgroup with a limit of 16 MiB.
func newCgroup(t *testing.T) string {
	t.Helper()
	parent, limits := "/sys/fs/cgroup/memory", map[string]string{"memory.limit_in_bytes": "16777216"}
	if unified(t) {
		parent, limits = "/sys/fs/cgroup", map[string]string{"memory.max": "16777216", "memory.swap.max": "0"}
		if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(parent, fmt.Sprintf("shim-oom-test-%d", os.Getpid()))
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
	for file, value := range limits {
		if err := os.WriteFile(filepath.Join(dir, file), []byte(value), 0); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// eat runs a process that is OOM-killed in dir.
func eat(t *testing.T, dir string) {
	t.Helper()
	cmd := exec.Command("sh", "-c", `echo 0 > "$0"/cgroup.procs; exec tail /dev/zero`, dir)
	err := cmd.Run()
	if ws, ok := cmd.ProcessState.Sys().(interface{ Signaled() bool }); err == nil || !ok || !ws.Signaled() {
		t.Fatalf("the process was not killed: %v", err)
	}
}

// TestKills tells of every kill exactly once: by Pending, right after the exit or when the channel says so. The kernel counts before it kills, so a
// kill is known when its exit is.
func TestKills(t *testing.T) {
	dir := newCgroup(t)
	w, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var byChannel atomic.Int64
	var end sync.WaitGroup
	end.Go(func() {
		for range w.C() {
			byChannel.Add(int64(w.Pending()))
		}
	})
	const kills = 20
	for i := range kills {
		eat(t, dir)
		byExit := w.Pending()
		if byExit > 1 {
			t.Errorf("kill %d: told of %d", i, byExit)
		}
		byChannel.Add(int64(byExit))
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	end.Wait()
	if n := byChannel.Load(); n != kills {
		t.Errorf("told of %d kills, want %d", n, kills)
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
	if n := w.Pending(); n != 1 {
		t.Fatalf("%d kills pending, want 1", n)
	}
	for end := time.Now().Add(10 * time.Second); unix.Rmdir(dir) != nil && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
	if unified(t) { // no word of the removal from there
		select {
		case <-w.C():
			t.Error("told of a kill when the cgroup was removed")
		default:
		}
	} else if _, more := <-w.C(); more {
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
	if _, err := New("/sys/fs/cgroup/does-not-exist-" + strconv.Itoa(os.Getpid())); err == nil {
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

// TestBelow tells of a kill in a cgroup that the container made below its own; v1 counts it there alone.
func TestBelow(t *testing.T) {
	dir := newCgroup(t)
	below := filepath.Join(dir, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() {
		for end := time.Now().Add(10 * time.Second); unix.Rmdir(below) != nil && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}()
	w, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	eat(t, below)
	want := 0
	if unified(t) {
		want = 1
	}
	if n := w.Pending(); n != want {
		t.Errorf("%d kills pending, want %d", n, want)
	}
}
