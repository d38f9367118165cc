// Command bench compares io.example.shim.v2 with containerd's own shim over runc and over crun, in turn, in one run, and prints a table for
// docs/performance.md. Machines are noisy: medians and ratios count, not single times.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"

	"example.io/shim/integration/daemon"
)

// contender is a runtime with its options.
type contender struct {
	name, runtime string
	options       any
}

var contenders = []contender{
	{"ours", daemon.Runtime, nil},
	{"runc", "io.containerd.runc.v2", &runcopts.Options{BinaryName: "runc"}},
	{"crun", "io.containerd.runc.v2", &runcopts.Options{BinaryName: "crun"}},
}

// figures in the order of the table; times in milliseconds, memory in KiB.
var figures = []string{"create", "start", "exec", "kill to exit", "delete", "whole run", "PSS idle", "RSS idle", "private idle"}

func main() {
	rounds := flag.Int("rounds", 30, "measured rounds of each runtime")
	flag.Parse()
	if err := bench(*rounds); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(rounds int) error {
	// Debian's containerd: its shim for runc is installed beside it.
	d, err := daemon.Start(daemon.Versions()[0])
	if err != nil {
		return err
	}
	defer d.Close()
	img, err := d.Client.GetImage(daemon.Context(), daemon.Image)
	if err != nil {
		return err
	}
	got := map[string]map[string][]float64{}
	for round := -2; round < rounds; round++ { // two to warm up
		for _, c := range contenders {
			m, err := measure(d, img, c, fmt.Sprintf("%s-%d", c.name, round+2))
			if err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
			if round < 0 {
				continue
			}
			if got[c.name] == nil {
				got[c.name] = map[string][]float64{}
			}
			for k, v := range m {
				got[c.name][k] = append(got[c.name][k], v)
			}
		}
	}
	table(got, rounds)
	return nil
}

// oldVersion is for Debian's crun, which refuses a newer one.
func oldVersion(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	s.Version = "1.0.2"
	return nil
}

// measure takes one container through its life.
func measure(d *daemon.Daemon, img client.Image, r contender, id string) (map[string]float64, error) {
	ctx, cancel := context.WithTimeout(daemon.Context(), time.Minute)
	defer cancel()
	m := map[string]float64{}
	timed := func(name string, f func() error) error {
		begin := time.Now()
		err := f()
		m[name] = float64(time.Since(begin).Microseconds()) / 1000
		return err
	}
	c, err := d.Client.NewContainer(ctx, id, client.WithImage(img), client.WithNewSnapshot(id, img), client.WithRuntime(r.runtime, r.options),
		client.WithNewSpec(oci.WithImageConfig(img), oci.WithProcessArgs("sleep", "1000"), oldVersion))
	if err != nil {
		return nil, err
	}
	defer c.Delete(daemon.Context(), client.WithSnapshotCleanup)
	var task client.Task
	if err := timed("create", func() (err error) { task, err = c.NewTask(ctx, cio.NullIO); return err }); err != nil {
		return nil, err
	}
	if err := timed("start", func() error { return task.Start(ctx) }); err != nil {
		return nil, err
	}
	spec, err := c.Spec(ctx)
	if err != nil {
		return nil, err
	}
	if err := timed("exec", func() error { return exec(ctx, task, spec) }); err != nil {
		return nil, err
	}
	time.Sleep(50 * time.Millisecond)
	if err := memory(int(task.Pid()), m); err != nil {
		return nil, err
	}
	ch, err := task.Wait(ctx)
	if err != nil {
		return nil, err
	}
	err = timed("kill to exit", func() error {
		if err := task.Kill(ctx, syscall.SIGKILL); err != nil {
			return err
		}
		<-ch
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err := timed("delete", func() error { _, err := task.Delete(ctx); return err }); err != nil {
		return nil, err
	}
	return m, timed("whole run", func() error { return whole(ctx, d, img, r, id+"-run") })
}

// exec runs /bin/true in the container, from the request to its removal.
func exec(ctx context.Context, task client.Task, spec *oci.Spec) error {
	ps := *spec.Process
	ps.Args = []string{"true"}
	p, err := task.Exec(ctx, "e", &ps, cio.NullIO)
	if err != nil {
		return err
	}
	ch, err := p.Wait(ctx)
	if err != nil {
		return err
	}
	if err := p.Start(ctx); err != nil {
		return err
	}
	<-ch
	_, err = p.Delete(ctx)
	return err
}

// whole is /bin/true: create, start, wait, delete; the container's snapshot is made before.
func whole(ctx context.Context, d *daemon.Daemon, img client.Image, r contender, id string) error {
	c, err := d.Client.NewContainer(ctx, id, client.WithImage(img), client.WithNewSnapshot(id, img), client.WithRuntime(r.runtime, r.options),
		client.WithNewSpec(oci.WithImageConfig(img), oci.WithProcessArgs("true"), oldVersion))
	if err != nil {
		return err
	}
	defer c.Delete(daemon.Context(), client.WithSnapshotCleanup)
	task, err := c.NewTask(ctx, cio.NullIO)
	if err != nil {
		return err
	}
	ch, err := task.Wait(ctx)
	if err != nil {
		return err
	}
	if err := task.Start(ctx); err != nil {
		return err
	}
	<-ch
	_, err = task.Delete(ctx)
	return err
}

// memory reads the idle shim's: the parent of init.
func memory(init int, m map[string]float64) error {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", init))
	if err != nil {
		return err
	}
	shim := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))[1]
	data, err := os.ReadFile(filepath.Join("/proc", shim, "smaps_rollup"))
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		n, _ := strconv.ParseFloat(f[1], 64)
		switch f[0] {
		case "Pss:":
			m["PSS idle"] = n
		case "Rss:":
			m["RSS idle"] = n
		case "Private_Clean:", "Private_Dirty:":
			m["private idle"] += n
		}
	}
	return nil
}

func median(list []float64) float64 {
	slices.Sort(list)
	return list[len(list)/2]
}

func table(got map[string]map[string][]float64, rounds int) {
	fmt.Printf("%d rounds, in turn; median (minimum to maximum); times in ms, memory in KiB; a ratio is the median of the pairs' ratios.\n\n", rounds)
	fmt.Println("| figure | ours | shim-runc-v2 + runc | shim-runc-v2 + crun | runc / ours | crun / ours |\n|---|---|---|---|---|---|")
	for _, f := range figures {
		row := "| " + f
		ratios := ""
		for _, c := range contenders {
			if c.name != "ours" {
				var pairs []float64
				for i, v := range got[c.name][f] {
					pairs = append(pairs, v/got["ours"][f][i])
				}
				ratios += fmt.Sprintf(" | %.1f", median(pairs))
			}
		}
		for _, c := range contenders {
			list := slices.Clone(got[c.name][f])
			m := median(list)
			row += fmt.Sprintf(" | %.1f (%.1f to %.1f)", m, list[0], list[len(list)-1])
		}
		fmt.Println(row + ratios + " |")
	}
}
