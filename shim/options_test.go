package shim

import (
	"encoding/binary"
	"errors"
	"math"
	"reflect"
	"testing"

	"github.com/containerd/errdefs"

	"example.io/shim/process"
	"example.io/shim/shim/wire"
)

// optionFields are the fields of containerd.runc.v1.Options: each one alone, and what becomes of it.
var optionFields = map[string]struct {
	set   *wire.Options
	want  process.Options
	words []string // of the error
}{
	"NoPivotRoot":   {set: &wire.Options{NoPivotRoot: true}, want: process.Options{NoPivotRoot: true}},
	"NoNewKeyring":  {set: &wire.Options{NoNewKeyring: true}, want: process.Options{NoNewKeyring: true}},
	"ShimCgroup":    {set: &wire.Options{ShimCgroup: "/shims"}, want: process.Options{ShimCgroup: "/shims"}},
	"IoUid":         {set: &wire.Options{IoUid: math.MaxUint32}, want: process.Options{IOUID: math.MaxUint32}},
	"IoGid":         {set: &wire.Options{IoGid: 7}, want: process.Options{IOGID: 7}},
	"BinaryName":    {set: &wire.Options{BinaryName: "crun"}, words: []string{"binary_name", `"crun"`}},
	"Root":          {set: &wire.Options{Root: "/run/x"}, want: process.Options{Root: "/run/x"}},
	"SystemdCgroup": {set: &wire.Options{SystemdCgroup: true}, want: process.Options{SystemdCgroup: true}},
	"CriuImagePath": {set: &wire.Options{CriuImagePath: "/i"}, want: process.Options{CriuImagePath: "/i"}},
	"CriuWorkPath":  {set: &wire.Options{CriuWorkPath: "/w"}, want: process.Options{CriuWorkPath: "/w"}},
	// They tell containerd where the task is; the shim has nothing to do about it.
	"TaskApiAddress": {set: &wire.Options{TaskApiAddress: "ttrpc+unix:///x"}},
	"TaskApiVersion": {set: &wire.Options{TaskApiVersion: 3}},
}

// wrong says that err is an InvalidArgument of the options with these words.
func wrong(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	holds(t, what, err, append(words, "runtime options")...)
	if !errors.Is(err, errdefs.ErrInvalidArgument) {
		t.Errorf("%s: %v is no ErrInvalidArgument", what, err)
	}
}

func TestOptionFields(t *testing.T) {
	fields := reflect.TypeFor[wire.Options]()
	for i := range fields.NumField() {
		name := fields.Field(i).Name
		c, ok := optionFields[name]
		if !ok {
			t.Errorf("%s: nothing says what becomes of this field", name)
			continue
		}
		if n := countFields(c.set); n != 1 || reflect.ValueOf(c.set).Elem().Field(i).IsZero() {
			t.Errorf("%s: the case sets %d fields, or another one", name, n)
		}
		for _, url := range []string{wire.OptionsName, "types.containerd.io/" + wire.OptionsName, "/" + wire.OptionsName} {
			got, err := parseOptions(anyOf(t, url, c.set))
			if c.words != nil {
				wrong(t, name, err, c.words...)
			} else if err != nil || got != c.want {
				t.Errorf("%s as %s: %+v (%v), want %+v", name, url, got, err, c.want)
			}
		}
	}
	if len(optionFields) != fields.NumField() {
		t.Errorf("there are %d cases for %d fields", len(optionFields), fields.NumField())
	}
}

func countFields(o *wire.Options) (n int) {
	v := reflect.ValueOf(o).Elem()
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			n++
		}
	}
	return n
}

func TestNoOptions(t *testing.T) {
	for _, a := range []*wire.Any{nil, {}, {TypeUrl: wire.OptionsName}, {TypeUrl: wire.OldCreateOptionsName}} {
		if got, err := parseOptions(a); err != nil || got != (process.Options{}) {
			t.Errorf("%v: %+v, %v", a, got, err)
		}
	}
}

// varint and text are fields as they are on the wire, of numbers below 2048 and texts below 128 bytes.
func varint(n int, v uint64) []byte { return binary.AppendUvarint(tag(n, 0), v) }
func text(n int, v string) []byte   { return append(append(tag(n, 2), byte(len(v))), v...) }
func tag(n, kind int) []byte        { return binary.AppendUvarint(nil, uint64(n<<3|kind)) }

