package contract

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/opencontainers/runtime-spec/specs-go/features"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"example.io/shim/integration/daemon"
)

func encode(t *testing.T, m proto.Message) string {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// runcOptions are options as containerd packs them.
func runcOptions(t *testing.T, o *runcopts.Options) *anypb.Any {
	return anyOf("containerd.runc.v1.Options", []byte(encode(t, o)))
}

// socketOf is the path that containerd's documentation prescribes.
func socketOf(dir string, r *raw) string {
	return filepath.Join(dir, fmt.Sprintf("%x", sha256.Sum256([]byte(filepath.Join(r.address, daemon.Namespace, r.id)))))
}

// TestStartAnswers: each containerd from 1.6 to 2.4 gets what it takes, and nothing beside it.
func TestStartAnswers(t *testing.T) {
	plain := func(address string) string { return address }
	version2 := func(address string) string { return `{"version":2,"address":"` + address + `","protocol":"ttrpc"}` }
	result := func(address string) string {
		return encode(t, &bootapi.BootstrapResult{Version: 3, Address: address, Protocol: "ttrpc"})
	}
	options := encode(t, runcOptions(t, &runcopts.Options{IoUid: 7}))
	newer := []string{"MAX_SHIM_VERSION=2"}
	each(t, func(t *testing.T, d *daemon.Daemon) {
		for _, c := range []struct {
			name string
			env  []string
			in   func(r *raw, dir string) string
			own  bool // the socket in a folder of the parameters
			want func(address string) string
		}{
			{"1.6 without options", nil, func(*raw, string) string { return "" }, false, plain},
			{"1.6", nil, func(*raw, string) string { return options }, false, plain},
			{"1.7 to 2.2 without options", newer, func(*raw, string) string { return "" }, false, version2},
			{"1.7 to 2.2", newer, func(*raw, string) string { return options }, false, version2},
			{"2.3", newer, func(r *raw, _ string) string { return encode(t, r.params()) }, false, result},
			{"2.3 with a folder", newer, func(r *raw, dir string) string {
				p := r.params()
				p.SocketDir = &dir
				return encode(t, p)
			}, true, result},
		} {
			t.Run(c.name, func(t *testing.T) {
				r := newRaw(t, d, []string{"true"})
				r.env = append(r.env[:3:3], c.env...) // what only the daemon at hand sets
				dir := "/run/containerd/s"
				if c.own {
					short, err := os.MkdirTemp("", "s")
					r.ok(err)
					t.Cleanup(func() { _ = os.RemoveAll(short) })
					dir = filepath.Join(short, "made")
				}
				out, errs, err := r.command(c.in(r, dir), "start").run()
				address := "unix://" + socketOf(dir, r)
				if want := c.want(address); err != nil || out != want || errs != "" {
					t.Fatalf("%v: stdout %q, want %q; stderr %q", err, out, want, errs)
				}
				if data, err := os.ReadFile(filepath.Join(r.bundle, "address")); err != nil || string(data) != address {
					t.Errorf("the file address holds %q, %v", data, err)
				}
				for _, service := range []string{taskV2, taskV3} {
					r.service = service
					r.dial(address)
				}
				r.modes(dir, c.own)
				r.shutdown()
				if _, err := os.Lstat(r.socket); !os.IsNotExist(err) {
					t.Errorf("the socket after the end: %v", err)
				}
			})
		}
	})
}

// modes looks at the socket, and at its folder when the shim has made it.
func (r *raw) modes(dir string, made bool) {
	r.t.Helper()
	st, err := os.Stat(r.socket)
	r.ok(err)
	if st.Mode() != os.ModeSocket|0o600 {
		r.t.Errorf("mode of the socket: %s", st.Mode())
	}
	if st, err = os.Stat(dir); err != nil || made && st.Mode() != os.ModeDir|0o700 {
		r.t.Errorf("mode of the folder: %s, %v", st.Mode(), err)
	}
}

// params are what containerd 2.3 writes to `start`.
func (r *raw) params() *bootapi.BootstrapParams {
	return &bootapi.BootstrapParams{InstanceID: r.id, Namespace: daemon.Namespace, ContainerdVersion: "2.3.0", ContainerdBinary: r.publish,
		ContainerdTtrpcAddress: r.address + ".ttrpc", ContainerdGrpcAddress: r.address,
		Extensions: []*bootapi.Extension{{Value: anyOf("some.Other", []byte("x"))}, {Value: runcOptions(r.t, &runcopts.Options{IoUid: 7})}}}
}

// TestBadStart: each is refused with the name of what is wrong, on stderr alone, and leaves no shim.
func TestBadStart(t *testing.T) {
	binary := &runcopts.Options{BinaryName: "crun"}
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := newRaw(t, d, []string{"true"})
		params := r.params()
		params.Extensions = []*bootapi.Extension{{Value: runcOptions(t, binary)}}
		foreign := r.params()
		foreign.InstanceID = "another"
		far := r.params()
		far.SocketDir = proto.String("/run/" + strings.Repeat("x", 60))
		usual := []string{"-namespace", daemon.Namespace, "-address", r.address, "-id", r.id}
		for _, c := range []struct {
			name, in, want string
			args           []string
		}{
			{"no id", "", "-id", []string{"-namespace", "n", "-address", "/a", "start"}},
			{"no namespace", "", "-namespace", []string{"-address", "/a", "-id", "x", "start"}},
			{"no address", "", "-address", []string{"-namespace", "n", "-id", "x", "start"}},
			{"delete without id", "", "-id", []string{"-namespace", "n", "-address", "/a", "delete"}},
			{"delete without namespace", "", "-namespace", []string{"-address", "/a", "-id", "x", "delete"}},
			{"unknown flag", "", "-nosuch", []string{"-nosuch", "start"}},
			{"flag without value", "", "-id", []string{"-id"}},
			{"no action", "", "action", usual},
			{"unknown action", "", `"nosuch"`, append(usual[:6:6], "nosuch")},
			{"id that is a path", "", `"a/b"`, []string{"-namespace", "n", "-address", "/a", "-id", "a/b", "start"}},
			{"id with dots", "", `".."`, []string{"-namespace", "n", "-address", "/a", "-id", "..", "delete"}},
			{"option in an Any", encode(t, runcOptions(t, binary)), `binary_name "crun"`, append(usual[:6:6], "start")},
			{"option in an extension", encode(t, params), `binary_name "crun"`, append(usual[:6:6], "start")},
			{"parameters of another id are an Any", encode(t, foreign), `"another"`, append(usual[:6:6], "start")},
			{"options of another type", encode(t, anyOf("some.Type", []byte("x"))), `"some.Type"`, append(usual[:6:6], "start")},
			{"no message", "\xff\xff", "standard input", append(usual[:6:6], "start")},
			{"folder of the socket too long", encode(t, far), far.GetSocketDir(), append(usual[:6:6], "start")},
		} {
			out, errs, err := r.commandOf(c.in, c.args...).run()
			if err == nil || out != "" || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
				t.Errorf("%s: %v, stdout %q, stderr %q, want %q", c.name, err, out, errs, c.want)
			}
		}
		if _, err := os.Lstat(filepath.Join(r.bundle, "address")); !os.IsNotExist(err) {
			t.Errorf("the file address was made: %v", err)
		}
	})
}

