package contract

import (
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/integration/daemon"
)

// The attacks by which other runtimes fell, with real containers. linux/compile has the same ones as questions to plans.

// newest runs f under the newest containerd only: what is attacked is below its interface.
func newest(t *testing.T, f func(t *testing.T, d *daemon.Daemon)) {
	d := daemons[len(daemons)-1]
	before := look()
	f(t, d)
	if left := before.Left(look); left != "" {
		t.Error("left behind:", left)
	}
}

// script is what a container's shell writes to /out, a file of its root, or why it could not be made.
func (r *raw) script() (string, error) {
	r.t.Helper()
	r.start()
	defer r.shutdown()
	if err := r.errOf("Create", r.createRequest()); err != nil {
		return "", err
	}
	if err := r.errOf("Start", &taskapi.StartRequest{ID: r.id}); err != nil {
		r.remove("")
		return "", err
	}
	r.wait("")
	r.remove("")
	out, err := os.ReadFile(filepath.Join(r.tree(), "out"))
	r.ok(err)
	return string(out), nil
}

// newScript is a container that runs a script.
func newScript(t *testing.T, d *daemon.Daemon, script string, f func(s *specs.Spec)) *raw {
	t.Helper()
	return newRaw(t, d, []string{"sh", "-c", "(" + script + ") > /out 2>&1"}, edit(f)...)
}

// unchanged fails if something was made in a folder of the host.
func unchanged(t *testing.T, dir string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil || len(list) > 0 {
		t.Errorf("made on the host, in %s: %v, %v", dir, list, err)
	}
}

// toHost is a link's text that leads to a folder of the host where it is followed without care.
func toHost(dir string) string { return strings.Repeat("../", 20) + strings.TrimPrefix(dir, "/") }

// TestAttackLinksInImage: a link of the image where something is mounted or made (CVE-2019-18837, 2026-41579, CVE-2019-19921, CVE-2023-27561).
func TestAttackLinksInImage(t *testing.T) {
	newest(t, func(t *testing.T, d *daemon.Daemon) {
		for _, c := range []struct {
			link, to string // "HOST" is a folder of the host
			refused  string // what the error names; empty when the container may run
			f        func(s *specs.Spec)
		}{
			{"dev", "HOST", "", func(*specs.Spec) {}},
			{"sys", "HOST", "", func(*specs.Spec) {}},
			{"proc", "/tmp", "/proc", func(*specs.Spec) {}},
			{"proc", "HOST", "/proc", func(*specs.Spec) {}},
			{"mnt", "HOST", "", func(s *specs.Spec) {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mnt/made/here", Type: "tmpfs", Source: "tmpfs"})
			}},
			{"mnt", "HOST/file", "", func(s *specs.Spec) {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: "/mnt", Type: "bind", Source: "/etc/hostname", Options: []string{"bind", "ro"}})
			}},
			{"start", "HOST", "", func(s *specs.Spec) { s.Process.Cwd = "/start/here" }},
		} {
			host := t.TempDir()
			r := newScript(t, d, "echo runs", c.f)
			link := filepath.Join(r.tree(), c.link)
			_ = os.Remove(link)
			r.ok(os.Symlink(strings.ReplaceAll(c.to, "HOST", toHost(host)), link))
			_, err := r.script()
			if c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)) {
				t.Errorf("/%s is a link to %s: %v", c.link, c.to, err)
			}
			unchanged(t, host)
		}
	})
}

// TestAttackFalseNull: the image's /dev/null is another file, which would be mounted over what is to be masked (CVE-2025-31133).
func TestAttackFalseNull(t *testing.T) {
	newest(t, func(t *testing.T, d *daemon.Daemon) {
		for name, make := range map[string]func(path string) error{
			"a file":                 func(path string) error { return os.WriteFile(path, []byte("false"), 0o666) },
			"a link to what is kept": func(path string) error { return os.Symlink("/proc/sys/kernel/core_pattern", path) },
		} {
			r := newScript(t, d, "cat /proc/keys; echo x > /proc/sys/kernel/core_pattern", func(s *specs.Spec) {
				s.Mounts = []specs.Mount{{Destination: "/proc", Type: "proc", Source: "proc"}} // the image's own /dev
				s.Linux.MaskedPaths = []string{"/proc/keys"}
			})
			r.ok(make(filepath.Join(r.tree(), "dev/null")))
			out, err := r.script()
			if err == nil && (strings.Contains(out, "false") || !strings.Contains(out, "Read-only file system")) {
				t.Errorf("/dev/null is %s: %q", name, out)
			}
		}
	})
}

