package gvariant

import (
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"example.io/shim/linux/cgroup/dbus"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]struct{ sig, value string }{
		"1":                             {"i", "1"},
		" -5 ":                          {"i", "-5"},
		"0x10":                          {"i", "16"},
		"010":                           {"i", "8"},
		"1.5":                           {"d", "1.5"},
		"1e3":                           {"d", "1000"},
		"uint64 18446744073709551615":   {"t", "18446744073709551615"},
		"byte 0xff":                     {"y", "255"},
		"int16 -3":                      {"n", "-3"},
		"@u 7":                          {"u", "7"},
		"double 2":                      {"d", "2"},
		"true":                          {"b", "true"},
		"'a b'":                         {"s", "a b"},
		`"it's"`:                        {"s", "it's"},
		`'it\'s\n\u00e4\U0001f600\q'`:   {"s", "it's\nä😀q"},
		"objectpath '/a/b'":             {"o", "/a/b"},
		"signature 'a{sv}'":             {"g", "a{sv}"},
		"['a', 'b']":                    {"as", "[a b]"},
		"@as []":                        {"as", "[]"},
		"[1, uint64 2]":                 {"at", "[1 2]"},
		"[[], ['a']]":                   {"", ""},
		"[@as [], ['a']]":               {"aas", "[[] [a]]"},
		"@ay [1, 2]":                    {"ay", "[1 2]"},
		"[byte 1, 2]":                   {"ay", "[1 2]"},
		"b'ab'":                         {"ay", "[97 98 0]"},
		"('a', 1)":                      {"(si)", "{[a 1]}"},
		"('a',)":                        {"(s)", "{[a]}"},
		"@a(ss) []":                     {"a(ss)", "[]"},
		"[('a', 'b'), ('c', 'd')]":      {"a(ss)", "[{[a b]} {[c d]}]"},
		"[('a', 1), ('c', uint64 2)]":   {"a(st)", "[{[a 1]} {[c 2]}]"},
		"@a(st) [('/dev/null', 5)]":     {"a(st)", "[{[/dev/null 5]}]"},
		"{'a': 1}":                      {"a{si}", "[{[a 1]}]"},
		"{'a': <1>, 'b': <'c'>}":        {"a{sv}", "[{[a <i 1>]} {[b <s c>]}]"},
		"@a{sv} {}":                     {"a{sv}", "[]"},
		"<('a', @as [])>":               {"v", "<(sas) {[a []]}>"},
		"\t[ 'a' ,'b' ] ":               {"as", "[a b]"},
		"('a', ['b'], {'c': (1, 2.5)})": {"(sasa{s(id)})", "{[a [b] [{[c {[1 2.5]}]}]]}"},
	} {
		v, err := Parse(text)
		if want.sig == "" {
			if err == nil {
				t.Errorf("%s: type %s, want an error", text, v.Sig)
			}
			continue
		}
		if err != nil || v.Sig != want.sig {
			t.Errorf("%s: type %s, %v; want %s", text, v.Sig, err, want.sig)
			continue
		}
		if got := show(t, v); want.value != "" && got != want.value {
			t.Errorf("%s: %s, want %s", text, got, want.value)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{"", " ", "a", "'a", "[1", "[1,", "[1 2]", "(1", "()", "{1", "{1:", "{1:2", "{1:2,", "<1", "<>", "<1,2>", "1 2", "[]", "{}", "@", "@a", "@as",
		"@q 70000", "byte 256", "byte -1", "uint64 1.5", "true 1", "@s 1", "@i 'a'", "[1, 'a']", "[1, 2.5]", "uint64 int32 1", "@as [1]", "@(ss) ('a',)", "just 1", "nothing", "@ms nothing",
		"handle 1", "@h 1", `'\u00'`, `'\u0000'`, `'\`, "objectpath 'a'", "signature 'x('", "0x", "1-", "--1", "@ii 1", "{[1]: 2}", "'\xff'", strings.Repeat("[", 100), strings.Repeat("<", 100) + "1",
		strings.Repeat("@i ", 100) + "1"} {
		if v, err := Parse(text); err == nil {
			t.Errorf("%q: taken as %s", text, v.Sig)
		}
	}
}

// wire reads values of any type back from their wire form.
type wire struct {
	b  []byte
	at int
}

func (w *wire) take(n, align int) []byte {
	for w.at%align != 0 {
		if w.b[w.at] != 0 {
			panic("padding that is not zero")
		}
		w.at++
	}
	w.at += n
	return w.b[w.at-n : w.at]
}

func (w *wire) u32() uint32 { return binary.LittleEndian.Uint32(w.take(4, 4)) }

func (w *wire) text(n int) string {
	s := string(w.take(n, 1))
	if w.take(1, 1)[0] != 0 {
		panic("a string without its NUL")
	}
	return s
}

func (w *wire) value(sig string) any {
	switch sig[0] {
	case 'y':
		return w.take(1, 1)[0]
	case 'n':
		return int16(binary.LittleEndian.Uint16(w.take(2, 2)))
	case 'q':
		return binary.LittleEndian.Uint16(w.take(2, 2))
	case 'i':
		return int32(w.u32())
	case 'u':
		return w.u32()
	case 'b':
		return w.u32() == 1
	case 'x':
		return int64(binary.LittleEndian.Uint64(w.take(8, 8)))
	case 't':
		return binary.LittleEndian.Uint64(w.take(8, 8))
	case 'd':
		return math.Float64frombits(binary.LittleEndian.Uint64(w.take(8, 8)))
	case 's', 'o':
		return w.text(int(w.u32()))
	case 'g':
		return w.text(int(w.take(1, 1)[0]))
	case 'v':
		inner := w.text(int(w.take(1, 1)[0]))
		return "<" + inner + " " + fmt.Sprint(w.value(inner)) + ">"
	case '(', '{':
		w.take(0, 8)
		var list []any
		for _, t := range parts(sig) {
			list = append(list, w.value(t))
		}
		return struct{ Of []any }{list}
	}
	n := int(w.u32())
	w.take(0, dbus.Alignment(sig[1:]))
	list := []any{}
	for end := w.at + n; w.at < end; {
		list = append(list, w.value(sig[1:]))
	}
	return list
}

// show is the value as it comes back from the wire.
func show(t *testing.T, v Value) string {
	t.Helper()
	e := &dbus.Encoder{}
	v.Append(e)
	w := &wire{b: e.Bytes()}
	text := fmt.Sprint(w.value(v.Sig))
	if w.at != len(w.b) {
		t.Errorf("%d bytes of %d were read", w.at, len(w.b))
	}
	return text
}

// FuzzParse: what is read can be sent, and comes back whole.
func FuzzParse(f *testing.F) {
	for _, v := range []string{"uint64 5", "['a', 'b']", "{'a': <1>}", "(1, 'x')", "b'abc'", "@a(ss) []", "<<1>>", "@v <'a'>", "[[1]]", "0x", `'\u00e4'`, "@", "1e5", "[1, uint64 2]",
		"@a{s(yt)} {'a': (1, 2)}", "(byte 1, [uint64 2])"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if v, err := Parse(text); err == nil {
			show(t, v)
		}
	})
}
