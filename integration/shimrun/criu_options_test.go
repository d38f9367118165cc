package shimrun

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/internal/need"
)

// install puts a program of the host's with its libraries into the container.
func (m *moving) install(name string) {
	m.t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		m.t.Fatal(err)
	}
	libs, err := exec.Command("ldd", path).Output()
	if err != nil {
		m.t.Fatal(err)
	}
	for _, from := range append(strings.Fields(string(libs)), path) {
		to := from
		if from == path {
			to = "/bin/" + name
		} else if !filepath.IsAbs(from) {
			continue
		}
		data, err := os.ReadFile(from)
		if err != nil {
			m.t.Fatal(err)
		}
		to = filepath.Join(m.bundle, "rootfs", to)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			m.t.Fatal(err)
		}
		if err := os.WriteFile(to, data, 0o755); err != nil {
			m.t.Fatal(err)
		}
	}
}

// TestCriuOptions: what a process may hold that needs an option: without it the dump fails, says which, and the process goes on.
func TestCriuOptions(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		option string
		text   string // of the error without
		prove  func(m *moving)
	}{
		"tcp": {
			script: "sleep 1000 | nc -l -p 99 >/dev/null & sleep 1; sleep 1000 | nc 127.0.0.1 99 >/dev/null & sleep 1", option: "--tcp-established",
			text: "tcp-established",
			prove: func(m *moving) {
				if out := m.do("exec", m.id, "/bin/netstat", "-tn"); strings.Count(out, "ESTABLISHED") != 2 {
					m.t.Errorf("connections: %s", out)
				}
			},
		},
		"file lock": {
			script: "exec 9>/tmp/lock; flock 9", option: "--file-locks", text: "file-locks",
			prove: func(m *moving) {
				if out, err := m.try("exec", m.id, "/bin/flock", "-n", "/tmp/lock", "/bin/true"); err == nil {
					m.t.Errorf("the lock is free: %s", out)
				}
			},
		},
		"session": {script: "true", option: "--shell-job"},
		"unlinked": {
			script: "echo kept >/tmp/gone; ln /tmp/gone /tmp/other; exec 8</tmp/gone; rm /tmp/gone", option: "--link-remap", text: "link-remap",
			prove: func(m *moving) {
				if out := m.do("exec", m.id, "/bin/cat", "/proc/1/fd/8"); out != "kept\n" {
					m.t.Errorf("the file has %q", out)
				}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMoving(t, counts(c.script), nil)
			m.install("flock")
			m.run()
			m.number(1)
			if c.text != "" {
				m.refused(c.text, "checkpoint", "--image-path", m.images, m.id)
				m.number(m.number(0) + 2)
			}
			last := m.checkpoint(c.option)
			m.restore(last, c.option)
			if c.prove != nil {
				c.prove(m)
			}
			m.gone()
		})
	}
}

// TestCriuExternalSocket: a datagram socket whose other end is the host's, as a log's is. CRIU looks for that in the container's network namespace, and finds it
// again by the path that its owner has bound it to.
func TestCriuExternalSocket(t *testing.T) {
	dir := t.TempDir()
	socket := filepath.Join(dir, "log")
	m := newMoving(t, "ln -s "+socket+" /dev/log; exec 9>&1; i=0; while :; do i=$((i+1)); echo $i >&9; echo $i; sleep 0.2; done | logger", func(config map[string]any) {
		linux := config["linux"].(map[string]any)
		linux["namespaces"] = slices.DeleteFunc(linux["namespaces"].([]any), func(n any) bool { return n.(map[string]any)["type"] == "network" })
		config["mounts"] = append(config["mounts"].([]any), map[string]any{"destination": dir, "source": dir, "type": "bind", "options": []string{"bind"}})
	})
	l, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	logged := func(min int) int {
		t.Helper()
		buf := make([]byte, 1000)
		_ = l.SetReadDeadline(time.Now().Add(patience))
		for {
			n, err := l.Read(buf)
			if err != nil {
				t.Fatalf("no %d in the log: %v", min, err)
			}
			line := strings.TrimRight(string(buf[:n]), "\n\x00")
			if got, err := strconv.Atoi(line[strings.LastIndexByte(line, ' ')+1:]); err == nil && got >= min {
				return got
			}
		}
	}
	m.run()
	m.number(1)
	logged(1)
	m.refused("ext-unix-sk", "checkpoint", "--image-path", m.images, m.id)
	m.number(m.number(0) + 1)
	last := m.checkpoint("--ext-unix-sk")
	for buf := make([]byte, 1000); ; {
		_ = l.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := l.Read(buf); err != nil {
			break
		}
	}
	m.restore(last, "--ext-unix-sk")
	logged(last + 2)
	m.gone()
}

