package compile

import (
	"errors"
	"reflect"
	"testing"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/facts"
	"example.io/shim/linux/plan"
)

// fuzzFacts are the machines that a fuzzed configuration is compiled for.
func fuzzFacts(n uint8) facts.Facts {
	f := goldenFacts()
	if n&1 != 0 { // with security modules and resctrl
		f.AppArmor, f.SELinux, f.Resctrl = facts.Yes, facts.Yes, "/sys/fs/resctrl"
	}
	if n&2 != 0 { // an old kernel, and a runtime with few rights
		f.LastCap, f.Caps, f.TimeNamespace, f.Ignored = 37, 0xff, facts.No, 1<<12|1
	}
	if n&4 != 0 { // all controllers
		f.Cgroup.Hierarchies = append(f.Cgroup.Hierarchies, facts.Hierarchy{Controllers: []string{"cpuset"}, Mount: "/sys/fs/cgroup/cpuset", Root: "/docker/1", Own: "/docker/1"},
			facts.Hierarchy{Controllers: []string{"blkio", "hugetlb", "net_cls", "net_prio", "rdma"}, Mount: "/sys/fs/cgroup/blkio", Root: "/", Own: "/x"})
	}
	if n&32 != 0 { // v2, and a user's systemd
		f.Cgroup = facts.Cgroup{Version: 2, Systemd: facts.Systemd{User: true, Cgroup: "/user.slice/user@1.service"}, Hierarchies: []facts.Hierarchy{
			{Controllers: []string{"cpuset", "cpu", "io", "memory", "hugetlb", "pids"}, Mount: "/sys/fs/cgroup", Root: "/", Own: "/user.slice/x", Unified: true}}}
	}
	return f
}

// FuzzCreate: no configuration makes the compiler panic; what is refused has a class; what is accepted keeps to all rules, can be lowered, and comes out
// the same twice.
func FuzzCreate(f *testing.F) {
	for _, g := range goldens(f) {
		config, _, _, in := g.read(f)
		for machine := range uint8(8) {
			if in.SystemdCgroup {
				machine = 16 + machine&1 + machine&2<<4
			}
			f.Add(config, machine, in.Terminal, in.NoPivot)
		}
	}
	f.Fuzz(func(t *testing.T, config []byte, machine uint8, terminal, noPivot bool) {
		in := goldenInput{Terminal: terminal, NoPivot: noPivot, NoNewKeyring: machine&8 != 0, SystemdCgroup: machine&16 != 0}
		fuzzed(t, config, nil, fuzzFacts(machine), in)
	})
}

// FuzzExec: the same of further processes.
func FuzzExec(f *testing.F) {
	for _, g := range goldens(f) {
		config, process, _, in := g.read(f)
		if process == nil {
			process = []byte(goldenExec)
		}
		f.Add(config, process, uint8(len(config)), in.Terminal)
	}
	f.Fuzz(func(t *testing.T, config, process []byte, machine uint8, terminal bool) {
		if process == nil {
			process = []byte{}
		}
		fuzzed(t, config, process, fuzzFacts(machine), goldenInput{Terminal: terminal})
	})
}

func fuzzed(t *testing.T, config, process []byte, f facts.Facts, in goldenInput) {
	p, err := compileGolden(config, process, f, in)
	if err != nil {
		if !errors.Is(err, errdefs.ErrInvalidArgument) && !errors.Is(err, errdefs.ErrNotImplemented) {
			t.Fatalf("an error of no class: %v", err)
		}
		return
	}
	again, err := compileGolden(config, process, f, in)
	if err != nil || !reflect.DeepEqual(p, again) {
		t.Fatalf("another plan the second time: %v", err)
	}
	if err := plan.Verify(p); err != nil && onlyMagic(err) {
		return // the configuration names a link of procfs: the verifier is who refuses it
	}
	checkPlan(t, p)
}

// onlyMagic says that magic links are all that a plan is refused for.
func onlyMagic(err error) bool {
	switch e := err.(type) { //nolint:errorlint // it walks the tree
	case *plan.RuleError:
		return e.Rule == "magic-link"
	case interface{ Unwrap() []error }:
		for _, one := range e.Unwrap() {
			if !onlyMagic(one) {
				return false
			}
		}
		return true
	case interface{ Unwrap() error }:
		return onlyMagic(e.Unwrap())
	}
	return false
}
