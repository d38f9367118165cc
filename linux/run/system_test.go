package run

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestDevices: nodes with number, mode and owner, in new folders too, and what may be done with them.
func TestDevices(t *testing.T) {
	mode := func(m os.FileMode) *os.FileMode { return &m }
	device := func(path, typ string, major, minor int64, m *os.FileMode) specs.LinuxDevice {
		return specs.LinuxDevice{Path: path, Type: typ, Major: major, Minor: minor, FileMode: m, UID: new(uint32(12)), GID: new(uint32(34))}
	}
	got := runScript(t, func(s *specs.Spec) {
		s.Linux.Devices = []specs.LinuxDevice{device("/dev/deep/loop", "c", 10, 237, mode(0o640)), device("/dev/disk", "b", 7, 99, mode(0o60600)), device("/dev/pipe", "p", 0, 0, mode(0o2620)),
			device("/made/zero", "u", 1, 5, nil)}
		s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Allow: true, Type: "c", Major: new(int64(10)), Minor: new(int64(237)), Access: "r"})
	}, `stat -c "%n %F %t:%T %a %u:%g" /dev/deep/loop /dev/disk /dev/pipe /made/zero /dev/null
head -c 1 /made/zero | wc -c; (true < /dev/deep/loop) && echo read; (true > /dev/deep/loop) 2>&1 | grep -o "Operation.*"; (true < /dev/disk) 2>&1 | grep -o "Operation.*"`)
	want := `/dev/deep/loop character special file a:ed 640 12:34
/dev/disk block special file 7:63 600 12:34
/dev/pipe fifo 0:0 2620 12:34
/made/zero character special file 1:5 666 12:34
/dev/null character special file 1:3 666 0:0
1
read
Operation not permitted
Operation not permitted`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestDevicesThere: what the image has where a device is asked for must be that device (config-linux.md, "Devices").
func TestDevicesThere(t *testing.T) {
	device := func(path string) func(*specs.Spec) {
		return func(s *specs.Spec) {
			s.Linux.Devices = []specs.LinuxDevice{{Path: path, Type: "c", Major: 1, Minor: 5}}
		}
	}
	for _, path := range []string{"/etc/plain", "/etc/full", "/bin/sh"} { // a file, another device, a link
		bundle := newBundle(t, device(path))
		if err := unix.Mknod(filepath.Join(bundle, "rootfs/etc/full"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 7))); err != nil {
			t.Fatal(err)
		}
		before := takeTrace(t, bundle)
		if _, err := Create(t.Context(), newDeps(t), request(bundle)); err == nil || !strings.Contains(err.Error(), "(/linux/devices/0)") {
			t.Errorf("%s: got %v", path, err)
		}
		noTrace(t, before, filepath.Join(bundle, "config.json"))
	}
	bundle := newBundle(t, device("/etc/zero"))
	if err := unix.Mknod(filepath.Join(bundle, "rootfs/etc/zero"), unix.S_IFCHR|0o600, int(unix.Mkdev(1, 5))); err != nil {
		t.Fatal(err)
	}
	if got := runIn(t, bundle, `stat -c "%F %a %t:%T" /etc/zero`); got != "character special file 600 1:5" {
		t.Errorf("the image's own: %s", got)
	}
}

// TestPaths: masked files are empty, masked folders too; what is read-only is so without the rest of its mount; a read-only root still has writable mounts.
func TestPaths(t *testing.T) {
	got := runScript(t, func(s *specs.Spec) {
		s.Linux.MaskedPaths = []string{"/proc/version", "/etc", "/not/there"}
		s.Linux.ReadonlyPaths = []string{"/proc/sys/vm", "/run", "/not/there"}
		s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "77", "kernel.msgmax": "4321"}
		s.Root.Readonly = true
	}, `wc -c < /proc/version; ls /etc | wc -l; (touch /run/x; touch /x; touch /dev/shm/x && echo made) 2>&1
cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/msgmax; (echo 1 > /proc/sys/vm/swappiness) 2>&1; test -w /proc/sys/kernel/msgmax && echo writable`)
	want := `0
0
touch: /run/x: Read-only file system
touch: /x: Read-only file system
made
77
4321
sh: can't create /proc/sys/vm/swappiness: Read-only file system
writable`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// namespaceTypes are those of config.json and of /proc/PID/ns.
var namespaceTypes = map[specs.LinuxNamespaceType]string{
	specs.PIDNamespace: "pid", specs.NetworkNamespace: "net", specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts", specs.MountNamespace: "mnt", specs.CgroupNamespace: "cgroup",
	specs.UserNamespace: "user", specs.TimeNamespace: "time",
}

