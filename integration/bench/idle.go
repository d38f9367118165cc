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

	"example.io/shim/integration/daemon"
)

// settle is how long a shim is left alone before its memory counts: the start burst's is given back by then.
const settle = 6 * time.Second

// probesPerSecond is the load of Kubernetes' exec probes on a full node.
const probesPerSecond = 20

// idles measures idle shims at 1, 20 and 100 containers, and the probe load beside the last.
func (b *bench) idles() error {
	for _, p := range b.real() {
		if err := b.idleOf(p); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	return nil
}

func (b *bench) idleOf(p peer) error {
	ctx, cancel := context.WithTimeout(daemon.Context(), 20*lifeLimit)
	defer cancel()
	s := &crowd{b: b, p: p}
	defer s.shrink(0)
	for _, n := range []int{1, 20, 100} {
		if n > b.idle {
			break
		}
		if err := s.grow(ctx, n); err != nil {
			return err
		}
		time.Sleep(settle)
		if err := b.memoryOf(p, n, s.tasks); err != nil {
			return err
		}
	}
	return b.probes(ctx, p, s.list, s.tasks)
}

// memoryOf adds the mean of all shims.
func (b *bench) memoryOf(p peer, n int, tasks []client.Task) error {
	sum := map[string]float64{}
	for _, t := range tasks {
		shim := shimOf(int(t.Pid()))
		m, err := memory(shim)
		if err != nil {
			return err
		}
		for k, v := range m {
			sum[k] += v
		}
	}
	for k, v := range sum {
		b.add(fmt.Sprintf("idle %s, %d containers", k, n), p.name, v/float64(len(tasks)))
	}
	if n != 1 && n != b.idle {
		return nil
	}
	before := 0.0
	for _, t := range tasks {
		before += switches(shimOf(int(t.Pid())))
	}
	time.Sleep(b.quiet)
	after := 0.0
	for _, t := range tasks {
		after += switches(shimOf(int(t.Pid())))
	}
	b.add(fmt.Sprintf("wake-ups a minute, %d containers", n), p.name, (after-before)/float64(len(tasks))*float64(time.Minute)/float64(b.quiet))
	return nil
}

// memory reads a process's, in KiB, and its number of threads.
func memory(pid int) (map[string]float64, error) {
	m := map[string]float64{}
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "smaps_rollup"))
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "Pss:":
			m["PSS"] = n
		case "Rss:":
			m["RSS"] = n
		case "Anonymous:":
			m["anonymous"] = n
		case "Private_Clean:", "Private_Dirty:":
			m["private"] += n
		}
	}
	tasks, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "task"))
	m["threads"] = float64(len(tasks))
	return m, err
}

// switches is the number of context switches of all threads so far: each is a wake-up, nearly.
func switches(pid int) float64 {
	sum := 0.0
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	for _, f := range files {
		data, _ := os.ReadFile(f)
		for line := range strings.Lines(string(data)) {
			if name, v, ok := strings.Cut(line, ":"); ok && strings.HasSuffix(name, "voluntary_ctxt_switches") {
				n, _ := strconv.ParseFloat(strings.TrimSpace(v), 64)
				sum += n
			}
		}
	}
	return sum
}

// probes makes execs, evenly, one container after the other, and adds what they cost.
func (b *bench) probes(ctx context.Context, p peer, list []client.Container, tasks []client.Task) error {
	spec, err := list[0].Spec(ctx)
	if err != nil {
		return err
	}
	cpu, own := b.group.cpu(), processCPU(b.d.Pid())
	tick := time.NewTicker(time.Second / probesPerSecond)
	defer tick.Stop()
	n := int(b.probe.Seconds() * probesPerSecond)
	for i := range n {
		<-tick.C
		if err := exec1(ctx, tasks[i%len(tasks)], spec, fmt.Sprintf("p%d", i)); err != nil {
			return err
		}
	}
	used, daemons := b.group.cpu()-cpu, processCPU(b.d.Pid())-own
	b.add("probes, CPU ms an exec, all", p.name, used*1000/float64(n))
	b.add("probes, CPU ms an exec, without containerd's own", p.name, (used-daemons)*1000/float64(n))
	return nil
}
