package contract

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/ttrpc"
	"github.com/opencontainers/runtime-spec/specs-go"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.io/shim/integration/daemon"
	"example.io/shim/integration/trace"
)

// The services of a shim's socket. Their messages are the same (integration/wire compares them).
const (
	taskV2 = "containerd.task.v2.Task"
	taskV3 = "containerd.task.v3.Task"
)

// program is the binary under test.
func program() string { return filepath.Join(daemon.Top(), "bin", "containerd-shim-shim-v2") }

// raw is a bundle and its shim, used as containerd uses them but without its client library in between: the events go to a real containerd.
type raw struct {
	t       *testing.T
	id      string
	bundle  string
	address string   // containerd's
	publish string   // containerd's program
	env     []string // of the commands
	socket  string   // the shim's, behind start
	service string
	client  *ttrpc.Client
	pid     int // the shim's
	init    int // the container's, behind create
}

// rawEnv is what containerd puts into a shim's environment.
func rawEnv(d *daemon.Daemon) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "GOMAXPROCS=2", "TTRPC_ADDRESS=" + d.Address() + ".ttrpc"}
	if !strings.HasSuffix(d.Name, "1.6") {
		env = append(env, "GRPC_ADDRESS="+d.Address(), "NAMESPACE="+daemon.Namespace, "MAX_SHIM_VERSION=2")
	}
	return env
}

// newRaw makes a bundle whose container runs args; nothing is started yet.
func newRaw(t *testing.T, d *daemon.Daemon, args []string, opts ...oci.SpecOpts) *raw {
	t.Helper()
	r := &raw{t: t, bundle: t.TempDir(), address: d.Address(), publish: d.Program, env: rawEnv(d), service: taskV2}
	r.id = strings.ToLower(fmt.Sprintf("raw%.24s-%d", strings.NewReplacer("/", "-", "_", "-", ".", "-", "#", "").Replace(t.Name()[4:]), time.Now().UnixNano()%1e9))
	spec, err := oci.GenerateSpec(daemon.Context(), nil, &containers.Container{ID: r.id}, append([]oci.SpecOpts{oci.WithProcessArgs(args...), oci.WithEnv([]string{"PATH=/bin"})}, opts...)...)
	r.ok(err)
	r.write(spec)
	r.ok(os.Mkdir(filepath.Join(r.bundle, "rootfs"), 0o755))
	r.ok(syscall.Mkfifo(filepath.Join(r.bundle, "log"), 0o600))
	rootTree(t, r.tree())
	t.Cleanup(r.cleanup)
	return r
}

// write makes config.json.
func (r *raw) write(spec *specs.Spec) {
	r.t.Helper()
	data, err := json.Marshal(spec)
	r.ok(err)
	r.ok(os.WriteFile(filepath.Join(r.bundle, "config.json"), data, 0o644))
}

// tree is the folder with the container's files.
func (r *raw) tree() string { return filepath.Join(r.bundle, "tree") }