// TestAttackDescriptors: working directories in open descriptors (CVE-2024-21626), of init and of an exec.
func TestAttackDescriptors(t *testing.T) {
	newest(t, func(t *testing.T, d *daemon.Daemon) {
		r := newRaw(t, d, []string{"sleep", "1000"}).start()
		r.create(nil)
		r.begin("")
		for n := range 24 {
			q := r.execRequest("e", "sh", "-c", "cat etc/hostname; ls ../../..")
			q.Spec = anyOf(q.GetSpec().GetTypeUrl(), []byte(strings.Replace(string(q.GetSpec().GetValue()), `"cwd":"/"`, fmt.Sprintf(`"cwd":"/proc/self/fd/%d"`, n), 1)))
			if err := r.execError(q); err == nil || !strings.Contains(err.Error(), "/cwd") {
				t.Errorf("an exec with its working directory in descriptor %d: %v", n, err)
			}
		}
		r.finish()
	})
}

// TestAttackCapabilities: the inheritable set stays empty (CVE-2022-29162), of init and of an exec with more capabilities.
func TestAttackCapabilities(t *testing.T) {
	newest(t, func(t *testing.T, d *daemon.Daemon) {
		r := newRaw(t, d, []string{"sh", "-c", "grep CapInh /proc/self/status > /out; sleep 1000"}).start()
		r.create(nil)
		r.begin("")
		r.awaitFile("out")
		q := r.execRequest("e", "sh", "-c", "grep CapInh /proc/self/status > /out2")
		all := `["CAP_SYS_ADMIN","CAP_NET_ADMIN"]`
		caps := fmt.Sprintf(`{"capabilities":{"bounding":%s,"effective":%s,"permitted":%s},`, all, all, all)
		q.Spec = anyOf(q.GetSpec().GetTypeUrl(), []byte(strings.Replace(string(q.GetSpec().GetValue()), "{", caps, 1)))
		r.ok(r.errOf("Exec", q))
		r.begin("e")
		r.wait("e")
		for _, file := range []string{"out", "out2"} {
			if data, err := os.ReadFile(filepath.Join(r.tree(), file)); err != nil || string(data) != "CapInh:\t0000000000000000\n" {
				t.Errorf("%s: %q, %v", file, data, err)
			}
		}
		r.finish()
	})
}

// TestAttackDevices: with only allow rules everything else is refused (GHSA-g54h-m393-cpwq).
func TestAttackDevices(t *testing.T) {
	newest(t, func(t *testing.T, d *daemon.Daemon) {
		one, three := int64(1), int64(3)
		r := newScript(t, d, "mknod /tmp/kmsg c 1 11; cat /tmp/kmsg; mknod /tmp/disk b 254 0; cat /tmp/disk; cat /dev/null && echo null", func(s *specs.Spec) {
			s.Linux.Resources.Devices = []specs.LinuxDeviceCgroup{{Allow: true, Type: "c", Major: &one, Minor: &three, Access: "rwm"}}
		})
		r.ok(os.Symlink("busybox", filepath.Join(r.tree(), "bin/mknod")))
		out, err := r.script()
		if err != nil || strings.Count(out, "Operation not permitted") < 2 || !strings.HasSuffix(out, "null\n") {
			t.Errorf("devices that no rule names: %v: %s", err, out)
		}
	})
}

