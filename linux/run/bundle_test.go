package run

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/host"
	"example.io/shim/oom"
)

const busybox = "/bin/busybox" // Debian's busybox-static; `make test` installs it

// newBundle makes a bundle whose root is a busybox and whose config.json is like containerd's default, changed by edit.
func newBundle(t testing.TB, edit func(*specs.Spec)) string {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "rootfs")
	for _, d := range []string{"bin", "etc", "proc", "sys", "dev", "tmp", "run", "root", "home/user"} {
		if err := os.MkdirAll(filepath.Join(root, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatalf("busybox-static is needed: %v", err)
	}
	write := func(name string, data []byte, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(root, name), data, mode); err != nil {
			t.Fatal(err)
		}
	}
	write("bin/busybox", data, 0o755)
	for _, applet := range []string{"sh", "cat", "sleep", "true", "id", "echo", "ls", "stat", "mount", "kill", "env", "tail", "grep", "cut", "sort", "mkdir", "rmdir"} {
		if err := os.Symlink("busybox", filepath.Join(root, "bin", applet)); err != nil {
			t.Fatal(err)
		}
	}
	write("etc/passwd", []byte("root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n"), 0o644)
	write("bin/broken", []byte("not a program\n"), 0o755)
	write("etc/plain", []byte("not a program\n"), 0o644)
	s := defaultSpec(filepath.Base(dir))
	if edit != nil {
		edit(s)
	}
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), text, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

func defaultSpec(name string) *specs.Spec {
	caps := []string{"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_MKNOD"}
	mount := func(dst, typ, src string, opts ...string) specs.Mount {
		return specs.Mount{Destination: dst, Type: typ, Source: src, Options: opts}
	}
	return &specs.Spec{
		Version: specs.Version,
		Root:    &specs.Root{Path: "rootfs"},
		Process: &specs.Process{
			Args: []string{"sh", "-c", "exit 7"}, Cwd: "/", Env: []string{"PATH=/usr/bin:/bin"}, NoNewPrivileges: true,
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Permitted: caps, Effective: caps},
			Rlimits:      []specs.POSIXRlimit{{Type: "RLIMIT_NOFILE", Hard: 1024, Soft: 1024}},
		},
		Hostname: "box",
		Mounts: []specs.Mount{
			mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
			mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
			mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
			mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
			mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
			mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
			mount("/run", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
		},
		Linux: &specs.Linux{
			CgroupsPath:   cgroupsPath(name),
			Resources:     &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}}},
			Namespaces:    []specs.LinuxNamespace{{Type: "pid"}, {Type: "ipc"}, {Type: "uts"}, {Type: "mount"}, {Type: "network"}},
			MaskedPaths:   []string{"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"},
			ReadonlyPaths: []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
}

// newDeps probes this machine.
func newDeps(t testing.TB) *Deps {
	t.Helper()
	f, err := host.Probe()
	if err != nil {
		t.Fatal(err)
	}
	if bySystemd {
		if f, err = SystemdFacts(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	return &Deps{Facts: f, ArmOOM: func(dir string) (OOM, error) {
		w, err := oom.New(dir)
		if err != nil {
			return nil, err
		}
		return w, nil
	}}
}

func request(bundle string) Request {
	return Request{ID: filepath.Base(bundle), Namespace: "test", Bundle: bundle, SystemdCgroup: bySystemd && inSlice(bundle)}
}

// bySystemd says that the tests' cgroups are to be made by systemd: integration/vm/test.sh v2-systemd.
var bySystemd = os.Getenv(driverEnv) == "systemd"

const driverEnv = "SHIM_TEST_CGROUP_DRIVER"

const testSlice = "shimruntest.slice"

func cgroupsPath(name string) string {
	if bySystemd {
		return fmt.Sprintf("%s:%d:%s", testSlice, os.Getpid(), name)
	}
	return fmt.Sprintf("/shim-run-test/%d-%s", os.Getpid(), name)
}

// inSlice says that the bundle's cgroupsPath is of the form that systemd's driver needs: some tests have a path of their own.
func inSlice(bundle string) bool {
	data, err := os.ReadFile(filepath.Join(bundle, "config.json"))
	var s specs.Spec
	return err == nil && json.Unmarshal(data, &s) == nil && s.Linux != nil && strings.Count(s.Linux.CgroupsPath, ":") == 2
}
