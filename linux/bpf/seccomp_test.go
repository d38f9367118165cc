package bpf

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// evaluate says what a profile means for a call, without a program: the test's own reading of Compile's comment.
func evaluate(p *specs.LinuxSeccomp, native Arch, d *Data) uint32 {
	def, _ := Action(p.DefaultAction, p.DefaultErrnoRet)
	arch, known := archOf(p, native, d)
	switch {
	case !known:
		return RetKillThread
	case arch == X8664 && d.Nr == ^uint32(0):
		return def
	}
	top, named := uint32(0), false
	var applies, plain []uint32
	for _, block := range p.Syscalls {
		ret, _ := Action(block.Action, block.ErrnoRet)
		for _, name := range block.Names {
			n, ok := Number(name, arch)
			if ok && n&^x32Bit < armPrivate {
				top, named = max(top, n), true
			}
			if ret == def {
				continue
			}
			if ok && n == d.Nr {
				collect(arch, d, block.Args, false, ret, &applies, &plain)
			}
			if by, call := muxed(name); by != "" && archs[arch].mux {
				if n, _ := Number(by, arch); n == d.Nr {
					args := slices.DeleteFunc(slices.Clone(block.Args), func(c specs.LinuxSeccompArg) bool { return c.Index == 0 })
					if narrowed(arch, d.Args[0]) == uint64(call) {
						collect(arch, d, args, twice(block.Args), ret, &applies, nil)
					}
				}
			}
		}
	}
	newer := named && (d.Nr > top && (d.Nr < armPrivate || arch != ARM) || arch == S390X && d.Nr == 0)
	switch {
	case newer && def&RetAction != RetAllow && def&RetAction != RetLog && def&RetAction != RetTrace:
		return RetErrno | enosys
	case newer:
		return def
	case len(plain) > 0:
		return plain[0]
	case len(applies) > 0:
		return applies[0]
	}
	return def
}

func archOf(p *specs.LinuxSeccomp, native Arch, d *Data) (Arch, bool) {
	for _, a := range append([]Arch{native}, native.guests()...) {
		if a != native && !slices.Contains(p.Architectures, archs[a].name) || archs[a].audit != d.Arch {
			continue
		}
		isX32 := a == X32
		hasX32 := slices.Contains(p.Architectures, specs.ArchX32)
		marked := d.Nr >= x32Bit && (d.Nr != ^uint32(0) || hasX32)
		if native != X8664 || a == X86 || marked == isX32 {
			return a, true
		}
	}
	return 0, false
}

func narrowed(a Arch, v uint64) uint64 {
	if archs[a].narrow {
		return v & 0xffffffff
	}
	return v
}

func twice(args []specs.LinuxSeccompArg) bool {
	for i, c := range args {
		for _, b := range args[:i] {
			if b.Index == c.Index {
				return true
			}
		}
	}
	return false
}

// collect notes what a block returns: in applies when its conditions hold, in plain when it has none to speak of.
func collect(arch Arch, d *Data, args []specs.LinuxSeccompArg, each bool, ret uint32, applies, plain *[]uint32) {
	each = each || twice(args)
	count, held := 0, 0
	always := false
	for _, c := range args {
		if c.Op == specs.OpMaskedEqual && narrowed(arch, c.Value) == 0 {
			always = true
			continue
		}
		count++
		if holds(arch, d.Args[c.Index], c) {
			held++
		}
	}
	if count == 0 || each && always {
		if plain != nil {
			*plain = append(*plain, ret)
		} else {
			*applies = append(*applies, ret)
		}
		return
	}
	if each && held > 0 || held == count {
		*applies = append(*applies, ret)
	}
}

func holds(arch Arch, arg uint64, c specs.LinuxSeccompArg) bool {
	a, v, w := narrowed(arch, arg), narrowed(arch, c.Value), narrowed(arch, c.ValueTwo)
	switch c.Op {
	case specs.OpNotEqual:
		return a != v
	case specs.OpLessThan:
		return a < v
	case specs.OpLessEqual:
		return a <= v
	case specs.OpEqualTo:
		return a == v
	case specs.OpGreaterEqual:
		return a >= v
	case specs.OpGreaterThan:
		return a > v
	case specs.OpMaskedEqual:
		return a&v == w&v
	}
	panic(c.Op)
}