// TestAttackCgroupfs: in a user namespace, without a cgroup namespace, the cgroups are not writable (CVE-2023-25809).
func TestAttackCgroupfs(t *testing.T) {
	newest(t, func(t *testing.T, d *daemon.Daemon) {
		ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
		r := newScript(t, d, "for f in $(ls -d /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs); do echo $$ > $f && echo WRITTEN $f; done; mkdir /sys/fs/cgroup/memory/x && echo MADE; echo end", func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}})
			kept := s.Linux.Namespaces[:0]
			for _, n := range s.Linux.Namespaces {
				if n.Type != specs.CgroupNamespace {
					kept = append(kept, n)
				}
			}
			s.Linux.Namespaces = append(kept, specs.LinuxNamespace{Type: specs.UserNamespace})
			s.Linux.UIDMappings, s.Linux.GIDMappings = ids, ids
		})
		r.ok(os.WriteFile(filepath.Join(r.tree(), "out"), nil, 0o666))
		r.ok(os.Chmod(filepath.Join(r.tree(), "out"), 0o666))
		r.ok(os.Chmod(r.bundle, 0o711))
		r.ok(os.Chmod(filepath.Dir(r.bundle), 0o755))
		out, err := r.script()
		if err != nil || strings.Contains(out, "WRITTEN") || strings.Contains(out, "MADE") || !strings.HasSuffix(out, "end\n") {
			t.Errorf("%v: %s", err, out)
		}
	})
}

// ownProgram is the hash of the binary under test.
func ownProgram(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile(program())
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

// wantOwnSocket wants that of a process that enters nothing was seen but its program, and the one socket over which it speaks with the runtime.
func wantOwnSocket(t *testing.T, seen string) {
	t.Helper()
	sockets := map[string]string{}
	for line := range strings.Lines(seen) {
		what, link, _ := strings.Cut(strings.TrimSpace(line), " is ")
		proc, _, fd := strings.Cut(what, "/fd/")
		if !fd {
			continue
		}
		if !strings.HasPrefix(link, "socket:") || sockets[proc] != "" && sockets[proc] != link {
			t.Errorf("seen from inside with CAP_SYS_PTRACE: %s", line)
		}
		sockets[proc] = link
	}
}

// TestAttackFromInside: a container looks for processes that enter it, for their programs and descriptors (CVE-2016-9962): there is nothing to be seen. With
// CAP_SYS_PTRACE it may look at any process of its pid namespace, but what enters holds nothing of the runtime's any more when it is born there, and then the container's own root; it cannot
// write to its program (CVE-2019-5736).
func TestAttackFromInside(t *testing.T) {
	const execs = 60
	const attack = `while [ ! -e /stop ]; do for p in /proc/[0-9]*; do
  [ $p = /proc/1 ] && continue
  case "$(readlink $p/exe)" in ""|*busybox) ;; *) echo "$p/exe is $(readlink $p/exe)" >> /seen; echo x >> $p/exe && echo "$p" >> /written;; esac
  for f in $p/fd/*; do case $f in */[012]) ;; *) l=$(readlink $f); case "$l" in ""|/proc*|/seen|pipe:*) ;; /) [ $f -ef / ] || echo "$f is a root" >> /seen;; *) echo "$f is $l" >> /seen;; esac;; esac; done
done 2> /dev/null; done`
	newest(t, func(t *testing.T, d *daemon.Daemon) {
		for name, opt := range map[string]oci.SpecOpts{
			"default": oci.WithNewPrivileges, "all but one": oci.Compose(oci.WithPrivileged, oci.WithDroppedCapabilities([]string{"CAP_SYS_PTRACE"})), "privileged": oci.WithPrivileged,
		} {
			before := ownProgram(t)
			r := newRaw(t, d, []string{"sh", "-c", attack}, opt).start()
			r.create(nil)
			r.begin("")
			for range execs {
				r.exec("e", "true")
				r.wait("e")
				r.remove("e")
			}
			r.finish()
			data, err := os.ReadFile(filepath.Join(r.tree(), "seen"))
			if name == "privileged" {
				wantOwnSocket(t, string(data))
			} else if !os.IsNotExist(err) {
				t.Errorf("%s: seen from inside: %s, %v", name, data, err)
			}
			if data, err := os.ReadFile(filepath.Join(r.tree(), "written")); !os.IsNotExist(err) || ownProgram(t) != before {
				t.Errorf("%s: our program was written to: %s, %v", name, data, err)
			}
		}
	})
}