// TestCriuCgroups: in every mode of CRIU's for cgroups the restored processes are in the container's cgroup, another one than before.
func TestCriuCgroups(t *testing.T) {
	m := newMoving(t, counts("true"), nil)
	m.run()
	m.number(1)
	last := m.checkpoint("--manage-cgroups-mode", "strict")
	m.refused("is there before", "restore", "-d", "-b", m.bundle, "--image-path", m.images, "--manage-cgroups-mode", "strict", m.id)
	m.restore(last)
	m.gone()
	for _, mode := range []string{"", "ignore", "none", "props", "soft", "full"} {
		t.Run("mode "+mode, func(t *testing.T) {
			m.t = t
			options := []string{}
			if mode != "" {
				options = []string{"--manage-cgroups-mode", mode}
			}
			for i, path := range []string{"/moving/first", "/moving/second"} {
				m.edit(func(config map[string]any) {
					config["linux"].(map[string]any)["cgroupsPath"] = path + strconv.Itoa(os.Getpid())
				})
				if i == 0 {
					m.run()
					continue
				}
				m.restore(m.checkpoint(options...), options...)
				_, pid := m.status(m.id)
				data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
				if err != nil {
					t.Fatal(err)
				}
				if n := strings.Count(string(data), path); n == 0 || strings.Contains(string(data), "/moving/first") {
					t.Errorf("init is in %s", data)
				}
			}
			m.gone()
		})
	}
	for _, path := range cgroupsNamed(t, "moving") {
		_ = os.Remove(path)
	}
}

// cgroupsNamed lists the cgroups of a name at the top of each hierarchy.
func cgroupsNamed(t *testing.T, name string) []string {
	t.Helper()
	var list []string
	for _, pattern := range []string{"/sys/fs/cgroup/" + name, "/sys/fs/cgroup/*/" + name} {
		found, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, found...)
	}
	return list
}

// TestCriuEmptyNamespace: the network namespace comes back as a new one, whose loopback device nobody has switched on.
func TestCriuEmptyNamespace(t *testing.T) {
	m := newMoving(t, counts("true"), nil)
	flags := func() string { return strings.TrimSpace(m.do("exec", m.id, "/bin/cat", "/sys/class/net/lo/flags")) }
	m.run()
	if f := flags(); f != "0x9" {
		t.Errorf("lo has the flags %s at first", f)
	}
	m.restore(m.checkpoint())
	if f := flags(); f != "0x9" {
		t.Errorf("lo has the flags %s when it was restored", f)
	}
	m.restore(m.checkpoint("--empty-ns", "network")) // the restore knows it from the dump
	if f := flags(); f != "0x8" {
		t.Errorf("lo has the flags %s in an empty namespace", f)
	}
	m.gone()
	m.run()
	m.refused("only network can be", "checkpoint", "--image-path", m.images, "--empty-ns", "mount", m.id)
	m.gone()
}

