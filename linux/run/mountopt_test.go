package run

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/spec"
)

// mountLine is a line of mountinfo (proc_pid_mountinfo(5)).
type mountLine struct {
	flags []string // of the mount
	peers string   // "shared", "master", "unbindable", or several of them
	super []string // of the file system
}

func mountLines(text string) map[string]mountLine {
	lines := map[string]mountLine{}
	for line := range strings.Lines(text) {
		left, right, _ := strings.Cut(line, " - ")
		f, fs := strings.Fields(left), strings.Fields(right)
		var peers []string
		for _, p := range f[6:] {
			name, _, _ := strings.Cut(p, ":")
			peers = append(peers, name)
		}
		lines[f[4]] = mountLine{strings.Split(f[5], ","), strings.Join(peers, " "), strings.Split(fs[2], ",")}
	}
	return lines
}

// flagOptions says what each option that is a flag of a mount does: the options of a mount that begins with others, and the word that is to be there, or not.
var flagOptions = map[string]struct {
	before, word string
	want         bool
}{
	"defaults": {"", "ro", false}, "ro": {"", "ro", true}, "rw": {"ro", "ro", false}, "nosuid": {"", "nosuid", true}, "suid": {"nosuid", "nosuid", false},
	"nodev": {"", "nodev", true}, "dev": {"nodev", "nodev", false}, "noexec": {"", "noexec", true}, "exec": {"noexec", "noexec", false},
	"nodiratime": {"", "nodiratime", true}, "diratime": {"nodiratime", "nodiratime", false}, "nosymfollow": {"", "nosymfollow", true}, "symfollow": {"nosymfollow", "nosymfollow", false},
	"noatime": {"", "noatime", true}, "atime": {"noatime", "noatime", false}, "relatime": {"noatime", "relatime", true}, "norelatime": {"noatime", "noatime", false},
	"strictatime": {"", "relatime", false}, "nostrictatime": {"strictatime", "relatime", true},
}

// superOptions are the same for flags of a file system.
var superOptions = map[string]struct {
	before, word string
	want         bool
}{
	"sync": {"", "sync", true}, "async": {"sync", "sync", false}, "dirsync": {"", "dirsync", true}, "mand": {"", "mand", true}, "nomand": {"mand", "mand", false},
	"lazytime": {"", "lazytime", true}, "nolazytime": {"lazytime", "lazytime", false},
	// fsopen(2) has a log of its own: there is nothing to silence. Versions of inodes are counted, and nothing shows it.
	"silent": {"", "silent", false}, "loud": {"silent", "silent", false}, "noiversion": {"iversion", "iversion", false}, "iversion": {"lazytime", "lazytime", true},
}

// peerOptions say what a bind of a shared tree is in the container: its top, and the mount below it.
var peerOptions = map[string]struct{ bind, top, sub string }{
	"shared": {"rbind", "shared", "shared"}, "rshared": {"rbind", "shared", "shared"}, "slave": {"rbind", "master", "master"}, "rslave": {"rbind", "master", "master"},
	"private": {"rbind", "", "master"}, "rprivate": {"rbind", "", ""}, "unbindable": {"rbind", "unbindable", "master"}, "runbindable": {"rbind", "unbindable", "unbindable"},
}

// elsewhere are options with tests of their own.
var elsewhere = map[string]string{"bind": "TestBind", "rbind": "TestBind", "idmap": "TestIDMap", "ridmap": "TestIDMap", "tmpcopyup": "TestTmpCopyUp", "remount": "TestRemount"}

