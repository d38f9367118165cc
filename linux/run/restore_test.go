package run

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"example.io/shim/internal/slow"
	"example.io/shim/linux/compile"
	"example.io/shim/linux/criu"
	"example.io/shim/linux/plan"
)

// TestRestoreFaults makes every step of a restore's plan fail that comes before CRIU: nothing is left. CRIU is only looked for.
func TestRestoreFaults(t *testing.T) {
	bundle := newBundle(t, func(s *specs.Spec) { counter(s) })
	images, bin, source := t.TempDir(), t.TempDir(), t.TempDir()
	if err := os.Symlink(busybox, filepath.Join(bin, criu.Program)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	if err := writeAbout(images, [3]string{}, &criu.Options{}); err != nil {
		t.Fatal(err)
	}
	deps := newDeps(t)
	r := request(bundle)
	r.Restore = &criu.Options{ImagePath: images}
	r.Rootfs = []compile.Mount{{Type: "bind", Source: source, Options: []string{"rbind", "ro"}}}
	s, err := LoadSpec(bundle)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Compile(r, s, deps.Facts)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Create(t.Context(), deps, r)
	if err != nil {
		t.Fatal(err)
	}
	if c.Init() != nil {
		t.Error("there is an init before the start")
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := takeTrace(t, bundle)
	for i := range p.Steps {
		if p.Steps[i].Op == plan.OpGate {
			break
		}
		for _, errno := range slow.Sample(i, faultErrnos) {
			deps.Fault = func(q *plan.Plan) *plan.Plan { return q.WithFault(i, errno) }
			what := fmt.Sprintf("step %d %q %s", i, p.Steps[i].Label, errno.Name())
			c, err := Create(t.Context(), deps, r)
			if err != nil {
				wantStepError(t, err, what)
				continue
			}
			if err := c.Delete(t.Context()); err != nil {
				t.Errorf("%s: delete: %v", what, err)
			}
		}
		noTrace(t, before, bundle)
		if t.Failed() {
			t.Fatalf("after step %d %q", i, p.Steps[i].Label)
		}
	}
}

// TestMappedImages: the images of a container with a user namespace belong to its root; where a file system takes no maps they are as they are.
func TestMappedImages(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "x.img"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	c := &Container{restore: &restoring{opts: criu.Options{ImagePath: dir}}, spec: &specs.Spec{Linux: &specs.Linux{UIDMappings: maps, GIDMappings: maps}}}
	if f, err := c.mappedImages(); f != nil || err != nil {
		t.Errorf("without a user namespace: %v, %v", f, err)
	}
	c.spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.UserNamespace}}
	f, err := c.mappedImages()
	if err != nil {
		t.Fatal(err)
	}
	if f == nil {
		t.Logf("%s takes no maps", dir)
		return
	}
	defer f.Close()
	var st unix.Stat_t
	if err := unix.Fstatat(int(f.Fd()), "x.img", &st, 0); err != nil || st.Uid != 100000 || st.Gid != 100000 {
		t.Errorf("owner %d:%d, %v", st.Uid, st.Gid, err)
	}
}
