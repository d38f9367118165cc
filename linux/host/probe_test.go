package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/internal/leak"
	"example.io/shim/linux/facts"
)

// envProbe makes the test binary print its facts as JSON. Its value is a cgroup hierarchy's mount to move elsewhere first: "/sys/fs/cgroup/pids /elsewhere".
const envProbe = "HOST_TEST_PROBE"

func TestMain(m *testing.M) {
	if what, ok := os.LookupEnv(envProbe); ok {
		if err := printFacts(what); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leak.Main(m)
}

func printFacts(move string) error {
	if from, to, ok := strings.Cut(move, " "); ok {
		if err := unix.Mount(from, to, "", unix.MS_BIND, ""); err != nil {
			return err
		}
		if err := unix.Unmount(from, unix.MNT_DETACH); err != nil {
			return err
		}
	}
	f, err := Probe()
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(f)
}

// probeBy lets a shell script start a process that probes, and returns its facts.
func probeBy(t *testing.T, move, script string, attr *syscall.SysProcAttr) facts.Facts {
	t.Helper()
	cmd := exec.Command("/bin/sh", "-c", script+"\nexec /proc/$$/fd/3")
	exe, err := os.Open("/proc/self/exe") // others than root may not reach its path
	if err != nil {
		t.Fatal(err)
	}
	defer exe.Close()
	cmd.ExtraFiles = []*os.File{exe}
	cmd.Env = append(os.Environ(), envProbe+"="+move)
	cmd.SysProcAttr, cmd.Stderr = attr, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v", script, err)
	}
	var f facts.Facts
	if err := json.Unmarshal(out, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// support does what a fact says that it can be done, on a thread that is thrown away.
func support(f func() error) facts.Support {
	ch := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		ch <- f()
	}()
	if <-ch == nil {
		return facts.Yes
	}
	return facts.No
}

// TestProbe compares the facts with what happens when it is done.
func TestProbe(t *testing.T) {
	f, err := Probe()
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for unix.Prctl(unix.PR_CAPBSET_READ, uintptr(last+1), 0, 0, 0) == nil {
		last++
	}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want any }{
		"LastCap":         {f.LastCap, last},
		"Kernel":          {f.Kernel, unix.ByteSliceToString(uts.Release[:])},
		"Arch":            {f.Arch, runtime.GOARCH},
		"UID":             {f.UID, uint32(0)},
		"PageSize":        {f.PageSize, os.Getpagesize()},
		"TimeNamespace":   {f.TimeNamespace, support(func() error { return unix.Unshare(unix.CLONE_NEWTIME) })},
		"CgroupNamespace": {f.CgroupNamespace, support(func() error { return unix.Unshare(unix.CLONE_NEWCGROUP) })},
	} {
		if c.got != c.want {
			t.Errorf("%s is %v, want %v", name, c.got, c.want)
		}
	}
	if f.Nofile.Soft == 0 || f.Nofile.Soft > f.Nofile.Hard {
		t.Errorf("Nofile is %+v", f.Nofile)
	}
}

// TestProbeOfOthers changes one thing of a process, and looks whether its facts say so.
func TestProbeOfOthers(t *testing.T) {
	plain := probeBy(t, "", "", nil)
	for name, c := range map[string]struct {
		script string
		attr   *syscall.SysProcAttr
		want   func(f *facts.Facts)
	}{
		"nothing": {"", nil, func(*facts.Facts) {}},
		"open files, as they were before Go raised the limit": {"ulimit -Sn 567; ulimit -Hn 1234", nil, func(f *facts.Facts) { f.Nofile = facts.Rlimit{Soft: 567, Hard: 1234} }},
		// Go's runtime takes all others over, ignored or not (os/signal).
		"ignored signals": {"trap '' HUP INT USR1", nil, func(f *facts.Facts) { f.Ignored |= 1<<(unix.SIGHUP-1) | 1<<(unix.SIGINT-1) }},
		"OOM score":       {"echo 567 >/proc/$$/oom_score_adj", nil, func(f *facts.Facts) { f.OOMScoreAdj = 567 }},
		"another user": {"", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, func(f *facts.Facts) {
			f.UID, f.Caps = 65534, 0
		}},
		"one capability": {"", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}, AmbientCaps: []uintptr{unix.CAP_KILL}}, func(f *facts.Facts) {
			f.UID, f.Caps = 65534, 1<<unix.CAP_KILL
		}},
	} {
		want := plain
		c.want(&want)
		got := probeBy(t, "", c.script, c.attr)
		if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
			t.Errorf("%s:\n got %s\nwant %s", name, g, w)
		}
	}
}

// ownPids reads the processes at our own place in a hierarchy.
func ownPids(t *testing.T, h facts.Hierarchy) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(h.Mount, strings.TrimPrefix(h.Own, strings.TrimSuffix(h.Root, "/")), "cgroup.procs"))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

