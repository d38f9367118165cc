package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// sleeping starts a container that sleeps until the test ends. Nothing of it may be left then.
func sleeping(t *testing.T, deps *Deps, edit func(*specs.Spec)) *Container {
	t.Helper()
	c, err := Create(t.Context(), deps, request(newBundle(t, func(s *specs.Spec) {
		s.Process.Args = []string{"sleep", "1000"}
		if edit != nil {
			edit(s)
		}
	})))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Delete(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// execIn runs a script in the container, as a process that edit changes, and returns what it wrote.
func execIn(t *testing.T, c *Container, edit func(*specs.Process), script string) string {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := &specs.Process{Args: []string{"sh", "-c", script}, Cwd: "/", Env: []string{"PATH=/bin"}}
	if edit != nil {
		edit(p)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	proc, err := c.Exec(t.Context(), ExecRequest{ExecID: "e1", Spec: text, Stdio: [3]*os.File{nil, out, out}})
	if err != nil {
		t.Fatal(err)
	}
	<-proc.Done()
	data, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// execSleeping adds a process that sleeps.
func execSleeping(t *testing.T, c *Container, edit func(*specs.Process)) *Process {
	t.Helper()
	p := &specs.Process{Args: []string{"sleep", "1000"}, Cwd: "/", Env: []string{"PATH=/bin"}}
	edit(p)
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	proc, err := c.Exec(t.Context(), ExecRequest{ExecID: "e1", Spec: text})
	if err != nil {
		t.Fatal(err)
	}
	return proc
}

// scheduling says how the kernel schedules a process.
func scheduling(t *testing.T, pid int) string {
	t.Helper()
	a, err := unix.SchedGetAttr(pid, 0)
	if err != nil {
		t.Fatal(err)
	}
	io, _, errno := unix.Syscall(unix.SYS_IOPRIO_GET, 1, uintptr(pid), 0)
	if errno != 0 {
		t.Fatal(errno)
	}
	times := ""
	if a.Policy == unix.SCHED_DEADLINE { // others have a time slice there
		times = fmt.Sprintf(" times %d %d %d", a.Runtime, a.Deadline, a.Period)
	}
	return fmt.Sprintf("policy %d flags %d nice %d priority %d io %d/%d%s", a.Policy, a.Flags, a.Nice, a.Priority, io>>13, io&7, times)
}

// TestScheduling: init is scheduled as config.json says, a further process too unless it says something else.
func TestScheduling(t *testing.T) {
	for name, c := range map[string]struct {
		edit       func(*specs.Spec)
		init, exec string
	}{
		"none":  {nil, "policy 0 flags 0 nice 0 priority 0 io 0/0", "policy 3 flags 0 nice 5 priority 0 io 3/7"},
		"nice":  {sched(specs.Scheduler{Policy: specs.SchedOther, Nice: -7}, 2), "policy 0 flags 0 nice -7 priority 0 io 2/2", ""},
		"batch": {sched(specs.Scheduler{Policy: specs.SchedBatch, Nice: 7}, 0), "policy 3 flags 0 nice 7 priority 0 io 2/0", ""},
		"idle":  {sched(specs.Scheduler{Policy: specs.SchedIdle}, 7), "policy 5 flags 0 nice 0 priority 0 io 2/7", ""},
		"fifo in a user namespace": {func(s *specs.Spec) {
			withUserns(s)
			realtime(s)
			sched(specs.Scheduler{Policy: specs.SchedFIFO, Priority: 9, Flags: []specs.LinuxSchedulerFlag{specs.SchedFlagResetOnFork}}, 1)(s)
		}, "policy 1 flags 1 nice 0 priority 9 io 2/1", ""},
		"deadline": {sched(specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 1000000, Deadline: 20000000, Period: 50000000}, 1),
			"policy 6 flags 0 nice 0 priority 0 io 2/1 times 1000000 20000000 50000000", ""},
	} {
		t.Run(name, func(t *testing.T) {
			box := sleeping(t, newDeps(t), c.edit)
			if got := scheduling(t, box.Init().Pid()); got != c.init {
				t.Errorf("init: %s\nwant:  %s", got, c.init)
			}
			edit, want := func(*specs.Process) {}, c.init
			if c.exec != "" {
				want = c.exec
				edit = func(p *specs.Process) {
					p.Scheduler = &specs.Scheduler{Policy: specs.SchedBatch, Nice: 5}
					p.IOPriority = &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_IDLE, Priority: 7}
				}
			}
			if got := scheduling(t, execSleeping(t, box, edit).Pid()); got != want {
				t.Errorf("exec: %s\nwant:  %s", got, want)
			}
		})
	}
}

// realtime gives the cgroup time for real-time processes, where the kernel has that; a cgroup of the first level needs no parent's.
func realtime(s *specs.Spec) {
	period, runtime := uint64(1000000), int64(10000)
	s.Linux.CgroupsPath = fmt.Sprintf("/shim-test-attrs-%d", os.Getpid())
	if _, err := os.Stat("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"); err == nil {
		s.Linux.Resources.CPU = &specs.LinuxCPU{RealtimeRuntime: &runtime, RealtimePeriod: &period}
	}
}

func sched(s specs.Scheduler, io int) func(*specs.Spec) {
	return func(sp *specs.Spec) {
		sp.Process.Scheduler, sp.Process.IOPriority = &s, &specs.LinuxIOPriority{Class: specs.IOPRIO_CLASS_BE, Priority: io}
	}
}

// TestSchedulingRefused: what the kernel refuses is told as the step and the field.
func TestSchedulingRefused(t *testing.T) {
	bundle := newBundle(t, sched(specs.Scheduler{Policy: specs.SchedDeadline, Runtime: 1 << 40, Deadline: 1 << 41, Period: 1 << 42}, 1))
	_, err := Create(t.Context(), newDeps(t), request(bundle))
	if err == nil || !errors.Is(err, errdefs.ErrInvalidArgument) || !strings.Contains(err.Error(), "(/process/scheduler): sched_setattr: invalid argument") {
		t.Errorf("got %v", err)
	}
}