// check checks what the kernel checks of a program (bpf_check_classic in net/core/filter.c).
func check(t testing.TB, list []Insn) {
	t.Helper()
	if len(list) == 0 || len(list) > maxInsns || list[len(list)-1].Code != opRet {
		t.Fatalf("a program of %d instructions", len(list))
	}
	for i, in := range list {
		left := len(list) - i - 1
		switch in.Code {
		case opJump:
			if int(in.K) >= left {
				t.Fatalf("instruction %d of %d jumps over %d", i, len(list), in.K)
			}
		case opJeq, opJgt, opJge, opJset:
			if int(in.Jt) >= left || int(in.Jf) >= left {
				t.Fatalf("instruction %d of %d jumps over %d or %d", i, len(list), in.Jt, in.Jf)
			}
		}
	}
}

var operators = []specs.LinuxSeccompOperator{specs.OpNotEqual, specs.OpLessThan, specs.OpLessEqual, specs.OpEqualTo, specs.OpGreaterEqual, specs.OpGreaterThan, specs.OpMaskedEqual}

// words are values at which comparisons of halves go wrong.
var words = []uint64{0, 1, 2, 3, 5, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x100000001, 0x200000000, 0x2ffffffff, 0x8000000000000000, 1<<64 - 1, 1<<64 - 2}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

// someProfile makes a profile by chance, with few calls, so that their rules meet.
func someProfile(r *rand.Rand) *specs.LinuxSeccomp {
	action := func() (specs.LinuxSeccompAction, *uint) {
		a := pick(r, ActionNames)
		if (a == specs.ActErrno || a == specs.ActTrace) && r.IntN(2) == 0 {
			n := uint(r.IntN(200))
			return a, &n
		}
		return a, nil
	}
	p := &specs.LinuxSeccomp{}
	p.DefaultAction, p.DefaultErrnoRet = action()
	for range r.IntN(5) {
		p.Architectures = append(p.Architectures, pick(r, ArchNames))
	}
	names := make([]string, 1+r.IntN(40))
	for i := range names {
		names[i] = callName(r.IntN(callCount))
	}
	names = append(names, "socket", "socketcall", "semop", "set_tls", "nosuch")
	for range r.IntN(60) {
		b := specs.LinuxSyscall{}
		b.Action, b.ErrnoRet = action()
		for range 1 + r.IntN(4) {
			b.Names = append(b.Names, pick(r, names))
		}
		if r.IntN(2) == 0 {
			for range min(r.IntN(4), r.IntN(4)) {
				b.Args = append(b.Args, specs.LinuxSeccompArg{Index: uint(r.IntN(1 + r.IntN(maxArgs))), Op: pick(r, operators), Value: pick(r, words), ValueTwo: pick(r, words)})
			}
		}
		p.Syscalls = append(p.Syscalls, b)
		for b.Args = nil; r.IntN(3) == 0; { // several values of one argument
			c := b
			c.Action, c.ErrnoRet = action()
			c.Args = []specs.LinuxSeccompArg{{Index: 1, Op: specs.OpEqualTo, Value: pick(r, words)}}
			p.Syscalls = append(p.Syscalls, c)
		}
	}
	return p
}

var natives = []Arch{X8664, AArch64, RISCV64, S390X, PPC64LE}

