package run

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"example.io/shim/internal/slow"
)

// trace is everything that a container could leave behind.
type trace map[string][]string

// takeTrace lists the mounts, cgroups, descriptors and children there are, and the files below dir.
func takeTrace(t testing.TB, dir string) trace {
	t.Helper()
	tr := trace{}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		tr["mounts"] = append(tr["mounts"], strings.Fields(line)[4])
	}
	walk(t, "/sys/fs/cgroup", func(path string, d fs.DirEntry) {
		if d.IsDir() && !others(path) {
			tr["cgroups"] = append(tr["cgroups"], path)
		}
	})
	if bySystemd { // a unit that is loaded has such a file
		tr["units"], _ = filepath.Glob(fmt.Sprintf("/run/systemd/transient/%d-*", os.Getpid()))
	}
	walk(t, dir, func(path string, _ fs.DirEntry) { tr["files"] = append(tr["files"], path) })
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		// The runtime's own descriptors and the one of this ReadDir vary; what they are shows in the link.
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && !strings.HasPrefix(to, "/proc/") {
			tr["descriptors"] = append(tr["descriptors"], to[:strings.IndexByte(to+":", ':')])
		}
	}
	tasks, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tasks {
		if pids, err := os.ReadFile(path); err == nil {
			tr["children"] = append(tr["children"], strings.Fields(string(pids))...)
		}
	}
	for _, list := range tr {
		slices.Sort(list)
	}
	return tr
}

// others says that a cgroup is of a test that runs beside this one.
func others(path string) bool {
	if strings.HasSuffix(path, "/"+testSlice) {
		return true // systemd removes it when it has nothing else to do
	}
	_, mine, ours := strings.Cut(strings.Replace(path, "/"+testSlice+"/", "/shim-run-test/", 1), "/shim-run-test/")
	if ours {
		return !strings.HasPrefix(mine, strconv.Itoa(os.Getpid())+"-")
	}
	return strings.Contains(path, "/shim-") || strings.Contains(path, "/default")
}

func walk(t testing.TB, dir string, f func(string, fs.DirEntry)) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil { // others' cgroups come and go
			f(path, d)
		}
		return nil
	})
}

// settle is how long what the kernel and the runtime finish on their own (threads, dying cgroups) may take.
var settle = slow.Limit(5 * time.Second)

// noTrace fails the test when something is there that was not there before.
func noTrace(t testing.TB, before trace, dir string) {
	t.Helper()
	var diff string
	for end := time.Now().Add(settle); time.Now().Before(end); time.Sleep(2 * time.Millisecond) {
		if diff = before.added(takeTrace(t, dir)); diff == "" {
			return
		}
	}
	t.Errorf("left behind: %s", diff)
}

func (tr trace) added(after trace) string {
	var b strings.Builder
	for _, kind := range []string{"mounts", "cgroups", "units", "files", "descriptors", "children"} {
		had := map[string]int{}
		for _, x := range tr[kind] {
			had[x]++
		}
		for _, x := range after[kind] {
			if had[x]--; had[x] < 0 {
				fmt.Fprintf(&b, "%s: %s; ", kind, x)
			}
		}
	}
	return b.String()
}
