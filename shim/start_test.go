package shim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/shim/ttrpc"
	"example.io/shim/shim/wire"
)

// ourselves executes the test binary as the daemon.
func ourselves() (string, io.Closer, error) { return "/proc/self/exe", io.NopCloser(nil), nil }

// daemon is a shim that Start left.
type daemon struct {
	t      *testing.T
	pid    int
	socket string
	client *ttrpc.Client
	ended  bool
}

// start calls Start in a bundle of the test's; it returns what was answered.
func start(t *testing.T, f Flags, stdin []byte) (answer []byte, err error) {
	t.Helper()
	t.Chdir(t.TempDir())
	must(t, unix.Mkfifo("log", 0o600))
	setDaemon(t)
	var out bytes.Buffer
	err = Start(f, Starter{Program: ourselves, Stdin: bytes.NewReader(stdin), Stdout: &out})
	return out.Bytes(), err
}

// connect finds the daemon behind an address, and ends it with the test.
func connect(t *testing.T, address string) *daemon {
	t.Helper()
	d := &daemon{t: t, socket: pathOf(address)}
	var err error
	d.client, err = ttrpc.Dial(d.socket)
	must(t, err)
	r := &wire.ConnectResponse{}
	d.call("Connect", &wire.ConnectRequest{}, r)
	d.pid = int(r.ShimPid)
	t.Cleanup(d.end)
	return d
}

func (d *daemon) call(method string, q, r wire.Message) {
	d.t.Helper()
	must(d.t, d.client.Call(context.Background(), taskServices[0], method, q, r))
}

// end ends the daemon as containerd does, and waits for it: it must end well and take its socket away.
func (d *daemon) end() {
	if d.ended {
		return
	}
	d.ended = true
	d.call("Shutdown", &wire.ShutdownRequest{}, &wire.Empty{}) // it is answered before the end
	must(d.t, d.client.Close())
	var ws unix.WaitStatus
	if _, err := unix.Wait4(d.pid, &ws, 0, nil); err != nil || !ws.Exited() || ws.ExitStatus() != 0 {
		d.t.Errorf("the daemon ended with %#x (%v)", ws, err)
	}
	if _, err := os.Lstat(d.socket); !errors.Is(err, os.ErrNotExist) {
		d.t.Errorf("its socket: %v", err)
	}
}

// proc reads a file of the daemon's in /proc.
func (d *daemon) proc(name string) string {
	d.t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", d.pid, name))
	must(d.t, err)
	return string(data)
}

// link reads a link of the daemon's in /proc.
func (d *daemon) link(name string) string {
	d.t.Helper()
	to, err := os.Readlink(fmt.Sprintf("/proc/%d/%s", d.pid, name))
	must(d.t, err)
	return to
}

func TestStart(t *testing.T) {
	f := Flags{Namespace: "default", Address: "/run/c.sock", PublishBinary: "/bin/false", ID: "web1", Debug: true}
	usual, err := socketPath("", f)
	must(t, err)
	inDir, err := socketPath("/run/other/s", f)
	must(t, err)
	options := anyOf(t, wire.OptionsName, &wire.Options{NoPivotRoot: true})
	plain := func(data []byte) (string, error) { return string(data), nil }
	asJSON := func(data []byte) (string, error) {
		var a struct{ Address string }
		return a.Address, json.Unmarshal(data, &a)
	}
	result := func(data []byte) (string, error) {
		r := &wire.BootstrapResult{}
		err := wire.Unmarshal(data, r)
		return r.Address, err
	}
	cases := []struct {
		name, limit string // MAX_SHIM_VERSION, "" for not set
		stdin       []byte
		decode      func([]byte) (string, error)
		path        string
		ttrpc       string
	}{
		{"1.6", "", nil, plain, usual, "/run/from-env"},
		{"1.7 to 2.2", "2", nil, asJSON, usual, "/run/from-env"},
		{"options", "2", marshal(t, options), asJSON, usual, "/run/from-env"},
		{"2.3", "2", paramsOf(t, "web1", "default", options), result, inDir, "/run/c.sock.ttrpc"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv(envTTRPC, "/run/from-env")
			t.Setenv(envMaxVersion, c.limit)
			if c.limit == "" {
				must(t, os.Unsetenv(envMaxVersion))
			}
			answer, err := start(t, f, c.stdin)
			must(t, err)
			got, err := c.decode(answer)
			if err != nil || got != address(c.path) {
				t.Fatalf("answer %q: %s (%v), want %s", answer, got, err, address(c.path))
			}
			d := connect(t, got)
			data, err := os.ReadFile(addressFile)
			if err != nil || string(data) != got {
				t.Errorf("the file %s holds %q (%v)", addressFile, data, err)
			}
			args := []string{"containerd-shim-shim-v2", "-namespace", "default", "-id", "web1", "-address", "/run/c.sock", "-publish-binary", "/bin/false",
				"-socket", c.path, "-debug", ""}
			if got := strings.Split(d.proc("cmdline"), "\x00"); !slices.Equal(got, args) {
				t.Errorf("the daemon's arguments are %q", got)
			}
			if env := strings.Split(d.proc("environ"), "\x00"); !slices.Contains(env, envTTRPC+"="+c.ttrpc) || strings.Count(d.proc("environ"), envTTRPC) != 1 {
				t.Errorf("the daemon's environment is %q", env)
			}
		})
	}
}

