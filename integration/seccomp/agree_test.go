// Package seccomp compares our filters with those of libseccomp, for the profiles that most containers have.
package seccomp

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"testing"

	containerd "github.com/containerd/containerd/v2/contrib/seccomp"
	docker "github.com/moby/profiles/seccomp"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/bpf"
)

// request and reply are what export.py reads and writes.
type (
	request struct {
		Default string   `json:"default"`
		Errno   uint     `json:"errno"`
		Archs   []string `json:"archs"`
		Names   []string `json:"names"`
		Rules   []entry  `json:"rules"`
	}
	entry struct {
		Name   string  `json:"name"`
		Action string  `json:"action"`
		Errno  uint    `json:"errno"`
		Args   [][]any `json:"args"`
	}
	reply struct {
		Numbers map[string]map[string]int64 `json:"numbers"`
		Filter  string                      `json:"filter"`
	}
)

// the architectures of a machine of each kind, the native one first.
var machines = map[string][]bpf.Arch{"amd64": {bpf.X8664, bpf.X86, bpf.X32}, "arm64": {bpf.AArch64, bpf.ARM}}

// export asks libseccomp.
func export(t *testing.T, p *specs.LinuxSeccomp, archs []bpf.Arch) (reply, []bpf.Insn) {
	t.Helper()
	errno := func(e *uint) uint {
		if e == nil {
			return 1 // EPERM
		}
		return *e
	}
	// socketcall and ipc, which may make a call too, have libseccomp's answer of their own.
	q := request{Names: []string{"socketcall", "ipc"}, Default: string(p.DefaultAction), Errno: errno(p.DefaultErrnoRet), Archs: texts(archs)}
	for _, b := range p.Syscalls {
		for _, name := range b.Names {
			e := entry{Name: name, Action: string(b.Action), Errno: errno(b.ErrnoRet), Args: [][]any{}}
			for _, a := range b.Args {
				e.Args = append(e.Args, []any{a.Index, a.Op, a.Value, a.ValueTwo})
			}
			q.Rules = append(q.Rules, e)
			if !slices.Contains(q.Names, name) {
				q.Names = append(q.Names, name)
			}
		}
	}
	in, err := json.Marshal(q)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "export.py") // Debian's, for which its libseccomp is packaged
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("export.py (python3-seccomp is needed): %v\n%s", err, errs.Bytes())
	}
	var r reply
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	program, err := hex.DecodeString(r.Filter)
	if err != nil {
		t.Fatal(err)
	}
	return r, bpf.Parse(program)
}

func texts(archs []bpf.Arch) []string {
	var list []string
	for _, a := range archs {
		list = append(list, a.String())
	}
	return list
}

// profiles are the default ones of containerd and Docker, for a machine of that kind.
func profiles(t testing.TB, goarch string) map[string]*specs.LinuxSeccomp {
	t.Helper()
	// containerd asks the machine that it runs on; what differs on the other is in its function DefaultProfile.
	c := containerd.DefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_CHOWN", "CAP_SYS_CHROOT"}}}})
	if goarch != runtime.GOARCH {
		own := map[string][]string{"amd64": {"arch_prctl", "modify_ldt"}, "arm64": {"arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint", "cacheflush", "set_tls"}}
		for i := range c.Syscalls {
			c.Syscalls[i].Names = slices.DeleteFunc(slices.Clone(c.Syscalls[i].Names), func(n string) bool { return slices.Contains(own[runtime.GOARCH], n) })
		}
		c.Syscalls = append(c.Syscalls, specs.LinuxSyscall{Names: own[goarch], Action: specs.ActAllow})
	}
	d := expand(goarch)
	for _, p := range []*specs.LinuxSeccomp{c, d} {
		p.Architectures = nil
		for _, a := range machines[goarch] {
			p.Architectures = append(p.Architectures, specs.Arch(a.String()))
		}
	}
	return map[string]*specs.LinuxSeccomp{"containerd": c, "docker": d}
}

