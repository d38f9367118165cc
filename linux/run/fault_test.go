package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/internal/slow"
	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// faultErrnos are what every step is made to fail with; where the CPU is emulated with one of them, the next step with the next.
var faultErrnos = []abi.Errno{abi.EPERM, abi.ENOSYS, abi.ENOMEM, abi.EINTR}

// faultAgent is where the seccomp agent of TestFaults listens.
var faultAgent = filepath.Join(os.TempDir(), fmt.Sprintf("shim-run-test-%d.sock", os.Getpid()))

// topics are the containers whose every step is made to fail.
var topics = map[string]struct {
	edit     func(*specs.Spec)
	terminal bool
	deps     func(*testing.T, *Deps)
	image    map[string]string // links to be in it
	source   string            // only the steps of this field: the others are another topic's
}{
	"default":  {edit: nil},
	"terminal": {edit: func(s *specs.Spec) { s.Process.Terminal = true }, terminal: true},
	"userns": {edit: func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "user"}, specs.LinuxNamespace{Type: "cgroup"})
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
		s.Linux.GIDMappings = s.Linux.UIDMappings
	}},
	"mounts": {edit: func(s *specs.Spec) {
		maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 5, Size: 1}}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/bin", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup"}},
			specs.Mount{Destination: "/root", Type: "tmpfs", Source: "tmpfs", Options: []string{"iversion"}},
			specs.Mount{Destination: "/run", Type: "tmpfs", Options: []string{"remount", "size=1m", "ro"}},
			specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", UIDMappings: maps, GIDMappings: maps},
			specs.Mount{Destination: "/home", Type: "bind", Source: "/var/tmp", Options: []string{"rbind", "rro", "ridmap"}, UIDMappings: maps, GIDMappings: maps})
	}},
	"flags": {source: "/mounts/7", edit: func(s *specs.Spec) {
		withUserns(s)
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/home", Type: "bind", Source: "/var/tmp", Options: []string{"bind", "rw", "dev"}}) // the eighth
	}},
	"cwd": {source: "/process/cwd", edit: func(s *specs.Spec) {
		withUserns(s)
		s.Process.User, s.Process.Cwd = specs.User{UID: 1000, GID: 1000}, "/home/user"
	}},
	"on host": {edit: func(s *specs.Spec) {
		onHost(s)
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/true"}}}
	}, source: "/root"},
	"links": {image: map[string]string{"etc/run": "/run/made/here"}, source: "/mounts", edit: func(s *specs.Spec) {
		withUserns(s)
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/etc/run/x", Type: "bind", Source: "/var/tmp", Options: []string{"bind"}},
			specs.Mount{Destination: "/home", Type: "bind", Source: "rootfs/etc/run/x", Options: []string{"bind", "idmap"}})
	}},
	"attributes": {edit: func(s *specs.Spec) {
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "time"})
		s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"boottime": {Secs: 5}}
		s.Linux.Personality = &specs.LinuxPersonality{Domain: specs.PerLinux}
		s.Linux.MemoryPolicy = &specs.LinuxMemoryPolicy{Mode: specs.MpolPreferred, Nodes: "0"}
		sched(specs.Scheduler{Policy: specs.SchedBatch, Nice: 3}, 4)(s)
	}},
	"cgroups": {edit: func(s *specs.Spec) {
		withCgroupMount(s)
		shares, limit := uint64(100), int64(64<<20)
		s.Process.User = specs.User{UID: 1000, GID: 1000}
		s.Linux.Resources = &specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: &shares}, Memory: &specs.LinuxMemory{Limit: &limit, Swap: &limit},
			Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}, {Allow: true, Type: "c", Access: "r"}}}
	}},
	"seccomp": {edit: func(s *specs.Spec) {
		s.Process.NoNewPrivileges = false
		s.Linux.Seccomp = profile(calls(specs.ActNotify, "mkdir"))
		s.Linux.Seccomp.ListenerPath = faultAgent
	}, deps: func(t *testing.T, _ *Deps) { newAgent(t, faultAgent) }},
	"hooks": {edit: func(s *specs.Spec) {
		hook := []specs.Hook{{Path: "/bin/true"}}
		s.Hooks = &specs.Hooks{CreateRuntime: hook, CreateContainer: hook, StartContainer: []specs.Hook{{Path: "/bin/true"}}, Poststart: hook, Poststop: hook}
	}},
	"resctrl": {edit: func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "/", EnableMonitoring: true} }, source: "/linux/intelRdt", deps: func(t *testing.T, deps *Deps) {
		deps.Facts.Resctrl = standIn(t)
		groups := filepath.Join(deps.Facts.Resctrl, "mon_groups")
		if err := os.Mkdir(groups, 0o755); err != nil {
			t.Fatal(err)
		}
	}},
	"resources": {edit: func(s *specs.Spec) {
		limit, pids, shares := int64(64<<20), int64(100), uint64(512)
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &pids}
		s.Linux.Resources.CPU = &specs.LinuxCPU{Shares: &shares, Cpus: "0"}
		s.Root.Readonly = true
		s.Process.Cwd = "/made/here"
		s.Process.User = specs.User{UID: 1000, GID: 1000, AdditionalGids: []uint32{5, 7}}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/etc/plain", Type: "bind", Source: "/proc/version", Options: []string{"bind", "ro"}})
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}
	}},
}

