package shim

import (
	"errors"
	"math"
	"testing"

	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"example.io/shim/process"
)

// optionFields are the fields of containerd.runc.v1.Options: each one alone, and what becomes of it.
var optionFields = map[string]struct {
	set   *runcopts.Options
	want  process.Options
	words []string // of the error
}{
	"no_pivot_root":   {set: &runcopts.Options{NoPivotRoot: true}, want: process.Options{NoPivotRoot: true}},
	"no_new_keyring":  {set: &runcopts.Options{NoNewKeyring: true}, want: process.Options{NoNewKeyring: true}},
	"shim_cgroup":     {set: &runcopts.Options{ShimCgroup: "/shims"}, want: process.Options{ShimCgroup: "/shims"}},
	"io_uid":          {set: &runcopts.Options{IoUid: math.MaxUint32}, want: process.Options{IOUID: math.MaxUint32}},
	"io_gid":          {set: &runcopts.Options{IoGid: 7}, want: process.Options{IOGID: 7}},
	"binary_name":     {set: &runcopts.Options{BinaryName: "crun"}, words: []string{"binary_name", `"crun"`}},
	"root":            {set: &runcopts.Options{Root: "/run/x"}, want: process.Options{Root: "/run/x"}},
	"systemd_cgroup":  {set: &runcopts.Options{SystemdCgroup: true}, want: process.Options{SystemdCgroup: true}},
	"criu_image_path": {set: &runcopts.Options{CriuImagePath: "/i"}, want: process.Options{CriuImagePath: "/i"}},
	"criu_work_path":  {set: &runcopts.Options{CriuWorkPath: "/w"}, want: process.Options{CriuWorkPath: "/w"}},
	// They tell containerd where the task is; the shim has nothing to do about it.
	"task_api_address": {set: &runcopts.Options{TaskApiAddress: "ttrpc+unix:///x"}}, //nolint:staticcheck // clients may still send it
	"task_api_version": {set: &runcopts.Options{TaskApiVersion: 3}},                 //nolint:staticcheck // the same
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
	fields := (&runcopts.Options{}).ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		name := string(fields.Get(i).Name())
		c, ok := optionFields[name]
		if !ok {
			t.Errorf("%s: nothing says what becomes of this field", name)
			continue
		}
		if n := countFields(c.set); n != 1 || !c.set.ProtoReflect().Has(fields.Get(i)) {
			t.Errorf("%s: the case sets %d fields, or another one", name, n)
		}
		for _, url := range []string{optionsType, "types.containerd.io/" + optionsType, "/" + optionsType} {
			got, err := parseOptions(anyOf(t, url, c.set))
			if c.words != nil {
				wrong(t, name, err, c.words...)
			} else if err != nil || got != c.want {
				t.Errorf("%s as %s: %+v (%v), want %+v", name, url, got, err, c.want)
			}
		}
	}
	if len(optionFields) != fields.Len() {
		t.Errorf("there are %d cases for %d fields", len(optionFields), fields.Len())
	}
}

func countFields(m proto.Message) (n int) {
	fields := m.ProtoReflect().Descriptor().Fields()
	for i := range fields.Len() {
		if m.ProtoReflect().Has(fields.Get(i)) {
			n++
		}
	}
	return n
}

func TestNoOptions(t *testing.T) {
	for _, a := range []*anypb.Any{nil, {}, {TypeUrl: optionsType}, {TypeUrl: oldOptionsType}} {
		if got, err := parseOptions(a); err != nil || got != (process.Options{}) {
			t.Errorf("%v: %+v, %v", a, got, err)
		}
	}
}

func varint(n protowire.Number, v uint64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), v)
}

func text(n protowire.Number, v string) []byte {
	return protowire.AppendString(protowire.AppendTag(nil, n, protowire.BytesType), v)
}

// TestOldOptions has each field of containerd.linux.runc.CreateOptions, by its number.
func TestOldOptions(t *testing.T) {
	cases := []struct {
		name string
		data []byte
		want process.Options
	}{
		{"no_pivot_root", varint(1, 1), process.Options{NoPivotRoot: true}},
		{"open_tcp", varint(2, 1), process.Options{}}, // to cgroups_mode: for a restore, which Create refuses by its own field
		{"external_unix_sockets", varint(3, 1), process.Options{}},
		{"terminal", varint(4, 1), process.Options{}},
		{"file_locks", varint(5, 1), process.Options{}},
		{"empty_namespaces", append(text(6, "network"), text(6, "ipc")...), process.Options{}},
		{"cgroups_mode", text(7, "soft"), process.Options{}},
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
		for _, url := range []string{oldOptionsType, "types.containerd.io/" + oldOptionsType} {
			got, err := parseOptions(&anypb.Any{TypeUrl: url, Value: c.data})
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
		{"another type", "runtimeoptions.v1.Options", text(2, "/etc/x.toml"), []string{`"runtimeoptions.v1.Options"`, optionsType}},
		{"no type", "", varint(1, 1), []string{`""`, optionsType}},
		{"a type that only ends so", "x" + optionsType, nil, []string{`"x` + optionsType + `"`}},
		{"a folder of that name", optionsType + "/x", nil, []string{optionsType + "/x"}},
		{"garbage", optionsType, []byte("\xff\xff"), []string{"not a message of type " + optionsType}},
		{"an end in a text", optionsType, text(7, "/run/x")[:4], []string{"not a message of type " + optionsType}},
		{"text that is no UTF-8", optionsType, text(7, "\xff"), []string{"not a message of type " + optionsType}},
		{"criu_path, gone since 2.0", optionsType, text(8, "/criu"), []string{"field 8 "}},
		{"a field that is not there yet", optionsType, append(varint(1, 1), text(99, "x")...), []string{"field 99 "}},
		{"a flag that is a text", optionsType, text(1, "true"), []string{"field 1 "}},
		{"garbage of the old type", oldOptionsType, []byte("\xff\xff"), []string{"not a message of type " + oldOptionsType}},
		{"an end in an old text", oldOptionsType, text(9, "/shims")[:4], []string{"not a message of type " + oldOptionsType}},
		{"an end behind a tag", oldOptionsType, varint(1, 1)[:1], []string{"not a message of type " + oldOptionsType}},
		{"an old field that was never there", oldOptionsType, append(varint(1, 1), varint(14, 1)...), []string{"field 14 "}},
		{"an old flag that is a text", oldOptionsType, text(1, "true"), []string{"field 1 "}},
		{"an old text that is a number", oldOptionsType, varint(9, 1), []string{"field 9 "}},
		{"an old number of 32 bits' type", oldOptionsType, protowire.AppendFixed32(protowire.AppendTag(nil, 10, protowire.Fixed32Type), 1), []string{"field 10 "}},
	}
	for _, c := range cases {
		_, err := parseOptions(&anypb.Any{TypeUrl: c.url, Value: c.value})
		wrong(t, c.name, err, c.words...)
	}
}
