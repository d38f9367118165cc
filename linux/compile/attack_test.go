package compile

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// The tests of this file ask of plans what each attack that others fell to would need. They follow registers on their own, and trust nothing that
// plan.Verify found.

// attack compiles a container, or with a process (input.json) a further one.
func attack(t *testing.T, config, input string) (*plan.Plan, error) {
	t.Helper()
	g := golden{files: map[string]string{"config.json": config, "input.json": input}}
	text, process, f, in := g.read(t)
	p, err := compileGolden(text, process, f, in)
	if err == nil {
		err = plan.Verify(p)
	}
	return p, err
}

func attacked(t *testing.T, config, input string) *plan.Plan {
	t.Helper()
	p, err := attack(t, config, input)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// everyPlan calls f with the plan of each golden file that has one. That of a restore has no child.
func everyPlan(t *testing.T, f func(t *testing.T, p *plan.Plan)) {
	for name, g := range goldens(t) {
		config, process, machine, in := g.read(t)
		if p, err := compileGolden(config, process, machine, in); err == nil && !in.Restore {
			t.Run(name, func(t *testing.T) { f(t, p) })
		}
	}
}

// setters returns the steps that put something into a register.
func setters(p *plan.Plan, r plan.Reg) []*plan.Step {
	var list []*plan.Step
	for i := range p.Steps {
		if p.Steps[i].Save == r && r != 0 {
			list = append(list, &p.Steps[i])
		}
	}
	return list
}

// made says that a register is set, and only by steps for which f holds.
func made(p *plan.Plan, a plan.Arg, f func(*plan.Step) bool) bool {
	list := setters(p, a.Reg)
	return a.Kind == plan.FromReg && len(list) > 0 && !slices.ContainsFunc(list, func(s *plan.Step) bool { return !f(s) })
}

// word returns a 64-bit word of a structure that an argument points to.
func word(p *plan.Plan, a plan.Arg, off int) uint64 {
	return binary.LittleEndian.Uint64(p.Data[a.Data].Bytes[int(a.Value)+off:])
}

const howResolve, attrPropagation = 16, 16 // offsets in struct open_how and struct mount_attr

// resolves says that a step is an openat2 below a register with all of these flags.
func resolves(p *plan.Plan, s *plan.Step, flags uint64) bool {
	return s.Sys == abi.SysOpenat2 && s.Args[0].Kind == plan.FromReg && word(p, s.Args[2], howResolve)&flags == flags
}

// entered returns the index of the child's step behind which names are the container's.
func entered(t *testing.T, p *plan.Plan) int {
	return index(t, p, "enter the root", func(s *plan.Step) bool {
		return s.Actor == plan.Child && (s.Sys == abi.SysPivotRoot || s.Sys == abi.SysChroot || s.Sys == abi.SysSetns && s.Args[1].Value&abi.CLONE_NEWNS != 0)
	})
}

// TestNoHostPath: behind the step that enters the root no string of the child's is a path of the host (CVE-2019-18837, CVE-2024-45310).
func TestNoHostPath(t *testing.T) {
	everyPlan(t, func(t *testing.T, p *plan.Plan) {
		if strings.HasSuffix(t.Name(), "/hooks-create") {
			return // a hook among the host's files
		}
		for i := entered(t, p); i < len(p.Steps); i++ {
			s := &p.Steps[i]
			if s.Actor != plan.Child || s.Op != plan.OpSyscall {
				continue
			}
			for _, a := range s.Args {
				if a.Kind != plan.Addr || !p.Data[a.Data].Str {
					continue
				}
				for _, host := range []string{"/run/web1", "run/web1", "/srv/", "/sys/fs/cgroup/", "/var/lib"} {
					if name := text(p, a); strings.HasPrefix(name, host) && !strings.HasPrefix(s.Label, "make the device /srv") {
						t.Errorf("step %d %q names %q", i+1, s.Label, name)
					}
				}
			}
		}
	})
}

// TestTargets: what is mounted goes on a descriptor that was looked up within the root, and what is made is made below one, by a single name
// (CVE-2019-18837, CVE-2021-30465, CVE-2024-45310, CVE-2026-41579).
func TestTargets(t *testing.T) {
	everyPlan(t, func(t *testing.T, p *plan.Plan) {
		root := func(s *plan.Step) bool { return s.Sys == abi.SysOpenTree && s.Source == "/root/path" }
		within := func(s *plan.Step) bool { return resolves(p, s, abi.RESOLVE_IN_ROOT|abi.RESOLVE_NO_MAGICLINKS) }
		own := func(s *plan.Step) bool { return s.Sys == abi.SysFsmount }
		for i := range p.Steps {
			s := &p.Steps[i]
			if s.Actor != plan.Child || s.Op != plan.OpSyscall {
				continue
			}
			dir, name := -1, -1
			switch s.Sys {
			case abi.SysMoveMount:
				if at := s.Args[2]; !made(p, at, within) && !(made(p, s.Args[0], root) && at.Value == abi.AT_FDCWD && text(p, s.Args[3]) == "/") {
					t.Errorf("step %d %q mounts on something that was not looked up within the root", i+1, s.Label)
				}
			case abi.SysMount:
				// A change of the file system that the step before has gone to.
				before := &p.Steps[i-1]
				if s.Args[3].Value&abi.MS_REMOUNT == 0 || text(p, s.Args[1]) != "." || before.Sys != abi.SysFchdir || !made(p, before.Args[0], own) {
					t.Errorf("step %d %q mounts by path", i+1, s.Label)
				}
			case abi.SysMkdirat, abi.SysMknodat, abi.SysFchownat:
				dir, name = 0, 1
			case abi.SysSymlinkat:
				dir, name = 1, 2
			case abi.SysOpenat:
				if s.Args[2].Value&abi.O_CREAT != 0 {
					dir, name = 0, 1
				}
			case abi.SysOpenat2:
				if word(p, s.Args[2], 0)&abi.O_CREAT != 0 {
					t.Errorf("step %d %q makes what a link may lead to", i+1, s.Label)
				}
			}
			if dir < 0 {
				continue
			}
			if at := s.Args[dir]; !made(p, at, within) && !made(p, at, own) && !made(p, at, root) {
				t.Errorf("step %d %q makes something in a folder that was not looked up within the root", i+1, s.Label)
			}
			if n := text(p, s.Args[name]); n == "" || n == ".." || strings.Contains(n, "/") {
				t.Errorf("step %d %q: %q is no single name", i+1, s.Label, n)
			}
		}
	})
}

// TestPropagation: no mount that the container gets is in a group with one of the host's, unless "shared" asks for it: else what is mounted over a masked
// file would be mounted over the host's /dev/null.
func TestPropagation(t *testing.T) {
	asked := func(p *plan.Plan, r plan.Reg) bool {
		return slices.ContainsFunc(p.Steps, func(s plan.Step) bool {
			return s.Sys == abi.SysMountSetattr && s.Args[0].Reg == r && word(p, s.Args[3], attrPropagation)&abi.MS_SHARED != 0
		})
	}
	everyPlan(t, func(t *testing.T, p *plan.Plan) {
		for i := range p.Steps {
			s := &p.Steps[i]
			if s.Sys != abi.SysOpenTree || s.Actor != plan.Parent || asked(p, s.Save) && s.Source != "/root/path" {
				continue
			}
			if !slices.ContainsFunc(p.Steps, func(o plan.Step) bool {
				return o.Actor == plan.Parent && o.Sys == abi.SysMountSetattr && o.Args[0].Reg == s.Save && word(p, o.Args[3], attrPropagation)&(abi.MS_PRIVATE|abi.MS_SLAVE) != 0 &&
					o.Args[2].Value&abi.AT_RECURSIVE >= s.Args[2].Value&abi.AT_RECURSIVE
			}) {
				t.Errorf("step %d %q: the copy stays in the host's peer group", i+1, s.Label)
			}
		}
	})
}

// TestMaskedByDevNull: what covers a masked file is the host's node, which was checked to be character device 1:3 before the fork (CVE-2025-31133).
func TestMaskedByDevNull(t *testing.T) {
	p := attacked(t, `{"linux": {"maskedPaths": ["/proc/kcore", "/proc/keys"]}}`, `{}`)
	fork := index(t, p, "fork", func(s *plan.Step) bool { return s.Op == plan.OpClone })
	null := p.Steps[index(t, p, "copy /dev/null", func(s *plan.Step) bool { return s.Sys == abi.SysOpenTree && text(p, s.Args[1]) == "/dev/null" })].Save
	look := index(t, p, "look", func(s *plan.Step) bool { return s.Sys == abi.SysStatx && s.Args[0].Reg == null })
	buf := p.Steps[look].Args[4].Data
	check := func(off int, mask, equal uint64) {
		t.Helper()
		i := index(t, p, "check", func(s *plan.Step) bool {
			return s.Op == plan.OpCheck && s.Args[0].Data == buf && s.Args[0].Value == uint64(off) && s.Mask&mask == mask && s.Equal == equal
		})
		if i < look || i > fork || len(p.Steps[i].Tolerate) > 0 {
			t.Errorf("step %d %q is not a check of step %d before the fork", i+1, p.Steps[i].Label, look+1)
		}
	}
	check(abi.StatxModeWord, abi.S_IFMT<<abi.StatxModeShift, abi.S_IFCHR<<abi.StatxModeShift)
	check(abi.StatxRdev, ^uint64(0), 1|3<<32)
	copied := func(s *plan.Step) bool { return s.Sys == abi.SysOpenTree && s.Args[0].Reg == null }
	folder := func(s *plan.Step) bool { return s.Sys == abi.SysFsmount }
	covers := 0
	for i := range p.Steps {
		s := &p.Steps[i]
		if s.Sys != abi.SysMoveMount || !strings.HasPrefix(s.Source, "/linux/maskedPaths/") {
			continue
		}
		covers++
		isFolder := made(p, s.Args[0], folder) || made(p, s.Args[0], func(o *plan.Step) bool { return o.Sys == abi.SysOpenTree && made(p, o.Args[0], folder) })
		if s.Args[0].Reg != null && !made(p, s.Args[0], copied) && !isFolder {
			t.Errorf("step %d %q covers with something else", i+1, s.Label)
		}
	}
	if covers != 8 { // two paths, as a file and as a folder, the first and a later time
		t.Errorf("%d covers", covers)
	}
}

// TestOrdinaryDirectory: no link leads to where procfs or sysfs is mounted (CVE-2019-19921, CVE-2023-27561).
func TestOrdinaryDirectory(t *testing.T) {
	p := attacked(t, `{"mounts+": [{"destination": "/sys", "type": "sysfs"}, {"destination": "/deep/proc", "type": "proc"}]}`, `{}`)
	for _, dst := range []string{"/proc", "/sys", "/deep/proc"} {
		i := index(t, p, "mount on "+dst, func(s *plan.Step) bool { return s.Sys == abi.SysMoveMount && s.Path == dst })
		if !made(p, p.Steps[i].Args[2], func(s *plan.Step) bool {
			return resolves(p, s, abi.RESOLVE_IN_ROOT|abi.RESOLVE_NO_SYMLINKS) && word(p, s.Args[2], 0)&abi.O_DIRECTORY != 0
		}) {
			t.Errorf("%s may be a link", dst)
		}
	}
}

// refused tells that each value, put into the configuration or the process, is an invalid argument.
func refused(t *testing.T, values []string, f func(value string) (config, input string)) {
	t.Helper()
	for _, v := range values {
		config, input := f(v)
		if _, err := attack(t, config, input); !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("%s: %v", v, err)
		}
	}
}