// TestStartTwice: a living shim is used again, a dead one's socket is made anew.
func TestStartTwice(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := newRaw(t, d, []string{"true"}).start()
		first := r.pid
		if r.start(); r.pid != first {
			t.Errorf("second start: shim %d, want %d", r.pid, first)
		}
		socket := r.socket
		r.ok(syscall.Kill(r.pid, syscall.SIGKILL))
		r.awaitShim()
		if _, err := os.Lstat(socket); err != nil {
			t.Fatalf("the killed shim took its socket along: %v", err)
		}
		if r.start(); r.pid == first || r.socket != socket {
			t.Errorf("start after a kill: shim %d at %s", r.pid, r.socket)
		}
		r.shutdown()
	})
}

// TestDeleteCommand: it prints a DeleteResponse alone, quickly, as often as it is called, without a containerd and whatever there is.
func TestDeleteCommand(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := newRaw(t, d, []string{"sh", "-c", "sleep 1000 & sleep 1000"})
		r.env, r.address = []string{"PATH=" + os.Getenv("PATH"), "TTRPC_ADDRESS=/no/such.ttrpc"}, "/no/such.sock"
		r.deleted("of nothing", 0)
		r.start()
		r.create(nil)
		r.begin("")
		r.ok(syscall.Kill(r.pid, syscall.SIGKILL))
		r.awaitShim()
		r.deleted("after SIGKILL", r.init)
		if _, err := os.Lstat(r.socket); !os.IsNotExist(err) {
			t.Errorf("the socket is left: %v", err)
		}
		r.deleted("again", 0)
		elsewhere := r.command("", "-bundle", r.bundle, "delete")
		elsewhere.cmd.Dir = "/"
		r.deletedBy("from another folder", 0, elsewhere)
		r.start()
		r.create(nil)
		r.begin("")
		r.finish()
		r.deleted("after a normal end", 0)
	})
}

