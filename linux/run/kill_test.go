package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/children"
	"example.io/shim/linux/criu"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/signalpipe"
)

// The environment of a test binary that plays the shim which is killed at a step.
const (
	envKillAt     = "RUN_TEST_KILL_AT"
	envKillBundle = "RUN_TEST_KILL_BUNDLE"
	envKillExec   = "RUN_TEST_KILL_EXEC"   // the step is an exec's
	envKillImages = "RUN_TEST_KILL_IMAGES" // of a checkpoint, if it restores one
)

// notReached is the exit code of a shim whose step was jumped over.
const notReached = 3

func TestMain(m *testing.M) {
	if at := os.Getenv(envKillAt); at != "" {
		playShim(at, os.Getenv(envKillBundle))
	}
	// As in the shim: by os/signal the main thread might wait for signals for good, and no test would meet it.
	err := errors.Join(children.Adopt(), signalpipe.Take([]syscall.Signal{unix.SIGCHLD}, func(syscall.Signal) { children.LookAgain() }))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	// The parents of the test cgroups are ours too.
	for _, h := range []string{"cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd", "unified", ""} { // "" is v2's
		_ = os.Remove("/sys/fs/cgroup/" + h + "/shim-run-test")
	}
	os.Exit(code)
}

// playShim creates and starts a container; at step at it kills itself.
func playShim(at, bundle string) {
	i, err := strconv.Atoi(at)
	deps := newDeps(&testing.T{})
	deps.Fault = func(p *plan.Plan) *plan.Plan {
		if i < 0 || os.Getenv(envKillExec) != "" && !strings.HasPrefix(p.Name, "exec ") { // something else kills us, or a later plan does
			return p
		}
		q := p.WithFault(i, 0)
		s := &q.Steps[i]
		*s = plan.Step{Actor: s.Actor, Phase: s.Phase, Label: s.Label, Sys: abi.SysKill,
			Args: []plan.Arg{plan.V(uint64(os.Getpid())), plan.V(uint64(unix.SIGKILL))}}
		return q
	}
	r := request(bundle)
	if images := os.Getenv(envKillImages); images != "" {
		r.Restore = &criu.Options{ImagePath: images}
	}
	c, err2 := Create(context.Background(), deps, r)
	if err == nil && err2 == nil {
		err2 = c.Start(context.Background())
	}
	if err == nil && err2 == nil && os.Getenv(envKillExec) != "" {
		_, err2 = c.Exec(context.Background(), killExec)
	}
	if err != nil || err2 != nil {
		time.Sleep(10 * time.Second) // the child's kill of us is on its way
		fmt.Fprintln(os.Stderr, "not killed:", err, err2)
		os.Exit(1)
	}
	if err := c.Delete(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(notReached)
}

// TestKilledShimSteps kills the shim at every one of its own steps of a create and a start, whatever the child is doing then. Another process cleans up after it, and nothing is left.
func TestKilledShimSteps(t *testing.T) {
	bundle := newBundle(t, func(s *specs.Spec) { s.Process.Args = []string{"sleep", "1000"} })
	deps := newDeps(t)
	s, err := LoadSpec(bundle)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(request(bundle), s, deps.Facts)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Create(t.Context(), deps, request(bundle))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := takeTrace(t, bundle)
	for i := range p.Steps {
		if p.Steps[i].Op == plan.OpGate || p.Steps[i].Op == plan.OpClone || p.Steps[i].Actor != plan.Parent {
			continue
		}
		killedShim(t, before, bundle, i, p.Steps[i].Label)
	}
}

// killedShim runs a shim that kills itself at a step, and cleans up.
func killedShim(t *testing.T, before trace, bundle string, step int, label string, env ...string) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(append(os.Environ(), envKillAt+"="+strconv.Itoa(step), envKillBundle+"="+bundle), env...)
	cmd.Stderr = os.Stderr
	if err := children.StartCommand(cmd); err != nil {
		t.Fatal(err)
	}
	if err := children.WaitCommand(cmd); err == nil || cmd.ProcessState.ExitCode() != -1 && cmd.ProcessState.ExitCode() != notReached {
		t.Fatalf("step %d %q: the shim was not killed: %v", step, label, err)
	}
	if _, err := Cleanup(t.Context(), bundle, t.Logf); err != nil {
		t.Errorf("step %d %q: clean-up: %v", step, label, err)
	}
	noTrace(t, before, bundle)
	if t.Failed() {
		t.Fatalf("after step %d %q", step, label)
	}
}

// killExec is the exec whose shim is killed.
var killExec = ExecRequest{ExecID: "e1", Spec: []byte(`{"args":["sleep","1000"],"cwd":"/","env":["PATH=/bin"],"user":{"uid":0,"gid":0}}`)}

// TestKilledShimExec kills the shim at every one of its own steps of an exec: init and the exec go with the clean-up.
func TestKilledShimExec(t *testing.T) {
	bundle := newBundle(t, func(s *specs.Spec) { s.Process.Args = []string{"sleep", "1000"} })
	deps := newDeps(t)
	var p *plan.Plan
	deps.Fault = func(q *plan.Plan) *plan.Plan { p = q; return q }
	c, err := Create(t.Context(), deps, request(bundle))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), killExec); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := takeTrace(t, bundle)
	for i := range p.Steps {
		if p.Steps[i].Op != plan.OpClone && p.Steps[i].Actor == plan.Parent {
			killedShim(t, before, bundle, i, p.Steps[i].Label, envKillExec+"=1")
		}
	}
}

// TestKilledChild lets the child vanish without a word at each of its steps.
func TestKilledChild(t *testing.T) {
	bundle := newBundle(t, nil)
	deps := newDeps(t)
	r := request(bundle)
	s, err := LoadSpec(bundle)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(r, s, deps.Facts)
	if err != nil {
		t.Fatal(err)
	}
	runToEnd(t, deps, r, false)
	before := takeTrace(t, bundle)
	for i := range p.Steps {
		if p.Steps[i].Actor != plan.Child {
			continue
		}
		deps.Fault = func(p *plan.Plan) *plan.Plan {
			q := p.WithFault(i, 0)
			s := &q.Steps[i]
			*s = plan.Step{Actor: s.Actor, Phase: s.Phase, Label: s.Label, Sys: abi.SysExitGroup, Args: []plan.Arg{plan.V(9)}}
			return q
		}
		faulty(t, deps, r, fmt.Sprintf("killed at step %d %q", i, p.Steps[i].Label))
		noTrace(t, before, bundle)
		if t.Failed() {
			t.Fatalf("after step %d %q", i, p.Steps[i].Label)
		}
	}
}
