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

	"example.io/shim/linux/facts"
	"example.io/shim/linux/plan"
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
	deleteAtEnd(t, c)
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// deleteAtEnd deletes a container when the test ends.
func deleteAtEnd(t *testing.T, c *Container) {
	t.Helper()
	t.Cleanup(func() {
		if err := c.Delete(context.Background()); err != nil {
			t.Error(err)
		}
	})
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

// procFile reads a file of a process.
func procFile(t *testing.T, pid int, name string) string {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
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

// TestAffinity: the child is launched on the first set and runs on the last one; without a last one on what its cpuset allows. Init has neither.
func TestAffinity(t *testing.T) {
	const both = "0-1"
	box := sleeping(t, newDeps(t), func(s *specs.Spec) {
		s.Linux.Resources.CPU = &specs.LinuxCPU{Cpus: both}
		s.Process.ExecCPUAffinity = &specs.CPUAffinity{Initial: "1", Final: "1"}
	})
	allowed := func(pid int) string {
		_, rest, _ := strings.Cut(procFile(t, pid, "status"), "Cpus_allowed_list:")
		line, _, _ := strings.Cut(rest, "\n")
		return strings.TrimSpace(line)
	}
	if got := allowed(box.Init().Pid()); got != both {
		t.Errorf("init runs on %s", got)
	}
	for _, c := range []struct {
		own  *specs.CPUAffinity
		want string
	}{{nil, "1"}, {&specs.CPUAffinity{Initial: "0", Final: "0"}, "0"}, {&specs.CPUAffinity{Final: "1-3"}, "1"}} {
		p := execSleeping(t, box, func(ps *specs.Process) { ps.ExecCPUAffinity = c.own })
		if got := allowed(p.Pid()); got != c.want {
			t.Errorf("%+v: runs on %s, want %s", c.own, got, c.want)
		}
	}
	_, err := box.Exec(t.Context(), ExecRequest{ExecID: "e1", Spec: []byte(`{"args":["true"],"cwd":"/","execCPUAffinity":{"final":"3"}}`)})
	if err == nil || !strings.Contains(err.Error(), "(/process/execCPUAffinity/final): sched_setaffinity: invalid argument") {
		t.Errorf("CPUs that the cpuset does not have: %v", err)
	}
}

// TestInitialAffinity: the launching thread is bound, and the others of the runtime are not.
func TestInitialAffinity(t *testing.T) {
	deps := newDeps(t)
	box := sleeping(t, deps, nil)
	var before, after unix.CPUSet
	if err := unix.SchedGetaffinity(os.Getpid(), &before); err != nil {
		t.Fatal(err)
	}
	at := map[string]int{}
	deps.Fault = func(p *plan.Plan) *plan.Plan {
		for i, s := range p.Steps {
			at[s.Label] = i
		}
		return p
	}
	execSleeping(t, box, func(ps *specs.Process) { ps.ExecCPUAffinity = &specs.CPUAffinity{Initial: "1"} })
	if err := unix.SchedGetaffinity(os.Getpid(), &after); err != nil {
		t.Fatal(err)
	}
	if before != after {
		t.Errorf("the runtime ran on %v, and runs on %v", before, after)
	}
	if bound, ok := at["be launched on the CPUs 1"]; !ok || bound > at["fork the child"] {
		t.Errorf("steps %v", at)
	}
}

// TestPersonality: init and further processes.
func TestPersonality(t *testing.T) {
	for want, p := range map[string]specs.LinuxPersonality{
		"00000000": {Domain: specs.PerLinux}, "00000008": {Domain: specs.PerLinux32},
		"00040000": {Domain: specs.PerLinux, Flags: []specs.LinuxPersonalityFlag{"ADDR_NO_RANDOMIZE"}},
		"06020008": {Domain: specs.PerLinux32, Flags: []specs.LinuxPersonalityFlag{"UNAME26", "WHOLE_SECONDS", "STICKY_TIMEOUTS"}},
	} {
		box := sleeping(t, newDeps(t), func(s *specs.Spec) { s.Linux.Personality = &p })
		for _, pid := range []int{box.Init().Pid(), execSleeping(t, box, func(*specs.Process) {}).Pid()} {
			if got := procFile(t, pid, "personality"); strings.TrimSpace(got) != want {
				t.Errorf("%+v: %q", p, got)
			}
		}
	}
}

// TestMemoryPolicy: init and further processes.
func TestMemoryPolicy(t *testing.T) {
	policies := map[string]specs.LinuxMemoryPolicy{
		"bind:0":            {Mode: specs.MpolBind, Nodes: "0"},
		"bind=static:0":     {Mode: specs.MpolBind, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFStaticNodes}},
		"interleave:0":      {Mode: specs.MpolInterleave, Nodes: "0"},
		"prefer=relative:0": {Mode: specs.MpolPreferred, Nodes: "0", Flags: []specs.MemoryPolicyFlagType{specs.MpolFRelativeNodes}},
		"local":             {Mode: specs.MpolLocal},
		"prefer (many):0":   {Mode: specs.MpolPreferredMany, Nodes: "0"},
		"default":           {Mode: specs.MpolDefault},
	}
	if _, err := os.Stat("/sys/kernel/mm/mempolicy/weighted_interleave"); err == nil { // since Linux 6.9
		policies["weighted interleave:0"] = specs.LinuxMemoryPolicy{Mode: specs.MpolWeightedInterleave, Nodes: "0"}
	}
	for want, m := range policies {
		box := sleeping(t, newDeps(t), func(s *specs.Spec) { s.Linux.MemoryPolicy = &m })
		for _, pid := range []int{box.Init().Pid(), execSleeping(t, box, func(*specs.Process) {}).Pid()} {
			if got := procFile(t, pid, "numa_maps"); !strings.Contains(got, " "+want+" ") {
				t.Errorf("%s of %d: %q", want, pid, got)
			}
		}
	}
	_, err := Create(t.Context(), newDeps(t), request(newBundle(t, func(s *specs.Spec) {
		s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolBind, Nodes: "1023"}
	})))
	if err == nil || !strings.Contains(err.Error(), "(/linux/memoryPolicy): set_mempolicy: invalid argument") {
		t.Errorf("a node that is not there: %v", err)
	}
}

