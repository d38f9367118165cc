package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
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

// TestOpenImages: the processes of a container with a user namespace find the images, and those of the dumps before, where only the host's root may look.
func TestOpenImages(t *testing.T) {
	dir := t.TempDir()
	images := filepath.Join(dir, "second")
	for _, name := range []string{"first", "second"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "pages-1.img"), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../first", filepath.Join(images, "parent")); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	c := &Container{state: State{Bundle: home}, restore: &restoring{opts: criu.Options{ImagePath: images}}, spec: &specs.Spec{Linux: &specs.Linux{}}}
	open := func(then func(*os.File)) error {
		return onThread(func() error {
			if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
				return err
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
				return err
			}
			f, err := c.openImages()
			then(f)
			return err
		})
	}
	if err := open(func(f *os.File) {
		if f != nil {
			t.Error("without a user namespace there is another folder")
		}
	}); err != nil {
		t.Error(err)
	}
	c.spec.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.UserNamespace}}
	if err := open(func(f *os.File) {
		defer f.Close()
		if err := unix.Setfsuid(100000); err != nil { // of this thread; its capabilities to pass by permissions go with it (capabilities(7))
			t.Error(err)
		}
		for name, want := range map[string]string{"pages-1.img": "second", "parent/pages-1.img": "first"} {
			fd, err := unix.Openat(int(f.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			got := make([]byte, 100)
			n, _ := unix.Read(fd, got)
			unix.Close(fd)
			if string(got[:n]) != want {
				t.Errorf("%s is %q", name, got[:n])
			}
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(dir, "first/pages-1.img"), 0o600); err != nil {
		t.Fatal(err)
	}
	err := open(func(f *os.File) {
		if f != nil {
			t.Error("there is a folder")
		}
	})
	if !errors.Is(err, errdefs.ErrInvalidArgument) || !strings.Contains(err.Error(), filepath.Join(images, "parent/pages-1.img")) {
		t.Errorf("a file for its owner alone: %v", err)
	}
}