// rootTree makes a folder with busybox and the folders of a root.
func rootTree(t *testing.T, dir string) {
	t.Helper()
	for _, sub := range []string{"bin", "proc", "dev", "sys", "run", "tmp", "etc", "mnt"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile("/bin/busybox")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "bin/busybox"), data, 0o755)
	}
	for _, applet := range strings.Fields("sh sleep cat echo true false ls readlink stat id hostname tail yes kill mount ps touch mkdir grep wc dd env setsid seq head test tty stty umount") {
		err = errors.Join(err, os.Symlink("busybox", filepath.Join(dir, "bin", applet)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// cleanup ends what a failed test has left; after a good one there is nothing.
func (r *raw) cleanup() {
	r.hangUp()
	if r.pid > 0 && shimLives(r.pid) {
		_ = syscall.Kill(r.pid, syscall.SIGKILL)
	}
	_, _, _ = r.command("", "delete").run()
	for syscall.Unmount(filepath.Join(r.bundle, "rootfs"), syscall.MNT_DETACH) == nil { // else t.TempDir would remove what is mounted
	}
}

func (r *raw) hangUp() {
	if r.client != nil {
		_ = r.client.Close()
		r.client = nil
	}
}

// shimLives says whether pid is a shim that runs.
func shimLives(pid int) bool {
	comm, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	if err != nil || strings.TrimSpace(string(comm)) != "containerd-shim" {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	// Of a process that is killed, the first thread may be dead before the others, which hold the socket.
	threads, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	return err == nil && (!strings.Contains(string(stat), ") Z ") || len(threads) > 1)
}

func (r *raw) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// must is for calls whose failure is wanted: is says whether it is the right one, and all words are in its text.
func (r *raw) must(what string, is func(error) bool, err error, words ...string) {
	r.t.Helper()
	if err == nil || !is(err) {
		r.t.Errorf("%s: %v", what, err)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			r.t.Errorf("%s: %q is not in %q", what, w, err)
		}
	}
}

// command is one execution of the binary.
type command struct {
	cmd *exec.Cmd
	end context.CancelFunc
}

// cleanupLimit is what containerd gives a clean-up with its `delete`; no command may take longer.
var cleanupLimit = trace.Limit(5 * time.Second)

// command prepares the binary as containerd calls it, in the bundle.
func (r *raw) command(stdin string, args ...string) command {
	return r.commandOf(stdin, append([]string{"-namespace", daemon.Namespace, "-address", r.address, "-publish-binary", r.publish, "-id", r.id}, args...)...)
}

// commandOf prepares the binary with exactly these arguments.
func (r *raw) commandOf(stdin string, args ...string) command {
	ctx, cancel := context.WithTimeout(context.Background(), cleanupLimit)
	cmd := exec.CommandContext(ctx, program(), args...)
	cmd.Dir, cmd.Env, cmd.Stdin = r.bundle, r.env, strings.NewReader(stdin)
	return command{cmd, cancel}
}

// run executes it and returns what it wrote to both streams. Its streams are files, not pipes: what it leaves behind does not count.
func (c command) run() (stdout, stderr string, err error) {
	defer c.end()
	var files [2]*os.File
	for i := range files {
		if files[i], err = os.CreateTemp("", "out"); err != nil {
			return "", "", err
		}
		defer files[i].Close()
		defer os.Remove(files[i].Name())
	}
	c.cmd.Stdout, c.cmd.Stderr = files[0], files[1]
	err = c.cmd.Run()
	out, e1 := os.ReadFile(files[0].Name())
	errs, e2 := os.ReadFile(files[1].Name())
	return string(out), string(errs), errors.Join(err, e1, e2)
}

// start executes `start`, whose answer is the plain address in the file `address`, and connects.
func (r *raw) start() *raw {
	r.t.Helper()
	if out, errs, err := r.command("", "start").run(); err != nil {
		r.t.Fatalf("start: %v: %s%s", err, out, errs)
	}
	data, err := os.ReadFile(filepath.Join(r.bundle, "address"))
	r.ok(err)
	r.dial(string(data))
	return r
}

// dial connects to a shim's address and asks for its pid.
func (r *raw) dial(address string) {
	r.t.Helper()
	r.hangUp()
	path, ok := strings.CutPrefix(address, "unix://")
	if !ok {
		r.t.Fatalf("address %q", address)
	}
	r.socket = path
	conn, err := net.Dial("unix", path)
	r.ok(err)
	r.client = ttrpc.NewClient(conn)
	c, err := ask[taskapi.ConnectResponse](r, "Connect", &taskapi.ConnectRequest{ID: r.id})
	r.ok(err)
	r.pid = int(c.GetShimPid())
}

// ask calls a method of the task service.
func ask[R any](r *raw, method string, q any) (*R, error) {
	ctx, cancel := context.WithTimeout(context.Background(), stepLimit)
	defer cancel()
	return askIn[R](ctx, r, method, q)
}

// askIn's error is the service's, by its class, or ttrpc's own or the context's as it is: ToNative would make an unknown error of those.
func askIn[R any](ctx context.Context, r *raw, method string, q any) (*R, error) {
	ctx = ttrpc.WithMetadata(ctx, ttrpc.MD{"containerd-namespace-ttrpc": {daemon.Namespace}})
	a := new(R)
	if err := r.client.Call(ctx, r.service, method, q, a); err != nil {
		if _, answered := status.FromError(err); answered {
			err = errgrpc.ToNative(err)
		}
		return nil, err
	}
	return a, nil
}

// createRequest is the request that makes the container, its root a bind of the tree.
func (r *raw) createRequest() *taskapi.CreateTaskRequest {
	return &taskapi.CreateTaskRequest{ID: r.id, Bundle: r.bundle, Rootfs: []*types.Mount{{Type: "bind", Source: r.tree(), Options: []string{"rbind", "rw"}}}}
}

// create makes the container; change may be nil.
func (r *raw) create(change func(q *taskapi.CreateTaskRequest)) {
	r.t.Helper()
	q := r.createRequest()
	if change != nil {
		change(q)
	}
	a, err := ask[taskapi.CreateTaskResponse](r, "Create", q)
	r.ok(err)
	r.init = int(a.GetPid())
}

// errOf is the error of a method whose answer does not matter.
func (r *raw) errOf(method string, q any) error {
	_, err := ask[emptypb.Empty](r, method, q)
	return err
}

// begin starts init, or an exec.
func (r *raw) begin(execID string) {
	r.t.Helper()
	r.ok(r.errOf("Start", &taskapi.StartRequest{ID: r.id, ExecID: execID}))
}

// signal kills init or an exec.
func (r *raw) signal(execID string, sig syscall.Signal) {
	r.t.Helper()
	r.ok(r.errOf("Kill", &taskapi.KillRequest{ID: r.id, ExecID: execID, Signal: uint32(sig)}))
}

// wait returns the exit status of init or an exec.
func (r *raw) wait(execID string) uint32 {
	r.t.Helper()
	a, err := ask[taskapi.WaitResponse](r, "Wait", &taskapi.WaitRequest{ID: r.id, ExecID: execID})
	r.ok(err)
	return a.GetExitStatus()
}

// remove deletes init or an exec.
func (r *raw) remove(execID string) *taskapi.DeleteResponse {
	r.t.Helper()
	a, err := ask[taskapi.DeleteResponse](r, "Delete", &taskapi.DeleteRequest{ID: r.id, ExecID: execID})
	r.ok(err)
	return a
}

// shutdown ends the shim and waits until it is gone.
func (r *raw) shutdown() {
	r.t.Helper()
	// Like containerd, take a closed connection for the answer: a client of ttrpc that reads both at once may tell of the end only.
	if err := r.errOf("Shutdown", &taskapi.ShutdownRequest{ID: r.id}); !errors.Is(err, ttrpc.ErrClosed) {
		r.ok(err)
	}
	r.hangUp() // as containerd does: the shim waits for it a moment
	r.awaitShim()
}

func (r *raw) awaitShim() {
	r.t.Helper()
	for end := time.Now().Add(stepLimit); shimLives(r.pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("shim %d lives", r.pid)
		}
	}
	r.hangUp()
}

// finish kills, deletes and shuts down.
func (r *raw) finish() {
	r.t.Helper()
	r.signal("", syscall.SIGKILL)
	if code := r.wait(""); code != 137 {
		r.t.Errorf("exit status %d after SIGKILL, want 137", code)
	}
	r.remove("")
	r.shutdown()
}
