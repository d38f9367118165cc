package features

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go/features"

	"example.io/shim/linux/cgroup/unit"
	"example.io/shim/linux/spec"
)

// decided says of each field of the document how what it claims is checked. A field that a new specs-go brings fails the test until it has a line.
var decided = map[string]string{
	"ociVersionMin": "TestClaims", "ociVersionMax": "TestClaims", "hooks": "TestClaims", "mountOptions": "TestClaims, and linux/run mounts with each", "annotations": "TestDocument",
	"potentiallyUnsafeConfigAnnotations": "TestClaims", "linux.namespaces": "TestClaims", "linux.capabilities": "TestClaims",
	"linux.cgroup.v1": "linux/run", "linux.cgroup.v2": "linux/run", "linux.cgroup.systemd": "TestClaims", "linux.cgroup.systemdUser": "TestClaims", "linux.cgroup.rdma": "linux/cgroup/files",
	"linux.seccomp.enabled": "TestClaims", "linux.seccomp.actions": "TestClaims", "linux.seccomp.operators": "TestClaims", "linux.seccomp.archs": "TestClaims",
	"linux.seccomp.knownFlags": "TestClaims", "linux.seccomp.supportedFlags": "TestClaims", "linux.apparmor.enabled": "TestClaims", "linux.selinux.enabled": "TestClaims",
	"linux.intelRdt.enabled": "TestClaims", "linux.intelRdt.schemata": "TestClaims", "linux.intelRdt.monitoring": "TestClaims", "linux.memoryPolicy.modes": "TestClaims",
	"linux.memoryPolicy.flags": "TestClaims", "linux.mountExtensions.idmap.enabled": "TestClaims", "linux.netDevices.enabled": "TestClaims",
}

// optional are the fields that may be missing: the document says nothing about what is not carried out.
var optional = []string{"potentiallyUnsafeConfigAnnotations", "linux.seccomp."}

// TestDocument walks the structures of specs-go: each field has a decision, and a value unless there is nothing to say.
func TestDocument(t *testing.T) {
	data, err := JSON("v7")
	if err != nil {
		t.Fatal(err)
	}
	var f features.Features
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	if f.Annotations[versionAnnotation] != "v7" {
		t.Errorf("annotations %v", f.Annotations)
	}
	seen := 0
	var walk func(v reflect.Value, name string)
	walk = func(v reflect.Value, name string) {
		if v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct {
			if v.IsNil() {
				v = reflect.New(v.Type().Elem())
			}
			v = v.Elem()
		}
		if v.Kind() != reflect.Struct {
			seen++
			if decided[name] == "" {
				t.Errorf("no decision about %s", name)
			}
			if v.IsZero() && !slices.ContainsFunc(optional, func(o string) bool { return strings.HasPrefix(name, o) }) {
				t.Errorf("%s is missing", name)
			}
			return
		}
		for i := range v.NumField() {
			tag, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			walk(v.Field(i), strings.TrimPrefix(name+"."+tag, "."))
		}
	}
	walk(reflect.ValueOf(&f), "")
	if seen != len(decided) {
		t.Errorf("%d fields, and decisions about %d", seen, len(decided))
	}
}

// accepts says whether a configuration with this in it is carried out.
func accepts(t *testing.T, patch string) bool {
	t.Helper()
	text := fmt.Sprintf(`{"ociVersion": %q, "root": {"path": "r"}, "process": {"args": ["x"], "cwd": "/"},
		"linux": {"namespaces": [{"type": "mount"}, {"type": "network"}, {"type": "user"}], "uidMappings": [{"size": 1}], "gidMappings": [{"size": 1}]}}`, "1.0.0")
	var doc, add map[string]any
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(patch), &add); err != nil {
		t.Fatalf("%s: %v", patch, err)
	}
	merge(doc, add)
	data, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := spec.Parse(data)
	if err == nil {
		err = spec.Validate(s, spec.Options{})
	}
	return err == nil
}

func merge(doc, patch map[string]any) {
	for k, v := range patch {
		sub, is := v.(map[string]any)
		if old, was := doc[k].(map[string]any); is && was {
			merge(old, sub)
		} else {
			doc[k] = v
		}
	}
}

