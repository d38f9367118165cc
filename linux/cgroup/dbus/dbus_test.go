package dbus

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
)

// TestWire compares with bytes worked out by hand from the specification's rules.
func TestWire(t *testing.T) {
	e := &Encoder{}
	e.String("ab")
	e.Uint64(1)
	e.Array("(sv)", func() {
		e.Struct()
		e.String("N")
		e.Signature("u")
		e.Uint32(7)
	})
	e.Array("t", func() {})
	e.Byte(3)
	e.Uint16(4)
	e.Bool(true)
	want := "02000000" + "616200" + "00" + "0100000000000000" + // "ab" and a NUL, padding, 1
		"10000000" + "00000000" + "01000000" + "4e00" + "017500" + "000000" + "07000000" + // 16 bytes behind the padding: "N", the variant u, padding, 7
		"00000000" + "00000000" + // no elements; the padding before the first is there all the same
		"03" + "00" + "0400" + "01000000"
	if got := hex.EncodeToString(e.Bytes()); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	m := &Message{Kind: Call, Serial: 5, Path: "/a", Member: "Get", Signature: "s", Body: []byte{1, 0, 0, 0, 'x', 0}}
	want = "6c010001" + "06000000" + "05000000" + "27000000" +
		"01016f00" + "02000000" + "2f6100" + "0000000000" +
		"03017300" + "03000000" + "47657400" + "00000000" +
		"08016700" + "017300" + "00" +
		"01000000" + "7800"
	if got := hex.EncodeToString(m.Encode()); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestRoundTrip(t *testing.T) {
	e := &Encoder{}
	e.Uint32(7)
	e.String("/job/7")
	e.String("x.scope")
	e.Signature("s") // a variant
	e.String("done")
	e.Bool(true)
	e.Signature("as")
	for _, m := range []*Message{
		{Kind: Signal, Serial: 9, Path: "/a", Interface: "a.b", Member: "JobRemoved", Signature: "uosvbg", Body: e.Bytes()},
		{Kind: Error, Serial: 1, ReplyTo: 77, ErrorName: "a.b.Error", Destination: ":1.1"},
		{Kind: Reply, Serial: 1, ReplyTo: 1, Body: []byte{}},
	} {
		b := m.Encode()
		if n, err := Rest(b[:HeaderSize]); err != nil || n != len(b)-HeaderSize {
			t.Errorf("rest of %d bytes, %v; want %d", n, err, len(b)-HeaderSize)
		}
		got, err := Decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if m.Body == nil {
			m.Body = got.Body[:0]
		}
		if !bytes.Equal(got.Body, m.Body) {
			t.Errorf("body %x, want %x", got.Body, m.Body)
		}
		got.Body, m.Body = nil, nil
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%+v, want %+v", got, m)
		}
	}
	m := &Message{Signature: "uosvbg", Body: e.Bytes()}
	v, err := m.Values()
	if want := []any{uint32(7), "/job/7", "x.scope", "done", true, "as"}; err != nil || !reflect.DeepEqual(v, want) {
		t.Errorf("%v, %v; want %v", v, err, want)
	}
}

func TestRefuses(t *testing.T) {
	for sig, body := range map[string]string{"s": "\x05\x00\x00\x00abc\x00", "u": "\x01\x00", "ay": "\x00\x00\x00\x00", "v": "\x02ai\x00", "x": "12345678", "(": "", "g": "\xffa"} {
		if v, err := (&Message{Signature: sig, Body: []byte(body)}).Values(); err == nil {
			t.Errorf("%s of %q: %v", sig, body, v)
		}
	}
	good := (&Message{Kind: Call, Serial: 1, Path: "/a"}).Encode()
	for name, b := range map[string][]byte{
		"short": good[:10], "cut": good[:len(good)-1], "longer": append(bytes.Clone(good), 0), "big-endian": append([]byte{'B'}, good[1:]...),
		"version 2": append(append(bytes.Clone(good[:3]), 2), good[4:]...), "huge": append(append(bytes.Clone(good[:4]), 0xff, 0xff, 0xff, 0x7f), good[8:]...),
		"fields beyond": append(append(bytes.Clone(good[:12]), 0xff, 0, 0, 0), good[16:]...),
	} {
		if m, err := Decode(b); err == nil {
			t.Errorf("%s: %+v", name, m)
		}
	}
}

func TestTypes(t *testing.T) {
	for _, sig := range []string{"y", "as", "a{sv}", "a(sa(sv))", "(s(uu)ad)", "aaa{s(i)}", strings.Repeat("a", 32) + "y", strings.Repeat("(", 32) + "y" + strings.Repeat(")", 32)} {
		if !ValidType(sig) || !ValidSignature(sig+"s") || len(Types(sig+"s")) != 2 {
			t.Errorf("%s is a type", sig)
		}
	}
	for _, sig := range []string{"", "a", "()", "(s", "s)", "a{vs}", "a{s}", "a{sss}", "{ss}", "a{sv", "z", "ss", "m", strings.Repeat("a", 34) + "y", strings.Repeat("(", 34) + "y" + strings.Repeat(")", 34), strings.Repeat("(s", 200)} {
		if ValidType(sig) {
			t.Errorf("%s is no type", sig)
		}
	}
	for path, want := range map[string]bool{"/": true, "/a/b_1": true, "": false, "a": false, "/a/": false, "//a": false, "/a-b": false} {
		if ValidPath(path) != want {
			t.Errorf("%q: %v", path, !want)
		}
	}
}

// FuzzDecode: no message brings the reader down.
func FuzzDecode(f *testing.F) {
	f.Add((&Message{Kind: Signal, Serial: 9, Path: "/a", Interface: "a.b", Member: "C", Signature: "uosv", Body: []byte("12345678")}).Encode())
	f.Add((&Message{Kind: Error, ReplyTo: 3, ErrorName: "a.b"}).Encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := Decode(b); err == nil {
			_, _ = m.Values()
		}
	})
}