func nsLink(t *testing.T, pid int, name string) string {
	t.Helper()
	to, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// TestNamespaces: each type is new, the host's, or joined by its path, for init and for further processes.
func TestNamespaces(t *testing.T) {
	first := sleeping(t, newDeps(t), func(s *specs.Spec) {
		withUserns(s)
		s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "cgroup"}, specs.LinuxNamespace{Type: "time"})
	})
	box := first.Init().Pid()
	for typ, name := range namespaceTypes {
		for _, pid := range []int{box, execSleeping(t, first, func(*specs.Process) {}).Pid()} {
			if same := nsLink(t, pid, name) == nsLink(t, os.Getpid(), name); same {
				t.Errorf("%s of %d is the host's", typ, pid)
			}
			if nsLink(t, pid, name) != nsLink(t, box, name) {
				t.Errorf("%s of %d is not init's", typ, pid)
			}
		}
	}
	// The namespaces stand before that which owns them: they are joined with the host's rights, or after it with its own.
	joined := sleeping(t, newDeps(t), func(s *specs.Spec) {
		s.Hostname = ""
		s.Linux.Namespaces = []specs.LinuxNamespace{{Type: specs.MountNamespace}}
		for _, typ := range []specs.LinuxNamespaceType{specs.NetworkNamespace, specs.IPCNamespace, specs.UTSNamespace, specs.CgroupNamespace, specs.TimeNamespace, specs.PIDNamespace, specs.UserNamespace} {
			s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: typ, Path: fmt.Sprintf("/proc/%d/ns/%s", box, namespaceTypes[typ])})
		}
	})
	for _, pid := range []int{joined.Init().Pid(), execSleeping(t, joined, func(*specs.Process) {}).Pid()} {
		for typ, name := range namespaceTypes {
			if same := nsLink(t, pid, name) == nsLink(t, box, name); same != (typ != specs.MountNamespace) {
				t.Errorf("%s of %d is the one that was joined: %v", typ, pid, same)
			}
		}
	}
	host := sleeping(t, newDeps(t), func(s *specs.Spec) {
		s.Hostname, s.Linux.Namespaces = "", []specs.LinuxNamespace{{Type: specs.MountNamespace}}
	})
	for typ, name := range namespaceTypes {
		if same := nsLink(t, host.Init().Pid(), name) == nsLink(t, os.Getpid(), name); same != (typ != specs.MountNamespace) {
			t.Errorf("%s of a container without: the host's is %v", typ, same)
		}
	}
}

// TestMappings: ids of several ranges, for users and for groups.
func TestMappings(t *testing.T) {
	box := sleeping(t, newDeps(t), func(s *specs.Spec) {
		withUserns(s)
		s.Linux.UIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 1000}, {ContainerID: 1000, HostID: 5, Size: 1}}
		s.Linux.GIDMappings = []specs.LinuxIDMapping{{ContainerID: 0, HostID: 200000, Size: 10}}
	})
	for file, want := range map[string]string{"uid_map": "0 100000 1000\n1000 5 1", "gid_map": "0 200000 10"} {
		var lines []string
		for line := range strings.Lines(procFile(t, box.Init().Pid(), file)) {
			lines = append(lines, strings.Join(strings.Fields(line), " "))
		}
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	var st unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/root/dev/shm", box.Init().Pid()), &st); err != nil || st.Uid != 100000 || st.Gid != 200000 {
		t.Errorf("what the container makes is of %d:%d, %v", st.Uid, st.Gid, err)
	}
}

// TestRootPath: relative to the bundle, or absolute.
func TestRootPath(t *testing.T) {
	for _, absolute := range []bool{false, true} {
		bundle := newBundle(t, nil)
		editBundle(t, bundle, func(s *specs.Spec) {
			if absolute {
				s.Root.Path = filepath.Join(bundle, "rootfs")
			}
		})
		if got := runIn(t, bundle, "grep -c home/user /etc/passwd"); got != "1" {
			t.Errorf("absolute %v: %s", absolute, got)
		}
	}
}