// TestCgroupsLive looks for this process at the place in each hierarchy that Cgroups tells.
func TestCgroupsLive(t *testing.T) {
	c, err := Cgroups()
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Hierarchies) == 0 || c.Version == 0 {
		t.Fatalf("no hierarchy: %+v", c)
	}
	for _, h := range c.Hierarchies {
		if !slices.Contains(ownPids(t, h), strconv.Itoa(os.Getpid())) {
			t.Errorf("we are not in %+v", h)
		}
	}
}

// TestUnified compares what is known of cgroup v2 with its files; a machine that has v1's hierarchies knows none of it.
func TestUnified(t *testing.T) {
	c, err := Cgroups()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(c.Hierarchies, func(h facts.Hierarchy) bool { return h.Unified })
	if c.Version != 2 {
		if len(c.Delegate) > 0 || i >= 0 && len(c.Hierarchies[i].Controllers) > 0 {
			t.Errorf("v2 beside v1: %+v", c)
		}
		return
	}
	for file, got := range map[string][]string{filepath.Join(c.Hierarchies[0].Mount, "cgroup.controllers"): c.Hierarchies[0].Controllers, "/sys/kernel/cgroup/delegate": c.Delegate} {
		want, err := os.ReadFile(file)
		if err != nil || len(got) == 0 || strings.Join(got, " ") != strings.Join(strings.Fields(string(want)), " ") {
			t.Errorf("%s: %q, want %q (%v)", file, got, want, err)
		}
	}
}

// TestCgroupsElsewhere mounts a hierarchy where it usually is not, in a mount namespace of its own; and lets a process be deep in the tree.
func TestCgroupsElsewhere(t *testing.T) {
	before, err := Cgroups()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(before.Hierarchies, func(h facts.Hierarchy) bool { return slices.Contains(h.Controllers, "pids") })
	if i < 0 {
		t.Fatalf("no hierarchy of pids among %+v", before.Hierarchies)
	}
	move := before.Hierarchies[i].Mount + " "
	dir := filepath.Join(before.Hierarchies[i].Mount, "shim-test-h3", "a b:c\\d")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(os.Remove(dir), os.Remove(filepath.Dir(dir))); err != nil {
			t.Error(err)
		}
	}()
	to := filepath.Join(t.TempDir(), "odd place\\")
	if err := os.Mkdir(to, 0o755); err != nil {
		t.Fatal(err)
	}
	enter := fmt.Sprintf("echo 0 >'%s/cgroup.procs'", dir)
	for name, c := range map[string]struct{ move, script, mount, own string }{
		"deep":                    {"", enter, before.Hierarchies[i].Mount, `/shim-test-h3/a b:c\d`},
		"mounted elsewhere":       {move + to, "", to, before.Hierarchies[i].Own},
		"mounted elsewhere, deep": {move + to, enter, to, `/shim-test-h3/a b:c\d`},
	} {
		f := probeBy(t, c.move, c.script, &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS})
		want := slices.Clone(before.Hierarchies)
		want[i].Mount, want[i].Own = c.mount, c.own
		if g, w := fmt.Sprintf("%+v", f.Cgroup.Hierarchies), fmt.Sprintf("%+v", want); g != w {
			t.Errorf("%s:\n got %s\nwant %s", name, g, w)
		}
	}
}

// without calls f where a system call answers ENOSYS, as a kernel does that has not got it: under a seccomp filter on a thread that is thrown away.
func without(t *testing.T, nr uint32, f func() error) error {
	t.Helper()
	const noSys = unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: 0}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: nr},
		{Code: unix.BPF_RET | unix.BPF_K, K: noSys},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	prog := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	ch := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0); err != nil {
			t.Error(err)
		}
		ch <- f()
	}()
	return <-ch
}

// TestOldKernels takes one system call away: the answer says which, and that it is the kernel's.
func TestOldKernels(t *testing.T) {
	probe := func() error { _, err := Probe(); return err }
	for name, nr := range map[string]uint32{
		"clone3": unix.SYS_CLONE3, "openat2": unix.SYS_OPENAT2, "pidfd_getfd": unix.SYS_PIDFD_GETFD, "pidfd_send_signal": unix.SYS_PIDFD_SEND_SIGNAL, "close_range": unix.SYS_CLOSE_RANGE,
		"mount_setattr": unix.SYS_MOUNT_SETATTR, "faccessat2": unix.SYS_FACCESSAT2, "fsopen": unix.SYS_FSOPEN,
	} {
		if err := without(t, nr, probe); !errdefs.IsNotImplemented(err) || !strings.Contains(err.Error(), "this kernel has no "+name+":") {
			t.Errorf("without %s: %v", name, err)
		}
	}
	if err := without(t, unix.SYS_REBOOT, probe); err != nil {
		t.Errorf("without a call that is not needed: %v", err)
	}
}
