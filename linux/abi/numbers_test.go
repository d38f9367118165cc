package abi

import (
	"go/constant"
	"maps"
	"slices"
	"strings"
	"testing"
)

// others are constants that x/sys does not have in this form, and what they are there or in the kernel's headers.
var others = map[string]struct {
	want uint64
	why  string
}{
	"AT_FDCWD": {^uint64(100) + 1, "-100, as a 64-bit argument"},
	"X_OK":     {1, "access(2): unistd.h, which x/sys is not made from"},
}

// TestConstants compares every flag with the one of the same name in x/sys, for both architectures.
func TestConstants(t *testing.T) {
	for _, arch := range arches {
		kernel := kernelConstants(t, arch)
		ours := constants(t, "const.go", "const_"+arch+".go")
		if len(ours) < 120 {
			t.Fatalf("%s: %d constants only", arch, len(ours))
		}
		for _, name := range slices.Sorted(maps.Keys(ours)) {
			want, ok := kernel[name]
			if o, there := others[name]; there {
				want, ok = constant.MakeUint64(o.want), true
			}
			if !ok {
				t.Errorf("%s: x/sys has no %s: say in others where it is from", arch, name)
			} else if got := ours[name]; !same(got, want) {
				t.Errorf("%s: %s is %s, want %s", arch, name, got, want)
			}
		}
	}
}

func same(a, b constant.Value) bool { return a.ExactString() == b.ExactString() }

// TestNumbers compares every system call's number with x/sys.
func TestNumbers(t *testing.T) {
	for _, arch := range arches {
		kernel := kernelConstants(t, arch)
		seen := map[uint64]Sys{}
		for s := SysNone + 1; int(s) < len(sysTable); s++ {
			got, ok := s.Number(arch)
			if !ok || s.String() == "" {
				t.Errorf("%s: call %d %q has no number", arch, s, s)
				continue
			}
			if other, twice := seen[got]; twice {
				t.Errorf("%s: %s and %s have the number %d", arch, s, other, got)
			}
			seen[got] = s
			want, ok := kernel["SYS_"+strings.ToUpper(s.String())]
			if !ok {
				t.Errorf("%s: x/sys has no call %s", arch, s)
			} else if !same(constant.MakeUint64(got), want) {
				t.Errorf("%s: %s is %d, want %s", arch, s, got, want)
			}
		}
	}
	for _, c := range []struct {
		s    Sys
		arch string
	}{{SysNone, "amd64"}, {SysRead, "riscv64"}, {SysRead, ""}, {Sys(len(sysTable)), "amd64"}, {255, "arm64"}} {
		if n, ok := c.s.Number(c.arch); ok || n != 0 {
			t.Errorf("call %d on %q has the number %d", c.s, c.arch, n)
		}
	}
}

// TestErrnos compares names, numbers and words with x/sys. No number of the kernel's is missing.
func TestErrnos(t *testing.T) {
	for _, arch := range arches {
		kernel, texts := kernelConstants(t, arch), errnoTexts(t, arch)
		ours := constants(t, "errno.go")
		for _, name := range slices.Sorted(maps.Keys(ours)) {
			want, ok := kernel[name]
			if !ok || !same(ours[name], want) {
				t.Errorf("%s: %s is %s, want %v", arch, name, ours[name], want)
				continue
			}
			v, _ := constant.Uint64Val(ours[name])
			if e := Errno(v); e.Name() != name {
				t.Errorf("%s: %d is called %s, want %s", arch, v, e.Name(), name)
			}
		}
		if len(texts) < 130 {
			t.Fatalf("%s: x/sys has %d errors only", arch, len(texts))
		}
		for _, name := range slices.Sorted(maps.Keys(texts)) {
			if strings.HasPrefix(texts[name], "unknown error") { // newer than the C library that x/sys was made with
				continue
			}
			v, _ := constant.Uint64Val(kernel[name])
			e := Errno(v)
			if e.Name() != name {
				t.Errorf("%s: %d is called %q, want %s", arch, v, e.Name(), name)
			}
			if e.Error() != texts[name] {
				t.Errorf("%s: %s says %q, want %q", arch, name, e.Error(), texts[name])
			}
		}
	}
	for _, e := range []Errno{0, 41, 58, 134, 4095, 65535} {
		if e.Name() != "" || e.Error() != "unknown error" {
			t.Errorf("%d is %q, %q", uint16(e), e.Name(), e.Error())
		}
	}
}
