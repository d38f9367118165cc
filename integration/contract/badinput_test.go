package contract

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/integration/daemon"
)

// edit changes the specification.
func edit(f func(s *specs.Spec)) []oci.SpecOpts {
	return []oci.SpecOpts{func(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
		f(s)
		return nil
	}}
}

// TestBadConfig: each gets an error with the name of the field and the right code, and nothing is left.
func TestBadConfig(t *testing.T) {
	plain := filepath.Join(t.TempDir(), "plain")
	if err := os.WriteFile(plain, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	each(t, func(t *testing.T, d *daemon.Daemon) {
		for _, c := range []struct {
			name string
			is   func(error) bool
			want string
			f    func(s *specs.Spec)
		}{
			{"unknown version", errdefs.IsInvalidArgument, "/ociVersion", func(s *specs.Spec) { s.Version = "2.0.0" }},
			{"no process", errdefs.IsInvalidArgument, "/process", func(s *specs.Spec) { s.Process = nil }},
			{"no args", errdefs.IsInvalidArgument, "/process/args", func(s *specs.Spec) { s.Process.Args = nil }},
			{"bind with data", errdefs.IsInvalidArgument, "/mounts/7/options", func(s *specs.Spec) {
				s.Mounts = append(s.Mounts[:7:7], specs.Mount{Destination: "/x", Type: "bind", Source: "/etc", Options: []string{"rbind", "nosuch"}})
			}},
			{"mount option of no file system", errdefs.IsInvalidArgument, "/mounts/7/options/0", func(s *specs.Spec) {
				s.Mounts = append(s.Mounts[:7:7], specs.Mount{Destination: "/x", Type: "tmpfs", Source: "tmpfs", Options: []string{"nosuch=1"}})
			}},
			{"mount source that is not there", errdefs.IsInvalidArgument, "/no/such/source", func(s *specs.Spec) {
				s.Mounts = append(s.Mounts[:7:7], specs.Mount{Destination: "/x", Type: "bind", Source: "/no/such/source", Options: []string{"rbind"}})
			}},
			{"unknown namespace", errdefs.IsInvalidArgument, "/linux/namespaces/", func(s *specs.Spec) {
				s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "nosuch"})
			}},
			{"unknown capability", errdefs.IsInvalidArgument, "CAP_NOSUCH", func(s *specs.Spec) {
				s.Process.Capabilities.Bounding = append(s.Process.Capabilities.Bounding, "CAP_NOSUCH")
			}},
			{"rootfs that is not there", errdefs.IsInvalidArgument, "/no/such/root", func(s *specs.Spec) { s.Root.Path = "/no/such/root" }},
			{"command that is not there", errdefs.IsInvalidArgument, `exec: "nosuch": executable file not found in $PATH`, func(s *specs.Spec) { s.Process.Args = []string{"nosuch"} }},
			{"path that is not there", errdefs.IsInvalidArgument, `exec: "/no/such": no such file or directory`, func(s *specs.Spec) { s.Process.Args = []string{"/no/such"} }},
			{"command that is no program", errdefs.IsInvalidArgument, `exec: "/etc/passwd": permission denied`, func(s *specs.Spec) { s.Process.Args = []string{"/etc/passwd"} }},
			{"command in an open file", errdefs.IsInvalidArgument, "/process/args/0", func(s *specs.Spec) { s.Process.Args = []string{"/proc/self/exe"} }},
			{"cwd in an open file", func(error) bool { return true }, "/process/cwd", func(s *specs.Spec) { s.Process.Cwd = "/proc/self/fd/7" }},
			{"unknown action of a profile", errdefs.IsInvalidArgument, "/linux/seccomp/syscalls/0/action", func(s *specs.Spec) {
				s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"read"}, Action: "SCMP_ACT_NOSUCH"}}}
			}},
			{"profile that lets nothing start", errdefs.IsInvalidArgument, "/linux/seccomp: the profile does not allow execve", func(s *specs.Spec) {
				s.Linux.Seccomp = &specs.LinuxSeccomp{DefaultAction: specs.ActErrno}
			}},
			{"hook without a path", errdefs.IsInvalidArgument, "/hooks/poststart/0/path", func(s *specs.Spec) {
				s.Hooks = &specs.Hooks{Poststart: []specs.Hook{{Args: []string{"true"}}}}
			}},
			{"AppArmor", errdefs.IsNotImplemented, "/process/apparmorProfile", func(s *specs.Spec) { s.Process.ApparmorProfile = "profile" }},
			{"mount over /proc", errdefs.IsInvalidArgument, "/proc", func(s *specs.Spec) {
				s.Mounts = append(s.Mounts, specs.Mount{Destination: "/proc/self/attr", Type: "bind", Source: "/tmp", Options: []string{"rbind"}})
			}},
			{"device rule", errdefs.IsInvalidArgument, "/linux/resources/devices/", func(s *specs.Spec) {
				s.Linux.Resources.Devices = append(s.Linux.Resources.Devices, specs.LinuxDeviceCgroup{Type: "x", Access: "r"})
			}},
			{"root of the cgroups", errdefs.IsInvalidArgument, "/linux/cgroupsPath", func(s *specs.Spec) { s.Linux.CgroupsPath = "/.." }},
		} {
			t.Run(c.name, func(t *testing.T) {
				b, err := tryBox(t, d, config{args: []string{"true"}, spec: edit(c.f)})
				if err == nil {
					b.ok(b.task.Kill(b.ctx, 9))
					t.Fatal("it was created")
				}
				if !c.is(err) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("want %q, got %v", c.want, err)
				}
			})
		}
	})
}