// TestTimeNamespace: init, further processes and the hooks inside have the container's clocks, the hooks outside those of the host.
func TestTimeNamespace(t *testing.T) {
	offsets := map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 1000, Nanosecs: 5}, "boottime": {Secs: 500 * 24 * 3600}}
	const want = "monotonic        1000         5\nboottime     43200000         0"
	for name, edit := range map[string]func(*specs.Spec){"host ids": func(*specs.Spec) {}, "user namespace": withUserns} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			note := func(kind string) []specs.Hook {
				return []specs.Hook{{Path: busybox, Args: []string{"sh", "-c", "readlink /proc/self/ns/time >" + dir + "/" + kind}, Env: []string{"PATH=/bin"}}}
			}
			box := sleeping(t, newDeps(t), func(s *specs.Spec) {
				edit(s)
				s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "time"})
				s.Linux.TimeOffsets = offsets
				if s.Linux.UIDMappings == nil { // others cannot look into the test's folder
					s.Hooks = &specs.Hooks{CreateRuntime: note("createRuntime"), Poststart: note("poststart")}
				}
			})
			pid := box.Init().Pid()
			exec := execSleeping(t, box, func(*specs.Process) {}).Pid()
			for _, p := range []int{pid, exec} {
				if got := strings.TrimSpace(procFile(t, p, "timens_offsets")); got != want {
					t.Errorf("offsets of %d:\n%s", p, got)
				}
				if nsOf(t, p, "time") != nsOf(t, pid, "time_for_children") {
					t.Errorf("%d is in %s", p, nsOf(t, p, "time"))
				}
			}
			var up float64
			if _, err := fmt.Sscan(execIn(t, box, nil, "cat /proc/uptime"), &up); err != nil || up < 43200000 {
				t.Errorf("up for %f s, %v", up, err)
			}
			if name == "host ids" {
				for _, kind := range []string{"createRuntime", "poststart"} {
					got, err := os.ReadFile(dir + "/" + kind)
					if err != nil || strings.TrimPrefix(strings.TrimSpace(string(got)), "time:") != nsOf(t, os.Getpid(), "time") {
						t.Errorf("%s hook in %s, %v", kind, got, err)
					}
				}
				other := sleeping(t, newDeps(t), func(s *specs.Spec) {
					s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "time", Path: fmt.Sprintf("/proc/%d/ns/time", pid)})
				})
				if got := nsOf(t, other.Init().Pid(), "time"); got != nsOf(t, pid, "time") {
					t.Errorf("joined by path: %s", got)
				}
			}
		})
	}
}

