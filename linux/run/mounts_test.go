package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// runScript runs a shell script in a container and returns what it wrote to both streams. Nothing may be left of it.
func runScript(t *testing.T, edit func(*specs.Spec), script string) string {
	t.Helper()
	return runIn(t, newBundle(t, edit), script)
}

func runIn(t *testing.T, bundle, script string) string {
	t.Helper()
	editBundle(t, bundle, func(s *specs.Spec) { s.Process.Args = []string{"sh", "-c", script} })
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	r := request(bundle)
	r.Stdio = func() ([3]*os.File, error) { return [3]*os.File{nil, out, out}, nil }
	deps := newDeps(t)
	elsewhere := filepath.Dir(out.Name()) // mount points that the image lacks stay in it
	before := takeTrace(t, elsewhere)
	if err := createAndStart(t.Context(), t, deps, r); err != nil {
		t.Fatal(err)
	}
	noTrace(t, before, elsewhere)
	data, err := os.ReadFile(out.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func withUserns(s *specs.Spec) {
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "user"})
	s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	s.Linux.GIDMappings = s.Linux.UIDMappings
}

func TestTmpCopyUp(t *testing.T) {
	for name, userns := range map[string]bool{"host ids": false, "user namespace": true} {
		t.Run(name, func(t *testing.T) {
			bundle := newBundle(t, func(s *specs.Spec) {
				if userns {
					withUserns(s)
				}
				s.Mounts = append(s.Mounts, specs.Mount{Destination: "/var/lib/data", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup", "size=1m"}},
					specs.Mount{Destination: "/not/in/image", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup"}})
			})
			uid := 0
			if userns {
				uid = 100000
			}
			dir := filepath.Join(bundle, "rootfs/var/lib/data")
			if err := os.MkdirAll(filepath.Join(dir, "sub/deep"), 0o755); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "sub/deep/file")
			steps := []error{
				os.MkdirAll(filepath.Join(bundle, "rootfs/not/in/image"), 0o755), os.WriteFile(file, []byte("content\n"), 0o640), os.Chown(file, uid+12, uid+34), unix.Chmod(file, 0o4750),
				os.Symlink("../../etc/passwd", filepath.Join(dir, "link")), unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600),
				os.Chown(dir, uid, uid+7), unix.Chmod(dir, 0o1775), unix.Setxattr(file, "trusted.shim", []byte("x"), 0),
				os.WriteFile(filepath.Join(dir, "unmapped"), nil, 0o600), os.Chown(filepath.Join(dir, "unmapped"), 500000, 500000),
			}
			for _, err := range steps {
				if err != nil {
					t.Fatal(err)
				}
			}
			got := runIn(t, bundle, `cd /var/lib/data; stat -c "%n %a %u %g %F" . sub/deep/file link pipe unmapped; cat sub/deep/file; ls -l link | grep -o "link -> .*"
echo new > new; grep " /var/lib/data " /proc/self/mounts | grep -o "^tmpfs"; ls -A /not/in/image`)
			owner := "500000 500000"
			if userns {
				owner = "0 0"
			}
			want := ". 1775 0 7 directory\nsub/deep/file 4750 12 34 regular file\nlink 777 0 0 symbolic link\npipe 600 0 0 fifo\nunmapped 600 " + owner +
				" regular empty file\ncontent\nlink -> ../../etc/passwd\ntmpfs"
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if _, err := os.Stat(filepath.Join(dir, "new")); err == nil {
				t.Error("the container wrote into the image")
			}
		})
	}
}

func TestRemount(t *testing.T) {
	got := runScript(t, func(s *specs.Spec) {
		s.Mounts = append(s.Mounts,
			specs.Mount{Destination: "/vol", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=1m", "nodev"}},
			specs.Mount{Destination: "/vol", Options: []string{"remount", "size=3m", "noexec"}},
			specs.Mount{Destination: "/run", Options: []string{"remount", "bind", "ro"}})
	}, `grep -E " /(vol|run) " /proc/self/mounts | cut -d" " -f 2-4; echo x > /run/x; echo y > /vol/y && echo written`)
	for _, want := range []string{"/vol tmpfs rw,nodev,noexec,", "size=3072k", "/run tmpfs ro,nosuid,", "can't create /run/x: Read-only file system", "written"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
}

// TestRecursiveFlags gives a tree with a mount below it flags of all its mounts, or of the top one alone.
func TestRecursiveFlags(t *testing.T) {
	tree := mountTree(t)
	got := runScript(t, func(s *specs.Spec) {
		for dst, option := range map[string]string{"/all": "rro", "/top": "ro", "/noexec": "rnoexec", "/atime": "rnoatime"} {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: dst, Type: "bind", Source: tree, Options: []string{"rbind", option}})
		}
	}, `for d in all top noexec atime; do grep -E " /$d(/sub)? " /proc/self/mounts | cut -d" " -f2,4; done`)
	lines := map[string]string{}
	for _, l := range strings.Split(got, "\n") {
		dst, opts, _ := strings.Cut(l, " ")
		lines[dst] = "," + opts + ","
	}
	for _, c := range []struct {
		dst, option string
		want        bool
	}{{"/all", "ro", true}, {"/all/sub", "ro", true}, {"/top", "ro", true}, {"/top/sub", "ro", false}, {"/noexec", "noexec", true}, {"/noexec/sub", "noexec", true},
		{"/atime", "noatime", true}, {"/atime/sub", "noatime", true}, {"/top/sub", "rw", true}} {
		if has := strings.Contains(lines[c.dst], ","+c.option+","); has != c.want {
			t.Errorf("%s has %s: %v, in %q", c.dst, c.option, has, lines[c.dst])
		}
	}
}

// mountTree makes a mount with another one on its folder sub, until the test ends; files in both belong to 1000. They are binds: tmpfs maps no ids before Linux 6.3.
func mountTree(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Join(dir, "sub")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(t.TempDir(), d, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(d, unix.MNT_DETACH) })
		file := filepath.Join(d, "file")
		if err := os.WriteFile(file, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(file, 1000, 1000); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestIDMap(t *testing.T) {
	tree := mountTree(t)
	maps := []specs.LinuxIDMapping{{ContainerID: 1000, HostID: 5, Size: 1}, {ContainerID: 0, HostID: 0, Size: 1}}
	bind := func(dst string, opts ...string) specs.Mount {
		return specs.Mount{Destination: dst, Type: "bind", Source: tree, Options: opts}
	}
	t.Run("bind", func(t *testing.T) {
		got := runScript(t, func(s *specs.Spec) {
			for dst, opts := range map[string][]string{"/one": {"rbind"}, "/idmap": {"rbind", "idmap"}, "/ridmap": {"rbind", "ridmap"}} {
				m := bind(dst, opts...)
				m.UIDMappings, m.GIDMappings = maps, maps
				s.Mounts = append(s.Mounts, m)
			}
		}, `stat -c "%n %u %g" /one/file /one/sub/file /idmap/file /idmap/sub/file /ridmap/file /ridmap/sub/file`)
		if want := "/one/file 5 5\n/one/sub/file 1000 1000\n/idmap/file 5 5\n/idmap/sub/file 1000 1000\n/ridmap/file 5 5\n/ridmap/sub/file 5 5"; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	})
	t.Run("the container's own maps", func(t *testing.T) {
		bundle := newBundle(t, func(s *specs.Spec) {
			withUserns(s)
			s.Mounts = append(s.Mounts, bind("/mapped", "bind", "idmap"), bind("/plain", "bind"))
		})
		for _, d := range []string{"mapped", "plain"} { // the host's root owns the image: the container's cannot make them
			if err := os.Mkdir(filepath.Join(bundle, "rootfs", d), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		got := runIn(t, bundle, `stat -c "%n %u %g" /mapped/file /plain/file; touch /mapped/new && echo made`)
		if want := "/mapped/file 1000 1000\n/plain/file 65534 65534\nmade"; got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(tree, "new"), &st); err != nil || st.Uid != 0 {
			t.Errorf("what the container's root makes belongs to %d on the host, %v", st.Uid, err)
		}
	})
	t.Run("tmpfs", func(t *testing.T) {
		edit := func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/vol", Type: "tmpfs", Source: "tmpfs", Options: []string{"uid=1000", "gid=1000", "mode=700"},
				UIDMappings: maps, GIDMappings: maps})
		}
		if !tmpfsMaps(t) { // then the error says where it comes from
			_, err := Create(t.Context(), newDeps(t), request(newBundle(t, edit)))
			if err == nil || !strings.Contains(err.Error(), `"map the ids of /vol"`) {
				t.Errorf("on a kernel whose tmpfs maps no ids: %v", err)
			}
			return
		}
		got := runScript(t, edit, `stat -c "%n %u %g %a" /vol`)
		if got != "/vol 5 5 700" {
			t.Errorf("got %s", got)
		}
	})
}

