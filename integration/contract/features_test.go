package contract

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/integration/daemon"
)

// output runs a box to its end and returns what it wrote.
func outputOf(t *testing.T, d *daemon.Daemon, script string, spec ...oci.SpecOpts) string {
	t.Helper()
	b := newBox(t, d, config{args: []string{"sh", "-c", script}, spec: spec})
	b.ok(b.task.Start(b.ctx))
	b.finish()
	return b.out.String()
}

// TestFeatures runs a container for each thing that a configuration can ask for, and looks from inside.
func TestFeatures(t *testing.T) {
	shared := t.TempDir()
	if err := os.WriteFile(filepath.Join(shared, "file"), []byte("shared\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	ids := []specs.LinuxIDMapping{{ContainerID: 0, HostID: 100000, Size: 65536}}
	bind := func(opts ...string) oci.SpecOpts {
		return oci.WithMounts([]specs.Mount{{Destination: "/mnt/shared", Type: "bind", Source: shared, Options: opts}})
	}
	umask := uint32(0o077)
	each(t, func(t *testing.T, d *daemon.Daemon) {
		for _, c := range []struct {
			name, script, want string
			spec               []oci.SpecOpts
		}{
			{"pid 1", "echo $$", "1\n", nil},
			{"home", "echo $HOME", "/root\n", nil},
			{"user", "id -u; id -g; echo $HOME; id -G", "1000\n1000\n/home/user\n1000 5 7\n", []oci.SpecOpts{oci.WithUserID(1000), func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
				s.Process.User.GID, s.Process.User.AdditionalGids = 1000, []uint32{5, 7}
				return nil
			}}},
			{"user namespace", "id -u; cat /proc/self/uid_map | tr -s ' '; stat -c %u /dev/null", "0\n 0 100000 65536\n65534\n", []oci.SpecOpts{oci.WithUserNamespace(ids, ids)}},
			{"read-only root", "touch /x 2>&1; touch /run/x && echo run", "touch: /x: Read-only file system\nrun\n", []oci.SpecOpts{oci.WithRootFSReadonly()}},
			{"read-only bind", "cat /mnt/shared/file; touch /mnt/shared/x 2>&1", "shared\ntouch: /mnt/shared/x: Read-only file system\n", []oci.SpecOpts{bind("rbind", "ro")}},
			{"file bind", "cat /etc/made", "shared\n", []oci.SpecOpts{oci.WithMounts([]specs.Mount{{Destination: "/etc/made", Type: "bind", Source: filepath.Join(shared, "file"), Options: []string{"bind", "ro"}}})}},
			{"writable bind", "echo written > /mnt/shared/by-container; cat /mnt/shared/by-container", "written\n", []oci.SpecOpts{bind("rbind", "rw")}},
			{"host network", "ls /sys/class/net | wc -l", "", []oci.SpecOpts{oci.WithHostNamespace(specs.NetworkNamespace)}},
			{"own network", "ip -o link | grep -c UP; ls /sys/class/net", "1\nlo\n", nil},
			{"hostname", "hostname", "web1\n", []oci.SpecOpts{oci.WithHostname("web1")}},
			{"privileged", "grep CapEff /proc/self/status; [ -b /dev/vda ] && echo disk", ownCaps(t) + "disk\n", []oci.SpecOpts{oci.WithPrivileged, oci.WithAllDevicesAllowed, oci.WithHostDevices}},
			{"devices", "ls /dev | tr '\\n' ' '; cat /dev/kmsg 2>&1; mknod /tmp/vda b 254 0; cat /tmp/vda 2>&1 | head -1",
				"core fd full mqueue null ptmx pts random shm stderr stdin stdout tty urandom zero cat: can't open '/dev/kmsg': No such file or directory\ncat: can't open '/tmp/vda': Operation not permitted\n", nil},
			{"masked", "wc -c < /proc/keys; ls /sys/firmware | wc -l; (echo 1 > /proc/sys/kernel/printk) 2>&1", "0\n0\nsh: can't create /proc/sys/kernel/printk: Read-only file system\n", nil},
			{"sysctl", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start", "0\n", []oci.SpecOpts{func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
				s.Linux.Sysctl = map[string]string{"net.ipv4.ip_unprivileged_port_start": "0"}
				return nil
			}}},
			{"umask and cwd", "umask; pwd", "0077\n/made/here\n", []oci.SpecOpts{oci.WithProcessCwd("/made/here"), func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
				s.Process.User.Umask = &umask
				return nil
			}}},
			{"no foreign descriptors", "ls /proc/self/fd | wc -l", "4\n", nil}, // 0, 1, 2 and the folder
			{"limits", "ulimit -n", "1024\n", nil},
			{"cgroup mount", "cat " + limitFile + "; echo 1 2>&1 > " + limitFile, "33554432\nsh: can't create " + limitFile + ": Read-only file system\n", []oci.SpecOpts{
				oci.WithMemoryLimit(32 << 20), oci.WithLinuxNamespace(specs.LinuxNamespace{Type: specs.CgroupNamespace}), oci.WithMounts([]specs.Mount{{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro", "nosuid", "noexec", "nodev"}}})}},
			{"signals", "exec grep -E 'Sig(Blk|Ign)' /proc/self/status", "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n", nil},
		} {
			t.Run(c.name, func(t *testing.T) {
				if got := outputOf(t, d, c.script, c.spec...); got != c.want && c.want != "" {
					t.Errorf("got\n%swant\n%s", got, c.want)
				}
			})
		}
	})
}

// TestStdio tries each way of standard streams.
func TestStdio(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		t.Run("stdin", func(t *testing.T) {
			in, out := strings.NewReader("first\nlast"), &output{}
			b := newBox(t, d, config{args: []string{"cat"}, io: cio.NewCreator(cio.WithStreams(in, out, nil), cio.WithFIFODir(d.Dir))})
			b.ok(b.task.Start(b.ctx))
			b.ok(b.task.CloseIO(b.ctx, client.WithStdinCloser))
			if code := b.finish(); code != 0 || out.String() != "first\nlast" {
				t.Errorf("cat: code %d, %q", code, out)
			}
		})
		t.Run("terminal", func(t *testing.T) {
			out := &output{}
			b := newBox(t, d, config{args: []string{"sh", "-c", "tty; test -t 0 && echo terminal"}, spec: []oci.SpecOpts{oci.WithTTY},
				io: cio.NewCreator(cio.WithStreams(nil, out, nil), cio.WithTerminal, cio.WithFIFODir(d.Dir))})
			b.ok(b.task.Resize(b.ctx, 100, 50))
			b.ok(b.task.Start(b.ctx))
			b.finish()
			if got := out.String(); got != "/dev/pts/0\r\nterminal\r\n" {
				t.Errorf("terminal: %q", got)
			}
		})
		t.Run("file", func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "log")
			b := newBox(t, d, config{args: []string{"sh", "-c", "echo out; echo err >&2"}, io: cio.LogFile(file)})
			b.ok(b.task.Start(b.ctx))
			b.finish()
			if data, _ := os.ReadFile(file); string(data) != "out\nerr\n" && string(data) != "err\nout\n" {
				t.Errorf("log file: %q", data)
			}
		})
		t.Run("binary", func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "log")
			logger := filepath.Join(t.TempDir(), "logger")
			script := "#!/bin/sh\nexec 5>&-\n(echo $CONTAINER_NAMESPACE; cat <&3; cat <&4) > \"$2\"\n"
			if err := os.WriteFile(logger, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			b := newBox(t, d, config{args: []string{"sh", "-c", "echo logged"}, io: cio.BinaryIO(logger, map[string]string{"file": file})})
			b.ok(b.task.Start(b.ctx))
			b.finish()
			if data, _ := os.ReadFile(file); string(data) != daemon.Namespace+"\nlogged\n" {
				t.Errorf("what the logger got: %q", data)
			}
		})
		t.Run("binary-v2", func(t *testing.T) {
			dir := t.TempDir()
			file, logger := filepath.Join(dir, "log"), filepath.Join(dir, "logger")
			script := "#!/bin/sh\nprintf r >&5; exec 5>&-\n(echo \"$1=$2 $3=$4 $CONTAINER_ID\"; cat <&3; cat <&4) > " + file + "\n"
			if err := os.WriteFile(logger, []byte(script), 0o755); err != nil {
				t.Fatal(err)
			}
			uri := "binary-v2://" + logger + "?a=1&b=two%20words"
			b := newBox(t, d, config{args: []string{"sh", "-c", "echo out; echo err >&2"}, io: func(string) (cio.IO, error) { return namedIO{cio.Config{Stdout: uri, Stderr: uri}}, nil }})
			b.ok(b.task.Start(b.ctx))
			id := b.task.ID()
			b.finish()
			if data, _ := os.ReadFile(file); string(data) != "a=1 b=two words "+id+"\nout\nerr\n" {
				t.Errorf("what the logger got: %q", data)
			}
		})
		t.Run("none", func(t *testing.T) {
			b := newBox(t, d, config{args: []string{"sh", "-c", "test $(readlink /proc/$$/fd/1) = /dev/null"}, io: cio.NullIO})
			b.ok(b.task.Start(b.ctx))
			if code := b.finish(); code != 0 {
				t.Errorf("stdout is not /dev/null: code %d", code)
			}
		})
	})
}

// TestOptions passes runtime options that mean something, and ones that do not.
func TestOptions(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		b := newBox(t, d, config{args: []string{"true"}, cont: []client.NewContainerOpts{
			client.WithRuntime(daemon.Runtime, &runcopts.Options{SystemdCgroup: daemon.Systemd, NoNewKeyring: true, IoUid: 1000, IoGid: 1000, ShimCgroup: "/" + daemon.Namespace + "/" + daemon.Namespace})}})
		b.ok(b.task.Start(b.ctx))
		b.finish()
		_, err := tryBox(t, d, config{args: []string{"true"}, cont: []client.NewContainerOpts{client.WithRuntime(daemon.Runtime, &runcopts.Options{BinaryName: "crun"})}})
		if err == nil || !strings.Contains(err.Error(), "binary_name") || !strings.Contains(err.Error(), "crun") {
			t.Errorf("binary_name: %v", err)
		}
	})
}
