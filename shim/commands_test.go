package shim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/shim/wire"
)

// deadSocket is what a killed shim leaves: a socket that nobody listens on.
func deadSocket(t *testing.T, path string) {
	t.Helper()
	l, _, err := listen(path)
	must(t, err)
	must(t, l.Close())
}

func TestDelete(t *testing.T) {
	f := Flags{Namespace: "default", Address: "/run/c.sock", ID: "web1"}
	usual, err := socketPath("", f)
	must(t, err)
	other := filepath.Join(t.TempDir(), "s")
	cases := []struct {
		name    string
		sockets []string // that are there
		address string   // in the bundle, "" for no file
		byFlag  bool     // the bundle is named by -bundle, not by the working directory
		left    []string // of the sockets
		pid     int
	}{
		{name: "nothing is there"},
		{name: "a socket at the usual place", sockets: []string{usual}, pid: 4711},
		{name: "by the flag -bundle", sockets: []string{usual}, byFlag: true, pid: 1},
		{name: "a socket that the bundle names", sockets: []string{other}, address: address(other), pid: 7},
		{name: "named without a scheme", sockets: []string{other}, address: other},
		{name: "named in a bundle of the flag", sockets: []string{other}, address: address(other), byFlag: true},
		{name: "only the named one is the shim's", sockets: []string{other, usual}, address: address(other), left: []string{usual}},
		{name: "the named one is gone", address: address(other)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			bundle := t.TempDir()
			f := f
			if c.byFlag {
				f.Bundle = bundle
			} else {
				t.Chdir(bundle)
			}
			for _, s := range c.sockets {
				deadSocket(t, s)
			}
			if c.address != "" {
				must(t, os.WriteFile(filepath.Join(bundle, addressFile), []byte(c.address), 0o600))
			}
			for range 2 { // containerd calls it twice, too
				var out bytes.Buffer
				var asked string
				before := time.Now()
				must(t, Delete(f, &out, func(ctx context.Context, dir string) (int, error) {
					asked = dir
					if end, ok := ctx.Deadline(); !ok || end.Sub(before) > 5*time.Second {
						t.Errorf("the clean-up may take until %v (%t): containerd waits 5 s", end, ok)
					}
					return c.pid, nil
				}))
				if asked != bundle {
					t.Errorf("the clean-up is of %s, want %s", asked, bundle)
				}
				r := &wire.DeleteResponse{}
				must(t, wire.Unmarshal(out.Bytes(), r))
				if at := asTime(r.ExitedAt); r.Pid != uint32(c.pid) || r.ExitStatus != 137 || at.Before(before) || at.After(time.Now()) {
					t.Errorf("answer %v, want pid %d, status 137 and now", r, c.pid)
				}
			}
			for _, s := range []string{usual, other} {
				_, err := os.Lstat(s)
				if want := strings.Contains(strings.Join(c.left, " "), s); want != (err == nil) {
					t.Errorf("%s is left: %t, want %t", s, err == nil, want)
				}
				_ = os.Remove(s)
			}
		})
	}
}