// TestSharedRoot: the root's own mount is shared on the host, and the container asks for a shared root.
func TestSharedRoot(t *testing.T) {
	for _, word := range []string{"", "rshared", "shared", "rslave", "rprivate", "unbindable"} {
		bundle := newBundle(t, func(s *specs.Spec) { s.Linux.RootfsPropagation = word })
		root := filepath.Join(bundle, "rootfs")
		if err := unix.Mount(root, root, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Unmount(root, unix.MNT_DETACH) })
		if err := unix.Mount("", root, "", unix.MS_SHARED, ""); err != nil {
			t.Fatal(err)
		}
		got := runIn(t, bundle, `grep -E "^[0-9]+ [0-9]+ [^ ]+ [^ ]+ / " /proc/self/mountinfo`)
		if has := strings.Contains(got, "shared:"); has != strings.Contains(word, "shared") {
			t.Errorf("%q: %s", word, got)
		}
	}
}

// tmpfsMaps says whether this kernel's tmpfs maps ids (Linux 6.3).
func tmpfsMaps(t *testing.T) bool {
	t.Helper()
	ns, err := userns("0 0 1\n", "0 0 1\n")
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(ns)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	fd, err := unix.OpenTree(unix.AT_FDCWD, dir, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	return unix.MountSetattr(fd, "", unix.AT_EMPTY_PATH, &unix.MountAttr{Attr_set: unix.MOUNT_ATTR_IDMAP, Userns_fd: uint64(ns)}) == nil
}
