package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/internal/need"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/compile"
)

// isUnified says that this machine has cgroup v2 only. What is v2's alone is tested in a virtual machine (integration/vm).
func isUnified(deps *Deps) bool { return deps.Facts.Cgroup.Version == 2 }

// onV1 is newDeps for a test of what cgroup v1 has, onV2 for one of what v2 has.
func onV1(t *testing.T) *Deps {
	t.Helper()
	deps := newDeps(t)
	if isUnified(deps) {
		need.CgroupV1.Lacking(t, "this machine has v2")
	}
	return deps
}

func onV2(t *testing.T) *Deps {
	t.Helper()
	deps := newDeps(t)
	if !isUnified(deps) {
		need.CgroupV2.Lacking(t, "this machine has v1")
	}
	return deps
}

func withCgroupMount(s *specs.Spec) {
	s.Linux.Namespaces = append(s.Linux.Namespaces, specs.LinuxNamespace{Type: "cgroup"})
	s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev"}})
}

// TestDeviceRules opens a device under different rules. What can be made can not always be used.
func TestDeviceRules(t *testing.T) {
	number := func(n int64) *int64 { return &n }
	const (
		script = `busybox mknod /tmp/d c 1 11 && (busybox dd if=/tmp/d bs=1 count=0 2>/dev/null && echo -n r; busybox dd if=/dev/null of=/tmp/d conv=notrunc bs=1 count=0 2>/dev/null && echo -n w); echo . >/dev/null && echo -n null`
		nobody = "null"
	)
	kmsg := func(allow bool, access string) specs.LinuxDeviceCgroup { // /dev/kmsg, which a process with CAP_SYSLOG may open
		return specs.LinuxDeviceCgroup{Allow: allow, Type: "c", Major: number(1), Minor: number(11), Access: access}
	}
	all := func(allow bool) specs.LinuxDeviceCgroup { return specs.LinuxDeviceCgroup{Allow: allow, Access: "rwm"} }
	for name, c := range map[string]struct {
		rules []specs.LinuxDeviceCgroup
		want  string
	}{
		"no rules":            {nil, nobody},
		"nothing":             {[]specs.LinuxDeviceCgroup{all(false)}, nobody},
		"to read":             {[]specs.LinuxDeviceCgroup{all(false), kmsg(true, "r")}, "rnull"},
		"to read and write":   {[]specs.LinuxDeviceCgroup{all(false), kmsg(true, "rw")}, "rwnull"},
		"only allowing rules": {[]specs.LinuxDeviceCgroup{kmsg(true, "w")}, "wnull"},
		"taken back":          {[]specs.LinuxDeviceCgroup{all(false), kmsg(true, "rw"), kmsg(false, "w")}, "rnull"},
		"everything":          {[]specs.LinuxDeviceCgroup{all(false), all(true)}, "rwnull"},
		"all but one":         {[]specs.LinuxDeviceCgroup{all(true), kmsg(false, "rw")}, nobody},
	} {
		t.Run(name, func(t *testing.T) {
			got := runScript(t, func(s *specs.Spec) {
				s.Linux.Resources.Devices = c.rules
				for _, set := range []*[]string{&s.Process.Capabilities.Bounding, &s.Process.Capabilities.Permitted, &s.Process.Capabilities.Effective} {
					*set = append(*set, "CAP_SYSLOG")
				}
			}, script)
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// TestCgroupMount looks at the container's cgroups from inside.
func TestCgroupMount(t *testing.T) {
	deps := newDeps(t)
	got := runScript(t, withCgroupMount, `cat /proc/self/cgroup; ls -d /sys/fs/cgroup/pids /sys/fs/cgroup/cgroup.procs 2>/dev/null; cat /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/pids/cgroup.procs 2>/dev/null`)
	want := "/sys/fs/cgroup/pids\n1"
	if isUnified(deps) {
		want = "0::/\n/sys/fs/cgroup/cgroup.procs\n1"
	}
	if !strings.Contains(got, want) {
		t.Errorf("inside it is\n%s\nwanted is\n%s", got, want)
	}
	if isUnified(deps) {
		got = runScript(t, func(s *specs.Spec) {
			s.Mounts = append(s.Mounts, specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro"}})
		}, `at=$(cat /proc/self/cgroup); cat /sys/fs/cgroup${at#0::}/cgroup.procs | grep -v '^0$' | grep -x 1; echo 1 >/sys/fs/cgroup${at#0::}/cgroup.freeze`)
		if !strings.HasPrefix(got, "1\n") || !strings.Contains(got, "Read-only file system") {
			t.Errorf("in the host's cgroup namespace: %q", got)
		}
	}
}

// TestEveryHierarchy: a container, and what is added to it, is in its cgroup of every mounted hierarchy, also of that of v2 beside v1; without such a one (it was
// created by who had none, or its user has moved it away) what is added is at the top. One kill reaches what is frozen by v1's freezer.
func TestEveryHierarchy(t *testing.T) {
	deps, ctx := newDeps(t), t.Context()
	bundle := newBundle(t, func(s *specs.Spec) { s.Process.Args = []string{"sleep", "1000"} })
	before := takeTrace(t, bundle)
	c, err := Create(ctx, deps, request(bundle))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	inside := func(pid int, others ...string) {
		t.Helper()
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range c.state.CgroupDirs {
			path := strings.TrimPrefix(d.Path, d.Mount)
			if d.Unified && len(others) > 0 {
				path = others[0]
			}
			if !strings.Contains(string(data), ":"+strings.Join(d.Controllers, ",")+":"+path+"\n") && !strings.Contains(string(data), "0::"+path+"\n") {
				t.Errorf("not in %s of %v:\n%s", path, d.Controllers, data)
			}
		}
	}
	add := func(dirs []files.Dir) *Process {
		p, err := c.Exec(ctx, ExecRequest{ExecID: "x", CgroupDirs: dirs, Spec: []byte(`{"args": ["sleep", "1000"], "cwd": "/", "env": ["PATH=/bin"], "user": {}}`)})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	inside(c.Init().Pid())
	p := add(nil)
	inside(p.Pid())
	if !isUnified(deps) {
		dirs := slices.Clone(c.state.CgroupDirs)
		for i := range dirs {
			if dirs[i].Unified {
				dirs[i].Path += "/missing"
			}
		}
		q := add(dirs)
		inside(q.Pid(), "/")
		defer func() { <-q.Done() }()
	}
	if err := c.Cgroup().Freeze(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Cgroup().Kill(unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-p.Done()
	<-c.Init().Done()
	if err := c.Delete(ctx); err != nil {
		t.Fatal(err)
	}
	noTrace(t, before, bundle)
}

// TestDelegation: with cgroup v2, a user may make cgroups in a cgroup of its own that is mounted for it to write, and not raise its own limits.
func TestDelegation(t *testing.T) {
	onV2(t)
	limit := int64(64 << 20)
	for name, userns := range map[string]bool{"host ids": false, "user namespace": true} {
		t.Run(name, func(t *testing.T) {
			got := runScript(t, func(s *specs.Spec) {
				withCgroupMount(s)
				if userns {
					withUserns(s)
				}
				s.Process.User = specs.User{UID: 1000, GID: 1000}
				s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit}
			}, `cd /sys/fs/cgroup && busybox mkdir a && echo 0 >a/cgroup.procs && cat /proc/self/cgroup && echo +pids >cgroup.subtree_control && ls a/pids.max; echo max >memory.max`)
			if !strings.HasPrefix(got, "0::/a\na/pids.max\n") || !strings.Contains(got, "Permission denied") {
				t.Errorf("%s", got)
			}
		})
	}
}

// TestExecNested adds a process to a container that has made cgroups in its own (cgroups(7), "no internal processes").
func TestExecNested(t *testing.T) {
	deps := onV2(t)
	c := sleeping(t, deps, func(s *specs.Spec) {
		withCgroupMount(s)
		s.Process.Args = []string{"sh", "-c", `cd /sys/fs/cgroup && busybox mkdir a && echo 0 >a/cgroup.procs && echo +pids >cgroup.subtree_control && echo >/tmp/done; exec sleep 1000`}
	})
	for _, err := os.Stat(filepath.Join(c.state.Rootfs, "tmp/done")); err != nil; _, err = os.Stat(filepath.Join(c.state.Rootfs, "tmp/done")) {
		if err := unix.Nanosleep(&unix.Timespec{Nsec: 1e6}, nil); err != nil && err != unix.EINTR {
			t.Fatal(err)
		}
	}
	if got := execIn(t, c, nil, "cat /proc/self/cgroup"); got != "0::/a" {
		t.Errorf("it is in %s", got)
	}
	if pids, err := c.Cgroup().Pids(); err != nil || len(pids) != 1 {
		t.Errorf("processes %v, %v", pids, err)
	}

	// Who names a cgroup gets that one, or none.
	dir := c.state.CgroupDirs[0]
	if err := os.WriteFile(filepath.Join(dir.Path, "cgroup.subtree_control"), []byte("+memory"), 0); err != nil {
		t.Fatal(err)
	}
	named := func(below string) error {
		d := dir
		d.Path = filepath.Join(d.Path, below)
		p, err := c.Exec(t.Context(), ExecRequest{ExecID: "named", CgroupDirs: []files.Dir{d}, Spec: []byte(`{"args": ["true"], "cwd": "/", "env": ["PATH=/bin"], "user": {}}`)})
		if err == nil {
			<-p.Done()
		}
		return err
	}
	if err := named(""); err == nil || !strings.Contains(err.Error(), "clone3: "+unix.EBUSY.Error()) {
		t.Errorf("in the cgroup that gives controllers: %v", err)
	}
	if err := named("a"); err != nil {
		t.Error(err)
	}
	if err := named("none"); err == nil || !strings.Contains(err.Error(), "openat: does not exist") {
		t.Errorf("in a cgroup that is not there: %v", err)
	}
}

// TestExecElsewhere: init has gone to another cgroup, and its own was removed. A further process is where init is, and a delete ends both.
func TestExecElsewhere(t *testing.T) {
	deps := onV2(t)
	c := sleeping(t, deps, nil)
	dir := c.state.CgroupDirs[0]
	other := filepath.Join(filepath.Dir(dir.Path), fmt.Sprintf("elsewhere-%d", os.Getpid()))
	if err := os.Mkdir(other, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // when the container is deleted, which is before
		if err := unix.Rmdir(other); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(other, "cgroup.procs"), []byte(fmt.Sprint(c.Init().Pid())), 0); err != nil {
		t.Fatal(err)
	}
	err := unix.Rmdir(dir.Path)
	for end := time.Now().Add(settle); errors.Is(err, unix.EBUSY) && time.Now().Before(end); err = unix.Rmdir(dir.Path) {
		time.Sleep(10 * time.Millisecond) // who has ended in it, the process that held a unit, goes in its own time
	}
	if err != nil && !errors.Is(err, unix.ENOENT) { // systemd may have
		t.Fatal(err)
	}
	if got := execIn(t, c, nil, "cat /proc/self/cgroup"); got != "0::"+strings.TrimPrefix(other, dir.Mount) {
		t.Errorf("it is in %s", got)
	}
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case <-c.Init().Done():
	case <-time.After(settle):
		t.Errorf("process %d lives on", c.Init().Pid())
	}
}

// TestBornInside: a process is in the container's cgroup from its birth, and its memory is the container's.
func TestBornInside(t *testing.T) {
	deps := newDeps(t)
	c := sleeping(t, deps, nil)
	got := "\n" + execIn(t, c, nil, "cat /proc/self/cgroup") + "\n"
	for _, d := range c.state.CgroupDirs {
		cg := strings.TrimPrefix(d.Path, d.Mount)
		line := "\n0::" + cg + "\n"
		if !d.Unified {
			line = ":" + strings.Join(d.Controllers, ",") + ":" + cg + "\n"
		}
		if !strings.Contains(got, line) {
			t.Errorf("it is not in %q but in%s", line, got)
		}
	}
}

// TestNoRoom: a container whose first page is too much for its limit is killed before its first step, and the error says so.
func TestNoRoom(t *testing.T) {
	deps := onV2(t) // on v1 the child is in its cgroup only after some steps
	limit := int64(4096)
	bundle := newBundle(t, func(s *specs.Spec) { s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: &limit, Swap: &limit} })
	before := takeTrace(t, bundle)
	_, err := Create(t.Context(), deps, request(bundle))
	if err == nil || !strings.Contains(err.Error(), `"fork the child"`) && !strings.Contains(err.Error(), "the process was killed here (status 137)") {
		t.Errorf("with room for one page: %v", err)
	}
	noTrace(t, before, bundle)
}

// TestFrozenCgroup: a cgroup that is there and frozen is refused. On v2 the container's process would stop at its first instruction, and its creator would
// wait for it without end.
func TestFrozenCgroup(t *testing.T) {
	deps := newDeps(t)
	sleeping(t, deps, nil) // where there is a slice, it is there while this one runs
	path := cgroupsPath("frozen")
	bundle := newBundle(t, func(s *specs.Spec) { s.Linux.CgroupsPath = path })
	in := compile.CreateInput{ID: "frozen", Spec: &specs.Spec{Linux: &specs.Linux{CgroupsPath: path}}, Facts: deps.Facts, SystemdCgroup: bySystemd}
	if bySystemd {
		var err error
		if in.Facts, err = SystemdFacts(t.Context(), deps.Facts); err != nil {
			t.Fatal(err)
		}
	}
	dirs, _, err := compile.Cgroups(in)
	if err != nil {
		t.Fatal(err)
	}
	file, text := "cgroup.freeze", "1"
	dir := dirs[0]
	if !isUnified(deps) {
		file, text = "freezer.state", "FROZEN"
		dir, _ = files.Find(dirs, "freezer")
	}
	if err := os.MkdirAll(dir.Path, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Rmdir(dir.Path) }) // the unit may have taken it along
	if err := os.WriteFile(filepath.Join(dir.Path, file), []byte(text), 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for range 2 { // the first time leaves it as it was
		if _, err := Create(ctx, deps, request(bundle)); !errors.Is(err, errdefs.ErrFailedPrecondition) || !strings.Contains(err.Error(), "unexpectedly frozen") {
			t.Errorf("%v, want it to be refused as frozen", err)
		}
	}
}
