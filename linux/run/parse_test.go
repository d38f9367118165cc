package run

import (
	"slices"
	"testing"
)

// TestSchemata: padding and zeros say nothing, everything else does.
func TestSchemata(t *testing.T) {
	got := schemata("    L3:0=00ff;1=f\n  MB: 0= 20;1=100\nbad\nL2:\n")
	if want := [][2]string{{"L3:0", "ff"}, {"L3:1", "f"}, {"MB:0", "20"}, {"MB:1", "100"}}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

// FuzzSchemata: a text says what it says.
func FuzzSchemata(f *testing.F) {
	f.Add("L3:0=7f0;1=1f\nMB:0= 20")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range schemata(text) {
			if again := schemata(s[0] + "=" + s[1]); len(again) != 1 || again[0] != s {
				t.Errorf("%q gives %q, and that %q", text, s, again)
			}
		}
	})
}

// FuzzParseIDMap: the lines of a map come back as numbers, and every id has an owner that is mapped.
func FuzzParseIDMap(f *testing.F) {
	f.Add("0 100000 65536\n1000 5 1\n", uint32(7))
	f.Add("0 4294967295 1", uint32(0))
	f.Fuzz(func(t *testing.T, text string, id uint32) {
		m := parseIDMap(text)
		if len(m) == 0 {
			return
		}
		if owner := m.owner(id); owner < 0 || owner > 1<<32-1 {
			t.Errorf("%q: the owner of %d is %d", text, id, owner)
		}
	})
}
