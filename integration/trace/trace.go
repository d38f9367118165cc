// Package trace sees what a container could leave on a machine: mounts, cgroups, processes, sockets and files.
package trace

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Trace is what there is, by kind.
type Trace map[string][]string

// kinds in the order of messages.
var kinds = []string{"processes", "mounts", "cgroups", "sockets", "files"}

// Take looks at what is this program's: the mounts of its mount namespace, the cgroups below the one of its containerd namespace, the sockets of shims, its
// descendants, and the files below dirs. Others may run the same tests at the same time: see Own.
func Take(namespace string, dirs ...string) Trace {
	t := Trace{}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	for line := range strings.Lines(string(mounts)) {
		t["mounts"] = append(t["mounts"], strings.Fields(line)[4])
	}
	// The namespace's own cgroup stays, like with other runtimes: the next container uses it. So does one in it of the same name, a shim's own: nobody can
	// remove the cgroup that it is in.
	for _, pattern := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
		tops, _ := filepath.Glob(pattern + namespace)
		slices, _ := filepath.Glob(pattern + Slice(namespace))
		for _, top := range append(tops, slices...) {
			walk(top, func(path string, d fs.DirEntry) {
				if d.IsDir() && d.Name() != namespace && d.Name() != Slice(namespace) {
					t["cgroups"] = append(t["cgroups"], path)
				}
			})
		}
	}
	walk(sockets, func(path string, d fs.DirEntry) {
		if !d.IsDir() {
			t["sockets"] = append(t["sockets"], path)
		}
	})
	for _, dir := range dirs {
		walk(dir, func(path string, _ fs.DirEntry) { t["files"] = append(t["files"], path) })
	}
	t["processes"] = descendants()
	return t
}

// Slice is the systemd slice of a containerd namespace's containers, where they are systemd's. It has no dash in its name: that would be another slice above.
func Slice(namespace string) string { return strings.ReplaceAll(namespace, "-", "") + ".slice" }

// descendants are the living processes below our parent, see Own, as "pid name"; without us and the containerds, which a restart changes. Zombies are their
// parent's to reap.
func descendants() (list []string) {
	children, names := map[string][]string{}, map[string]string{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		data, _ := os.ReadFile(path) // "pid (name) state parent …"; the process may be gone
		pid, rest, _ := strings.Cut(string(data), " (")
		end := strings.LastIndex(rest, ") ")
		if end < 0 {
			continue
		}
		f := strings.Fields(rest[end+2:])
		children[f[1]] = append(children[f[1]], pid)
		if f[0] != "Z" {
			names[pid] = rest[:end]
		}
	}
	self := strconv.Itoa(os.Getpid())
	for todo := children[strconv.Itoa(os.Getppid())]; len(todo) > 0; todo = todo[1:] {
		todo = append(todo, children[todo[0]]...)
		if name, lives := names[todo[0]]; lives && todo[0] != self && name != "containerd" && name != "containerd2" {
			list = append(list, todo[0]+" "+name)
		}
	}
	return list
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
