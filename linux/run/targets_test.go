package run

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// linkTargets are mounts whose targets are behind links that lead nowhere yet: the links of an image, the target, where it is then, and the folder that
// is made for it.
var linkTargets = map[string]struct {
	links        map[string]string
	target, cwd  string
	file         bool
	real, folder string
}{
	"component":       {links: map[string]string{"jump": "/tmp/foo/bar", "etc/hosts": "/jump/baz/hosts"}, target: "/etc/hosts", file: true, real: "/tmp/foo/bar/baz/hosts", folder: "/tmp/foo"},
	"trailing":        {links: map[string]string{"etc/hosts": "/tmp/hosts"}, target: "/etc/hosts", file: true, real: "/tmp/hosts"},
	"trailing folder": {links: map[string]string{"etc/data": "../tmp/./data/"}, target: "/etc/data", real: "/tmp/data"},
	"out of the root": {links: map[string]string{"etc/up": "../../../../../../../../../escaped"}, target: "/etc/up/x", real: "/escaped/x", folder: "/escaped"},
	"up again":        {links: map[string]string{"etc/up": "/made/../other/y"}, target: "/etc/up/z", real: "/other/y/z", folder: "/other"},
	"in a mount":      {links: map[string]string{"etc/run": "/run/made/here"}, target: "/etc/run/x", file: true, real: "/run/made/here/x", folder: "/run/made"},
	"working folder":  {links: map[string]string{"there": "/run/deep/work"}, target: "/tmp", cwd: "/there/sub", real: "/tmp", folder: "/run/deep/work/sub"},
}

// TestLinkTargets: what a link says is made within the root, and belongs to the container's root.
func TestLinkTargets(t *testing.T) {
	outside := t.TempDir()
	before := takeTrace(t, outside)
	for name, c := range linkTargets {
		for ids, userns := range map[string]bool{"host ids": false, "user namespace": true} {
			t.Run(name+", "+ids, func(t *testing.T) {
				source := t.TempDir()
				if c.file {
					source = filepath.Join(source, "file")
					if err := os.WriteFile(source, []byte("bound\n"), 0o644); err != nil {
						t.Fatal(err)
					}
				}
				bundle := newBundle(t, func(s *specs.Spec) {
					if userns {
						withUserns(s)
					}
					if c.cwd != "" {
						s.Process.Cwd = c.cwd
					}
					s.Mounts = append(s.Mounts, specs.Mount{Destination: c.target, Type: "bind", Source: source, Options: []string{"bind"}})
				})
				root := filepath.Join(bundle, "rootfs")
				for link, to := range c.links {
					if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
						t.Fatal(err)
					}
				}
				if userns {
					giveAway(t, root, 100000)
				}
				script, want := `grep -c " `+c.real+` " /proc/self/mounts`, "1"
				if c.folder != "" {
					script, want = script+"; stat -c '%u:%g %a' "+c.folder, want+"\n0:0 755"
				}
				if got := runIn(t, bundle, script); got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			})
		}
	}
	if _, err := os.Lstat("/escaped"); err == nil {
		t.Error("a folder was made outside of the root")
	}
	noTrace(t, before, outside)
}

// giveAway gives a tree to the root of a user namespace.
func giveAway(t *testing.T, dir string, uid int) {
	t.Helper()
	err := filepath.Walk(dir, func(path string, _ os.FileInfo, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, uid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBadLinkTargets: what cannot be made is refused, and named.
func TestBadLinkTargets(t *testing.T) {
	for name, c := range map[string]struct{ link, to, target, want string }{
		"loop":       {"etc/a", "a/b", "/etc/a", "too many levels of symbolic links"},
		"magic link": {"etc/a", "/proc/self/fd/0/x", "/etc/a", "symbolic link"},
		"a file":     {"etc/a", "/etc/passwd/x", "/etc/a/b", "not a directory"},
	} {
		t.Run(name, func(t *testing.T) {
			bundle := newBundle(t, func(s *specs.Spec) {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: c.target, Type: "bind", Source: "/var/tmp", Options: []string{"bind"}})
			})
			if err := os.Symlink(c.to, filepath.Join(bundle, "rootfs", c.link)); err != nil {
				t.Fatal(err)
			}
			before := takeTrace(t, bundle)
			err := createAndStart(t.Context(), t, newDeps(t), request(bundle))
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "/mounts/7") {
				t.Errorf("create: %v", err)
			}
			noTrace(t, before, bundle)
		})
	}
}

// TestTargetRace swaps a folder of the path for a link out of the root all the time (CVE-2021-30465, CVE-2024-45310): nothing is made there.
func TestTargetRace(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	mkdirs(t, root, "real", "far")
	for link, to := range map[string]string{"swap": strings.Repeat("../", 20) + outside, "start": "real/below/x"} {
		if err := os.Symlink(to, filepath.Join(root, link)); err != nil {
			t.Fatal(err)
		}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				_ = unix.Renameat2(unix.AT_FDCWD, filepath.Join(root, "real"), unix.AT_FDCWD, filepath.Join(root, "swap"), unix.RENAME_EXCHANGE)
			}
		}
	}()
	made := 0
	for range 3000 {
		if makeTargetIn(root, "/start/sub", true) == nil {
			made++
		}
		_ = os.RemoveAll(filepath.Join(root, "real/below"))
		_ = os.RemoveAll(filepath.Join(root, "swap/below"))
	}
	close(stop)
	<-done
	list, err := os.ReadDir(outside)
	if err != nil || len(list) > 0 {
		t.Errorf("made outside of the root: %v (%v)", list, err)
	}
	if made == 0 {
		t.Error("nothing was made at all")
	}
}

// TestMapInside maps the ids of a mount that the container's own mounts have brought about, in a container with a user namespace.
func TestMapInside(t *testing.T) {
	source := t.TempDir()
	if err := os.WriteFile(filepath.Join(source, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	bundle := newBundle(t, func(s *specs.Spec) {
		withUserns(s)
		maps := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100005, Size: 10}}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mnt", Type: "bind", Source: source, Options: []string{"rbind"}},
			specs.Mount{Destination: "/home", Type: "bind", Source: "rootfs/mnt", Options: []string{"rbind", "idmap"}},
			specs.Mount{Destination: "/srv", Type: "bind", Source: "rootfs/mnt", Options: []string{"rbind", "ridmap"}, UIDMappings: maps, GIDMappings: maps})
	})
	giveAway(t, filepath.Join(bundle, "rootfs"), 100000)
	if got := runIn(t, bundle, "stat -c %u /mnt/file /home/file /srv/file"); got != "65534\n0\n5" {
		t.Errorf("owners: %q", got)
	}
}
