package compile

import (
	"slices"
	"strings"
	"testing"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

func sysOf(p *plan.Plan, want abi.Sys, first uint64) []int {
	var list []int
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Op == plan.OpSyscall && s.Sys == want && (len(s.Args) == 0 || s.Args[0].Kind != plan.Imm || s.Args[0].Value == first) {
			list = append(list, i)
		}
	}
	return list
}

// TestCutOff: a process that enters is not dumpable and holds nothing of the runtime's before it is in any namespace of the container, and never again has
// more than its own (CVE-2016-9962, CVE-2024-21626).
func TestCutOff(t *testing.T) {
	everyPlan(t, func(t *testing.T, p *plan.Plan) {
		child := slices.IndexFunc(p.Steps, func(s plan.Step) bool { return s.Actor == plan.Child })
		if s := &p.Steps[child]; s.Sys != abi.SysPrctl || s.Args[0].Value != abi.PR_SET_DUMPABLE || s.Args[1].Value != 0 {
			t.Errorf("the child begins with %q", s.Label)
		}
		if p.Steps[child+1].Op != plan.OpCloseAll {
			t.Errorf("the child goes on with %q", p.Steps[child+1].Label)
		}
		for _, r := range p.Steps[child+1].Keep {
			switch name := p.Regs[r]; {
			case name == plan.RegSyncC || name == plan.RegInit || name == plan.RegStdin || name == plan.RegStdout || name == plan.RegStderr || name == "null":
			case name == plan.RegGate || strings.HasPrefix(name, "preserved."): // what its creator is asked for
			case made(p, plan.R(r), func(s *plan.Step) bool {
				return s.Sys == abi.SysOpenTree || s.Call == plan.CallUserns || s.Sys == abi.SysOpenat && (strings.HasSuffix(s.Path, "/tasks") || strings.HasSuffix(s.Path, "/cgroup.procs") || strings.HasPrefix(s.Source, "/linux/namespaces/") || s.Source == "/root/path")
			}):
			default:
				t.Errorf("the child keeps %%%s", name)
			}
		}
	})
}

// opensNothing are the calls that may stand behind the last close_range. A filter's listener is closed on execve by the kernel (seccomp(2)).
var opensNothing = []abi.Sys{abi.SysExecve, abi.SysSeccomp, abi.SysCapset, abi.SysRead, abi.SysWrite}

// TestLastDescriptors: from the last close_range on nothing is opened, and it closes everything but 0 to 2 and what is to be preserved (CVE-2024-21626).
func TestLastDescriptors(t *testing.T) {
	everyPlan(t, func(t *testing.T, p *plan.Plan) {
		first := uint64(3)
		for _, name := range p.Regs {
			if strings.HasPrefix(name, "preserved.") {
				first++
			}
		}
		list := sysOf(p, abi.SysCloseRange, first)
		if len(list) != 1 {
			t.Fatalf("%d times close_range(%d, ...)", len(list), first)
		}
		s := &p.Steps[list[0]]
		if s.Args[1].Value != 1<<32-1 || s.Args[2].Value != abi.CLOSE_RANGE_CLOEXEC || len(s.Tolerate) > 0 {
			t.Errorf("%q is not close_range(%d, max, CLOEXEC)", s.Label, first)
		}
		for i := list[0] + 1; i < len(p.Steps); i++ {
			if s := &p.Steps[i]; s.Actor == plan.Child && !slices.Contains(opensNothing, s.Sys) {
				t.Errorf("%q stands behind", s.Label)
			}
		}
	})
}

// TestWorkingDirectory: what cwd names may be a link of the image's: it is followed within the root and through no magic link, and the process goes to what
// was looked up (CVE-2024-21626).
func TestWorkingDirectory(t *testing.T) {
	for name, p := range map[string]*plan.Plan{
		"create": attacked(t, `{"process": {"cwd": "/link"}}`, `{}`),
		"exec":   attacked(t, `{}`, `{"exec": {"cwd": "/link"}}`),
	} {
		last := p.Steps[slices.Max(sysOf(p, abi.SysFchdir, 0))]
		if !made(p, last.Args[0], func(s *plan.Step) bool {
			return resolves(p, s, abi.RESOLVE_IN_ROOT|abi.RESOLVE_NO_MAGICLINKS) && text(p, s.Args[1]) == "link"
		}) || last.Source != "/process/cwd" {
			t.Errorf("%s: goes to something else by %q", name, last.Label)
		}
		if i := slices.Max(append(sysOf(p, abi.SysChdir, 0), 0)); i > 0 && text(p, p.Steps[i].Args[0]) != "/" {
			t.Errorf("%s: %q", name, p.Steps[i].Label)
		}
	}
}

