package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"

	"example.io/shim/integration/daemon"
)

// A burst: so many containers of /bin/true, so many at a time.
const (
	burstSize = 50
	burstWide = 8
)

// bursts measures containers per second and the CPU that one costs.
func (b *bench) bursts() error {
	for range b.pairs {
		for _, p := range b.peers {
			if err := b.burst(p); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return nil
}

func (b *bench) burst(p peer) error {
	ctx, cancel := context.WithTimeout(daemon.Context(), 5*lifeLimit)
	defer cancel()
	list := make(chan client.Container, burstSize)
	defer func() {
		for c := range list {
			_ = c.Delete(daemon.Context(), client.WithSnapshotCleanup)
		}
	}()
	defer close(list)
	todo := make(chan client.Container, burstSize)
	for range burstSize {
		c, err := b.container(ctx, p, "true")
		if err != nil {
			return err
		}
		list <- c
		todo <- c
	}
	close(todo)
	cpu, own := b.group.cpu(), processCPU(b.d.Pid())
	begin := time.Now()
	var wg sync.WaitGroup
	errs := make(chan error, burstWide)
	for range burstWide {
		wg.Go(func() {
			var err error
			for c := range todo {
				err = errors.Join(err, run1(ctx, c))
			}
			errs <- err
		})
	}
	wg.Wait()
	took := time.Since(begin).Seconds()
	time.Sleep(10 * calm) // the last shims end
	used, daemons := b.group.cpu()-cpu, processCPU(b.d.Pid())-own
	for range burstWide {
		if err := <-errs; err != nil {
			return err
		}
	}
	b.add("burst, containers a second", p.name, burstSize/took)
	b.add("burst, CPU ms a container, all", p.name, used*1000/burstSize)
	b.add("burst, CPU ms a container, without containerd's own", p.name, (used-daemons)*1000/burstSize)
	return nil
}

// clockTick is USER_HZ, the unit of times in /proc/PID/stat.
const clockTick = 100

// processCPU is what a process has used, in seconds (proc_pid_stat(5)).
func processCPU(pid int) float64 {
	f := statFields(pid)
	if f == nil {
		return 0
	}
	user, _ := strconv.ParseFloat(f[11], 64)
	system, _ := strconv.ParseFloat(f[12], 64)
	return (user + system) / clockTick
}

// statFields are those of /proc/PID/stat behind the name: the state is the first.
func statFields(pid int) []string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
}

// shimOf is the pid of the shim of a container's init: its parent.
func shimOf(init int) int {
	f := statFields(init)
	if f == nil {
		return 0
	}
	pid, _ := strconv.Atoi(f[1])
	return pid
}
