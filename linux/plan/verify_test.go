package plan

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/abi"
)

const (
	fCloexec   = abi.O_CLOEXEC
	propagates = abi.MS_PRIVATE | abi.MS_REC
)

// good builds a small plan that keeps to every rule and uses most kinds of steps. edit, when not nil, is called with the name of each place
// between steps, and may add some.
func good(edit func(place string, b *Builder)) *Plan {
	b := NewBuilder("create web1")
	at := func(place string) {
		if edit != nil {
			edit(place, b)
		}
	}
	sys := func(label string, s abi.Sys, args ...Arg) *Step {
		b.Add(Step{Label: label, Sys: s, Args: args})
		return b.Last()
	}
	syncP, syncC := b.Reg(RegSyncP), b.Reg(RegSyncC)
	one := b.Buf("message", 8)

	b.In(Parent, Cgroup)
	at("begin")
	b.Add(Step{Label: "make the cgroup", Source: "/linux/cgroupsPath", Why: "cgroups(7)", Sys: abi.SysMkdirat, Args: []Arg{AtCwd(), b.Str("/sys/fs/cgroup/web1"), T(0o755, "0755")},
		Tolerate: []abi.Errno{abi.EEXIST}, Undo: &Undo{Label: "remove the cgroup", Sys: abi.SysUnlinkat, Args: []Arg{AtCwd(), b.Str("/sys/fs/cgroup/web1"), T(abi.AT_REMOVEDIR, "AT_REMOVEDIR")}}})
	root := b.Reg("root")
	s := sys("open the root file system", abi.SysOpenat, AtCwd(), b.Str("/run/web1/rootfs"), T(abi.O_PATH|fCloexec, "O_PATH|O_CLOEXEC"))
	s.Save, s.FD = root, true
	b.In(Parent, Launch)
	b.Add(Step{Label: "clone", Op: OpClone, Args: []Arg{T(abi.CLONE_NEWNS|abi.CLONE_NEWPID, "CLONE_NEWNS|CLONE_NEWPID")}})
	pid := b.Reg(RegPid)
	b.Reg(RegPidfd)
	at("cloned")

	b.In(Child, Isolate)
	at("born")
	sys("be not dumpable", abi.SysPrctl, T(abi.PR_SET_DUMPABLE, "PR_SET_DUMPABLE"), V(0))
	at("undumpable")
	b.Add(Step{Label: "close foreign descriptors", Op: OpCloseAll, Keep: []Reg{syncC, root}})
	at("closed")
	sys("make all mounts private", abi.SysMount, V(0), b.Str("/"), V(0), T(propagates, "MS_PRIVATE|MS_REC"), V(0))
	b.In(Child, Mounts)
	at("mounts")
	fs, proc, dir, stat := b.Reg("fs"), b.Reg("proc"), b.Reg("dir"), b.Buf("stat", abi.StatfsSize)
	s = sys("make proc", abi.SysFsopen, b.Str("proc"), T(abi.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC"))
	s.Save, s.FD = fs, true
	sys("create proc", abi.SysFsconfig, R(fs), T(abi.FSCONFIG_CMD_CREATE, "FSCONFIG_CMD_CREATE"), V(0), V(0), V(0))
	s = sys("mount proc", abi.SysFsmount, R(fs), T(abi.FSMOUNT_CLOEXEC, "FSMOUNT_CLOEXEC"), V(0))
	s.Save, s.FD = proc, true
	how := b.Bytes("open_how", abi.OpenHow(abi.O_PATH|fCloexec, 0, abi.RESOLVE_IN_ROOT))
	b.Add(Step{Label: "hold /proc", Source: "/mounts/0/destination", Sys: abi.SysOpenat2, Args: []Arg{R(root), b.Str("/proc"), A(how), V(abi.OpenHowSize)}, Save: dir, FD: true, Tolerate: []abi.Errno{abi.ENOENT}, Retry: 3, RetryOn: abi.EAGAIN})
	there := b.Label()
	b.OnOK(len(b.p.Steps)-1, there)
	sys("make /proc", abi.SysMkdirat, R(root), b.Str("proc"), T(0o755, "0755"))
	s = sys("hold /proc, which is new", abi.SysOpenat2, R(root), b.Str("/proc"), A(how), V(abi.OpenHowSize))
	s.Save, s.FD = dir, true
	b.Place(there)
	sys("look at /proc", abi.SysFstatfs, R(dir), A(stat))
	b.Add(Step{Label: "/proc is no proc yet", Op: OpCheck, Args: []Arg{M(stat, abi.StatfsType)}, Mask: 0, Errno: abi.EPROTO})
	sys("mount proc on /proc", abi.SysMoveMount, R(proc), b.Str(""), R(dir), b.Str(""), T(abi.MOVE_MOUNT_F_EMPTY_PATH|abi.MOVE_MOUNT_T_EMPTY_PATH, "F_EMPTY_PATH|T_EMPTY_PATH"))
	at("before pivot")
	b.In(Child, Root)
	sys("enter the root", abi.SysFchdir, R(root))
	sys("pivot", abi.SysPivotRoot, b.Str("."), b.Str("."))
	sys("let go of the old root", abi.SysUmount2, b.Str("."), T(abi.MNT_DETACH, "MNT_DETACH"))
	b.In(Child, Identity)
	at("inside")
	sys("go to the working directory", abi.SysChdir, b.Str("/srv"))
	at("identity")
	sys("drop CAP_SYS_ADMIN from the bounding set", abi.SysPrctl, T(abi.PR_CAPBSET_DROP, "PR_CAPBSET_DROP"), V(21))
	at("groups")
	sys("set groups", abi.SysSetgroups, V(2), A(b.Bytes("groups", abi.Groups([]uint32{1, 2}))))
	at("gid")
	sys("set gid", abi.SysSetresgid, V(1), V(1), V(1))
	at("uid")
	sys("set uid", abi.SysSetresuid, V(1), V(1), V(1))
	at("caps")
	caps := b.Bytes("caps", abi.CapData(0, 0, 0))
	sys("set capabilities", abi.SysCapset, A(caps), AtOff(caps, 8))
	at("capped")
	sys("reset the signal mask", abi.SysRtSigprocmask, T(abi.SIG_SETMASK, "SIG_SETMASK"), A(b.Buf("sigset", 8)), V(0), V(8))
	b.In(Child, Ready)
	s = sys("tell that we are ready", abi.SysWrite, R(syncC), A(one), V(8))
	s.HasWant, s.Want = true, 8

	b.In(Parent, Ready)
	s = sys("wait for the child", abi.SysRead, R(syncP), A(one), V(8))
	s.HasWant, s.Want = true, 8
	at("heard")
	b.Add(Step{Label: "wait for start", Op: OpGate})
	at("started")
	b.Add(Step{Label: "find HOME", Op: OpCall, Call: CallHome, Args: []Arg{V(1), R(pid)}})
	sys("let it go", abi.SysWrite, R(syncP), A(one), V(1))
	b.In(Child, Start)
	at("waits")
	s = sys("wait for start", abi.SysRead, R(syncC), A(one), V(1))
	s.HasWant, s.Want = true, 1
	argv, envp := b.Vec("argv", []string{"sh", "-c", "true"}, 0), b.Vec(ItemEnv, []string{"PATH=/bin"}, 1)
	at("executes")
	s = sys("execute /usr/bin/sh", abi.SysExecve, b.Str("/usr/bin/sh"), A(argv), A(envp))
	s.Tolerate, s.Command, s.Source = []abi.Errno{abi.ENOENT}, "sh", "/process/args"
	at("between")
	s = sys("execute /bin/sh", abi.SysExecve, b.Str("/bin/sh"), A(argv), A(envp))
	s.Command, s.Source = "sh", "/process/args"
	at("end")
	return b.Plan()
}

// at returns an edit that adds steps at one place.
func at(place string, f func(b *Builder)) func(string, *Builder) {
	return func(p string, b *Builder) {
		if p == place {
			f(b)
		}
	}
}

// add is at for one system call.
func add(place string, s abi.Sys, args func(b *Builder) []Arg) *Plan {
	return good(at(place, func(b *Builder) { b.Add(Step{Label: "added", Sys: s, Args: args(b)}) }))
}

// changed returns the good plan with one of its steps edited.
func changed(label string, f func(p *Plan, s *Step)) *Plan {
	p := good(nil)
	for i := range p.Steps {
		if p.Steps[i].Label == label {
			f(p, &p.Steps[i])
			return p
		}
	}
	panic("no step " + label)
}

// without returns the good plan without a step; jumps are moved.
func without(label string) *Plan {
	p := good(nil)
	n := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Label == label })
	p.Steps = slices.Delete(p.Steps, n, n+1)
	for i := range p.Steps {
		for _, to := range []*int{&p.Steps[i].OnOK, &p.Steps[i].OnErr} {
			if *to > n {
				*to--
			}
		}
	}
	return p
}