// TestMountOptions mounts a file system with each option, and a tree of two mounts with each recursive one, and looks at what the kernel made of it.
func TestMountOptions(t *testing.T) {
	plain, full := mountTree(t), mountTree(t)
	all := unix.MountAttr{Attr_set: unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV | unix.MOUNT_ATTR_NOEXEC | unix.MOUNT_ATTR_NODIRATIME |
		unix.MOUNT_ATTR_NOSYMFOLLOW | unix.MOUNT_ATTR_NOATIME, Attr_clr: unix.MOUNT_ATTR__ATIME}
	if err := unix.MountSetattr(unix.AT_FDCWD, full, unix.AT_RECURSIVE, &all); err != nil {
		t.Fatal(err)
	}
	options := func(before, name string) []string {
		return slices.DeleteFunc([]string{before, name}, func(s string) bool { return s == "" })
	}
	text := runScript(t, func(s *specs.Spec) {
		tmpfs := func(name, before string) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m/" + name, Type: "tmpfs", Source: "tmpfs", Options: options(before, name)})
		}
		for name, o := range flagOptions {
			tmpfs(name, o.before)
			if _, ok := flagOptions[strings.TrimPrefix(name, "r")]; name == "defaults" || ok && strings.HasPrefix(name, "rr") {
				continue
			}
			tree := plain
			if o.before != "" {
				tree = full
			}
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m/r" + name, Source: tree, Options: []string{"rbind", "r" + name}})
		}
		for name, o := range superOptions {
			tmpfs(name, o.before)
		}
		// A file system of its own, with options for all that is below.
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m/versions", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuid", "noexec", "noatime", "sync", "iversion", "size=1m"}},
			specs.Mount{Destination: "/m/new", Type: "tmpfs", Source: "tmpfs", Options: []string{"rnosuid", "rnoexec", "rnoatime"}})
	}, "cat /proc/self/mountinfo")
	lines := mountLines(text)
	for name, o := range flagOptions {
		where := []string{"/m/" + name, "/m/r" + name, "/m/r" + name + "/sub"}
		if name == "defaults" {
			where = where[:1]
		}
		for _, dir := range where {
			if l, ok := lines[dir]; !ok || slices.Contains(l.flags, o.word) != o.want {
				t.Errorf("%s: %v, want %s: %v", dir, l.flags, o.word, o.want)
			}
		}
		if name != "strictatime" {
			continue
		}
		for _, dir := range where {
			if slices.Contains(lines[dir].flags, "noatime") {
				t.Errorf("%s: %v", dir, lines[dir].flags)
			}
		}
	}
	for name, o := range superOptions {
		if l, ok := lines["/m/"+name]; !ok || slices.Contains(l.super, o.word) != o.want {
			t.Errorf("%s: %v, want %s: %v", name, l.super, o.word, o.want)
		}
	}
	if l := lines["/m/versions"]; !slices.Contains(l.super, "sync") || !slices.Contains(l.super, "size=1024k") {
		t.Errorf("iversion, and the file system's other options: %v", l.super)
	}
	for _, word := range []string{"nosuid", "noexec", "noatime"} {
		if !slices.Contains(lines["/m/versions"].flags, word) {
			t.Errorf("iversion, and the mount's flags: %v", lines["/m/versions"].flags)
		}
		if !slices.Contains(lines["/m/new"].flags, word) {
			t.Errorf("a new file system: %v", lines["/m/new"].flags)
		}
	}
}

// TestPropagationOptions binds a tree that is shared on the host.
func TestPropagationOptions(t *testing.T) {
	tree := mountTree(t)
	if err := unix.Mount("", tree, "", unix.MS_SHARED|unix.MS_REC, ""); err != nil {
		t.Fatal(err)
	}
	text := runScript(t, func(s *specs.Spec) {
		for name, o := range peerOptions {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m/" + name, Source: tree, Options: []string{o.bind, name}})
		}
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/m/none", Source: tree, Options: []string{"rbind"}},
			specs.Mount{Destination: "/m/two", Source: tree, Options: []string{"rbind", "rslave", "rshared"}})
	}, "cat /proc/self/mountinfo")
	lines := mountLines(text)
	check := func(dir, want string) {
		if l, ok := lines[dir]; !ok || l.peers != want {
			t.Errorf("%s is %q, want %q", dir, l.peers, want)
		}
	}
	for name, o := range peerOptions {
		check("/m/"+name, o.top)
		check("/m/"+name+"/sub", o.sub)
	}
	check("/m/none", "master")
	check("/m/none/sub", "master")
	check("/m/two", "shared master")
	check("/m/two/sub", "shared master")
}

// TestBind: a bind has the topmost mount alone, an rbind all below it; files can be bound to files.
func TestBind(t *testing.T) {
	tree := mountTree(t)
	got := runScript(t, func(s *specs.Spec) {
		s.Mounts = append(s.Mounts, specs.Mount{Destination: "/one", Type: "none", Source: tree, Options: []string{"bind"}},
			specs.Mount{Destination: "/all", Source: tree, Options: []string{"rbind"}},
			specs.Mount{Destination: "/etc/made/file", Type: "bind", Source: filepath.Join(tree, "file"), Options: []string{"bind", "ro"}})
	}, `ls /one/sub /all/sub; stat -c "%F %u" /etc/made/file; (echo x > /etc/made/file) 2>&1 | grep -o "Read-only.*"`)
	if want := "/all/sub:\nfile\n\n/one/sub:\nregular empty file 1000\nRead-only file system"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestMountOptionsTested: every option that we say we know is in a test.
func TestMountOptionsTested(t *testing.T) {
	for _, name := range spec.MountOptionNames() {
		_, flag := flagOptions[name]
		_, super := superOptions[name]
		_, peer := peerOptions[name]
		_, rec := flagOptions[strings.TrimPrefix(name, "r")]
		if !flag && !super && !peer && !rec && elsewhere[name] == "" {
			t.Errorf("no test mounts with %s", name)
		}
	}
}
