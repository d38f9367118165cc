package unit

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		path string
		user bool
		name string
		cg   string
	}{
		{"", false, "shim-web1.scope", "/system.slice/shim-web1.scope"},
		{"", true, "shim-web1.scope", "/user.slice/shim-web1.scope"},
		{"system.slice:docker:ab12", false, "docker-ab12.scope", "/system.slice/docker-ab12.scope"},
		{":docker:ab12", false, "docker-ab12.scope", "/system.slice/docker-ab12.scope"},
		{":docker:ab12", true, "docker-ab12.scope", "/user.slice/docker-ab12.scope"},
		{"-.slice:cri:ab12", false, "cri-ab12.scope", "/cri-ab12.scope"},
		{"kubepods-besteffort-pod1.slice:cri-containerd:ab", false, "cri-containerd-ab.scope",
			"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice/cri-containerd-ab.scope"},
		{"a.slice::x", false, "-x.scope", "/a.slice/-x.scope"},
		{":x:a-b-c.slice", false, "a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"},
		{"a-b.slice:x:a-b-c.slice", false, "a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"},
		{"-.slice::top.slice", true, "top.slice", "/top.slice"},
		{`a.slice:x:y\x2dz`, false, `x-y\x2dz.scope`, `/a.slice/x-y\x2dz.scope`},
	} {
		u, err := Parse(c.path, "web1", c.user)
		if err != nil || u.Name != c.name || u.Cgroup() != c.cg || u.User != c.user {
			t.Errorf("%q: %+v, %s, %v; want %s in %s", c.path, u, u.Cgroup(), err, c.name, c.cg)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for path, want := range map[string]string{
		"/a/b":              "SLICE:PREFIX:NAME",
		"a.slice:x":         "SLICE:PREFIX:NAME",
		"a.slice:x:y:z":     "SLICE:PREFIX:NAME",
		"a.slice:x:":        "has no name",
		"a:x:y":             "does not end in .slice",
		"/a.slice:x:y":      `"/" cannot be`,
		"-a.slice:x:y":      "empty part",
		"a-.slice:x:y":      "empty part",
		"a--b.slice:x:y":    "empty part",
		".slice:x:y":        "empty part",
		"a.slice:x:../../y": `"/" cannot be`,
		"a.slice:x:y@z":     `"@" cannot be`,
		"a.slice:x:y z":     `" " cannot be`,
		"a.slice:x:-.slice": "is the root",
		":x:-b.slice":       "empty part",
		"a.slice:x:b.slice": "is in -.slice by its name",
		"a.slice:x:" + strings.Repeat("y", maxName): "at most 255",
	} {
		_, err := Parse(path, "web1", false)
		if !errors.Is(err, errdefs.ErrInvalidArgument) || !strings.HasPrefix(err.Error(), "/linux/cgroupsPath: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", path, err, want)
		}
	}
}