// expand chooses the rules of Docker's default profile for a kernel that is new, a container with a few capabilities and that kind of machine.
func expand(goarch string) *specs.LinuxSeccomp {
	all := docker.DefaultProfile()
	p := &specs.LinuxSeccomp{DefaultAction: all.DefaultAction, DefaultErrnoRet: all.DefaultErrnoRet}
	for _, s := range all.Syscalls {
		in, out := s.Includes, s.Excludes
		if in != nil && (len(in.Caps) > 0 && !slices.Contains(in.Caps, "CAP_SYS_CHROOT") || len(in.Arches) > 0 && !slices.Contains(in.Arches, goarch)) ||
			out != nil && (slices.Contains(out.Caps, "CAP_SYS_CHROOT") || slices.Contains(out.Arches, goarch)) {
			continue
		}
		p.Syscalls = append(p.Syscalls, s.LinuxSyscall)
	}
	return p
}

// TestExpand: the choice is Docker's own.
func TestExpand(t *testing.T) {
	want, err := docker.GetDefaultProfile(&specs.Spec{Process: &specs.Process{Capabilities: &specs.LinuxCapabilities{Bounding: []string{"CAP_SYS_CHROOT"}}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := expand(runtime.GOARCH); !reflect.DeepEqual(got.Syscalls, want.Syscalls) {
		t.Errorf("%d rules, want %d", len(got.Syscalls), len(want.Syscalls))
	}
}

// asked are the arguments with which calls are asked about: what the profile's conditions say, and around it.
func asked(p *specs.LinuxSeccomp) []uint64 {
	list := []uint64{0, 1, 1<<32 - 1, 1<<64 - 1, 1 << 32}
	for _, b := range p.Syscalls {
		for _, a := range b.Args {
			for _, v := range []uint64{a.Value, a.ValueTwo} {
				list = append(list, v, v-1, v+1, v|1<<32, v|1<<63)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// TestAgreement asks both filters about every number of every architecture.
func TestAgreement(t *testing.T) {
	for goarch, archs := range machines {
		for name, p := range profiles(t, goarch) {
			t.Run(name+" on "+goarch, func(t *testing.T) {
				ours, err := bpf.Compile(p, archs[0])
				if err != nil {
					t.Fatal(err)
				}
				known, theirs := export(t, p, archs)
				t.Logf("%d instructions, libseccomp's has %d", len(ours), len(theirs))
				for _, a := range archs {
					compareArch(t, p, a, known.Numbers[a.String()], ours, theirs)
				}
				for _, d := range []bpf.Data{{Nr: 1, Arch: 0x1234}, {Nr: ^uint32(0), Arch: bpf.AArch64.Audit()}, {Nr: 5, Arch: bpf.S390X.Audit()}} {
					if a, b := run(t, ours, &d), run(t, theirs, &d); a != b && d.Arch != archs[0].Audit() {
						t.Errorf("%+v: %#x, libseccomp says %#x", d, a, b)
					}
				}
			})
		}
	}
}

func run(t *testing.T, list []bpf.Insn, d *bpf.Data) uint32 {
	t.Helper()
	r, err := bpf.Run(list, d)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// compareArch compares the answers for all numbers of one architecture.
func compareArch(t *testing.T, p *specs.LinuxSeccomp, a bpf.Arch, known map[string]int64, ours, theirs []bpf.Insn) {
	t.Helper()
	var top uint32 // the highest number that the profile names
	newer := map[uint32]string{}
	for _, b := range p.Syscalls {
		for _, name := range b.Names {
			n, ok := bpf.Number(name, a)
			their, resolved := known[name]
			mux := their == known["socketcall"] && name != "socketcall" || their == known["ipc"] && name != "ipc"
			if resolved && their >= 0 && !mux && (!ok || uint32(their) != n) {
				t.Errorf("%s: %s is %d, %v; libseccomp says %d", a, name, n, ok, their)
			}
			if !ok {
				continue
			}
			if !private(a, n) {
				top = max(top, n)
			}
			if !resolved { // libseccomp is older than the profile
				newer[n] = name
			}
		}
	}
	base := uint32(0)
	if a == bpf.X32 {
		base = 1 << 30
	}
	compared, differ := 0, 0
	for _, nr := range numbers(base) {
		for i, v := range asked(p) {
			d := &bpf.Data{Nr: nr, Arch: a.Audit(), IP: uint64(i), Args: [6]uint64{v, v ^ 5, v, 0, v + 7, 1}}
			got, want := run(t, ours, d), run(t, theirs, d)
			switch {
			case newer[nr] != "":
				want = 0x7fff0000 // all of them are allowed
			case nr > top && !private(a, nr):
				want = 0x00050000 | 38 // ENOSYS, as runc has it
			}
			compared++
			if got != want {
				if differ++; differ < 10 {
					t.Errorf("%s: %d(%#x): %#x, want %#x", a, nr, v, got, want)
				}
			}
		}
	}
	t.Logf("%s: %d answers compared, up to number %d; %d calls are newer than libseccomp", a, compared, top&^base, len(newer))
}

// private says whether a call is one of ARM's own, whose numbers are far above the others.
func private(a bpf.Arch, nr uint32) bool { return a == bpf.ARM && nr >= 0xf0000 }

// numbers are all that calls have, and some that none has.
func numbers(base uint32) []uint32 {
	var list []uint32
	for n := range uint32(1100) {
		list = append(list, base|n)
	}
	if base == 0 {
		for n := range uint32(20) {
			list = append(list, 0xf0000+n)
		}
	}
	return append(list, base|0xffff)
}

// TestRandom compares profiles that are made by chance. A call has one rule with conditions, or some that ask for equality: libseccomp 2.5.4 mixes others up
// (of "at most 0" and "at least 1<<32 + 1" it allows 1 too); what we make of them is held against the profile itself by FuzzSeccomp.
func TestRandom(t *testing.T) {
	ops := []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual, specs.OpLessEqual}
	words := []uint64{0, 1, 2, 7, 0xffffffff, 1 << 32, 1<<32 | 1, 1 << 63, 1<<64 - 1}
	names := []string{"read", "close", "openat", "mkdir", "clone", "getpid", "ioctl", "prctl", "statx", "futex"}
	archs := machines["amd64"][:1]
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 3))
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno, Architectures: []specs.Arch{specs.ArchX86_64}}
		for _, name := range names {
			b := specs.LinuxSyscall{Names: []string{name}, Action: specs.ActAllow}
			if r.IntN(10) == 0 {
				p.Syscalls = append(p.Syscalls, b)
			}
			rules, from := 1, ops
			if r.IntN(2) == 0 {
				rules, from = 1+r.IntN(4), []specs.LinuxSeccompOperator{specs.OpEqualTo}
			}
			for range rules {
				b.Args = nil
				for _, i := range r.Perm(6)[:1+r.IntN(3)] {
					b.Args = append(b.Args, specs.LinuxSeccompArg{Index: uint(i), Value: words[r.IntN(len(words))], ValueTwo: words[r.IntN(len(words))], Op: from[r.IntN(len(from))]})
				}
				p.Syscalls = append(p.Syscalls, b)
			}
			if r.IntN(10) == 0 {
				b.Args = nil
				p.Syscalls = append(p.Syscalls, b)
			}
		}
		ours, err := bpf.Compile(p, archs[0])
		if err != nil {
			t.Fatal(err)
		}
		known, theirs := export(t, p, archs)
		compareArch(t, p, archs[0], known.Numbers[archs[0].String()], ours, theirs)
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, fmt.Sprintf("%+v", *p))
		}
	}
}
