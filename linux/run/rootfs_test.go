package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/compile"
)

// rootfsOf runs a container whose root file system is mounted by the runtime from the image that bundle has, and returns what its program writes.
func rootfsOf(t *testing.T, edit func(*specs.Spec), mounts func(image, dir string) []compile.Mount, script string) (string, error) {
	t.Helper()
	bundle := newBundle(t, edit)
	editBundle(t, bundle, func(s *specs.Spec) { s.Process.Args = []string{"sh", "-c", script} })
	image := filepath.Join(t.TempDir(), "image")
	if err := os.Rename(filepath.Join(bundle, "rootfs"), image); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(bundle, "rootfs"), 0o755); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	r := request(bundle)
	r.Rootfs = mounts(image, dir)
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	r.Stdio = func() ([3]*os.File, error) { return [3]*os.File{nil, out, out}, nil }
	before := takeTrace(t, bundle)
	err = createAndStart(t.Context(), t, newDeps(t), r)
	noTrace(t, before, bundle)
	data, _ := os.ReadFile(out.Name())
	return strings.TrimSpace(string(data)), err
}

func mkdirs(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, n := range names {
		if err := os.MkdirAll(filepath.Join(dir, n), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// TestMappedRootfs: layers of the host's ids, shown with the container's, as containerd asks for with --remap-labels.
func TestMappedRootfs(t *testing.T) {
	maps := []string{"uidmap=0:100000:65536", "gidmap=0:100000:65536"}
	script := `stat -c "%n %u %g" /bin/busybox /etc/passwd; touch /new && stat -c "%n %u" /new`
	want := "/bin/busybox 0 0\n/etc/passwd 0 0\n/new 0"
	t.Run("overlay", func(t *testing.T) {
		got, err := rootfsOf(t, withUserns, func(image, dir string) []compile.Mount {
			mkdirs(t, dir, "upper", "work", "lower/other")
			if err := os.Chown(filepath.Join(dir, "upper"), 100000, 100000); err != nil {
				t.Fatal(err)
			}
			return []compile.Mount{{Type: "overlay", Source: "overlay", Options: append([]string{"index=off", "lowerdir=" + filepath.Join(dir, "lower") + ":" + image,
				"upperdir=" + filepath.Join(dir, "upper"), "workdir=" + filepath.Join(dir, "work"), "X-containerd.x=y"}, maps...)}}
		}, script)
		if err != nil || got != want {
			t.Errorf("got %q, %v", got, err)
		}
	})
	t.Run("bind", func(t *testing.T) {
		got, err := rootfsOf(t, withUserns, func(image, _ string) []compile.Mount {
			return []compile.Mount{{Type: "bind", Source: image, Options: append([]string{"rbind", "rw"}, maps...)}}
		}, script)
		if err != nil || got != want {
			t.Errorf("got %q, %v", got, err)
		}
	})
	for options, text := range map[string]string{
		"uidmap=0:1":                        "/rootfs/0/options/0: \"0:1\" is not INSIDE:OUTSIDE:NUMBER",
		"uidmap=0:1:1":                      "/rootfs/0/options: uidmap and gidmap go together",
		"uidmap=0:1:1|gidmap=0:1:1|size=1m": "only overlay and bind can be mapped",
	} {
		_, err := rootfsOf(t, nil, func(_, _ string) []compile.Mount {
			return []compile.Mount{{Type: "tmpfs", Source: "tmpfs", Options: strings.Split(options, "|")}}
		}, "true")
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", options, err)
		}
	}
}

// TestLoopRootfs: a file system in a file.
func TestLoopRootfs(t *testing.T) {
	for _, readonly := range []bool{false, true} {
		got, err := rootfsOf(t, nil, func(image, dir string) []compile.Mount {
			file := filepath.Join(dir, "image.ext4")
			if out, err := hostCommand("mkfs.ext4", "-q", "-d", image, file, "16M"); err != nil {
				t.Fatalf("mkfs.ext4 (e2fsprogs): %v: %s", err, out)
			}
			m := compile.Mount{Type: "ext4", Source: file, Options: []string{"loop"}}
			if readonly {
				m.Options = append(m.Options, "ro")
			}
			return []compile.Mount{m}
		}, `cat /etc/passwd | grep -c root; touch /new && echo made`)
		if want := map[bool]string{false: "1\nmade", true: "1\ntouch: /new: Read-only file system"}[readonly]; err != nil || got != want {
			t.Errorf("read-only %v: got %q, %v", readonly, got, err)
		}
		if devs, _ := filepath.Glob("/sys/block/loop*/loop/backing_file"); len(devs) > 0 {
			for _, d := range devs {
				if data, _ := os.ReadFile(d); strings.Contains(string(data), t.Name()) {
					t.Errorf("%s is still %s", d, data)
				}
			}
		}
	}
}
