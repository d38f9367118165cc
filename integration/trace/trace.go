// Package trace sees what a container could leave on a machine: mounts, cgroups, processes, sockets and files.
package trace

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Trace is what there is, by kind.
type Trace map[string][]string

// kinds in the order of messages.
var kinds = []string{"processes", "mounts", "cgroups", "sockets", "files"}

// SharedCgroup is the parent of all test containers' cgroups. Like those of other runtimes it stays: the next container uses it.
const SharedCgroup = "shim-test"

// Take looks at the machine: all mounts and cgroups, the sockets of shims, the processes of which one of names is the command, and the
// files below dirs.
func Take(names []string, dirs ...string) Trace {
	t := Trace{}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		t["mounts"] = append(t["mounts"], strings.Fields(line)[4])
	}
	walk("/sys/fs/cgroup", func(path string, d fs.DirEntry) {
		if d.IsDir() && d.Name() != SharedCgroup {
			t["cgroups"] = append(t["cgroups"], path)
		}
	})
	walk("/run/containerd/s", func(path string, d fs.DirEntry) {
		if !d.IsDir() {
			t["sockets"] = append(t["sockets"], path)
		}
	})
	for _, dir := range dirs {
		walk(dir, func(path string, _ fs.DirEntry) { t["files"] = append(t["files"], path) })
	}
	comms, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range comms {
		data, _ := os.ReadFile(path)
		stat, _ := os.ReadFile(filepath.Join(filepath.Dir(path), "stat"))
		zombie := strings.Contains(string(stat), ") Z ") // its parent's to reap, which is not us
		if slices.Contains(names, strings.TrimSpace(string(data))) && !zombie {
			t["processes"] = append(t["processes"], filepath.Base(filepath.Dir(path)))
		}
	}
	return t
}

func walk(dir string, f func(string, fs.DirEntry)) {
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil { // others' files come and go
			f(path, d)
		}
		return nil
	})
}

// settle is how long clean-up beside the last answer may take: containerd's own limit for it is 5 s.
const settle = 10 * time.Second

// Left returns what there is more than before, once it stays: "" when nothing is. again takes the trace anew.
func (t Trace) Left(again func() Trace) string {
	var diff string
	for end := time.Now().Add(Limit(settle)); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if diff = t.added(again()); diff == "" {
			return ""
		}
	}
	return diff
}

func (t Trace) added(after Trace) string {
	var b strings.Builder
	for _, kind := range kinds {
		had := map[string]int{}
		for _, x := range t[kind] {
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