// TestFaults makes every step of create and start fail with every errno: afterwards nothing of the container is there. Where the CPU is emulated, every step
// fails once.
func TestFaults(t *testing.T) {
	for name, topic := range topics {
		t.Run(name, func(t *testing.T) {
			if topic.deps != nil && !alone(t) {
				return
			}
			bundle := newBundle(t, topic.edit)
			for link, to := range topic.image {
				if err := os.Symlink(to, filepath.Join(bundle, "rootfs", link)); err != nil {
					t.Fatal(err)
				}
			}
			deps := newDeps(t)
			if topic.deps != nil {
				topic.deps(t, deps)
			}
			r := request(bundle)
			r.Terminal = topic.terminal
			s, err := LoadSpec(bundle)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Compile(r, s, deps.Facts)
			if err != nil {
				t.Fatal(err)
			}
			elsewhere := func(plan.Step) bool { return false }
			if name != "default" && slow.Emulated() {
				elsewhere = usual(t, bundle)
			}
			runToEnd(t, deps, r, topic.terminal) // makes what is made once (test cgroup parents, runtime threads)
			before := takeTrace(t, bundle)
			for i := range p.Steps {
				if p.Steps[i].Op == plan.OpGate || !strings.HasPrefix(p.Steps[i].Source, topic.source) || elsewhere(p.Steps[i]) {
					continue
				}
				for _, errno := range slow.Sample(i, faultErrnos) {
					deps.Fault = func(q *plan.Plan) *plan.Plan {
						if q.Name != p.Name {
							return q // a hook's, whose faults are a test of their own
						}
						return q.WithFault(i, errno)
					}
					faulty(t, deps, r, fmt.Sprintf("step %d %q %s", i, p.Steps[i].Label, errno.Name()))
				}
				noTrace(t, before, bundle)
				if t.Failed() {
					t.Fatalf("after step %d %q", i, p.Steps[i].Label)
				}
			}
		})
	}
}

// usual says which steps the topic "default" has too: where the CPU is emulated, they fail there alone.
func usual(t *testing.T, bundle string) func(plan.Step) bool {
	t.Helper()
	base, deps := newBundle(t, nil), newDeps(t)
	s, err := LoadSpec(base)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(request(base), s, deps.Facts)
	if err != nil {
		t.Fatal(err)
	}
	key := func(s plan.Step, dir string) string {
		return fmt.Sprint(s.Actor, s.Phase, strings.NewReplacer(dir, "BUNDLE", filepath.Base(dir), "ID").Replace(s.Label+s.Source))
	}
	seen := map[string]bool{}
	for _, s := range p.Steps {
		seen[key(s, base)] = true
	}
	return func(s plan.Step) bool { return seen[key(s, bundle)] }
}

// faultyLimit is far above what a container's life takes.
var faultyLimit = slow.Limit(20 * time.Second)