// TestDaemon looks at the process that Start leaves.
func TestDaemon(t *testing.T) {
	answer, err := startPlain(t, nil)
	must(t, err)
	d := connect(t, answer)
	bundle, err := os.Getwd()
	must(t, err)
	if got := d.link("cwd"); got != bundle {
		t.Errorf("working directory %s, want %s", got, bundle)
	}
	if group, err := unix.Getpgid(d.pid); err != nil || group != d.pid {
		t.Errorf("process group %d (%v), want its own, %d", group, err, d.pid)
	}
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	must(t, err)
	n, err := strconv.Atoi(strings.TrimSpace(string(own)))
	must(t, err)
	if got := strings.TrimSpace(d.proc("oom_score_adj")); got != strconv.Itoa(min(n+1, maxOOMScore)) {
		t.Errorf("oom_score_adj %s, ours is %d", got, n)
	}
	for fd, want := range map[string]string{"0": "/dev/null", "1": "/dev/null", "2": filepath.Join(bundle, "log")} {
		if got := d.link("fd/" + fd); got != want {
			t.Errorf("descriptor %s is %s, want %s", fd, got, want)
		}
	}
	fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", d.pid))
	must(t, err)
	kinds := map[string]int{} // of descriptors, "socket" for "socket:[123]"
	for _, e := range fds {
		kind, _, _ := strings.Cut(d.link("fd/"+e.Name()), ":")
		kinds[kind]++
	}
	if kinds["socket"] != 2 { // the listener and this connection; the one that was inherited is closed
		t.Errorf("the daemon's descriptors: %v", kinds)
	}
	again, err := startPlain(t, nil)
	if err != nil || again != answer {
		t.Errorf("a second start answers %s (%v), want %s", again, err, answer)
	}
	if data, err := os.ReadFile(addressFile); err != nil || string(data) != answer {
		t.Errorf("the file %s of the second start holds %q (%v)", addressFile, data, err)
	}
}

// startPlain starts web1 for a containerd that takes a plain address.
func startPlain(t *testing.T, stdin []byte) (string, error) {
	t.Helper()
	t.Setenv(envMaxVersion, "")
	must(t, os.Unsetenv(envMaxVersion))
	answer, err := start(t, Flags{Namespace: "default", Address: "/run/c.sock", PublishBinary: "/bin/false", ID: "web1"}, stdin)
	return string(answer), err
}

// TestOOMScoreLimit has a containerd that the kernel would kill first.
func TestOOMScoreLimit(t *testing.T) {
	const file = "/proc/self/oom_score_adj"
	old, err := os.ReadFile(file)
	must(t, err)
	must(t, os.WriteFile(file, []byte("1000"), 0))
	defer func() { must(t, os.WriteFile(file, old, 0)) }()
	answer, err := startPlain(t, nil)
	must(t, err)
	if got := connect(t, answer).proc("oom_score_adj"); got != "1000\n" {
		t.Errorf("oom_score_adj %q", got)
	}
}

// TestShimCgroup has the option shim_cgroup, in every hierarchy of the machine. Going up from it ends at the mount.
func TestShimCgroup(t *testing.T) {
	name := fmt.Sprintf("shim-test-start-%d", os.Getpid())
	// The cgroup is empty once the daemon has ended, which connect does later, hence earlier than this.
	t.Cleanup(func() {
		for _, pattern := range []string{"/*/" + name, "/" + name} {
			dirs, _ := filepath.Glob(cgroupMounts + pattern)
			for _, dir := range dirs {
				_ = unix.Rmdir(dir + "/sub") // cpu is a link to cpu,cpuacct: gone already
				_ = unix.Rmdir(dir)
			}
		}
	})
	foreign := filepath.Join(cgroupMounts, name+"-no-hierarchy")
	if err := os.Mkdir(foreign, 0o755); err == nil { // v2's own hierarchy is there otherwise, in which it is a cgroup like others
		t.Cleanup(func() {
			if err := os.Remove(foreign); err != nil {
				t.Errorf("a folder that is no hierarchy: %v", err)
			}
		})
	}
	answer, err := startPlain(t, marshal(t, anyOf(t, wire.OptionsName, &wire.Options{ShimCgroup: "../../" + name + "/sub"})))
	must(t, err)
	d := connect(t, answer)
	hierarchies, moved := 0, 0
	for line := range strings.Lines(d.proc("cgroup")) { // "4:memory:/path"
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if f[1] == "" && strings.Count(d.proc("cgroup"), "\n") > 1 {
			continue // the unified hierarchy beside v1's has no controllers
		}
		if _, err := os.Stat(filepath.Join(cgroupMounts, strings.TrimPrefix(f[1], "name="))); f[1] != "" && err != nil {
			continue // mounted elsewhere: not the machine's, but some program's own
		}
		hierarchies++
		if strings.HasSuffix(f[2], "/"+name+"/sub") {
			moved++
		}
	}
	if hierarchies == 0 || moved != hierarchies {
		t.Errorf("in %d of %d hierarchies the daemon is in its cgroup:\n%s", moved, hierarchies, d.proc("cgroup"))
	}
}

