package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// resctrlFiles makes a folder that looks like resctrl with the class of service gold.
func resctrlFiles(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	mkdirs(t, dir, "info", "gold")
	for name, text := range map[string]string{"gold/schemata": "    L3:0=007f0;1=00fff\n    MB:0= 20;1=100\n", "gold/tasks": "", "info/last_cmd_status": "mask f0f has a hole\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func hasGroup(dir string) bool {
	_, err := os.Stat(dir)
	return err == nil
}

// TestSetSchemata: a group's schemata is written, and what cannot be is refused.
func TestSetSchemata(t *testing.T) {
	dir := resctrlFiles(t)
	set := func(resctrl string, rdt *specs.LinuxIntelRdt, lines ...string) error {
		deps := &Deps{}
		deps.Facts.Resctrl = resctrl
		c := &Container{deps: deps, spec: &specs.Spec{Linux: &specs.Linux{IntelRdt: rdt}}, state: State{ID: "web1"}}
		return c.SetSchemata(lines)
	}
	gold := &specs.LinuxIntelRdt{ClosID: "gold"}
	if err := set(dir, gold, "L3:0=f"); err != nil {
		t.Error(err)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "gold/schemata")); err != nil || !strings.HasPrefix(string(data), "L3:0=f\n") {
		t.Errorf("schemata is %q (%v)", data, err)
	}
	for want, err := range map[string]error{"not mounted": set("", gold, "L3:0=f"), "no /linux/intelRdt": set(dir, nil, "L3:0=f")} {
		if !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if err := set(dir, &specs.LinuxIntelRdt{ClosID: "none"}, "L3:0=f"); !errors.Is(err, unix.ENOENT) || !strings.Contains(err.Error(), "hole") {
		t.Errorf("a group that is not there: %v", err)
	}
}

// TestIntelRdt: init and further processes are born in the groups; those of the container's own go with it, one with a closID stays.
func TestIntelRdt(t *testing.T) {
	if !alone(t) {
		return
	}
	for name, c := range map[string]struct {
		rdt    specs.LinuxIntelRdt
		there  []string // before
		in     string   // where the processes are
		goes   []string
		userns bool
	}{
		"own":        {specs.LinuxIntelRdt{}, nil, "/ID", []string{"ID"}, false},
		"userns":     {specs.LinuxIntelRdt{}, nil, "/ID", []string{"ID"}, true},
		"named":      {specs.LinuxIntelRdt{ClosID: "gold"}, []string{"gold"}, "/gold", nil, false},
		"monitor":    {specs.LinuxIntelRdt{ClosID: "gold", EnableMonitoring: true}, []string{"gold/mon_groups"}, "/gold/mon_groups/ID", []string{"gold/mon_groups/ID"}, false},
		"of default": {specs.LinuxIntelRdt{ClosID: "/", EnableMonitoring: true}, []string{"mon_groups"}, "/mon_groups/ID", []string{"mon_groups/ID"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			deps := newDeps(t)
			deps.Facts.Resctrl = standIn(t)
			for _, d := range c.there {
				mkdirs(t, deps.Facts.Resctrl, d)
			}
			t.Run("life", func(t *testing.T) {
				box := sleeping(t, deps, func(s *specs.Spec) {
					s.Linux.IntelRdt = &c.rdt
					if c.userns {
						withUserns(s)
					}
				})
				id := filepath.Base(box.state.Bundle)
				want := "shim-resctrl-" + fmt.Sprint(os.Getpid()) + ":" + strings.ReplaceAll(c.in, "ID", id) + "\n"
				for _, pid := range []int{box.Init().Pid(), execSleeping(t, box, func(*specs.Process) {}).Pid()} {
					if got := procFile(t, pid, "cgroup"); !strings.Contains(got, want) {
						t.Errorf("%d is in\n%s, want %s", pid, got, want)
					}
				}
				t.Cleanup(func() { // after sleeping's: nothing is left to do
					if err := box.Delete(context.Background()); err != nil {
						t.Error(err)
					}
					for _, d := range c.goes {
						if dir := filepath.Join(deps.Facts.Resctrl, strings.ReplaceAll(d, "ID", id)); hasGroup(dir) {
							t.Errorf("%s is left", dir)
						}
					}
				})
			})
			for _, d := range c.there {
				if !hasGroup(filepath.Join(deps.Facts.Resctrl, d)) {
					t.Errorf("%s is gone", d)
				}
			}
		})
	}
}

// TestIntelRdtCrash: what a killed shim left is removed by another process.
func TestIntelRdtCrash(t *testing.T) {
	if !alone(t) {
		return
	}
	deps := newDeps(t)
	deps.Facts.Resctrl = standIn(t)
	box := sleeping(t, deps, func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} })
	dir := filepath.Join(deps.Facts.Resctrl, filepath.Base(box.state.Bundle))
	if !hasGroup(dir) {
		t.Fatal("there is no group")
	}
	if _, err := Cleanup(t.Context(), box.state.Bundle, nil); err != nil || hasGroup(dir) {
		t.Errorf("%v; is left: %v", err, hasGroup(dir))
	}
}

