package run

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/internal/need"
	"example.io/shim/linux/facts"
)

// loadProfile gives the kernel a profile that allows everything but to write to /run/denied, until the test ends.
func loadProfile(t *testing.T, name string) {
	t.Helper()
	parser := func(option string) {
		cmd := exec.Command("apparmor_parser", "--skip-cache", option)
		cmd.Stdin = strings.NewReader(fmt.Sprintf("profile %s flags=(attach_disconnected) {\n file,\n signal,\n capability,\n network,\n mount,\n umount,\n deny /run/denied w,\n}\n", name))
		if out, err := output(cmd); err != nil {
			t.Errorf("apparmor_parser %s: %v: %s", option, err, out)
		}
	}
	parser("--replace")
	t.Cleanup(func() { parser("--remove") })
}

// TestAppArmor: init and further processes are confined by the profile, one with a profile of its own by that.
func TestAppArmor(t *testing.T) {
	deps := newDeps(t)
	if deps.Facts.AppArmor != facts.Yes {
		need.AppArmor.Lacking(t, "it is not active") // refused by name: TestLabelsRefused
	}
	outer, inner := fmt.Sprintf("shim-test-%d", os.Getpid()), fmt.Sprintf("shim-test-exec-%d", os.Getpid())
	loadProfile(t, outer)
	loadProfile(t, inner)
	const script = "cat /proc/self/attr/current; echo x > /run/denied; echo x > /run/allowed && cat /run/allowed"
	want := func(profile string) string {
		return profile + " (enforce)\nsh: can't create /run/denied: Permission denied\nx"
	}
	for name, edit := range map[string]func(*specs.Spec){"host ids": func(*specs.Spec) {}, "user namespace": withUserns} {
		t.Run(name, func(t *testing.T) {
			confined := func(s *specs.Spec) {
				edit(s)
				s.Process.ApparmorProfile = outer
			}
			if got := runScript(t, confined, script); got != want(outer) {
				t.Errorf("init: %s", got)
			}
			box := sleeping(t, deps, confined)
			if got := procFile(t, box.Init().Pid(), "attr/current"); strings.TrimSpace(got) != outer+" (enforce)" {
				t.Errorf("init is %s", got)
			}
			if got := execIn(t, box, nil, script); got != want(outer) {
				t.Errorf("exec: %s", got)
			}
			if got := execIn(t, box, func(p *specs.Process) { p.ApparmorProfile = inner }, script); got != want(inner) {
				t.Errorf("exec with its own: %s", got)
			}
		})
	}
}