// TestStartWrong are starts that fail: neither a daemon nor a socket nor an answer is left. (That no child is left, TestMain looks at.)
func TestStartWrong(t *testing.T) {
	good := Flags{Namespace: "default", Address: "/run/c.sock", ID: "web1"}
	with := func(change func(*Flags)) Flags { f := good; change(&f); return f }
	long := "/run/" + strings.Repeat("d", maxSocketPath)
	params := marshal(t, &wire.BootstrapParams{InstanceID: "web1", Namespace: "default", SocketDir: &long})
	broke := func() (string, io.Closer, error) { return "", nil, unix.ENOSPC }
	cases := []struct {
		name    string
		f       Flags
		stdin   []byte
		program func() (string, io.Closer, error)
		prepare func()
		class   error
		words   []string
	}{
		{name: "no id", f: with(func(f *Flags) { f.ID = "" }), class: errdefs.ErrInvalidArgument, words: []string{"flag -id", "is empty"}},
		{name: "an id with a slash", f: with(func(f *Flags) { f.ID = "a/b" }), class: errdefs.ErrInvalidArgument, words: []string{"flag -id", `"a/b"`}},
		{name: "no namespace", f: with(func(f *Flags) { f.Namespace = "" }), class: errdefs.ErrInvalidArgument, words: []string{"-namespace is missing"}},
		{name: "no address", f: with(func(f *Flags) { f.Address = "" }), class: errdefs.ErrInvalidArgument, words: []string{"-address is missing"}},
		{name: "garbage", f: good, stdin: []byte("not protobuf"), class: errdefs.ErrInvalidArgument, words: []string{"standard input"}},
		{name: "options of another type", f: good, stdin: marshal(t, anyOf(t, "a.b.C", &wire.Options{})), class: errdefs.ErrInvalidArgument, words: []string{`"a.b.C"`}},
		{name: "an option that is refused", f: good, stdin: marshal(t, anyOf(t, wire.OptionsName, &wire.Options{BinaryName: "crun"})), class: errdefs.ErrInvalidArgument,
			words: []string{"binary_name"}},
		{name: "a long folder for sockets", f: good, stdin: params, class: errdefs.ErrInvalidArgument, words: []string{long}},
		{name: "no program", f: good, program: broke, class: unix.ENOSPC, words: []string{"find our own program"}},
		{name: "a program that is not there", f: good, program: func() (string, io.Closer, error) { return "/run/none", io.NopCloser(nil), nil }, class: os.ErrNotExist,
			words: []string{"start the daemon", "/run/none"}},
		{name: "a bundle that takes no file", f: good, prepare: func() { must(t, os.Mkdir("."+addressFile, 0o700)) }, class: unix.EISDIR, words: []string{"write " + addressFile}},
		{name: "an address that cannot be replaced", f: good, prepare: func() { must(t, os.Mkdir(addressFile, 0o700)) }, class: os.ErrExist, words: []string{"write " + addressFile}},
		// The daemon is up already.
		{name: "a cgroup that cannot be", f: good, stdin: marshal(t, anyOf(t, wire.OptionsName, &wire.Options{ShimCgroup: "/shim-test\x00"})),
			class: unix.EINVAL, words: []string{"option shim_cgroup"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			setDaemon(t)
			if c.program == nil {
				c.program = ourselves
			}
			if c.prepare != nil {
				c.prepare()
			}
			var out bytes.Buffer
			err := Start(c.f, Starter{Program: c.program, Stdin: bytes.NewReader(c.stdin), Stdout: &out})
			holds(t, c.name, err, c.words...)
			if !errors.Is(err, c.class) {
				t.Errorf("%v is no %v", err, c.class)
			}
			if out.Len() > 0 {
				t.Errorf("answer %q", out.Bytes())
			}
			if left, err := filepath.Glob(socketDir + "/*"); len(left) > 0 || err != nil {
				t.Errorf("left: %q (%v)", left, err)
			}
		})
	}
}
