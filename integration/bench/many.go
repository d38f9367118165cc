package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"

	"example.io/shim/integration/daemon"
)

// few is how many containers are on a machine that has few.
const few = 10

// besideMany measures a start of ours beside few containers, beside many, and beside few again: what is read, listed or copied for each container on the
// machine makes the second dearer. Each of the many has its shim, its mounts in the host's namespace and its cgroups.
func (b *bench) besideMany() error {
	ctx, cancel := context.WithTimeout(daemon.Context(), 20*lifeLimit)
	defer cancel()
	p := b.peers[0]
	s := &crowd{b: b, p: p}
	defer s.shrink(0)
	var rounds []map[string][]float64
	for _, n := range []int{few, b.many, few} {
		if err := s.grow(ctx, n); err != nil {
			return fmt.Errorf("the %d. of %d containers: %w", len(s.tasks)+1, n, err)
		}
		s.shrink(n)
		time.Sleep(settle)
		m, err := b.beside(ctx, p, n)
		if err != nil {
			return fmt.Errorf("beside %d containers: %w", n, err)
		}
		rounds = append(rounds, m)
	}
	for figure := range rounds[0] {
		before, with, after := rounds[0][figure], rounds[1][figure], rounds[2][figure]
		for i := range with {
			b.add("beside many: "+figure+", against ten", p.name, with[i]/median(append(append([]float64{}, before...), after...)))
		}
	}
	return nil
}

// beside takes containers through their lives, beside n idle ones.
func (b *bench) beside(ctx context.Context, p peer, n int) (map[string][]float64, error) {
	all := map[string][]float64{}
	for round := -2; round < b.rounds; round++ {
		m := stopwatch{}
		own := threadsCPU(b.d.Pid())
		if err := b.whole(ctx, p, m); err != nil {
			return nil, err
		}
		// containerd reads the table of mounts at each delete, whatever the shim.
		m["CPU of a whole run, without containerd's own"] = m["CPU of a whole run"] - (threadsCPU(b.d.Pid()) - own)
		for figure, v := range m {
			if round >= 0 {
				all[figure] = append(all[figure], v)
				b.add(fmt.Sprintf("beside %d containers: %s", n, figure), p.name, v)
			}
		}
	}
	return all, nil
}

// threadsCPU is what a process's threads have used, in ms; not what threads had used that have ended (proc_pid_stat(5) counts in hundredths of a second).
func threadsCPU(pid int) float64 {
	sum := 0.0
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	for _, f := range files {
		if data, err := os.ReadFile(f); err == nil {
			ns, _, _ := strings.Cut(string(data), " ")
			n, _ := strconv.ParseFloat(ns, 64)
			sum += n / 1e6
		}
	}
	return sum
}

// crowd is a number of idle containers.
type crowd struct {
	b     *bench
	p     peer
	list  []client.Container
	tasks []client.Task
}

func (s *crowd) grow(ctx context.Context, n int) error {
	for len(s.tasks) < n {
		c, err := s.b.container(ctx, s.p, "sleep", "100000")
		if err != nil {
			return err
		}
		task, err := c.NewTask(ctx, cio.NullIO)
		if err == nil {
			err = task.Start(ctx)
		}
		if err != nil {
			_ = c.Delete(daemon.Context(), client.WithSnapshotCleanup)
			return err
		}
		s.list, s.tasks = append(s.list, c), append(s.tasks, task)
	}
	return nil
}

// shrink removes all but n.
func (s *crowd) shrink(n int) {
	for i := n; i < len(s.tasks); i++ {
		_, _ = s.tasks[i].Delete(daemon.Context(), client.WithProcessKill)
		_ = s.list[i].Delete(daemon.Context(), client.WithSnapshotCleanup)
	}
	s.list, s.tasks = s.list[:min(n, len(s.list))], s.tasks[:min(n, len(s.tasks))]
}