// TestInheritable: the inheritable set is what the process's own configuration says, also when an exec adds capabilities (CVE-2022-29162).
func TestInheritable(t *testing.T) {
	const sets = `{"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"], "permitted": ["CAP_CHOWN", "CAP_SYS_ADMIN"], "effective": ["CAP_CHOWN", "CAP_SYS_ADMIN"]`
	for _, c := range []struct {
		input string
		want  uint32
	}{
		{`{"exec": {}}`, 0},
		{`{"exec": {"capabilities": ` + sets + `}}}`, 0},
		{`{"exec": {"capabilities": ` + sets + `, "ambient": ["CAP_SYS_ADMIN"]}}}`, 0},
		{`{"exec": {"capabilities": ` + sets + `, "inheritable": ["CAP_CHOWN"], "ambient": ["CAP_SYS_ADMIN", "CAP_CHOWN"]}}}`, 1},
	} {
		p := attacked(t, `{}`, c.input)
		data := p.Steps[slices.Max(sysOf(p, abi.SysCapset, 0))].Args[1]
		if got := uint32(word(p, data, 8)); got != c.want { // effective, permitted and inheritable of 32 bits each
			t.Errorf("%s: inheritable %#x", c.input, got)
		}
		var raised []uint64
		for _, i := range sysOf(p, abi.SysPrctl, abi.PR_CAP_AMBIENT) {
			if s := &p.Steps[i]; s.Args[1].Value == abi.PR_CAP_AMBIENT_RAISE {
				raised = append(raised, s.Args[2].Value)
			}
		}
		if c.want == 0 && len(raised) > 0 || c.want == 1 && !slices.Equal(raised, []uint64{0}) {
			t.Errorf("%s: raises %d", c.input, raised)
		}
	}
}

// TestPrivateProc: labels and settings are written through a procfs that was made by the child and is attached nowhere, without leaving it, and before
// anything is mounted for the container (CVE-2019-16884, CVE-2025-52881).
func TestPrivateProc(t *testing.T) {
	g := golden{files: map[string]string{"facts.json": `{"AppArmor": 1, "SELinux": 1}`,
		"config.json": `{"process": {"apparmorProfile": "a", "selinuxLabel": "b:c:d"}, "linux": {"sysctl": {"net.ipv4.ip_forward": "1", "kernel.shmmax": "1"}}}`}}
	for input, want := range map[string]int{`{}`: 5, `{"exec": {}}`: 3} {
		g.files["input.json"] = input
		text, process, f, in := g.read(t)
		p, err := compileGolden(text, process, f, in)
		if err != nil {
			t.Fatal(err)
		}
		first := index(t, p, "the end of safety", func(s *plan.Step) bool {
			return s.Actor == plan.Child && (s.Sys == abi.SysMoveMount || s.Sys == abi.SysSetns && s.Args[1].Value&abi.CLONE_NEWNS != 0)
		})
		writes := 0
		for i := range p.Steps {
			s := &p.Steps[i]
			if s.Sys != abi.SysWrite || s.Actor != plan.Child || !strings.HasPrefix(s.Source, "/linux/sysctl") && !strings.HasPrefix(s.Source, "/process/") {
				continue
			}
			writes++
			if i > first {
				t.Errorf("step %d %q is too late", i+1, s.Label)
			}
			attached := func(r plan.Reg) bool {
				return slices.ContainsFunc(p.Steps, func(o plan.Step) bool { return o.Sys == abi.SysMoveMount && o.Args[0].Reg == r })
			}
			if !made(p, s.Args[0], func(o *plan.Step) bool {
				return resolves(p, o, abi.RESOLVE_BENEATH|abi.RESOLVE_NO_MAGICLINKS|abi.RESOLVE_NO_XDEV) || resolves(p, o, abi.RESOLVE_BENEATH|abi.RESOLVE_NO_SYMLINKS|abi.RESOLVE_NO_XDEV)
			}) || !made(p, setters(p, s.Args[0].Reg)[0].Args[0], func(o *plan.Step) bool { return o.Sys == abi.SysFsmount && !attached(o.Save) }) {
				t.Errorf("step %d %q writes somewhere else", i+1, s.Label)
			}
		}
		if writes != want {
			t.Errorf("%s: %d writes", input, writes)
		}
	}
}