// TestTimeRefused: a clock that would run before the machine was started.
func TestTimeRefused(t *testing.T) {
	bundle := newBundle(t, func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "time"})
		s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: -1 << 40}}
	})
	if _, err := Create(t.Context(), newDeps(t), request(bundle)); err == nil || !strings.Contains(err.Error(), "(/linux/timeOffsets): time_offsets: ") {
		t.Errorf("got %v", err)
	}
}

// nsOf names a namespace of a process.
func nsOf(t *testing.T, pid int, name string) string {
	t.Helper()
	to, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimPrefix(strings.TrimPrefix(to, "time_for_children:"), "time:")
}

// TestLabelsRefused: a machine without the security module refuses, before anything is made.
func TestLabelsRefused(t *testing.T) {
	deps := newDeps(t)
	deps.Facts.AppArmor, deps.Facts.SELinux = facts.No, facts.No
	box := sleeping(t, deps, nil)
	for field, edit := range map[string]func(*specs.Spec){
		"/process/apparmorProfile: \"p\" is set, but AppArmor is not enabled": func(s *specs.Spec) { s.Process.ApparmorProfile = "p" },
		"/process/selinuxLabel: \"l\" is set, but SELinux is not enabled":     func(s *specs.Spec) { s.Process.SelinuxLabel = "l" },
		"/linux/mountLabel: \"m\" is set, but SELinux is not enabled":         func(s *specs.Spec) { s.Linux.MountLabel = "m" },
	} {
		_, err := Create(t.Context(), deps, request(newBundle(t, edit)))
		if !errors.Is(err, errdefs.ErrNotImplemented) || !strings.Contains(err.Error(), field) {
			t.Errorf("got %v, want %s", err, field)
		}
	}
	for _, name := range []string{"apparmorProfile", "selinuxLabel"} {
		_, err := box.Exec(t.Context(), ExecRequest{ExecID: "e1", Spec: []byte(`{"args":["true"],"cwd":"/","` + name + `":"x"}`)})
		if !errors.Is(err, errdefs.ErrNotImplemented) {
			t.Errorf("exec: %v", err)
		}
	}
}

// TestLabelsWritten: what the kernel does not know is refused by the kernel, at the file of the process's own: in every kind of container, and for further
// processes. A machine that has AppArmor takes the profile that every one has.
func TestLabelsWritten(t *testing.T) {
	deps := newDeps(t)
	if deps.Facts.AppArmor == facts.Yes {
		box := sleeping(t, deps, func(s *specs.Spec) { s.Process.ApparmorProfile = "unconfined" })
		if got := execIn(t, box, nil, "cat /proc/self/attr/current"); got != "unconfined" {
			t.Errorf("the label is %q", got)
		}
	}
	deps.Facts.AppArmor, deps.Facts.SELinux = facts.Yes, facts.Yes
	for name, edit := range map[string]func(*specs.Spec){"host ids": func(*specs.Spec) {}, "user namespace": withUserns, "the host's processes": func(s *specs.Spec) {
		s.Linux.Namespaces = s.Linux.Namespaces[1:]
	}} {
		box := sleeping(t, deps, edit)
		for want, c := range map[string]struct{ profile, label string }{
			`"have the AppArmor profile no-such" (/process/apparmorProfile): write /proc/thread-self/attr/`: {"no-such", ""},
			`"label our keys no-such" (/process/selinuxLabel): write /proc/thread-self/attr/keycreate`:      {"", "no-such"},
		} {
			_, err := Create(t.Context(), deps, request(newBundle(t, func(s *specs.Spec) {
				edit(s)
				s.Process.ApparmorProfile, s.Process.SelinuxLabel = c.profile, c.label
			})))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, want %s", name, err, want)
			}
			text := fmt.Sprintf(`{"args":["true"],"cwd":"/","apparmorProfile":%q,"selinuxLabel":%q}`, c.profile, c.label)
			if _, err := box.Exec(t.Context(), ExecRequest{ExecID: "e1", Spec: []byte(text)}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: exec: got %v, want %s", name, err, want)
			}
		}
	}
}