// over returns the good plan in which a step jumps over the named one.
func over(label string) *Plan { return overIn(good(nil), label) }

func overIn(p *Plan, label string) *Plan {
	n := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Label == label })
	a := p.Steps[n].Actor
	from, to := n-1, n+1
	for p.Steps[from].Actor != a {
		from--
	}
	for p.Steps[to].Actor != a {
		to++
	}
	p.Steps[from].Tolerate = append(p.Steps[from].Tolerate, abi.EIO)
	p.Steps[from].OnErr = to
	return p
}

func TestVerifyGood(t *testing.T) {
	if err := Verify(good(nil)); err != nil {
		t.Fatal(err)
	}
	if err := Verify(good(nil).WithFault(3, abi.EPERM)); err != nil {
		t.Fatal(err)
	}
	root := func(*Builder) []Arg { return []Arg{V(0), V(0), V(0)} }
	if err := Verify(add("closed", abi.SysSetresuid, root)); err != nil { // root of a new user namespace
		t.Fatal(err)
	}
	if err := Verify(changed("make the cgroup", func(_ *Plan, s *Step) { s.Undo, s.Stays = nil, "others use it" })); err != nil {
		t.Fatal(err)
	}
	if err := Verify(&Plan{Name: "delete web1", Regs: make([]string, 1), Data: make([]Item, 1)}); err != nil {
		t.Fatal(err)
	}
}

