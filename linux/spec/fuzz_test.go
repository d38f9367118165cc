package spec

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// FuzzIDMap: what maps one way maps back, as long as the ranges are ones that pass.
func FuzzIDMap(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 1, 0, 0, 10, 0, 0, 0}, uint32(3))
	f.Add([]byte{255, 255, 255, 255, 1, 0, 0, 0, 2, 0, 0, 0}, uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, raw []byte, id uint32) {
		var maps []specs.LinuxIDMapping
		for ; len(raw) >= 12; raw = raw[12:] {
			maps = append(maps, specs.LinuxIDMapping{ContainerID: binary.LittleEndian.Uint32(raw), HostID: binary.LittleEndian.Uint32(raw[4:]), Size: binary.LittleEndian.Uint32(raw[8:])})
		}
		text := string(IDMap(maps))
		if strings.Count(text, "\n") != len(maps) {
			t.Fatalf("%d lines for %d maps", strings.Count(text, "\n"), len(maps))
		}
		p := &problems{}
		p.mapping("/m", maps)
		if p.err() != nil {
			return
		}
		if host, ok := ToHost(maps, id); ok {
			if back, ok := ToContainer(maps, host); !ok || back != id {
				t.Errorf("%d is %d on the host, and that is %d, %v", id, host, back, ok)
			}
		}
	})
}

// FuzzNumberSet: a set has the numbers that its list names, and no word too many.
func FuzzNumberSet(f *testing.F) {
	for _, s := range []string{"", "0", "0-3,7", "8191", "3-1", "1,,2", " 5 , 6-9 ", "0-4294967295", "-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := CPUSet(text)
		if err != nil {
			return
		}
		if len(set)%8 != 0 || len(set) > maxCPUs/8 {
			t.Fatalf("%q: %d bytes", text, len(set))
		}
		if n := len(set); n > 0 && binary.LittleEndian.Uint64(set[n-8:]) == 0 {
			t.Errorf("%q: the last word is empty", text)
		}
	})
}

// FuzzAnnotations: each problem has a pointer to an annotation that is there.
func FuzzAnnotations(f *testing.F) {
	f.Add("org.systemd.property.CPUWeight", "uint64 5")
	f.Add("a/b~c", "\x00")
	f.Fuzz(func(t *testing.T, name, value string) {
		err := Validate(&specs.Spec{Annotations: map[string]string{name: value}}, Options{})
		var list Errors
		if !errors.As(err, &list) {
			t.Fatalf("got %v", err)
		}
		for _, e := range list {
			if p := e.Pointer; strings.HasPrefix(p, "/annotations/") && p != at("/annotations", name) {
				t.Errorf("%q: %s", name, p)
			}
		}
	})
}
