package host

import (
	"reflect"
	"testing"

	"example.io/shim/linux/facts"
)

// v1h is a v1 hierarchy, v2h the v2 one, as /proc/PID/cgroup shows them.
func v1h(own string, controllers ...string) facts.Hierarchy {
	return facts.Hierarchy{Controllers: controllers, Own: own, Root: "/"}
}

func v2h(own string) facts.Hierarchy { return facts.Hierarchy{Unified: true, Own: own, Root: "/"} }

// at is h with its mount.
func at(h facts.Hierarchy, mount, root string) facts.Hierarchy {
	h.Mount, h.Root = mount, root
	return h
}

// TestParseOwn parses /proc/PID/cgroup of machines of every kind.
func TestParseOwn(t *testing.T) {
	cases := []struct {
		name, file string
		want       []facts.Hierarchy
		version    int
	}{
		{"v1", "3:cpu,cpuacct:/a\n2:memory:/a/b\n1:name=systemd:/user.slice\n",
			[]facts.Hierarchy{v1h("/a", "cpu", "cpuacct"), v1h("/a/b", "memory"), v1h("/user.slice", "name=systemd")}, 1},
		{"hybrid", "1:pids:/x\n0::/init.scope\n", []facts.Hierarchy{v1h("/x", "pids"), v2h("/init.scope")}, 1},
		{"hybrid without controllers", "1:name=systemd:/\n0::/\n", []facts.Hierarchy{v1h("/", "name=systemd"), v2h("/")}, 2},
		{"named only", "1:name=systemd:/\n", []facts.Hierarchy{v1h("/", "name=systemd")}, 0},
		{"v2", "0::/user.slice/a.service\n", []facts.Hierarchy{v2h("/user.slice/a.service")}, 2},
		{"colons in the path", "0::/a:b/c::d\n", []facts.Hierarchy{v2h("/a:b/c::d")}, 2},
		{"a colon in v1", "4:devices:/docker:1:2\n", []facts.Hierarchy{v1h("/docker:1:2", "devices")}, 1},
		{"spaces, backslashes, UTF-8", "4:devices:/a b\\040c/ü\n", []facts.Hierarchy{v1h(`/a b\040c/ü`, "devices")}, 1}, // not escaped there
		{"outside of the cgroup namespace", "4:devices:/../x\n", []facts.Hierarchy{v1h("/../x", "devices")}, 1},
		{"a name with an equals sign", "7:name=a=b:/\n", []facts.Hierarchy{v1h("/", "name=a=b")}, 0},
		{"no newline at the end", "0::/a", []facts.Hierarchy{v2h("/a")}, 2},
		{"lines that are none", "\nx\n1:2\n0::/a\n", []facts.Hierarchy{v2h("/a")}, 2},
		{"empty", "", nil, 0},
	}
	for _, c := range cases {
		got := parseOwn([]byte(c.file))
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
		if v := version(got); v != c.version {
			t.Errorf("%s: version %d, want %d", c.name, v, c.version)
		}
	}
}