// TestCriuConfigFile: the annotation's file goes before our options.
func TestCriuConfigFile(t *testing.T) {
	m := newMoving(t, counts("true"), nil)
	file := filepath.Join(m.dir, "criu.conf")
	if err := os.WriteFile(file, []byte("log-file=other.log\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m.edit(func(config map[string]any) { config["annotations"] = map[string]string{"org.criu.config": file} })
	m.run()
	last := m.checkpoint("--work-path", m.dir)
	log := filepath.Join(m.dir, "other.log")
	if err := os.Remove(log); err != nil {
		t.Error(err)
	}
	m.restore(last, "--work-path", m.dir)
	if err := os.Remove(log); err != nil {
		t.Error(err)
	}
	m.gone()
}

// TestCriuNetDevice: in a network namespace with a path a device of the host's stays when the container is dumped, and is there for the restored one.
func TestCriuNetDevice(t *testing.T) {
	m := newMoving(t, counts("true"), nil)
	ns := filepath.Join(t.TempDir(), "net") // its mount is not the container's
	if err := os.WriteFile(ns, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	ip := func(args ...string) string {
		t.Helper()
		out, err := exec.Command("ip", args...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	if out, err := exec.Command("unshare", "--net="+ns, "true").CombinedOutput(); err != nil {
		t.Fatalf("unshare: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = unix.Unmount(ns, unix.MNT_DETACH) })
	ip("link", "add", "moving0", "type", "veth", "peer", "moving1")
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "moving0").Run() }) // in the namespace it goes with it
	ip("address", "add", "169.254.169.77/32", "dev", "moving0")
	m.edit(func(config map[string]any) {
		linux := config["linux"].(map[string]any)
		for _, n := range linux["namespaces"].([]any) {
			if n := n.(map[string]any); n["type"] == "network" {
				n["path"] = ns
			}
		}
		linux["netDevices"] = map[string]any{"moving0": map[string]any{"name": "eth7"}}
	})
	m.run()
	for range 2 {
		m.restore(m.checkpoint())
		if out := m.do("exec", m.id, "/bin/cat", "/proc/net/dev"); !strings.Contains(out, "eth7") {
			t.Errorf("devices: %s", out)
		}
	}
	m.checkpoint()
	if out, err := exec.Command("nsenter", "--net="+ns, "ip", "link", "del", "eth7").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m.refused("look for eth7 in the network namespace", "restore", "-d", "-b", m.bundle, "--image-path", m.images, m.id)
	m.gone()
}

// TestCriuUnit: the cgroup is a unit of systemd's, before and after, with the limits of config.json; nothing is left of either.
func TestCriuUnit(t *testing.T) {
	if _, err := os.Stat("/run/systemd/system"); err != nil {
		need.Systemd.Lacking(t, err.Error())
	}
	m := newMoving(t, counts("true"), nil)
	m.global = []string{"--systemd-cgroup"}
	unit := "moving-" + m.id + ".scope"
	m.edit(func(config map[string]any) {
		linux := config["linux"].(map[string]any)
		linux["cgroupsPath"] = "system.slice:moving:" + m.id
		linux["resources"].(map[string]any)["pids"] = map[string]any{"limit": 50}
	})
	show := func() string {
		t.Helper()
		out, err := exec.Command("systemctl", "show", "-p", "ActiveState,TasksMax,Slice", unit).CombinedOutput()
		if err != nil {
			t.Fatalf("systemctl: %v: %s", err, out)
		}
		return string(out)
	}
	m.run()
	m.number(1)
	for range 2 {
		last := m.checkpoint()
		if out := show(); !strings.Contains(out, "ActiveState=inactive") {
			t.Errorf("the unit of the dumped container: %s", out)
		}
		m.restore(last)
		if out := show(); !strings.Contains(out, "ActiveState=active") || !strings.Contains(out, "TasksMax=50") || !strings.Contains(out, "Slice=system.slice") {
			t.Errorf("the unit of the restored container: %s", out)
		}
		_, pid := m.status(m.id)
		if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid)); err != nil || !strings.Contains(string(data), "/system.slice/"+unit) {
			t.Errorf("init is in %s, %v", data, err)
		}
	}
	m.gone()
	if out := show(); !strings.Contains(out, "ActiveState=inactive") {
		t.Errorf("the unit is left: %s", out)
	}
}