// TestIntelRdtSchemata: a class that is there must have what is asked for; then what schemata has is written.
func TestIntelRdtSchemata(t *testing.T) {
	deps := newDeps(t)
	deps.Facts.Resctrl = resctrlFiles(t)
	group := filepath.Join(deps.Facts.Resctrl, "gold")
	sleeping(t, deps, func(s *specs.Spec) {
		s.Linux.IntelRdt = &specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=7f0;1=fff", MemBwSchema: "MB:1=100", Schemata: []string{"L3:0=f0", "L2:0=3"}}
	})
	for name, want := range map[string]string{"schemata": "L3:0=f0\nL2:0=3\n", "tasks": "0"} {
		data, err := os.ReadFile(filepath.Join(group, name))
		if err != nil || !strings.HasPrefix(string(data), want) {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
}

// TestIntelRdtRefused: each rule of the specification's by its name.
func TestIntelRdtRefused(t *testing.T) {
	if !alone(t) {
		return
	}
	probed := newDeps(t) // before the hierarchy is mounted
	files, groups := resctrlFiles(t), standIn(t)
	for name, c := range map[string]struct {
		resctrl string
		rdt     specs.LinuxIntelRdt
		want    string
	}{
		"no resctrl":      {"", specs.LinuxIntelRdt{}, "/linux/intelRdt: no resctrl file system is mounted on this machine"},
		"other masks":     {files, specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:0=7f0;1=ff"}, "/gold/schemata has fff, not ff, for L3:1"},
		"other bandwidth": {files, specs.LinuxIntelRdt{ClosID: "gold", MemBwSchema: "MB:0=30"}, "has 20, not 30, for MB:0"},
		"no such cache":   {files, specs.LinuxIntelRdt{ClosID: "gold", L3CacheSchema: "L3:7=f"}, "has nothing, not f, for L3:7"},
		"not configured":  {files, specs.LinuxIntelRdt{ClosID: "silver"}, "open the resctrl group " + files + "/silver"},
		"not taken":       {groups, specs.LinuxIntelRdt{ClosID: "silver", Schemata: []string{"L3:0=f0f"}}, "(/linux/intelRdt): schemata "},
		"no monitoring":   {groups, specs.LinuxIntelRdt{EnableMonitoring: true}, "(/linux/intelRdt/enableMonitoring): mkdirat: "},
	} {
		t.Run(name, func(t *testing.T) {
			deps := *probed
			deps.Facts.Resctrl = c.resctrl
			bundle := newBundle(t, func(s *specs.Spec) { s.Linux.IntelRdt = &c.rdt })
			before := takeTrace(t, bundle)
			_, err := Create(t.Context(), &deps, request(bundle))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			noTrace(t, before, bundle)
			if c.resctrl == "" && !errors.Is(err, errdefs.ErrNotImplemented) {
				t.Errorf("%v is not 'not implemented'", err)
			}
			if list, _ := filepath.Glob(groups + "/silver"); len(list) > 0 {
				t.Error("the group is left")
			}
		})
	}
	t.Run("somebody else's", func(t *testing.T) {
		deps := *probed
		deps.Facts.Resctrl = groups
		bundle := newBundle(t, func(s *specs.Spec) { s.Linux.IntelRdt = &specs.LinuxIntelRdt{} })
		dir := filepath.Join(groups, filepath.Base(bundle))
		mkdirs(t, groups, filepath.Base(bundle))
		defer unix.Rmdir(dir)
		if _, err := Create(t.Context(), &deps, request(bundle)); !errors.Is(err, errdefs.ErrFailedPrecondition) || !hasGroup(dir) {
			t.Errorf("got %v, and the group is there: %v", err, hasGroup(dir))
		}
	})
	if err := writeSchemata(files, filepath.Join(files, "none"), "L3:0=f0f\n"); err == nil || !strings.HasSuffix(err.Error(), ": mask f0f has a hole") {
		t.Errorf("the kernel's reason is not told: %v", err)
	}
}