// TestOldOptions has each field of containerd.linux.runc.CreateOptions, by its number.
func TestOldOptions(t *testing.T) {
	cases := []struct {
		name string
		data []byte
		want process.Options
	}{
		{"no_pivot_root", varint(1, 1), process.Options{NoPivotRoot: true}},
		{"a restore's field that says nothing", append(varint(2, 0), text(7, "")...), process.Options{}},
		{"no_new_keyring", varint(8, 1), process.Options{NoNewKeyring: true}},
		{"shim_cgroup", text(9, "/shims"), process.Options{ShimCgroup: "/shims"}},
		{"io_uid", varint(10, math.MaxUint32), process.Options{IOUID: math.MaxUint32}},
		{"io_gid", varint(11, 7), process.Options{IOGID: 7}},
		{"criu_work_path", text(12, "/w"), process.Options{CriuWorkPath: "/w"}},
		{"criu_image_path", text(13, "/i"), process.Options{CriuImagePath: "/i"}},
		{"false said aloud", varint(1, 0), process.Options{}},
		{"the last one counts", append(varint(10, 1), varint(10, 2)...), process.Options{IOUID: 2}},
		{"ctr --uidmap", append(varint(10, 100000), varint(11, 100000)...), process.Options{IOUID: 100000, IOGID: 100000}},
	}
	for _, c := range cases {
		for _, url := range []string{wire.OldCreateOptionsName, "types.containerd.io/" + wire.OldCreateOptionsName} {
			got, err := parseOptions(&wire.Any{TypeUrl: url, Value: c.data})
			if err != nil || got != c.want {
				t.Errorf("%s: %+v (%v), want %+v", c.name, got, err, c.want)
			}
		}
	}
}

func TestWrongOptions(t *testing.T) {
	cases := []struct {
		name, url string
		value     []byte
		words     []string
	}{
		{"another type", "runtimeoptions.v1.Options", text(2, "/etc/x.toml"), []string{`"runtimeoptions.v1.Options"`, wire.OptionsName}},
		{"no type", "", varint(1, 1), []string{`""`, wire.OptionsName}},
		{"a type that only ends so", "x" + wire.OptionsName, nil, []string{`"x` + wire.OptionsName + `"`}},
		{"a folder of that name", wire.OptionsName + "/x", nil, []string{wire.OptionsName + "/x"}},
		{"garbage", wire.OptionsName, []byte("\xff\xff"), []string{"not a message of type " + wire.OptionsName}},
		{"an end in a text", wire.OptionsName, text(7, "/run/x")[:4], []string{"not a message of type " + wire.OptionsName}},
		{"text that is no UTF-8", wire.OptionsName, text(7, "\xff"), []string{"not a message of type " + wire.OptionsName}},
		{"criu_path, gone since 2.0", wire.OptionsName, text(8, "/criu"), []string{"field 8 "}},
		{"a field that is not there yet", wire.OptionsName, append(varint(1, 1), text(99, "x")...), []string{"field 99 "}},
		{"a flag that is a text", wire.OptionsName, text(1, "true"), []string{"field 1 "}},
		{"garbage of the old type", wire.OldCreateOptionsName, []byte("\xff\xff"), []string{"not a message of type " + wire.OldCreateOptionsName}},
		{"an end in an old text", wire.OldCreateOptionsName, text(9, "/shims")[:4], []string{"not a message of type " + wire.OldCreateOptionsName}},
		{"an end behind a tag", wire.OldCreateOptionsName, varint(1, 1)[:1], []string{"not a message of type " + wire.OldCreateOptionsName}},
		{"an old field that was never there", wire.OldCreateOptionsName, append(varint(1, 1), varint(14, 1)...), []string{"field 14 "}},
		{"open_tcp", wire.OldCreateOptionsName, varint(2, 1), []string{"open_tcp", "checkpoint"}},
		{"external_unix_sockets", wire.OldCreateOptionsName, varint(3, 1), []string{"external_unix_sockets"}},
		{"terminal", wire.OldCreateOptionsName, varint(4, 1), []string{"terminal"}},
		{"file_locks", wire.OldCreateOptionsName, varint(5, 1), []string{"file_locks"}},
		{"empty_namespaces", wire.OldCreateOptionsName, append(text(6, "network"), text(6, "ipc")...), []string{"empty_namespaces"}},
		{"cgroups_mode", wire.OldCreateOptionsName, text(7, "soft"), []string{"cgroups_mode"}},
		{"an old flag that is a text", wire.OldCreateOptionsName, text(1, "true"), []string{"field 1 "}},
		{"an old text that is a number", wire.OldCreateOptionsName, varint(9, 1), []string{"field 9 "}},
		{"an old number of 32 bits' type", wire.OldCreateOptionsName, append(tag(10, 5), 1, 0, 0, 0), []string{"field 10 "}},
	}
	for _, c := range cases {
		_, err := parseOptions(&wire.Any{TypeUrl: c.url, Value: c.value})
		wrong(t, c.name, err, c.words...)
	}
}