// TestOverProc: nothing forged is mounted inside /proc (CVE-2019-16884).
func TestOverProc(t *testing.T) {
	refused(t, []string{"/proc/self/attr/exec", "/proc/self", "proc/sys/kernel", "/x/../proc/1/attr", "//proc//thread-self", "/proc/meminfo/x", "/proc/cpuinfo2"},
		func(v string) (string, string) {
			return `{"mounts+": [{"destination": "` + v + `", "source": "/srv/forged", "options": ["bind"]}]}`, `{}`
		})
	for _, v := range []string{"/proc/meminfo", "/proc/net/dev"} {
		attacked(t, `{"mounts+": [{"destination": "`+v+`", "source": "/srv/lxcfs", "options": ["bind"]}]}`, `{}`)
	}
}

// TestCommandAndCwd: neither the command nor the working directory is an open file or the program of a process (CVE-2019-5736, CVE-2024-21626).
func TestCommandAndCwd(t *testing.T) {
	links := []string{"/proc/self/fd/7", "/proc/self/cwd", "/proc/1/root", "/proc/thread-self/fd/3", "/dev/fd/8", "/../proc/self/./fd/9", "/proc/12/task/12/fd/3"}
	refused(t, links, func(v string) (string, string) { return `{"process": {"cwd": "` + v + `"}}`, `{}` })
	refused(t, links, func(v string) (string, string) { return `{}`, `{"exec": {"cwd": "` + v + `"}}` })
	programs := append([]string{"/proc/self/exe", "/proc/1/exe", "/proc/thread-self/exe", "/dev/fd/3"}, links...)
	refused(t, programs, func(v string) (string, string) { return `{"process": {"args": ["` + v + `"]}}`, `{}` })
	refused(t, programs, func(v string) (string, string) { return `{}`, `{"exec": {"args": ["` + v + `"]}}` })
	refused(t, []string{"/proc/self", "/bin:/proc/self/fd"}, func(v string) (string, string) {
		return `{"process": {"args": ["exe"], "env": ["PATH=` + v + `"]}}`, `{}`
	})
}
