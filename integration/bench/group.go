package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// group is the cgroup of containerd with its shims and of all containers: what it uses of the CPU is the price of everything, whoever paid it. It is
// of v1; hybrid or not, its hierarchies have the same folder.
type group struct{ name string }

const v1Root = "/sys/fs/cgroup"

func newGroup() (*group, error) {
	g := &group{name: fmt.Sprintf("shim-bench-%d", os.Getpid())}
	for _, dir := range []string{g.path("cpuacct", ""), g.path("memory", "")} {
		if err := os.Mkdir(dir, 0o755); err != nil && !os.IsExist(err) {
			return nil, fmt.Errorf("the bench needs cgroup v1: %w", err)
		}
	}
	return g, nil
}

// path of a file in a hierarchy that has the controller.
func (g *group) path(controller, name string) string {
	for _, h := range []string{controller, "cpu,cpuacct"} {
		if _, err := os.Stat(filepath.Join(v1Root, h)); err == nil {
			return filepath.Join(v1Root, h, g.name, name)
		}
	}
	return filepath.Join(v1Root, controller, g.name, name)
}

// child is the cgroup of a container.
func (g *group) child(id string) string { return "/" + g.name + "/" + id }

func (g *group) add(pid int) error {
	return os.WriteFile(g.path("cpuacct", "cgroup.procs"), []byte(strconv.Itoa(pid)), 0)
}

// cpu is what the group has used, in seconds.
func (g *group) cpu() float64 { return readNumber(g.path("cpuacct", "cpuacct.usage")) / 1e9 }

// memory is a figure of a container's memory cgroup in KiB.
func (g *group) memory(id, file string) float64 {
	return readNumber(filepath.Join(g.path("memory", id), file)) / 1024
}

// pagesOf is what a memory cgroup counts of a process's pages and of files' in KiB, exactly: it is charged by whole batches of pages.
func pagesOf(dir string) float64 {
	data, _ := os.ReadFile(filepath.Join(dir, "memory.stat"))
	sum := 0.0
	for line := range strings.Lines(string(data)) {
		if name, v, _ := strings.Cut(strings.TrimSpace(line), " "); name == "rss" || name == "cache" {
			n, _ := strconv.ParseFloat(v, 64)
			sum += n / 1024
		}
	}
	return sum
}

func readNumber(path string) float64 {
	data, err := os.ReadFile(path)
	if err != nil {
		return -1
	}
	n, _ := strconv.ParseFloat(strings.TrimSpace(string(data)), 64)
	return n
}

func (g *group) remove() {
	hierarchies, _ := filepath.Glob(filepath.Join(v1Root, "*", g.name))
	for _, dir := range hierarchies {
		below, _ := filepath.Glob(filepath.Join(dir, "*", "cgroup.procs"))
		for _, f := range below {
			_ = os.Remove(filepath.Dir(f))
		}
		for try := 0; os.Remove(dir) != nil && try < 50; try++ { // the processes have just ended
			time.Sleep(20 * time.Millisecond)
		}
	}
}