// faulty creates, starts and deletes; a step that fails gives an error that names it, a tolerated failure a container that works.
func faulty(t *testing.T, deps *Deps, r Request, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), faultyLimit)
	defer cancel()
	c, err := Create(ctx, deps, r)
	if err != nil {
		wantStepError(t, err, what)
		return
	}
	if err := c.Start(ctx); err != nil {
		wantStepError(t, err, what)
	} else {
		<-c.init.Done()
		if status, _ := c.init.Exit(); status != 7 {
			t.Errorf("%s: it started, and its exit status is %d, want 7", what, status)
		}
	}
	if c.init.Console() != nil {
		c.init.Console().Close()
	}
	if err := c.Delete(ctx); err != nil {
		t.Errorf("%s: delete: %v", what, err)
	}
}

func wantStepError(t *testing.T, err error, what string) {
	t.Helper()
	var se *plan.StepError
	if !errors.As(err, &se) {
		t.Errorf("%s: %v is no step error", what, err)
	}
	if errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%s: hung: %v", what, err)
	}
}

func runToEnd(t *testing.T, deps *Deps, r Request, terminal bool) {
	t.Helper()
	ctx := t.Context()
	c, err := Create(ctx, deps, r)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	<-c.Init().Done()
	if status, _ := c.Init().Exit(); status != 7 {
		t.Errorf("exit status %d, want 7", status)
	}
	if terminal {
		c.Init().Console().Close()
	}
	if err := c.Delete(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestExecFaults makes every step of an exec fail: the container stays as it was.
func TestExecFaults(t *testing.T) {
	for _, name := range []string{"plain", "terminal", "seccomp", "traced", "traced terminal"} {
		t.Run(name, func(t *testing.T) {
			terminal := strings.HasSuffix(name, "terminal")
			var a *agent
			bundle := newBundle(t, func(s *specs.Spec) {
				s.Process.Args = []string{"sleep", "1000"}
				if strings.HasPrefix(name, "traced") { // what enters is born twice
					s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, "CAP_SYS_PTRACE")
				}
				if name == "seccomp" { // a process without no_new_privs, whose listener goes to an agent
					topics[name].edit(s)
					a = newAgent(t, faultAgent)
				}
			})
			deps := newDeps(t)
			c, err := Create(t.Context(), deps, request(bundle))
			if err != nil {
				t.Fatal(err)
			}
			defer c.Delete(context.Background())
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			var p *plan.Plan
			deps.Fault = func(q *plan.Plan) *plan.Plan { p = q; return q }
			execOnce(t, c, terminal, "good")
			if a != nil { // it has the listeners of both
				a.next(t)
				a.next(t)
			}
			before := takeTrace(t, bundle)
			for i := range p.Steps {
				for _, errno := range slow.Sample(i, faultErrnos) {
					deps.Fault = func(p *plan.Plan) *plan.Plan { return p.WithFault(i, errno) }
					execOnce(t, c, terminal, fmt.Sprintf("step %d %q %s", i, p.Steps[i].Label, errno.Name()))
				}
				noTrace(t, before, bundle)
				if t.Failed() {
					t.Fatalf("after step %d %q", i, p.Steps[i].Label)
				}
			}
		})
	}
}

func execOnce(t *testing.T, c *Container, terminal bool, what string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), faultyLimit)
	defer cancel()
	p, err := c.Exec(ctx, ExecRequest{ExecID: "e1", Terminal: terminal,
		Spec: []byte(`{"args":["sh","-c","exit 3"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":0,"gid":0}}`)})
	if err != nil {
		if what == "good" {
			t.Fatal(err)
		}
		wantStepError(t, err, what)
		return
	}
	<-p.Done()
	if status, _ := p.Exit(); status != 3 {
		t.Errorf("%s: exit status %d, want 3", what, status)
	}
	if p.Console() != nil {
		p.Console().Close()
	}
}

// TestCreateCancelled ends the context before anything is made.
func TestCreateCancelled(t *testing.T) {
	bundle := newBundle(t, nil)
	deps := newDeps(t)
	runToEnd(t, deps, request(bundle), false)
	before := takeTrace(t, bundle)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Create(ctx, deps, request(bundle)); !errors.Is(err, context.Canceled) {
		t.Errorf("create with an ended context: %v", err)
	}
	noTrace(t, before, bundle)
}
