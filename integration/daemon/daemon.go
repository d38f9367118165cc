// Package daemon runs a private containerd, with its own root, state and socket, for tests.
package daemon

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/namespaces"

	"example.io/shim/integration/trace"
)

// Namespace is containerd's namespace of all tests of this program, and the name of their parent cgroup.
var Namespace = fmt.Sprint("shim-test-", os.Getpid())

// Runtime is the runtime under test.
const Runtime = "io.example.shim.v2"

// Version is a containerd to test with.
type Version struct {
	Name    string
	Program string // containerd
	Ctr     string
	config  string
}

// Versions are the containerds that every row of the contract is tried with. `make setup` provides them.
func Versions() []Version {
	cache := filepath.Join(Top(), ".cache", "bin")
	return []Version{
		{"containerd-1.6", "/usr/bin/containerd", "/usr/bin/ctr", "version = 2\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n"},
		{"containerd-2.x", filepath.Join(cache, "containerd2"), filepath.Join(cache, "ctr2"), "version = 3\ndisabled_plugins = [\"io.containerd.cri.v1.images\", \"io.containerd.cri.v1.runtime\", \"io.containerd.grpc.v1.cri\"]\n"},
	}
}

// Top is the repository's top folder.
func Top() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

func goarch() string { return runtime.GOARCH }

// Daemon is a running containerd.
type Daemon struct {
	Version
	Dir    string // everything of it is below
	Client *client.Client
	cmd    *exec.Cmd
	env    []string
}

// startLimit is how long containerd may take to answer; it takes a second, on a machine under load some more.
var startLimit = trace.Limit(60 * time.Second)

// Start starts a containerd in a new folder and imports the image. env is added to its environment, which shims inherit.
func Start(v Version, env ...string) (*Daemon, error) {
	dir, err := os.MkdirTemp("", "ctd") // short: the sockets' paths have 107 bytes
	if err != nil {
		return nil, err
	}
	d := &Daemon{Version: v, Dir: dir, env: env}
	config := v.config + fmt.Sprintf("root = %q\nstate = %q\n[grpc]\naddress = %q\n[ttrpc]\naddress = %q\n[debug]\nlevel = \"debug\"\n",
		filepath.Join(dir, "root"), filepath.Join(dir, "state"), d.Address(), d.Address()+".ttrpc")
	if err := os.WriteFile(filepath.Join(dir, "config.toml"), []byte(config), 0o644); err != nil {
		return nil, err
	}
	if err := d.Run(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, d.Log())
	}
	image, err := imageArchive()
	if err != nil {
		return nil, err
	}
	if _, err := d.Client.Import(Context(), bytes.NewReader(image)); err != nil {
		return nil, fmt.Errorf("import the image: %w", err)
	}
	img, err := d.Client.GetImage(Context(), Image)
	if err != nil {
		return nil, err
	}
	return d, img.Unpack(Context(), "overlayfs")
}

// Address is the path of the socket.
func (d *Daemon) Address() string { return filepath.Join(d.Dir, "c.sock") }

// Context has the namespace of the tests.
func Context() context.Context { return namespaces.WithNamespace(context.Background(), Namespace) }

// Run starts the process and connects; after a Stop it is a restart.
func (d *Daemon) Run() error {
	log, err := os.OpenFile(filepath.Join(d.Dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	d.cmd = exec.Command(d.Program, "-c", filepath.Join(d.Dir, "config.toml"))
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.Env = append(os.Environ(), "PATH="+filepath.Join(Top(), "bin")+":"+os.Getenv("PATH"))
	d.cmd.Env = append(d.cmd.Env, d.env...)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := d.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", d.Program, err)
	}
	for end := time.Now().Add(startLimit); ; time.Sleep(50 * time.Millisecond) {
		if d.Client, err = client.New(d.Address(), client.WithDefaultNamespace(Namespace), client.WithTimeout(trace.Limit(time.Second))); err == nil {
			if _, err = d.Client.Version(Context()); err == nil {
				return nil
			}
			_ = d.Client.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("%s does not answer: %w", d.Name, err)
		}
	}
}

// Stop ends containerd alone; its shims go on.
func (d *Daemon) Stop() error {
	_ = d.Client.Close()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	_ = d.cmd.Wait() // its exit code says nothing
	return nil
}

// Close stops containerd and removes its folder, and the parents of the containers' cgroups.
func (d *Daemon) Close() error {
	if err := d.Stop(); err != nil {
		return err
	}
	for _, dir := range []string{Namespace + "/" + Namespace, Namespace} { // the second of TestOptions; another daemon may use them still
		list, _ := filepath.Glob("/sys/fs/cgroup/*/" + dir)
		for _, p := range append(list, "/sys/fs/cgroup/"+dir) { // v1, and v2
			_ = syscall.Rmdir(p)
		}
	}
	mounts, _ := filepath.Glob(filepath.Join(d.Dir, "state/io.containerd.runtime.v2.task/*/*/rootfs"))
	for _, m := range mounts {
		_ = syscall.Unmount(m, syscall.MNT_DETACH)
	}
	return os.RemoveAll(d.Dir)
}

// Log is what containerd has written, its end.
func (d *Daemon) Log() string {
	data, _ := os.ReadFile(filepath.Join(d.Dir, "log"))
	const end = 8 << 10
	if len(data) > end {
		data = data[len(data)-end:]
	}
	return string(data)
}

// CtrLimit bounds one command of ctr.
var CtrLimit = trace.Limit(60 * time.Second)

// CtrRun executes ctr and returns what it printed, both streams, and its exit code.
func (d *Daemon) CtrRun(stdin string, args ...string) (string, int) {
	ctx, cancel := context.WithTimeout(context.Background(), CtrLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.Ctr, append([]string{"-a", d.Address(), "-n", Namespace}, args...)...)
	cmd.Stdin = bytes.NewBufferString(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		return err.Error(), -1
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// Pid is containerd's.
func (d *Daemon) Pid() int { return d.cmd.Process.Pid }
