package run

import (
	"os"
	"os/exec"
	"strconv"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/internal/need"
	"example.io/shim/linux/children"
	"example.io/shim/linux/criu"
	"example.io/shim/linux/plan"
)

// TestCriuKilledShim kills the shim while CRIU restores: when the root file system is there, when the namespaces are made, when the processes are about to go on, and when
// they go on. Another process cleans up after it, and nothing is left, CRIU neither.
func TestCriuKilledShim(t *testing.T) {
	need.WorkingCriu(t)
	images := t.TempDir()
	hook := []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "kill -9 $PPID"}}}
	deps := newDeps(t)
	b := openBox(t, deps, request(newBundle(t, counter)))
	b.out.number(1)
	checkpoint(t, b, criu.Options{ImagePath: images}, false)
	b.ended(t)
	for name, c := range map[string]struct {
		edit func(*specs.Spec)
		at   func(p *plan.Plan) int
	}{
		"before CRIU":     {at: func(p *plan.Plan) int { return gateOf(p) - 1 }},
		"namespaces":      {edit: func(s *specs.Spec) { s.Hooks = &specs.Hooks{CreateRuntime: hook} }, at: never},
		"before they run": {at: func(p *plan.Plan) int { return gateOf(p) + 1 }},
		"they run":        {edit: func(s *specs.Spec) { s.Hooks = &specs.Hooks{Poststart: hook} }, at: never},
	} {
		t.Run(name, func(t *testing.T) {
			bundle := newBundle(t, func(s *specs.Spec) {
				counter(s)
				limit := int64(100)
				s.Linux.Resources.Pids = &specs.LinuxPids{Limit: &limit} // a step behind the gate
				if c.edit != nil {
					c.edit(s)
				}
			})
			r := request(bundle)
			r.Restore = &criu.Options{ImagePath: images}
			s, err := LoadSpec(bundle)
			if err != nil {
				t.Fatal(err)
			}
			p, err := Compile(r, s, deps.Facts)
			if err != nil {
				t.Fatal(err)
			}
			before, folders := takeTrace(t, bundle), criuFolders(bundle)
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = append(os.Environ(), envKillAt+"="+strconv.Itoa(c.at(p)), envKillBundle+"="+bundle, envKillImages+"="+images)
			cmd.Stderr = os.Stderr
			if err := children.StartCommand(cmd); err != nil {
				t.Fatal(err)
			}
			if err := children.WaitCommand(cmd); err == nil || cmd.ProcessState.ExitCode() != -1 {
				t.Fatalf("the shim was not killed: %v", err)
			}
			if _, err := Cleanup(t.Context(), bundle, t.Logf); err != nil {
				t.Errorf("clean-up: %v", err)
			}
			noTrace(t, before, bundle)
			noCriu(t, bundle, folders)
		})
	}
}

// never leaves the killing to a hook.
func never(*plan.Plan) int { return -1 }

// gateOf returns the index of the gate.
func gateOf(p *plan.Plan) int {
	for i := range p.Steps {
		if p.Steps[i].Op == plan.OpGate {
			return i
		}
	}
	return -1
}
