package compile

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/facts"
	"example.io/shim/linux/plan"
)

// attrsInput is a container on a machine that has everything.
func attrsInput() CreateInput {
	return CreateInput{ID: "web1", Namespace: "test", Bundle: "/run/web1", Rootfs: "/run/web1/rootfs",
		Facts: facts.Facts{LastCap: 40, Caps: 1<<41 - 1, PageSize: 4096, TimeNamespace: facts.Yes, AppArmor: facts.Yes, SELinux: facts.Yes, Resctrl: "/sys/fs/resctrl",
			Cgroup: facts.Cgroup{Version: 1, Hierarchies: []facts.Hierarchy{
				{Controllers: []string{"pids"}, Mount: "/sys/fs/cgroup/pids", Root: "/", Own: "/"}, {Controllers: []string{"devices"}, Mount: "/sys/fs/cgroup/devices", Root: "/", Own: "/"},
			}}},
		Spec: &specs.Spec{Version: specs.Version, Root: &specs.Root{Path: "rootfs"}, Process: &specs.Process{Args: []string{"/bin/sh"}, Cwd: "/"},
			Mounts: []specs.Mount{{Destination: "/proc", Type: "proc"}, {Destination: "/dev", Type: "tmpfs"}, {Destination: "/dev/mqueue", Type: "mqueue"},
				{Destination: "/run", Type: "tmpfs", Options: []string{"context=own"}}, {Destination: "/data", Source: "/srv", Options: []string{"bind"}}},
			Linux: &specs.Linux{CgroupsPath: "/test/web1", Resources: &specs.LinuxResources{}, Namespaces: []specs.LinuxNamespace{{Type: "mount"}, {Type: "pid"}, {Type: "network"}}}},
	}
}

// compiled returns the plan of a container, which keeps to all rules.
func compiled(t *testing.T, edit func(*CreateInput)) *plan.Plan {
	t.Helper()
	in := attrsInput()
	edit(&in)
	p, err := Create(in)
	if err != nil {
		t.Fatal(err)
	}
	if err := plan.Verify(p); err != nil {
		t.Fatal(err)
	}
	return p
}

// index returns the place of the first step for which f holds.
func index(t *testing.T, p *plan.Plan, what string, f func(*plan.Step) bool) int {
	t.Helper()
	i := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return f(&s) })
	if i < 0 {
		t.Fatalf("no step: %s", what)
	}
	return i
}

func text(p *plan.Plan, a plan.Arg) string {
	if a.Kind != plan.Addr {
		return fmt.Sprint(a.Value)
	}
	return strings.TrimRight(string(p.Data[a.Data].Bytes), "\x00")
}

// TestMountLabel: every new file system that takes a context has it, message queues get it on their root, and what says otherwise is left alone.
func TestMountLabel(t *testing.T) {
	const label = "system_u:object_r:container_file_t:s0:c1,c2"
	p := compiled(t, func(in *CreateInput) {
		in.Spec.Linux.MountLabel = label
		in.Spec.Linux.MaskedPaths = []string{"/proc/kcore"}
	})
	var got []string
	for i := range p.Steps {
		s := &p.Steps[i]
		switch {
		case s.Sys == abi.SysFsopen:
			got = append(got, text(p, s.Args[0]))
		case s.Sys == abi.SysFsconfig && text(p, s.Args[2]) == "context":
			got[len(got)-1] += " " + text(p, s.Args[3])
		case s.Sys == abi.SysFsetxattr:
			got[len(got)-1] += " " + text(p, s.Args[1]) + "=" + text(p, s.Args[2])
		}
	}
	if want := []string{"proc", "tmpfs " + label, "mqueue security.selinux=" + label, "tmpfs own", "tmpfs " + label}; !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// TestLabels: the labels are written before the keyring is made, and before a further process is in the container's namespaces.
func TestLabels(t *testing.T) {
	write := func(words string) func(*plan.Step) bool {
		return func(s *plan.Step) bool { return s.Sys == abi.SysWrite && strings.HasPrefix(s.Label, words) }
	}
	sys := func(call abi.Sys) func(*plan.Step) bool { return func(s *plan.Step) bool { return s.Sys == call } }
	label := func(ps *specs.Process) { ps.ApparmorProfile, ps.SelinuxLabel = "tight", "a:b:c" }
	create := compiled(t, func(in *CreateInput) { label(in.Spec.Process) })
	own := attrsInput()
	label(own.Spec.Process)
	inherited, err := Exec(ExecInput{ID: "web1", ExecID: "e1", Process: &specs.Process{Args: []string{"/bin/sh"}, Cwd: "/"}, Spec: own.Spec, Facts: own.Facts})
	if err != nil || plan.Verify(inherited) != nil {
		t.Fatal(err, plan.Verify(inherited))
	}
	for name, p := range map[string]*plan.Plan{"create": create, "exec": inherited} {
		i := index(t, p, "AppArmor", write("have the AppArmor profile tight"))
		if got := text(p, p.Steps[i].Args[1]); got != "exec tight" {
			t.Errorf("%s: writes %q", name, got)
		}
		keys, exec := index(t, p, "keys", write("label our keys")), index(t, p, "SELinux", write("have the SELinux label"))
		if got := text(p, p.Steps[exec].Args[1]); got != "a:b:c" {
			t.Errorf("%s: writes %q", name, got)
		}
		if ring := index(t, p, "keyring", sys(abi.SysKeyctl)); keys > ring {
			t.Errorf("%s: the keyring is made at step %d, and its label is set at %d", name, ring, keys)
		}
		if name == "exec" && exec > index(t, p, "setns", func(s *plan.Step) bool { return s.Actor == plan.Child && s.Sys == abi.SysSetns }) {
			t.Error("the labels are written inside")
		}
	}
	hook, err := Hook(HookInput{Kind: "createContainer", Hook: specs.Hook{Path: "/hook"}, Rootfs: "/run/web1/rootfs", Exec: ExecInput{ID: "web1", Spec: own.Spec, Facts: own.Facts}})
	if err != nil {
		t.Fatal(err)
	}
	if slices.ContainsFunc(hook.Steps, func(s plan.Step) bool { return strings.HasPrefix(s.Source, "/process/selinuxLabel") }) {
		t.Error("a hook of the runtime has the container's label")
	}
}