// TestClaims tries what the document claims: it is carried out, and nothing that is not carried out is claimed.
func TestClaims(t *testing.T) {
	f := document("v")
	is := func(b *bool) bool { return b != nil && *b }
	for name, c := range map[string]struct {
		claimed bool
		patch   string
	}{
		"seccomp":               {is(f.Linux.Seccomp.Enabled), `{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ERRNO", "architectures": ["SCMP_ARCH_X86_64"]}}}`},
		"apparmor":              {is(f.Linux.Apparmor.Enabled), `{"process": {"apparmorProfile": "p"}}`},
		"selinux":               {is(f.Linux.Selinux.Enabled), `{"process": {"selinuxLabel": "l"}, "linux": {"mountLabel": "m"}}`},
		"intelRdt":              {is(f.Linux.IntelRdt.Enabled), `{"linux": {"intelRdt": {"closID": "c"}}}`},
		"schemata":              {is(f.Linux.IntelRdt.Schemata), `{"linux": {"intelRdt": {"schemata": ["L3:0=f"]}}}`},
		"monitoring":            {is(f.Linux.IntelRdt.Monitoring), `{"linux": {"intelRdt": {"enableMonitoring": true}}}`},
		"idmap":                 {is(f.Linux.MountExtensions.IDMap.Enabled), `{"mounts": [{"destination": "/a", "type": "tmpfs", "uidMappings": [{"size": 1}], "gidMappings": [{"size": 1}]}]}`},
		"netDevices":            {is(f.Linux.NetDevices.Enabled), `{"linux": {"netDevices": {"eth0": {}}}}`},
		"rdma":                  {is(f.Linux.Cgroup.Rdma), `{"linux": {"resources": {"rdma": {"mlx5_0": {"hcaHandles": 3}}}}}`},
		"first version":         {true, fmt.Sprintf(`{"ociVersion": %q}`, f.OCIVersionMin)},
		"last version":          {true, fmt.Sprintf(`{"ociVersion": %q}`, f.OCIVersionMax)},
		"systemd's annotations": {slices.Contains(f.PotentiallyUnsafeConfigAnnotations, "org.systemd.property."), `{"annotations": {"org.systemd.property.CollectMode": "'inactive'"}}`},
		"our annotations":       {true, `{"annotations": {"io.example.any": "x"}}`},
	} {
		if got := accepts(t, c.patch); got != c.claimed {
			t.Errorf("%s: claimed is %v, carried out is %v", name, c.claimed, got)
		}
	}
	_, err := unit.Parse("system.slice:shim:x", "id", false)
	if got := err == nil; got != is(f.Linux.Cgroup.Systemd) {
		t.Errorf("systemd's form of cgroupsPath: claimed is %v, %v", is(f.Linux.Cgroup.Systemd), err)
	}
	lists := map[string][]string{
		`{"hooks": {%q: [{"path": "/bin/true"}]}}`: f.Hooks, `{"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}, {"type": %q, "path": "/x"}]}}`: f.Linux.Namespaces,
		`{"process": {"capabilities": {"bounding": [%q]}}}`: f.Linux.Capabilities, `{"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0", "flags": [%q]}}}`: f.Linux.MemoryPolicy.Flags,
		`{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "architectures": [%q]}}}`:                                                                                     f.Linux.Seccomp.Archs,
		`{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "flags": [%q]}}}`:                                                                                             f.Linux.Seccomp.KnownFlags,
		`{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/x", "syscalls": [{"names": ["read"], "action": %q}]}}}`:                                     f.Linux.Seccomp.Actions,
		`{"linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_LOG", "args": [{"index": 0, "value": 1, "op": %q}]}]}}}`: f.Linux.Seccomp.Operators,
	}
	for pattern, list := range lists {
		if len(list) == 0 {
			t.Errorf("nothing for %s", pattern)
		}
		for _, word := range list {
			patch := fmt.Sprintf(pattern, word)
			if word == "mount" || word == "user" {
				patch = `{"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}]}}`
			}
			if !accepts(t, patch) {
				t.Errorf("claimed, and refused: %s", patch)
			}
		}
	}
	for _, mode := range f.Linux.MemoryPolicy.Modes {
		if !accepts(t, fmt.Sprintf(`{"linux": {"memoryPolicy": {"mode": %q, "nodes": "0"}}}`, mode)) && !accepts(t, fmt.Sprintf(`{"linux": {"memoryPolicy": {"mode": %q, "nodes": ""}}}`, mode)) {
			t.Errorf("claimed, and refused: the mode %s", mode)
		}
	}
	for _, option := range f.MountOptions {
		if o, err := spec.ParseMountOptions([]string{option}); err != nil || len(o.Data) > 0 {
			t.Errorf("%s is no option of ours: %+v, %v", option, o, err)
		}
	}
	if s := f.Linux.Seccomp; len(s.SupportedFlags) == 0 || slices.ContainsFunc(s.SupportedFlags, func(f string) bool { return !slices.Contains(s.KnownFlags, f) }) {
		t.Errorf("supported flags %q", s.SupportedFlags)
	}
	if s := f.Linux.Seccomp; !is(s.Enabled) && len(s.Actions)+len(s.Operators)+len(s.Archs)+len(s.KnownFlags)+len(s.SupportedFlags) > 0 {
		t.Error("parts of seccomp are claimed, and seccomp is not")
	}
}