// TestPlaceByMountinfo finds mounts in /proc/PID/mountinfo.
func TestPlaceByMountinfo(t *testing.T) {
	const (
		usual   = "36 31 0:33 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
		pair    = "37 31 0:34 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
		named   = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup systemd-1 rw,xattr,release_agent=/lib/systemd/agent,name=systemd\n"
		unified = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
		noise   = "22 1 8:1 / / rw - ext4 /dev/vda rw\n23 22 0:5 / /memory rw - tmpfs cgroup rw,memory\n24 22 0:6 /\n\n"
	)
	cases := []struct {
		name, file string
		own, want  []facts.Hierarchy
	}{
		{"v1", noise + usual + pair + named, []facts.Hierarchy{v1h("/a", "memory"), v1h("/a", "cpu", "cpuacct"), v1h("/", "name=systemd")},
			[]facts.Hierarchy{at(v1h("/a", "memory"), "/sys/fs/cgroup/memory", "/"), at(v1h("/a", "cpu", "cpuacct"), "/sys/fs/cgroup/cpu,cpuacct", "/"),
				at(v1h("/", "name=systemd"), "/sys/fs/cgroup/systemd", "/")}},
		{"hybrid", usual + unified, []facts.Hierarchy{v1h("/", "memory"), v2h("/x")},
			[]facts.Hierarchy{at(v1h("/", "memory"), "/sys/fs/cgroup/memory", "/"), at(v2h("/x"), "/sys/fs/cgroup/unified", "/")}},
		{"v2 in an odd place", "41 31 0:38 / /dev/cg\\0402 rw - cgroup2 none rw\n", []facts.Hierarchy{v2h("/x")}, []facts.Hierarchy{at(v2h("/x"), "/dev/cg 2", "/")}},
		{"a part of the hierarchy", "36 31 0:33 /docker/a\\134b /cg rw - cgroup cgroup rw,memory\n", []facts.Hierarchy{v1h(`/docker/a\b`, "memory")},
			[]facts.Hierarchy{at(v1h(`/docker/a\b`, "memory"), "/cg", `/docker/a\b`)}},
		{"optional fields", "36 31 0:33 / /cg rw shared:1 master:2 propagate_from:3 unbindable - cgroup cgroup rw,memory\n", []facts.Hierarchy{v1h("/", "memory")},
			[]facts.Hierarchy{at(v1h("/", "memory"), "/cg", "/")}},
		{"a dash as a folder", "36 31 0:33 / /a/- rw - cgroup cgroup rw,memory\n", []facts.Hierarchy{v1h("/", "memory")},
			[]facts.Hierarchy{at(v1h("/", "memory"), "/a/-", "/")}},
		{"the first of two mounts", usual + "50 31 0:33 / /second rw - cgroup cgroup rw,memory\n", []facts.Hierarchy{v1h("/", "memory")},
			[]facts.Hierarchy{at(v1h("/", "memory"), "/sys/fs/cgroup/memory", "/")}},
		{"a controller's name inside another's", "36 31 0:33 / /cg rw - cgroup cgroup rw,cpuset\n", []facts.Hierarchy{v1h("/", "cpu")}, []facts.Hierarchy{v1h("/", "cpu")}},
		{"not mounted", noise, []facts.Hierarchy{v1h("/", "memory"), v2h("/")}, []facts.Hierarchy{v1h("/", "memory"), v2h("/")}},
		{"what is known already stays", usual, []facts.Hierarchy{at(v1h("/", "memory"), "/known", "/")}, []facts.Hierarchy{at(v1h("/", "memory"), "/known", "/")}},
		{"lines that are none", "x - y\n1 2 3 4 5 6 - cgroup\n - \n", []facts.Hierarchy{v1h("/", "memory")}, []facts.Hierarchy{v1h("/", "memory")}},
	}
	for _, c := range cases {
		placeByMountinfo(c.own, []byte(c.file))
		if !reflect.DeepEqual(c.own, c.want) {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, c.own, c.want)
		}
	}
}

// TestUnescape takes the escapes of mountinfo back: space, tab, newline and backslash are written so (proc_pid_mountinfo(5)).
func TestUnescape(t *testing.T) {
	for in, want := range map[string]string{
		"":              "",
		"/plain":        "/plain",
		`/a\040b`:       "/a b",
		`/a\011\012b`:   "/a\t\nb",
		`/a\134040`:     `/a\040`, // an escaped backslash is not the start of the next escape
		`\040`:          " ",
		`/end\04`:       `/end\04`,
		`/end\`:         `/end\`,
		`/no\0z0octal`:  `/no\0z0octal`,
		`/\777/too/big`: `/\777/too/big`,
		`/ü\040ü`:       "/ü ü",
		`\134\134\043`:  `\\#`,
	} {
		if got := Unescape(in); got != want {
			t.Errorf("Unescape(%q) = %q, want %q", in, got, want)
		}
	}
}