// TestConsole: what is mounted on /dev/console is the other end of the master, which nobody can have replaced: no name of it is looked up (CVE-2025-52565).
func TestConsole(t *testing.T) {
	p := attacked(t, `{}`, `{"Terminal": true}`)
	i := index(t, p, "console", func(s *plan.Step) bool {
		return s.Sys == abi.SysMoveMount && made(p, s.Args[2], func(o *plan.Step) bool { return o.Path == "/dev/console" })
	})
	peer := func(s *plan.Step) bool { return s.Sys == abi.SysIoctl && s.Args[1].Value == abi.TIOCGPTPEER }
	copied := func(s *plan.Step) bool {
		return s.Sys == abi.SysOpenTree && text(p, s.Args[1]) == "" && made(p, s.Args[0], peer)
	}
	if !made(p, p.Steps[i].Args[0], copied) {
		t.Error("something else is mounted on /dev/console")
	}
	master := p.Steps[index(t, p, "peer", peer)].Args[0]
	if !made(p, master, func(s *plan.Step) bool {
		return resolves(p, s, abi.RESOLVE_BENEATH|abi.RESOLVE_NO_SYMLINKS|abi.RESOLVE_NO_XDEV) && text(p, s.Args[1]) == "ptmx"
	}) {
		t.Error("the master may be any file")
	}
	pts := setters(p, master.Reg)[0].Args[0]
	look := index(t, p, "fstatfs", func(s *plan.Step) bool { return s.Sys == abi.SysFstatfs && s.Args[0].Reg == pts.Reg })
	check := index(t, p, "devpts", func(s *plan.Step) bool {
		return s.Op == plan.OpCheck && s.Args[0].Data == p.Steps[look].Args[1].Data && s.Equal == abi.DEVPTS_SUPER_MAGIC && s.Mask == ^uint64(0) && len(s.Tolerate) == 0
	})
	if open := index(t, p, "ptmx", func(s *plan.Step) bool { return s.Save == master.Reg }); check < look || open < check {
		t.Error("/dev/pts is not known to be a devpts when ptmx is opened")
	}
}

// TestCgroupMount: a container without a cgroup namespace sees its own directories only, read-only when that is asked for in either way (CVE-2023-25809).
func TestCgroupMount(t *testing.T) {
	for _, ro := range []string{"ro", "rro"} {
		p := attacked(t, `{"mounts+": [{"destination": "/sys/fs/cgroup", "type": "cgroup", "options": ["`+ro+`"]}]}`, `{}`)
		n := 0
		for i := range p.Steps {
			s := &p.Steps[i]
			if s.Sys != abi.SysOpenTree || s.Source != "/mounts/3" {
				continue
			}
			n++
			if name := text(p, s.Args[1]); !strings.HasSuffix(name, "/test/web1") {
				t.Errorf("the container sees %s", name)
			}
			if !slices.ContainsFunc(p.Steps, func(o plan.Step) bool {
				return o.Sys == abi.SysMountSetattr && o.Args[0].Reg == s.Save && word(p, o.Args[3], 0)&abi.MOUNT_ATTR_RDONLY != 0
			}) {
				t.Errorf("%s: %q can be written to", ro, s.Label)
			}
		}
		if n != 4 {
			t.Errorf("%d hierarchies", n)
		}
	}
}

// TestDevicesDenied: whatever the rules say, all is denied first, and before the container can run (GHSA-g54h-m393-cpwq).
func TestDevicesDenied(t *testing.T) {
	for _, rules := range []string{`null`, `[]`, `[{"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rw"}]`} {
		p := attacked(t, `{"linux": {"resources": {"devices": `+rules+`}}}`, `{}`)
		file := func(name string) func(*plan.Step) bool {
			return func(s *plan.Step) bool { return s.Sys == abi.SysWrite && strings.HasSuffix(s.Path, "/devices."+name) }
		}
		deny, gate := index(t, p, "deny", file("deny")), index(t, p, "gate", func(s *plan.Step) bool { return s.Op == plan.OpGate })
		if got := text(p, p.Steps[deny].Args[1]); got != "a" || deny > gate || index(t, p, "allow", file("allow")) < deny {
			t.Errorf("%s: denies %q at step %d, the gate is step %d", rules, got, deny+1, gate+1)
		}
	}
}

// TestUser: ids that are none are errors, not root (crun's CVE-2026-30892 by the field).
func TestUser(t *testing.T) {
	for _, user := range []string{`{"uid": -1}`, `{"uid": 4294967296}`, `{"uid": "1000x"}`, `{"uid": ""}`, `{"gid": 1.5}`} {
		for config, input := range map[string]string{`{"process": {"user": ` + user + `}}`: `{}`, `{}`: `{"exec": {"user": ` + user + `}}`} {
			if p, err := attack(t, config, input); err == nil {
				t.Errorf("%s %s makes %s", config, input, p.Name)
			}
		}
	}
	refused(t, []string{"4294967295"}, func(v string) (string, string) { return `{"process": {"user": {"uid": ` + v + `}}}`, `{}` })
}
