package compile

import (
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/plan"
)

// FuzzRootfs: what containerd sends as the root's mounts gives a plan that keeps to all rules, or an error.
func FuzzRootfs(f *testing.F) {
	f.Add("overlay", "overlay", "", "index=off\nlowerdir=/a:/b\nupperdir=/c\nworkdir=/d\nuidmap=0:100000:65536\ngidmap=0:100000:65536")
	f.Add("bind", "/image", "", "rbind\nrw\nX-containerd.x=1")
	f.Add("ext4", "/disk", "../..", "loop\nro")
	f.Add("overlay", "overlay", "a/b", "lowerdir="+strings.Repeat("/long/"+strings.Repeat("x", 100)+":", 50)+"/z")
	f.Fuzz(func(t *testing.T, typ, source, target, options string) {
		if strings.ContainsRune(typ+source+target+options, 0) {
			return // package shim refuses these
		}
		s := &specs.Spec{Version: specs.Version, Root: &specs.Root{Path: "rootfs"}, Process: &specs.Process{Args: []string{"/bin/true"}, Cwd: "/"},
			Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.MountNamespace}}}}
		p, err := Create(CreateInput{ID: "web1", Namespace: "test", Bundle: "/run/b", Rootfs: "/run/b/rootfs", Spec: s, Facts: goldenFacts(),
			RootfsMounts: []Mount{{Type: typ, Source: source, Target: target, Options: strings.Split(options, "\n")}}})
		if err != nil {
			return
		}
		if err := plan.Verify(p); err != nil && !onlyMagic(err) {
			t.Error(err)
		}
		for _, step := range p.Steps {
			if step.Undo != nil && step.Phase == plan.Rootfs && !strings.HasPrefix(step.Path, "/run/b/rootfs") {
				t.Errorf("%s: at %s", step.Label, step.Path)
			}
		}
	})
}
