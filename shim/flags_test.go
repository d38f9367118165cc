package shim

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestParseFlags(t *testing.T) {
	const program = "containerd" // the default of -publish-binary
	cases := []struct {
		args string
		want Flags
	}{
		{"", Flags{PublishBinary: program}},
		{"-namespace k8s.io", Flags{PublishBinary: program, Namespace: "k8s.io"}},
		{"-address /run/a.sock", Flags{PublishBinary: program, Address: "/run/a.sock"}},
		{"-publish-binary /usr/bin/x", Flags{PublishBinary: "/usr/bin/x"}},
		{"-publish-binary=", Flags{}},
		{"-id web1", Flags{PublishBinary: program, ID: "web1"}},
		{"-bundle /b", Flags{PublishBinary: program, Bundle: "/b"}},
		{"-socket /s", Flags{PublishBinary: program, Socket: "/s"}},
		{"-debug", Flags{PublishBinary: program, Debug: true}},
		{"-debug=false", Flags{PublishBinary: program}},
		{"-v", Flags{PublishBinary: program, Version: true}},
		{"--version", Flags{PublishBinary: program, Version: true}},
		{"-info", Flags{PublishBinary: program, Info: true}},
		{"start", Flags{PublishBinary: program, Action: "start", Args: []string{"start"}}},
		{"--id=a delete more", Flags{PublishBinary: program, ID: "a", Action: "delete", Args: []string{"delete", "more"}}},
		{"-id a -- -x", Flags{PublishBinary: program, ID: "a", Action: "-x", Args: []string{"-x"}}},
		// As containerd does it.
		{"-namespace default -address /run/containerd/containerd.sock -publish-binary /usr/bin/containerd -id web1 -bundle /b -debug start",
			Flags{Namespace: "default", Address: "/run/containerd/containerd.sock", PublishBinary: "/usr/bin/containerd", ID: "web1", Bundle: "/b", Debug: true,
				Action: "start", Args: []string{"start"}}},
	}
	for _, c := range cases {
		got, err := ParseFlags(strings.Fields(c.args))
		if err != nil {
			t.Errorf("%q: %v", c.args, err)
			continue
		}
		if len(got.Args) == 0 {
			got.Args = nil
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q:\n got %+v\nwant %+v", c.args, got, c.want)
		}
	}
}

func TestParseFlagsWrong(t *testing.T) {
	cases := []struct{ args, word string }{
		{"-colour red start", "-colour"},
		{"start -colour", ""}, // behind the action nothing is a flag
		{"-namespace", "-namespace"},
		{"-address", "-address"},
		{"-publish-binary", "-publish-binary"},
		{"-id", "-id"},
		{"-bundle", "-bundle"},
		{"-socket", "-socket"},
		{"-debug=perhaps", "-debug"},
		{"-v=perhaps", "-v"},
		{"-version=perhaps", "-version"},
		{"-info=perhaps", "-info"},
		{"---id x", "---id"},
	}
	for _, c := range cases {
		_, err := ParseFlags(strings.Fields(c.args))
		if c.word == "" {
			holds(t, c.args, err)
			continue
		}
		holds(t, c.args, err, "command line", c.word)
		if !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("%q: %v is no ErrInvalidArgument", c.args, err)
		}
	}
	for _, help := range []string{"-h", "-help", "--help"} {
		_, err := ParseFlags([]string{help})
		holds(t, help, err, "usage: containerd-shim-shim-v2", "-namespace", "-address", "-publish-binary", "-id", "-bundle", "-debug", "start|delete", "-info", "-v", "explain")
	}
}

func TestCheckID(t *testing.T) {
	cases := []struct {
		id string
		ok bool
	}{
		{"web1", true}, {"a.b", true}, {"a_b-c", true}, {"ü", true}, {".a", true}, {strings.Repeat("x", 300), true},
		{"", false}, {".", false}, {"..", false}, {"a..b", false}, {"/", false}, {"a/b", false}, {"../x", false}, {"a\x00b", false},
	}
	for _, c := range cases {
		err := CheckID("id of the exec", c.id)
		if c.ok {
			holds(t, c.id, err)
			continue
		}
		holds(t, c.id, err, "id of the exec")
		if !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("%q: %v is no ErrInvalidArgument", c.id, err)
		}
	}
}