func TestRuleErrorClass(t *testing.T) {
	if err := Verify(good(nil).text("/srv", "/proc/self/fd/7")); !errors.Is(err, errdefs.ErrInvalidArgument) || errors.Is(err, errdefs.ErrInternal) {
		t.Errorf("got %v", err)
	}
	if err := Verify(without("set capabilities")); !errors.Is(err, errdefs.ErrInternal) {
		t.Errorf("got %v", err)
	}
}

// TestVerifyRules breaks each rule in several ways, and only that rule.
func TestVerifyRules(t *testing.T) {
	none := func(*Builder) []Arg { return nil }
	for _, c := range verifyCases(none) {
		t.Run(c.rule+"/"+c.name, func(t *testing.T) {
			err := Verify(c.plan)
			if err == nil {
				t.Fatal("accepted")
			}
			var joined interface{ Unwrap() []error }
			if !errors.As(err, &joined) {
				t.Fatalf("not joined: %v", err)
			}
			for _, e := range joined.Unwrap() {
				var re *RuleError
				if !errors.As(e, &re) || re.Rule != c.rule {
					t.Errorf("also breaks another rule: %v", e)
				}
			}
			var out bytes.Buffer
			if err := Print(&out, c.plan, PrintOptions{Verbose: true}); err != nil {
				t.Error(err)
			}
		})
	}
	tested := map[string]bool{}
	for _, c := range verifyCases(none) {
		tested[c.rule] = true
	}
	for _, r := range Rules {
		if !tested[r.Name] {
			t.Errorf("no test breaks the rule %s", r.Name)
		}
		delete(tested, r.Name)
	}
	for name := range tested {
		t.Errorf("the rule %s is not in Rules", name)
	}
}

// FuzzVerify: neither the verifier nor the printer panics on any plan; an accepted one can be lowered; printing is deterministic.
func FuzzVerify(f *testing.F) {
	f.Add([]byte{1, 2, 3}, false)
	f.Add(bytes.Repeat([]byte{7, 255, 0, 9}, 40), true)
	f.Fuzz(func(t *testing.T, edits []byte, raw bool) {
		p := good(nil)
		next := func() int {
			if len(edits) == 0 {
				return 0
			}
			n := int(edits[0])
			edits = edits[1:]
			return n
		}
		for len(edits) > 0 {
			mutate(p, next, raw)
		}
		err := Verify(p)
		var a, b bytes.Buffer
		_ = Print(&a, p, PrintOptions{Verbose: true})
		_ = Print(&b, p, PrintOptions{Verbose: true})
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Error("two prints differ")
		}
		if err == nil {
			if _, err := Lower(p, "amd64", make([]byte, Size(p)), 1<<32); err != nil {
				t.Errorf("accepted, but: %v", err)
			}
		}
	})
}

// mutate changes one thing of p, chosen by next.
func mutate(p *Plan, next func() int, raw bool) {
	s := &p.Steps[next()%len(p.Steps)]
	switch next() % 14 {
	case 0:
		s.OnOK = next() - 20
	case 1:
		s.OnErr = next()
	case 2:
		s.Sys = abi.Sys(next())
	case 3:
		s.Op = Op(next() % 9)
	case 4:
		s.Actor = Actor(next() % 3)
	case 5:
		s.Save = Reg(next())
	case 6:
		if len(s.Args) > 0 {
			s.Args[next()%len(s.Args)] = Arg{Kind: Kind(next() % 5), Value: uint64(next()) << (next() % 64), Reg: Reg(next() % 20), Data: Ref(next() % 40)}
		}
	case 7:
		s.Tolerate = append(s.Tolerate, abi.Errno(next()))
	case 8:
		p.Steps = append(p.Steps, p.Steps[next()%len(p.Steps)])
	case 9:
		if len(p.Steps) > 1 {
			p.Steps = p.Steps[1:]
		}
	case 10:
		s.Keep = append(s.Keep, Reg(next()%30))
	case 11:
		d := &p.Data[next()%len(p.Data)]
		d.Words = append(d.Words, Word{next() - 10, Ref(next())})
	case 12:
		d := &p.Data[next()%len(p.Data)]
		d.Str = !d.Str
	case 13:
		s.Args = append(s.Args, Arg{Kind: Addr, Data: Ref(next())})
	}
	if raw && next()%3 == 0 {
		p.Regs = p.Regs[:min(len(p.Regs), next()%20)]
	}
}

func BenchmarkVerify(b *testing.B) {
	p := good(nil)
	for b.Loop() {
		if err := Verify(p); err != nil {
			b.Fatal(err)
		}
	}
}