func TestDeleteWrong(t *testing.T) {
	good := Flags{Namespace: "default", Address: "/run/c.sock", ID: "web1"}
	with := func(change func(*Flags)) Flags { f := good; change(&f); return f }
	nothing := func(context.Context, string) (int, error) { return 0, nil }
	busy := func(context.Context, string) (int, error) { return 7, unix.EBUSY }
	never := func(context.Context, string) (int, error) { t.Error("the clean-up is called"); return 0, nil }
	folder := filepath.Join(t.TempDir(), "folder")
	must(t, os.MkdirAll(folder+"/x", 0o700))
	cases := []struct {
		name    string
		f       Flags
		address string
		w       io.Writer
		cleanup func(context.Context, string) (int, error)
		class   error
		words   []string
	}{
		{"no id", with(func(f *Flags) { f.ID = "" }), "", &bytes.Buffer{}, never, errdefs.ErrInvalidArgument, []string{"id"}},
		{"an id with dots", with(func(f *Flags) { f.ID = "../x" }), "", &bytes.Buffer{}, never, errdefs.ErrInvalidArgument, []string{`"../x"`}},
		{"no namespace", with(func(f *Flags) { f.Namespace = "" }), "", &bytes.Buffer{}, never, errdefs.ErrInvalidArgument, []string{"-namespace"}},
		{"a clean-up that fails", good, "", &bytes.Buffer{}, busy, unix.EBUSY, []string{"delete web1: ", "busy"}},
		{"a socket that cannot be removed", good, address(folder), &bytes.Buffer{}, nothing, unix.ENOTEMPTY, []string{"delete web1: remove the socket", folder}},
		{"an output that takes nothing", good, "", broken{}, nothing, io.ErrShortWrite, []string{"delete web1: answer"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			if c.address != "" {
				must(t, os.WriteFile(addressFile, []byte(c.address), 0o600))
			}
			err := Delete(c.f, c.w, c.cleanup)
			holds(t, c.name, err, c.words...)
			if !errors.Is(err, c.class) {
				t.Errorf("%v is no %v", err, c.class)
			}
			if out, ok := c.w.(*bytes.Buffer); ok && out.Len() > 0 {
				t.Errorf("answer %q", out)
			}
		})
	}
}

func TestInfo(t *testing.T) {
	options := anyOf(t, wire.OptionsName, &wire.Options{NoPivotRoot: true, Root: "/r"})
	for name, stdin := range map[string]*wire.Any{"without options": nil, "with options": options} {
		var in []byte
		if stdin != nil {
			in = marshal(t, stdin)
		}
		var out bytes.Buffer
		must(t, Info(bytes.NewReader(in), &out, "v1.2.3", "abc", []byte(`{"ociVersionMin":"1.0.0"}`)))
		got := &wire.RuntimeInfo{}
		must(t, wire.Unmarshal(out.Bytes(), got))
		want := &wire.RuntimeInfo{
			Name: "io.example.shim.v2", Version: &wire.RuntimeVersion{Version: "v1.2.3", Revision: "abc"}, Options: stdin,
			Features:    &wire.Any{TypeUrl: "types.containerd.io/opencontainers/runtime-spec/1/features/Features", Value: []byte(`{"ociVersionMin":"1.0.0"}`)},
			Annotations: map[string]string{"containerd.io/runtime-allow-mounts": "bind,overlay"},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %v\nwant %v", name, got, want)
		}
	}
}

func TestInfoWrong(t *testing.T) {
	cases := []struct {
		name  string
		in    io.Reader
		w     io.Writer
		class error
		words []string
	}{
		{"garbage", strings.NewReader("not protobuf"), &bytes.Buffer{}, errdefs.ErrInvalidArgument, []string{"standard input is not an Any"}},
		{"too long", zeros{}, &bytes.Buffer{}, errdefs.ErrInvalidArgument, []string{"standard input"}},
		{"an input that cannot be read", broken{}, &bytes.Buffer{}, io.ErrNoProgress, []string{"read the options"}},
		{"options of another type", bytes.NewReader(marshal(t, anyOf(t, "a.b.C", &wire.Options{}))), &bytes.Buffer{}, errdefs.ErrInvalidArgument, []string{`"a.b.C"`}},
		{"an option that is refused", bytes.NewReader(marshal(t, anyOf(t, wire.OptionsName, &wire.Options{BinaryName: "crun"}))), &bytes.Buffer{}, errdefs.ErrInvalidArgument,
			[]string{"binary_name", `"crun"`}},
		{"an output that takes nothing", strings.NewReader(""), broken{}, io.ErrShortWrite, []string{"answer"}},
	}
	for _, c := range cases {
		err := Info(c.in, c.w, "v1", "", nil)
		holds(t, c.name, err, append(c.words, "info: ")...)
		if !errors.Is(err, c.class) {
			t.Errorf("%s: %v is no %v", c.name, err, c.class)
		}
		if out, ok := c.w.(*bytes.Buffer); ok && out.Len() > 0 {
			t.Errorf("%s: answer %q", c.name, out)
		}
	}
}
