package shim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"example.io/shim/shim/wire"
)

func marshal(t *testing.T, m wire.Message) []byte {
	t.Helper()
	data, err := wire.Marshal(m)
	must(t, err)
	return data
}

// anyOf packs m with a type URL of our choice.
func anyOf(t *testing.T, url string, m wire.Message) *wire.Any {
	return &wire.Any{TypeUrl: url, Value: marshal(t, m)}
}

// paramsOf are the parameters of containerd 2.3 for the container web1 in the namespace default.
func paramsOf(t *testing.T, id, namespace string, extensions ...*wire.Any) []byte {
	dir := "/run/other/s"
	p := &wire.BootstrapParams{InstanceID: id, Namespace: namespace, LogLevel: -4, ContainerdVersion: "v2.4.2",
		ContainerdTtrpcAddress: "/run/c.sock.ttrpc", ContainerdGrpcAddress: "/run/c.sock", ContainerdBinary: "/usr/bin/containerd", SocketDir: &dir}
	for _, e := range extensions {
		p.Extensions = append(p.Extensions, &wire.Extension{Value: e})
	}
	return marshal(t, p)
}

func TestReadBootstrap(t *testing.T) {
	f := Flags{ID: "web1", Namespace: "default"}
	opts := anyOf(t, wire.OptionsName, &wire.Options{NoPivotRoot: true, ShimCgroup: "/shims"})
	other := anyOf(t, "containerd.wire.Mount", &wire.Mount{Type: "bind"})
	// What tells the two messages apart is tried with a message that is both: its type URL and value are an id and a namespace.
	both := &wire.Any{TypeUrl: "web1", Value: []byte("default")}
	params := bootstrap{params: true, socketDir: "/run/other/s", ttrpc: "/run/c.sock.ttrpc"}
	withOptions := params
	withOptions.options = opts
	cases := []struct {
		name  string
		stdin []byte
		flags Flags
		want  bootstrap
	}{
		{"nothing", nil, f, bootstrap{}},
		{"options of 1.6 to 2.2", marshal(t, opts), f, bootstrap{options: opts}},
		{"options without a field", marshal(t, anyOf(t, wire.OptionsName, &wire.Options{})), f, bootstrap{options: &wire.Any{TypeUrl: wire.OptionsName}}},
		{"parameters without options", paramsOf(t, "web1", "default"), f, params},
		{"parameters with options", paramsOf(t, "web1", "default", opts), f, withOptions},
		{"options among other extensions", paramsOf(t, "web1", "default", other, opts, other), f, withOptions},
		{"other extensions only", paramsOf(t, "web1", "default", other), f, params},
		{"options whose type URL has a host", paramsOf(t, "web1", "default", anyOf(t, "types.containerd.io/"+wire.OptionsName, &wire.Options{})), f,
			bootstrap{params: true, socketDir: params.socketDir, ttrpc: params.ttrpc, options: &wire.Any{TypeUrl: "types.containerd.io/" + wire.OptionsName}}},
		{"parameters and nothing else in them", marshal(t, both), f, bootstrap{params: true}},
		{"the same bytes for another id", marshal(t, both), Flags{ID: "web2", Namespace: "default"}, bootstrap{options: both}},
		{"the same bytes for another namespace", marshal(t, both), Flags{ID: "web1", Namespace: "k8s.io"}, bootstrap{options: both}},
	}
	for _, c := range cases {
		got, err := readBootstrap(bytes.NewReader(c.stdin), c.flags)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got.params != c.want.params || got.socketDir != c.want.socketDir || got.ttrpc != c.want.ttrpc || !reflect.DeepEqual(got.options, c.want.options) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
}

// TestBootstrapOverlap states why the fields must be compared: each message parses as the other.
func TestBootstrapOverlap(t *testing.T) {
	legacy := marshal(t, anyOf(t, wire.OptionsName, &wire.Options{NoPivotRoot: true}))
	if err := wire.Unmarshal(legacy, &wire.BootstrapParams{}); err != nil {
		t.Errorf("options as parameters: %v", err)
	}
	if err := wire.Unmarshal(paramsOf(t, "web1", "default"), &wire.Any{}); err != nil {
		t.Errorf("parameters as options: %v", err)
	}
}

func TestReadBootstrapWrong(t *testing.T) {
	f := Flags{ID: "web1", Namespace: "default"}
	cases := []struct {
		name  string
		stdin io.Reader
		class error
		words []string
	}{
		{"text", strings.NewReader("not protobuf"), errdefs.ErrInvalidArgument, []string{"neither options nor bootstrap parameters"}},
		{"an end in a field", bytes.NewReader(marshal(t, anyOf(t, wire.OptionsName, &wire.Options{Root: "/r"}))[:20]), errdefs.ErrInvalidArgument, []string{"standard input"}},
		{"longer than the limit", io.LimitReader(zeros{}, inputLimit+1), errdefs.ErrInvalidArgument, []string{"1048576 bytes"}},
		{"endless", zeros{}, errdefs.ErrInvalidArgument, []string{"1048576 bytes"}},
		{"an error while reading", io.MultiReader(strings.NewReader("\n"), broken{}), io.ErrNoProgress, []string{"read the options on standard input"}},
	}
	for _, c := range cases {
		_, err := readBootstrap(c.stdin, f)
		holds(t, c.name, err, c.words...)
		if !errors.Is(err, c.class) {
			t.Errorf("%s: %v is no %v", c.name, err, c.class)
		}
	}
	// As long as the limit is not too long: it is read, and the options' type is looked at by who uses them.
	value := make([]byte, inputLimit-100)
	data := marshal(t, &wire.Any{TypeUrl: wire.OptionsName, Value: value})
	data = append(data, marshal(t, &wire.Any{TypeUrl: strings.Repeat("x", inputLimit-len(data)-2)})...)
	got, err := readBootstrap(bytes.NewReader(data), f)
	if len(data) != inputLimit || err != nil || len(got.options.Value) != len(value) {
		t.Errorf("%d bytes: %v, a value of %d bytes", len(data), err, len(got.options.Value))
	}
}

// TestParametersOfAnother are those of another container: not ours, hence options of a type that nobody knows.
func TestParametersOfAnother(t *testing.T) {
	boot, err := readBootstrap(bytes.NewReader(paramsOf(t, "web2", "default")), Flags{ID: "web1", Namespace: "default"})
	must(t, err)
	_, err = parseOptions(boot.options)
	holds(t, "parameters of web2", err, "runtime options", `type "web2"`)
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

type broken struct{}

func (broken) Read([]byte) (int, error)  { return 0, io.ErrNoProgress }
func (broken) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestAnswer(t *testing.T) {
	const where = "unix:///run/s/x"
	type jsonAnswer struct {
		Version           int
		Address, Protocol string
	}
	result := func(data []byte) (any, error) {
		r := &wire.BootstrapResult{}
		err := wire.Unmarshal(data, r)
		return jsonAnswer{int(r.Version), r.Address, r.Protocol}, err
	}
	asJSON := func(data []byte) (any, error) {
		var a jsonAnswer
		d := json.NewDecoder(bytes.NewReader(data))
		d.DisallowUnknownFields()
		err := d.Decode(&a)
		return a, err
	}
	plain := func(data []byte) (any, error) { return string(data), nil }
	const notSet = "not set"
	cases := []struct {
		name   string
		limit  string
		params bool
		decode func([]byte) (any, error)
		want   any
	}{
		{"1.6", notSet, false, plain, where},
		{"1.7 to 2.2", "2", false, asJSON, jsonAnswer{2, where, "ttrpc"}},
		{"one that says 3", "3", false, asJSON, jsonAnswer{3, where, "ttrpc"}},
		{"one that says 10", "10", false, asJSON, jsonAnswer{3, where, "ttrpc"}},
		{"one that says 1", "1", false, asJSON, jsonAnswer{2, where, "ttrpc"}},
		{"an empty limit", "", false, asJSON, jsonAnswer{2, where, "ttrpc"}},
		{"a limit that is no number", "three", false, asJSON, jsonAnswer{2, where, "ttrpc"}},
		{"2.3", "2", true, result, jsonAnswer{3, where, "ttrpc"}},
		{"2.3 without the environment", notSet, true, result, jsonAnswer{3, where, "ttrpc"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(envMaxVersion, c.limit) // it is put back after the test
			if c.limit == notSet {
				must(t, os.Unsetenv(envMaxVersion))
			}
			var out bytes.Buffer
			must(t, bootstrap{params: c.params}.answer(&out, where))
			got, err := c.decode(out.Bytes())
			if err != nil || got != c.want {
				t.Errorf("%q is %+v (%v), want %+v", out.Bytes(), got, err, c.want)
			}
			if err := (bootstrap{params: c.params}).answer(broken{}, where); !errors.Is(err, io.ErrShortWrite) {
				t.Errorf("an output that takes nothing: %v", err)
			}
		})
	}
}
