package run

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/internal/slow"
)

// alone says that this process has a mount namespace of its own. Otherwise it runs the test in one that has: a cgroup hierarchy that is mounted for the test
// would be found by whoever probes the machine meanwhile.
func alone(t *testing.T) bool {
	t.Helper()
	const mark = "SHIM_TEST_ALONE"
	if os.Getenv(mark) != "" {
		return true
	}
	pattern := "^" + strings.ReplaceAll(t.Name(), "/", "$/^") + "$"
	cmd := exec.Command(os.Args[0], "-test.run", pattern, "-test.v", "-test.timeout", slow.Limit(5*time.Minute).String())
	cmd.Env = append(os.Environ(), mark+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	out, err := output(cmd)
	if err != nil || !strings.Contains(out, "--- PASS: "+t.Name()+" ") {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

// mountHierarchy mounts a cgroup v1 hierarchy until the test ends. What is in it then goes too: the kernel keeps a hierarchy that has children, and shows it to
// every process of the machine.
func mountHierarchy(t *testing.T, options string) string {
	t.Helper()
	if os.Getenv("SHIM_TEST_ALONE") == "" {
		t.Fatal("the mount would be everybody's")
	}
	dir := t.TempDir()
	mount := func() error { return unix.Mount("cgroup", dir, "cgroup", 0, options) }
	if err := mount(); err != nil {
		t.Fatal(err)
	}
	name := ":" + strings.TrimPrefix(options, "none,") + ":"
	t.Cleanup(func() {
		for end := time.Now().Add(hierarchyEnd); time.Now().Before(end); {
			removeGroups(dir)
			if err := retryBusy(func() error { return unix.Unmount(dir, 0) }); err != nil {
				t.Error(err)
				return
			}
			// The kernel takes its time; a mount meanwhile would make another hierarchy of that name.
			for range 30 {
				time.Sleep(10 * time.Millisecond)
				if lines, err := os.ReadFile("/proc/self/cgroup"); err == nil && !strings.Contains(string(lines), name) {
					return
				}
			}
			if err := mount(); err != nil { // its groups were not gone yet: try again
				t.Error(err)
				return
			}
		}
		if strings.HasPrefix(options, "none,") {
			t.Errorf("the hierarchy %s stays", options)
		} else { // another run of this test may have it mounted too
			t.Logf("the hierarchy %s stays", options)
		}
	})
	return dir
}

// hierarchyEnd bounds the wait for a hierarchy's end: its groups end after grace periods of the kernel.
const hierarchyEnd = 10 * time.Second

// removeGroups removes all groups of a hierarchy, the inner ones first.
func removeGroups(hierarchy string) {
	var dirs []string
	_ = filepath.WalkDir(hierarchy, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != hierarchy {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, d := range slices.Backward(dirs) {
		_ = unix.Rmdir(d)
	}
}

// standIn mounts a cgroup hierarchy without controllers in the place of resctrl, which needs a processor that has it: there too a folder that is made is a
// group with a file tasks, "0" is the writer, and a group with processes cannot be removed. It has no schemata; see resctrlFiles.
func standIn(t *testing.T) string {
	t.Helper()
	return mountHierarchy(t, fmt.Sprintf("none,name=shim-resctrl-%d", os.Getpid()))
}