func (r *raw) deleted(what string, pid int) {
	r.t.Helper()
	r.deletedBy(what, pid, r.command("", "delete"))
}

func (r *raw) deletedBy(what string, pid int, c command) {
	r.t.Helper()
	out, errs, err := c.run()
	a := &taskapi.DeleteResponse{}
	if err == nil {
		err = proto.Unmarshal([]byte(out), a)
	}
	if err != nil || errs != "" || len(a.ProtoReflect().GetUnknown()) > 0 {
		r.t.Errorf("delete %s: %v, stdout %q, stderr %q", what, err, out, errs)
	}
	if int(a.GetPid()) != pid || a.GetExitStatus() != 137 || !a.GetExitedAt().IsValid() {
		r.t.Errorf("delete %s: %v, want pid %d and status 137", what, a, pid)
	}
}

// TestInfo: what containerd 2 asks of a runtime before the first container.
func TestInfo(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := newRaw(t, d, []string{"true"})
		for _, options := range []*anypb.Any{nil, runcOptions(t, &runcopts.Options{IoUid: 7})} {
			in := ""
			if options != nil {
				in = encode(t, options)
			}
			out, errs, err := r.commandOf(in, "-info").run()
			info := &types.RuntimeInfo{}
			if err == nil {
				err = proto.Unmarshal([]byte(out), info)
			}
			if err != nil || errs != "" {
				t.Fatalf("-info: %v, stderr %q", err, errs)
			}
			if info.GetName() != daemon.Runtime || info.GetVersion().GetVersion() == "" || !proto.Equal(info.GetOptions(), options) {
				t.Errorf("-info: name %q, version %q, options %v", info.GetName(), info.GetVersion(), info.GetOptions())
			}
			if got := info.GetAnnotations()["containerd.io/runtime-allow-mounts"]; !strings.Contains(got, "overlay") {
				t.Errorf("mounts that the shim makes: %q", got)
			}
			r.checkFeatures(info.GetFeatures())
		}
		out, errs, err := r.commandOf(encode(t, anyOf("some.Type", nil)), "-info").run()
		if err == nil || out != "" || !strings.Contains(errs, "some.Type") {
			t.Errorf("-info with options of another type: %v, %q, %q", err, out, errs)
		}
		if out, errs, err := r.commandOf("", "features").run(); err != nil || errs != "" || !strings.HasPrefix(out, "{\n") || !strings.Contains(out, "\n    \"annotations\": {") {
			t.Errorf("features: %v, %q, %q", err, out, errs)
		}
		for _, flag := range []string{"-v", "-version", "--version"} {
			if out, errs, err := r.commandOf("", flag).run(); err != nil || errs != "" || !strings.HasPrefix(out, "containerd-shim-shim-v2:\n  Version:  ") {
				t.Errorf("%s: %v, %q, %q", flag, err, out, errs)
			}
		}
	})
}

// checkFeatures: containerd refuses idmapped mounts unless the document says that they are made.
func (r *raw) checkFeatures(a *anypb.Any) {
	r.t.Helper()
	f := features.Features{}
	r.ok(json.Unmarshal(a.GetValue(), &f))
	if a.GetTypeUrl() != "types.containerd.io/opencontainers/runtime-spec/1/features/Features" || f.OCIVersionMin == "" || f.OCIVersionMax == "" || len(f.Linux.Namespaces) == 0 ||
		f.Linux.MountExtensions.IDMap.Enabled == nil || !*f.Linux.MountExtensions.IDMap.Enabled {
		r.t.Errorf("features %s: %s", a.GetTypeUrl(), a.GetValue())
	}
}