// someCalls asks a program about calls around the ones that the profile names.
func someCalls(r *rand.Rand, p *specs.LinuxSeccomp, native Arch, f func(d *Data)) {
	asked := append([]Arch{native, X86, ARM}, native.guests()...)
	for _, a := range asked {
		numbers := []uint32{0, 1, 500, 1023, 1024, x32Bit - 1, x32Bit, x32Bit | 512, armPrivate, armPrivate + 5, armPrivate + 100, ^uint32(0)}
		for _, b := range p.Syscalls {
			for _, name := range b.Names {
				if n, ok := Number(name, a); ok {
					numbers = append(numbers, n-1, n, n, n, n+1)
				}
			}
		}
		for _, nr := range numbers {
			d := &Data{Nr: nr, Arch: archs[a].audit, IP: r.Uint64()}
			for i := range d.Args {
				d.Args[i] = pick(r, words) + uint64(r.IntN(2))
			}
			if r.IntN(2) == 0 {
				d.Args[0] = uint64(r.IntN(26)) // of socketcall and ipc
			}
			f(d)
		}
	}
}

func compare(t testing.TB, r *rand.Rand, p *specs.LinuxSeccomp, native Arch) {
	t.Helper()
	list, err := Compile(p, native)
	if err != nil {
		t.Fatal(err)
	}
	check(t, list)
	someCalls(r, p, native, func(d *Data) {
		got, err := Run(list, d)
		if want := evaluate(p, native, d); err != nil || got != want {
			t.Fatalf("on %s, %+v: the program says %#x (%v), the profile %#x\n%+v", native, *d, got, err, want, *p)
		}
	})
}

// FuzzSeccomp compares programs with their profiles.
func FuzzSeccomp(f *testing.F) {
	for seed := range uint64(200) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		r := rand.New(rand.NewPCG(seed, 1))
		compare(t, r, someProfile(r), pick(r, natives))
	})
}

// TestLong: a program that is longer than its jumps reach, up to the kernel's limit, and one that is longer than that.
func TestLong(t *testing.T) {
	long := func(calls int) *specs.LinuxSeccomp {
		p := &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
		for i, n := 0, 0; n < calls; i++ {
			if _, ok := callNumber(i, X8664); !ok {
				continue
			}
			n++
			b := specs.LinuxSyscall{Names: []string{callName(i)}, Action: pick(rand.New(rand.NewPCG(uint64(i), 2)), ActionNames)}
			b.Args = []specs.LinuxSeccompArg{{Index: uint(n % 6), Op: specs.OpGreaterThan, Value: uint64(n) << 30}, {Index: uint((n + 1) % 6), Op: specs.OpLessEqual, Value: uint64(n) << 31}}
			p.Syscalls = append(p.Syscalls, b)
		}
		return p
	}
	compare(t, rand.New(rand.NewPCG(1, 1)), long(300), X8664)
	list, err := Compile(long(300), X8664)
	if err != nil || len(list) < 2000 {
		t.Errorf("%d instructions: that is not long", len(list))
	}
	p := long(300)
	p.Syscalls = append(append(p.Syscalls, p.Syscalls...), p.Syscalls...)
	if _, err := Compile(p, X8664); err == nil || !strings.Contains(err.Error(), "the kernel takes 4096") {
		t.Errorf("too long: %v", err)
	}
}

// TestBadProfile: what spec.Validate lets no one see.
func TestBadProfile(t *testing.T) {
	for want, p := range map[string]*specs.LinuxSeccomp{
		"/defaultAction":     {},
		"/syscalls/1/action": {DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Action: specs.ActLog}, {Action: "no"}}},
	} {
		if _, err := Compile(p, X8664); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("want %s, got %v", want, err)
		}
	}
}

// TestRunErrors: programs that the kernel would not take.
func TestRunErrors(t *testing.T) {
	for want, list := range map[string][]Insn{
		"runs out":   {{Code: opLoad}},
		"word at 64": {{Code: opLoad, K: 64}},
		"word at 2":  {{Code: opLoad, K: 2}},
		"code 0x7":   {{Code: 7}},
	} {
		if _, err := Run(list, &Data{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
	if got := Bytes([]Insn{{Code: opJge, Jt: 1, Jf: 2, K: 0x01020304}}); string(got) != "\x35\x00\x01\x02\x04\x03\x02\x01" {
		t.Errorf("% x", got)
	}
}
