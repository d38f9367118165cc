package cgroup

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/cgroup/files"
)

// v2Mount is where the unified hierarchy is mounted.
func v2Mount(t *testing.T) string {
	t.Helper()
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		var st unix.Statfs_t
		if unix.Statfs(dir, &st) == nil && st.Type == unix.CGROUP2_SUPER_MAGIC {
			return dir
		}
	}
	t.Fatal("cgroup v2 is not mounted")
	return ""
}

// newV2 makes a cgroup of v2 and returns it; afterwards it is gone, with all in it.
func newV2(t *testing.T) *v2 {
	t.Helper()
	mount := v2Mount(t)
	dir := filepath.Join(mount, fmt.Sprintf("shim-test-v2-%d-%s", os.Getpid(), t.Name()))
	v2Mkdir(t, dir)
	c := &v2{dir: files.Dir{Mount: mount, Path: dir, Own: mount, Unified: true}}
	t.Cleanup(func() {
		if err := errors.Join(c.Kill(unix.SIGKILL), c.Delete(context.Background())); err != nil {
			t.Error(err)
		}
	})
	return c
}

func v2Mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// v2Start starts a shell script in the directory of a cgroup. It has printed a line when v2Start returns.
func v2Start(t *testing.T, dir, script string) (*exec.Cmd, io.Reader) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	cmd := exec.Command("sh", "-c", "echo; "+script)
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(d.Fd())}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	r := bufio.NewReader(out)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	return cmd, r
}

func v2Content(t *testing.T, parts ...string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

func v2WantPids(t *testing.T, c Cgroup, want ...int) {
	t.Helper()
	got, err := c.Pids()
	slices.Sort(want)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("processes %v (%v), want %v", got, err, want)
	}
}

func TestV2Pids(t *testing.T) {
	c := newV2(t)
	v2WantPids(t, c)
	below := filepath.Join(c.dir.Path, "a", "b")
	v2Mkdir(t, filepath.Dir(below))
	v2Mkdir(t, below)
	one, _ := v2Start(t, c.dir.Path, "exec sleep 1000")
	two, _ := v2Start(t, below, "exec sleep 1000")
	v2WantPids(t, c, one.Process.Pid, two.Process.Pid)
	v2WantPids(t, &v2{dir: files.Dir{Path: c.dir.Path + "-missing"}})
}

