package shim

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/process"
	"example.io/shim/shim/ttrpc"
)

// Starter is what `start` needs from outside.
type Starter struct {
	// Program returns the path to execute as the daemon, and what keeps it open until then.
	Program func() (path string, keep io.Closer, err error)
	Stdin   io.Reader
	Stdout  io.Writer
}

const (
	addressFile = "address" // containerd 1.6 and 1.7 read it in the bundle when they start again
	// listenerFD is the descriptor at which the daemon gets the listener: the first of exec.Cmd.ExtraFiles.
	listenerFD  = 3
	maxOOMScore = 1000
	envTTRPC    = "TTRPC_ADDRESS"
)

// Start is the command `start`: it makes the socket, starts the daemon with it, and answers the address. Its working directory is the bundle.
func Start(f Flags, s Starter) error {
	b, err := begin(f, s.Stdin)
	if err != nil {
		return err
	}
	if !b.reused {
		if err := startDaemon(f, s, b); err != nil {
			return errors.Join(err, os.Remove(b.path))
		}
	}
	return b.boot.answer(s.Stdout, address(b.path))
}

// begun is what both ways to start a daemon do first.
type begun struct {
	boot   bootstrap
	opts   process.Options
	path   string // the socket's
	l      *ttrpc.Listener
	reused bool // a living shim has the socket
}

func begin(f Flags, stdin io.Reader) (b begun, err error) {
	if err := f.require("start", "namespace", "address"); err != nil {
		return b, err
	}
	if b.boot, err = readBootstrap(stdin, f); err != nil {
		return b, err
	}
	// Options that are wrong fail here, before a daemon is there for them.
	if b.opts, err = parseOptions(b.boot.options); err != nil {
		return b, err
	}
	if b.path, err = socketPath(b.boot.socketDir, f); err != nil {
		return b, err
	}
	// Before the daemon is there: nobody would end one that is up when this fails.
	if err := writeAside(addressFile, address(b.path)); err != nil {
		return b, err
	}
	b.l, b.reused, err = listen(b.path)
	return b, err
}

// writeAside writes a file whole or not at all.
func writeAside(name, text string) error {
	tmp := filepath.Join(filepath.Dir(name), "."+filepath.Base(name))
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.Rename(tmp, name); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

func startDaemon(f Flags, s Starter, b begun) error {
	defer func() { _ = b.l.Close() }()
	program, keep, err := s.Program()
	if err != nil {
		return fmt.Errorf("find our own program: %w", err)
	}
	defer func() { _ = keep.Close() }()
	cmd := exec.Command(program)
	cmd.Args = []string{"containerd-shim-shim-v2", "-namespace", f.Namespace, "-id", f.ID, "-address", f.Address, "-publish-binary", f.PublishBinary, "-socket", b.path}
	if f.Debug {
		cmd.Args = append(cmd.Args, "-debug")
	}
	cmd.Env = os.Environ()
	if b.boot.ttrpc != "" {
		cmd.Env = append(cmd.Env, envTTRPC+"="+b.boot.ttrpc)
	}
	cmd.ExtraFiles = []*os.File{b.l.File()}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // no session: see letGo
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start the daemon: %w", err)
	}
	if err := place(cmd.Process.Pid, b.opts); err != nil {
		return errors.Join(err, stopDaemon(cmd))
	}
	return cmd.Process.Release()
}

// stopDaemon ends a daemon that nobody will use. It must come before Release, which sets the pid to -1: kill(-1) is every process of the host.
func stopDaemon(cmd *exec.Cmd) error {
	if err := cmd.Process.Kill(); err != nil {
		return fmt.Errorf("stop the daemon: %w", err)
	}
	_ = cmd.Wait() // it says that the daemon was killed
	return nil
}

// place gives the daemon its oom_score_adj, one above containerd's, and its cgroup.
func place(pid int, opts process.Options) error {
	own, err := os.ReadFile("/proc/self/oom_score_adj")
	if err != nil {
		return fmt.Errorf("read oom_score_adj: %w", err)
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(own)))
	if err != nil {
		return fmt.Errorf("read oom_score_adj: %w", err)
	}
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(min(score+1, maxOOMScore))), 0); err != nil {
		return fmt.Errorf("set oom_score_adj of the shim: %w", err)
	}
	if opts.ShimCgroup == "" {
		return nil
	}
	return placeInCgroup(pid, opts.ShimCgroup)
}

// cgroupMounts are the places of the hierarchies, v1's and v2's.
const cgroupMounts = "/sys/fs/cgroup"

// hierarchies returns the mount points of the cgroup hierarchies that have controllers, or names: v1's, or v2's alone. What lies beside them in the same place,
// as a folder that somebody made, is none.
func hierarchies() ([]string, error) {
	is := func(dir string, magic int64) bool {
		var st unix.Statfs_t
		return unix.Statfs(dir, &st) == nil && st.Type == magic
	}
	if is(cgroupMounts, unix.CGROUP2_SUPER_MAGIC) {
		return []string{cgroupMounts}, nil
	}
	all, err := filepath.Glob(filepath.Join(cgroupMounts, "*"))
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(dir string) bool { return !is(dir, unix.CGROUP_SUPER_MAGIC) }), nil
}

// placeInCgroup moves the shim into the cgroup of the option shim_cgroup, in every hierarchy, and makes it where it is not there.
func placeInCgroup(pid int, cgroup string) error {
	roots, err := hierarchies()
	if err != nil {
		return fmt.Errorf("option shim_cgroup: %w", err)
	}
	if len(roots) == 0 {
		return fmt.Errorf("option shim_cgroup: no cgroup hierarchy is mounted below %s: %w", cgroupMounts, errdefs.ErrFailedPrecondition)
	}
	for _, root := range roots {
		dir := root
		for name := range strings.SplitSeq(filepath.Clean("/"+cgroup), "/") {
			dir = filepath.Join(dir, name)
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return fmt.Errorf("option shim_cgroup: %w", err)
			}
			inheritCpuset(dir) // one after the other: an empty parent gives nothing
		}
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0); err != nil {
			return fmt.Errorf("option shim_cgroup: move the shim to %s: %w", dir, err)
		}
	}
	return nil
}

// inheritCpuset copies the parent's CPUs and memory nodes to an empty cpuset: nothing can enter it before.
func inheritCpuset(dir string) {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		file := filepath.Join(dir, name)
		if data, err := os.ReadFile(file); err != nil || len(strings.TrimSpace(string(data))) > 0 {
			continue
		}
		if data, err := os.ReadFile(filepath.Join(filepath.Dir(dir), name)); err == nil {
			_ = os.WriteFile(file, data, 0) // when it fails, moving the shim fails, and says so
		}
	}
}
