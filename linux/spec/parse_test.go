package spec

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestParseErrors(t *testing.T) {
	for _, c := range []struct{ doc, pointer, text string }{
		{"", "", "empty: a JSON object is needed"},
		{"  \n", "", "empty: a JSON object is needed"},
		{"[]", "", "not a JSON object"},
		{`"x"`, "", "not a JSON object"},
		{"null", "", "not a JSON object"},
		{"hello", "", "not JSON: line 1, column 1: "},
		{"{\n  \"a\": 1,\n  oops\n}", "", "not JSON: line 3, column 3: "},
		{`{"root": {}`, "", "not JSON: line 1, column 11: unexpected end"},
		{`{"root": {}} x`, "", "not JSON: line 1, column 14: "},
		{`{"process": {"args": "sh"}}`, "/process/args", "a JSON string where an array is needed (line 1, column 25)"},
		{`{"process": {"args": ["sh", 5]}}`, "/process/args/1", "a JSON number where a string is needed"},
		{`{"mounts": [{}, {"options": [["ro"]]}]}`, "/mounts/1/options/0", "a JSON array where a string is needed"},
		{`{"mounts": [{}, {"options": {"a": 1}}]}`, "/mounts/1/options", "a JSON object where an array is needed"},
		{`{"process": {"user": {"uid": -1}}}`, "/process/user/uid", "a JSON number -1 where a non-negative integer of 32 bits is needed"},
		{`{"process": {"user": {"uid": "0"}}}`, "/process/user/uid", "a JSON string where a non-negative integer of 32 bits is needed"},
		{`{"process": {"terminal": 1}}`, "/process/terminal", "a JSON number where true or false is needed"},
		{`{"linux": {"sysctl": {"net.ipv4.ip_forward": 1}}}`, "/linux/sysctl/net.ipv4.ip_forward", "a JSON number where a string is needed"},
		{`{"linux": {"sysctl": {"a/b~c": 1}}}`, "/linux/sysctl/a~1b~0c", "a JSON number where a string is needed"},
		{`{"linux": []}`, "/linux", "a JSON array where an object is needed"},
		{`{"annotations": {"a": "b", "c": {}}}`, "/annotations/c", "a JSON object where a string is needed"},
	} {
		_, err := Parse([]byte(c.doc))
		var fe *FieldError
		if !errors.As(err, &fe) || !errors.Is(err, errdefs.ErrInvalidArgument) {
			t.Errorf("%s: got %v", c.doc, err)
			continue
		}
		if fe.Pointer != c.pointer || !strings.HasPrefix(fe.Msg, c.text) {
			t.Errorf("%s:\ngot  %q %q\nwant %q %q", c.doc, fe.Pointer, fe.Msg, c.pointer, c.text)
		}
	}
	if _, err := Parse(make([]byte, MaxBytes+1)); err == nil {
		t.Error("a huge document was read")
	}
	if _, err := ParseProcess([]byte(`{"cwd": 1}`)); err == nil || !strings.HasPrefix(err.Error(), "/cwd: ") {
		t.Errorf("process: %v", err)
	}
	if _, err := ParseResources([]byte(`{"pids": {"limit": "1"}}`)); err == nil || !strings.HasPrefix(err.Error(), "/pids/limit: ") {
		t.Errorf("resources: %v", err)
	}
}

// TestRealSpecs: what containerd and the other runtimes write passes.
func TestRealSpecs(t *testing.T) {
	files, err := filepath.Glob("testdata/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(data)
		if err != nil {
			t.Errorf("%s: %v", f, err)
			continue
		}
		if s.Process.Args == nil { // containerd's default has no command yet
			s.Process.Args = []string{"sh"}
		}
		if err := Validate(s, Options{CgroupVersion: 1}); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// FuzzValidate: no document makes the checks panic, and each problem has its pointer, its words and its class.
func FuzzValidate(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.json")
	for _, name := range files {
		if data, err := os.ReadFile(name); err == nil {
			f.Add(data)
		}
	}
	f.Add([]byte(`{"ociVersion":"1.0.0","mounts":[{"options":["bind","x=1"]}],"linux":{"sysctl":{"net/a.b":"1"},"seccomp":{"syscalls":[{}]}}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		check := func(err error) {
			var list Errors
			var one *FieldError
			if errors.As(err, &list) {
				for _, e := range list {
					if e.Msg == "" || !errors.Is(e, errdefs.ErrInvalidArgument) && !errors.Is(e, errdefs.ErrNotImplemented) || e.Pointer != "" && e.Pointer[0] != '/' {
						t.Errorf("%#v", e)
					}
				}
			} else if err != nil && !errors.As(err, &one) {
				t.Errorf("%T %v", err, err)
			}
		}
		s, err := Parse(data)
		check(err)
		if err == nil {
			for version := range 3 {
				check(Validate(s, Options{CgroupVersion: version}))
			}
		}
		if ps, err := ParseProcess(data); err == nil {
			check(ValidateProcess(ps, Options{}))
		}
		if r, err := ParseResources(data); err == nil {
			check(ValidateResources(r, Options{}))
		}
	})
}

// TestOlderPids: what 0 means as a limit of processes depends on the version that a config.json says it is of.
func TestOlderPids(t *testing.T) {
	for version, none := range map[string]bool{"1.0.2-dev": true, "1.0.0": true, "1.2.1": true, "1.3.0": false, "1.3.0-rc.1": false, "1.10.0": false} {
		s, err := Parse([]byte(`{"ociVersion": "` + version + `", "linux": {"resources": {"pids": {"limit": 0}}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Linux.Resources.Pids == nil; got != none {
			t.Errorf("version %s: no limit is %v, want %v", version, got, none)
		}
	}
	s, err := Parse([]byte(`{"ociVersion": "1.0.2", "linux": {"resources": {"pids": {"limit": 5}}}}`))
	if err != nil || *s.Linux.Resources.Pids.Limit != 5 {
		t.Errorf("a limit of 5 of an older version is gone: %v", err)
	}
}

func BenchmarkParseAndValidate(b *testing.B) {
	data, err := os.ReadFile("testdata/ctr-plain.json")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("parse", func(b *testing.B) {
		for b.Loop() {
			if _, err := Parse(data); err != nil {
				b.Fatal(err)
			}
		}
	})
	s, err := Parse(data)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("validate", func(b *testing.B) {
		for b.Loop() {
			if err := Validate(s, Options{CgroupVersion: 1}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
