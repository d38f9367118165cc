package target

import (
	"reflect"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]Target{
		"":                              {},
		"/run/a%20b?c#d://":             {Kind: FIFO, Path: "/run/a%20b?c#d://"},
		"fifo:///run/a%20b":             {Kind: FIFO, Path: "/run/a b"},
		"file:///var/log/x.log":         {Kind: File, Path: "/var/log/x.log"},
		"FILE:/x":                       {Kind: File, Path: "/x"},
		"binary:///bin/log":             {Kind: Binary, Path: "/bin/log"},
		"binary:///bin/log?b=1&a=2&b=3": {Kind: Binary, Path: "/bin/log", Args: []string{"b", "1", "a", "2", "b", "3"}},
		"binary:///nerdctl?_NERDCTL_INTERNAL_LOGGING=%2Fvar%2Flib": {Kind: Binary, Path: "/nerdctl", Args: []string{"_NERDCTL_INTERNAL_LOGGING", "/var/lib"}},
		"binary-v2:///log?k": {Kind: Binary, Path: "/log", Args: []string{"k", ""}, ReadyByte: true},
	} {
		got, err := Parse(in)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v; want %+v", in, got, err, want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for in, want := range map[string]string{
		"relative/path":      "neither an absolute path nor a URI",
		"npipe:////./pipe/x": `unknown scheme "npipe"`,
		"http://x/y":         `unknown scheme "http"`,
		"file://var/log":     "three slashes",
		"file://u@/x":        "three slashes",
		"binary:log":         "not absolute",
		"file://":            "not absolute",
		"file:///x?size=3":   "a query",
		"fifo:///x#y":        "a fragment",
		"binary:///x?a=%zz":  "bad escape",
		"binary:///x?a=%00":  "NUL",
		"file:///x%00":       "NUL",
		"/x\x00":             "NUL",
		"://":                "not a URI",
		"file:///%zz":        "not a URI",
	} {
		got, err := Parse(in)
		if !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %+v, %v; want an invalid argument with %q", in, got, err, want)
		}
	}
}

// FuzzParse: whatever is accepted can be opened or executed without meaning something else, and all else is InvalidArgument.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "/a", "fifo:///a", "file:///a%20b", "binary:///a?b=c&d", "binary-v2:///a?=&&=;", "x://", "file://h/a", "file:a#b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := Parse(s)
		if err != nil {
			if !errdefs.IsInvalidArgument(err) || !reflect.DeepEqual(got, Target{}) {
				t.Fatalf("%q: %+v, %v", s, got, err)
			}
			return
		}
		if (got.Kind == None) != (s == "") || (got.Kind == None) != (got.Path == "") {
			t.Fatalf("%q: %+v", s, got)
		}
		if got.Kind != None && !strings.HasPrefix(got.Path, "/") || strings.ContainsRune(got.Path+strings.Join(got.Args, ""), 0) {
			t.Fatalf("%q: path or arguments: %+v", s, got)
		}
		if got.Kind != Binary && (got.Args != nil || got.ReadyByte) || len(got.Args)%2 != 0 {
			t.Fatalf("%q: arguments: %+v", s, got)
		}
	})
}