// TestV2Threaded lists and kills processes of threaded cgroups: below the container's, and of one that is threaded itself.
func TestV2Threaded(t *testing.T) {
	c := newV2(t)
	below := filepath.Join(c.dir.Path, "a")
	v2Mkdir(t, below)
	if err := write(below, "cgroup.type", "threaded"); err != nil {
		t.Fatal(err)
	}
	cmd, _ := v2Start(t, c.dir.Path, "exec sleep 1000")
	if err := write(below, "cgroup.threads", fmt.Sprint(cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.ReadFile(filepath.Join(below, procsFile)); !errors.Is(err, unix.EOPNOTSUPP) {
		t.Fatalf("the cgroup is not threaded: %v", err)
	}
	v2WantPids(t, c, cmd.Process.Pid)
	threaded := &v2{dir: files.Dir{Mount: c.dir.Mount, Path: below, Own: c.dir.Mount, Unified: true}}
	v2WantPids(t, threaded, cmd.Process.Pid)
	// cgroup.kill refuses it: this is the way of kernels without that file too.
	if err := threaded.Kill(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	v2Killed(t, cmd)
}

func v2Killed(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	_ = cmd.Wait()
	if ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !ws.Signaled() || ws.Signal() != unix.SIGKILL {
		t.Errorf("ended by %v, not by SIGKILL", cmd.ProcessState)
	}
}

func TestV2Freeze(t *testing.T) {
	c := newV2(t)
	v2Mkdir(t, filepath.Join(c.dir.Path, "a"))
	_, out := v2Start(t, c.dir.Path, "while :; do echo x; done")
	v2Start(t, filepath.Join(c.dir.Path, "a"), "exec sleep 1000")
	for range 20 {
		if err := c.Freeze(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := v2Content(t, c.dir.Path, "cgroup.events"); !strings.Contains(got, "frozen 1") {
			t.Fatalf("cgroup.events: %q", got)
		}
		if err := c.Thaw(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, out, 1<<17); err != nil { // more than a pipe holds
			t.Fatal(err)
		}
	}
	// A paused container dies of SIGKILL.
	if err := errors.Join(c.Freeze(t.Context()), c.Kill(unix.SIGKILL), c.await(t.Context(), "populated 0", time.Minute)); err != nil {
		t.Fatal(err)
	}
	missing := &v2{dir: files.Dir{Path: c.dir.Path + "-missing"}}
	if err := missing.Freeze(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("pause of a missing cgroup: %v", err)
	}
	if err := missing.Thaw(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("resume of a missing cgroup: %v", err)
	}
}

// TestV2Await waits for a change: until it comes, until the limit, until the caller gives up.
func TestV2Await(t *testing.T) {
	c := newV2(t)
	if err := c.await(t.Context(), "frozen 1", time.Millisecond); !errors.Is(err, errdefs.ErrUnavailable) {
		t.Errorf("at the limit: %v", err)
	}
	cause := errors.New("the caller left")
	ctx, cancel := context.WithCancelCause(t.Context())
	done := make(chan error)
	go func() { done <- c.await(ctx, "frozen 1", time.Hour) }()
	cancel(cause)
	if err := <-done; !errors.Is(err, cause) {
		t.Errorf("after the caller left: %v", err)
	}
	go func() { done <- c.await(t.Context(), "populated 1", time.Hour) }()
	v2Start(t, c.dir.Path, "exec sleep 1000")
	if err := <-done; err != nil {
		t.Errorf("at the change: %v", err)
	}
}

func TestV2Kill(t *testing.T) {
	c := newV2(t)
	below := filepath.Join(c.dir.Path, "a")
	v2Mkdir(t, below)
	one, _ := v2Start(t, c.dir.Path, "while :; do sh -c :; done")
	two, _ := v2Start(t, below, "while :; do sh -c : & wait; done")
	if err := c.Kill(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	v2Killed(t, one)
	v2Killed(t, two)
	if err := c.await(t.Context(), "populated 0", time.Minute); err != nil {
		t.Fatal(err)
	}
	// Linux 6.14 to 6.18 at least kill what CLONE_INTO_CGROUP puts into a cgroup that had a cgroup.kill, when the parent's own had not as many.
	fresh := filepath.Join(c.dir.Path, "b")
	v2Mkdir(t, fresh)
	three, out := v2Start(t, fresh, "trap 'echo got; exit 7' TERM; echo; while :; do sleep 0.01; done")
	if _, err := out.(*bufio.Reader).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	_ = three.Wait()
	if three.ProcessState.ExitCode() != 7 {
		t.Errorf("ended by %v, not after SIGTERM", three.ProcessState)
	}
	missing := &v2{dir: files.Dir{Path: c.dir.Path + "-missing"}}
	if err := errors.Join(missing.Kill(unix.SIGKILL), missing.Kill(unix.SIGTERM)); err != nil {
		t.Errorf("kill in a missing cgroup: %v", err)
	}
}

// TestV2KillOwn spares us where our own cgroup is the container's, or below it.
func TestV2KillOwn(t *testing.T) {
	c := newV2(t)
	c.dir.Own = filepath.Join(c.dir.Path, "a")
	cmd, _ := v2Start(t, c.dir.Path, "exec sleep 1000")
	home := filepath.Join(c.dir.Mount, v2Own(t))
	if err := write(c.dir.Path, procsFile, fmt.Sprint(os.Getpid())); err != nil {
		t.Fatal(err)
	}
	err := c.Kill(unix.SIGKILL)
	if err := errors.Join(err, write(home, procsFile, fmt.Sprint(os.Getpid()))); err != nil {
		t.Fatal(err)
	}
	v2Killed(t, cmd)
}

func v2Own(t *testing.T) string {
	for line := range strings.Lines(v2Content(t, "/proc/self/cgroup")) {
		if p, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return p
		}
	}
	t.Fatal("no cgroup of v2")
	return ""
}

func TestV2Delete(t *testing.T) {
	c := newV2(t)
	below := filepath.Join(c.dir.Path, "a", "b")
	v2Mkdir(t, filepath.Dir(below))
	v2Mkdir(t, below)
	cmd, _ := v2Start(t, below, "exec sleep 1000")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Delete(ctx); !errors.Is(err, unix.EBUSY) || !errors.Is(err, context.Canceled) {
		t.Errorf("with a process in it: %v", err)
	}
	if err := errors.Join(c.Kill(unix.SIGKILL), c.Delete(t.Context())); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(c.dir.Path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	v2Killed(t, cmd)
	if err := c.Delete(t.Context()); err != nil {
		t.Errorf("the second time: %v", err)
	}
}

// TestV2UpdateBack takes what was written back when a later write fails.
func TestV2UpdateBack(t *testing.T) {
	c := newV2(t)
	if err := c.Update(&specs.LinuxResources{Unified: map[string]string{"cgroup.max.depth": "5"}}); err != nil {
		t.Fatal(err)
	}
	err := c.Update(&specs.LinuxResources{Unified: map[string]string{"cgroup.max.depth": "7", "cgroup.max.descendants": "many"}})
	if err == nil || !errors.Is(err, unix.EINVAL) || !strings.Contains(err.Error(), "/unified/cgroup.max.descendants") {
		t.Errorf("a value the kernel refuses: %v", err)
	}
	if got := v2Content(t, c.dir.Path, "cgroup.max.depth"); got != "5" {
		t.Errorf("cgroup.max.depth is %s, not 5 as before", got)
	}
	limit := int64(1)
	if err := c.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit}}); !errors.Is(err, errdefs.ErrNotImplemented) {
		t.Errorf("without the controller: %v", err)
	}
	if err := c.Update(&specs.LinuxResources{}); err != nil {
		t.Errorf("nothing: %v", err)
	}
}

func TestV2State(t *testing.T) {
	dir := files.Dir{Mount: "/cg", Path: "/cg/a", Unified: true}
	s := StateOf([]files.Dir{dir}, nil)
	c, err := Load(s)
	if got, ok := c.(*v2); s.Version != 2 || err != nil || !ok || got.dir.Path != "/cg/a" {
		t.Errorf("version %d, %T, %v", s.Version, c, err)
	}
	one := files.Dir{Controllers: []string{"memory"}, Mount: "/cg/memory", Path: "/cg/memory/a"}
	if s := StateOf([]files.Dir{one}, nil); s.Version != 1 {
		t.Errorf("version %d of v1", s.Version)
	}
	if c, err := Load(StateOf(nil, nil)); err != nil || c.Kill(9) != nil {
		t.Errorf("no cgroup: %T, %v", c, err)
	}
	for _, bad := range []State{{}, {Version: 2}, {Version: 1}, {Version: 3, Dirs: []files.Dir{dir}}, {Version: 2, Dirs: []files.Dir{dir, dir}}} {
		if _, err := Load(bad); !errors.Is(err, errdefs.ErrNotImplemented) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