// TestBadStdio: an unknown scheme, a path that is not there, a fifo that nobody opens.
func TestBadStdio(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		fifo := filepath.Join(t.TempDir(), "fifo")
		mkfifo(t, fifo)
		for stdout, want := range map[string]string{"nosuch:///x": "nosuch", "/no/such/fifo": "/no/such/fifo", fifo: fifo} {
			_, err := tryBox(t, d, config{args: []string{"true"}, io: func(string) (cio.IO, error) { return namedIO{cio.Config{Stdout: stdout}}, nil }})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("stdout %s: %v", stdout, err)
			}
		}
	})
}

// namedIO passes names on and opens nothing.
type namedIO struct{ c cio.Config }

func (n namedIO) Config() cio.Config { return n.c }
func (namedIO) Cancel()              {}
func (namedIO) Wait()                {}
func (namedIO) Close() error         { return nil }

// TestBadRequests sends what the client library would not.
func TestBadRequests(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		b := sleeper(t, d)
		for id, want := range map[string]string{"a/b": "a/b", "..": ".."} {
			ps, err := json.Marshal(specs.Process{Args: []string{"true"}, Cwd: "/"})
			b.ok(err)
			_, err = d.Client.TaskService().Exec(b.ctx, &tasks.ExecProcessRequest{ContainerID: b.task.ID(), ExecID: id, Spec: anyOf("types.containerd.io/opencontainers/runtime-spec/1/Process", ps)})
			if err = errgrpc.ToNative(err); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), want) {
				t.Errorf("exec id %q: %v", id, err)
			}
		}
		_, err := d.Client.TaskService().Exec(b.ctx, &tasks.ExecProcessRequest{ContainerID: b.task.ID(), ExecID: "e", Spec: anyOf("wrong.Type", []byte("{}"))})
		if err = errgrpc.ToNative(err); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "wrong.Type") {
			t.Errorf("process of a wrong type: %v", err)
		}
		b.kill()
		_, err = tryBox(t, d, config{args: []string{"true"}, cont: []client.NewContainerOpts{client.WithRuntime(daemon.Runtime, &types.Platform{OS: "linux"})}})
		if err == nil || !strings.Contains(err.Error(), "containerd.types.Platform") {
			t.Errorf("options of a wrong type: %v", err)
		}
	})
}
