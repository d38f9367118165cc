package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/internal/need"
	"example.io/shim/linux/cgroup/unit"
)

// needSystemd skips where cgroups are not systemd's to make.
func needSystemd(t *testing.T) *Deps {
	t.Helper()
	if !bySystemd {
		need.Systemd.Lacking(t, "the cgroups of these tests are not made by it: "+driverEnv)
	}
	return newDeps(t)
}

// systemctl returns what the command says.
func systemctl(t *testing.T, args ...string) string {
	t.Helper()
	return command(t, "systemctl", args...)
}

// command runs a program of the host that must succeed.
func command(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := hostCommand(name, args...)
	if err != nil {
		t.Errorf("%s %q: %v: %s", name, args, err, out)
	}
	return strings.TrimSpace(out)
}

// wantProperties compares the unit's properties, "Name=value" as systemctl shows them.
func wantProperties(t *testing.T, c *Container, want ...string) {
	t.Helper()
	for _, w := range want {
		name, _, _ := strings.Cut(w, "=")
		if got := systemctl(t, "show", "-p", name, c.state.Cgroup.Unit.Name); got != w {
			t.Errorf("%s, want %s", got, w)
		}
	}
}

// wantContent compares files of the container's cgroup, "controller file=content".
func wantContent(t *testing.T, c *Container, want ...string) {
	t.Helper()
	for _, w := range want {
		controller, rest, _ := strings.Cut(w, " ")
		file, value, _ := strings.Cut(rest, "=")
		for _, d := range c.state.CgroupDirs {
			if !d.Has(controller) {
				continue
			}
			data, err := os.ReadFile(filepath.Join(d.Path, file))
			if got := strings.TrimSpace(string(data)); err != nil || got != value {
				t.Errorf("%s is %q, %v; want %s", file, got, err, value)
			}
		}
	}
}

// TestUnit looks at the properties and the files of a container's unit, changes them, and lets systemd load its configuration anew: nothing is lost.
func TestUnit(t *testing.T) {
	deps := needSystemd(t)
	kmsg := []specs.LinuxDeviceCgroup{{Access: "rwm"}, {Allow: true, Type: "c", Major: new(int64(1)), Minor: new(int64(11)), Access: "r"}}
	c := sleeping(t, deps, func(s *specs.Spec) {
		s.Annotations = map[string]string{unit.AnnotationPrefix + "TimeoutStopSec": "uint64 7", unit.AnnotationPrefix + "Documentation": "['man:true(1)']"}
		s.Linux.Resources = &specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(64 << 20))}, Pids: &specs.LinuxPids{Limit: new(int64(60))},
			CPU: &specs.LinuxCPU{Shares: new(uint64(512)), Quota: new(int64(33300)), Period: new(uint64(100000)), Cpus: "0"}, Devices: kmsg}
		if isUnified(deps) {
			s.Linux.Resources.Unified = map[string]string{"memory.oom.group": "1"}
		}
		for _, set := range []*[]string{&s.Process.Capabilities.Bounding, &s.Process.Capabilities.Permitted, &s.Process.Capabilities.Effective} {
			*set = append(*set, "CAP_SYSLOG")
		}
	})
	v2 := isUnified(deps)
	group := func(want string) {
		t.Helper()
		if v2 {
			wantContent(t, c, "memory memory.oom.group="+want)
		}
	}
	check := func(when, limit, pids, quota string) {
		t.Helper()
		t.Log(when)
		wantProperties(t, c, "ActiveState=active", "Delegate=yes", "Slice="+testSlice, "TasksMax="+pids, "TimeoutStopUSec=7s", `Documentation="man:true(1)"`)
		wantContent(t, c, "pids pids.max="+pids, "cpuset cpuset.cpus=0")
		if v2 {
			wantProperties(t, c, "MemoryMax="+limit, "CPUWeight=59", "AllowedCPUs=0")
			wantContent(t, c, "memory memory.max="+limit, "cpu cpu.max="+quota+" 100000", "cpu cpu.weight=59")
		} else {
			wantProperties(t, c, "MemoryLimit="+limit, "CPUShares=512", "DevicePolicy=strict")
			wantContent(t, c, "memory memory.limit_in_bytes="+limit, "cpu cpu.cfs_quota_us="+quota, "cpu cpu.shares=512")
		}
		caps := func(p *specs.Process) {
			names := []string{"CAP_MKNOD", "CAP_SYSLOG", "CAP_DAC_OVERRIDE"}
			p.Capabilities = &specs.LinuxCapabilities{Bounding: names, Permitted: names, Effective: names}
		}
		got := execIn(t, c, caps, `busybox mknod /tmp/k c 1 11; busybox mknod /tmp/d c 1 12; busybox dd if=/tmp/k bs=1 count=0 && echo -n k; busybox dd if=/tmp/d bs=1 count=0 || echo -n d; echo . >/dev/null && echo null; rm -f /tmp/k /tmp/d`)
		if !strings.Contains(got, "k") || !strings.HasSuffix(got, "null") || strings.Contains(got, "dd: can't open '/tmp/k'") || !strings.Contains(got, "dd: can't open '/tmp/d'") {
			t.Errorf("devices: %s", got)
		}
	}
	check("created", "67108864", "60", "33300")
	group("1")
	systemctl(t, "daemon-reload")
	check("loaded anew", "67108864", "60", "34000") // its files have the quota in whole percents

	if v2 { // systemd 252 has taken it back
		if err := c.Cgroup().Update(&specs.LinuxResources{Unified: map[string]string{"memory.oom.group": "1"}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Cgroup().Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(96 << 20))}, Pids: &specs.LinuxPids{Limit: new(int64(70))},
		CPU: &specs.LinuxCPU{Quota: new(int64(44400))}}); err != nil {
		t.Fatal(err)
	}
	check("updated", "100663296", "70", "44400")
	group("1")
	systemctl(t, "daemon-reload")
	check("updated and loaded anew", "100663296", "70", "45000")
	systemctl(t, "set-property", "--runtime", c.state.Cgroup.Unit.Name, "Description=by another") // which makes systemd write what it has
	check("changed by others", "100663296", "70", "45000")
	if err := c.Cgroup().Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(-1))}, CPU: &specs.LinuxCPU{Period: new(uint64(3))}}); err == nil {
		t.Error("a period of 3 µs was taken")
	}
	check("after a refused update", "100663296", "70", "45000")
	if err := c.Cgroup().Freeze(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.Cgroup().Thaw(t.Context()); err != nil {
		t.Fatal(err)
	}
	if pids, err := c.Cgroup().Pids(); err != nil || len(pids) != 1 {
		t.Errorf("processes %v, %v", pids, err)
	}
	if m, err := c.Cgroup().Stats(); err != nil || m.V1 == nil && m.V2 == nil {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestUnitEnds: a container whose init ends loses its unit to systemd at once; deleting it then, and again, is no error.
func TestUnitEnds(t *testing.T) {
	deps := needSystemd(t)
	bundle := newBundle(t, nil)
	before := takeTrace(t, bundle)
	c, err := Create(t.Context(), deps, request(bundle))
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-c.init.Done()
	for end := time.Now().Add(settle); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(c.state.CgroupDirs[len(c.state.CgroupDirs)-1].Path); err != nil {
			break
		}
	}
	for range 2 {
		began := time.Now()
		if err := c.Delete(t.Context()); err != nil {
			t.Error(err)
		}
		t.Logf("delete: %v", time.Since(began))
	}
	noTrace(t, before, bundle)
}

// TestUnitFailed: a unit that failed says so until its container is deleted. One that nobody deleted does not keep its name.
func TestUnitFailed(t *testing.T) {
	deps := needSystemd(t)
	path := fmt.Sprintf("%s:%d:failed", testSlice, os.Getpid())
	timedOut := func() *Container {
		t.Helper()
		c := sleeping(t, deps, func(s *specs.Spec) {
			s.Linux.CgroupsPath = path
			s.Annotations = map[string]string{unit.AnnotationPrefix + "RuntimeMaxUSec": "uint64 4000000", unit.AnnotationPrefix + "TimeoutStopUSec": "uint64 1000000"}
		})
		<-c.init.Done()
		for end := time.Now().Add(settle); time.Now().Before(end) && systemctl(t, "show", "-p", "ActiveState", c.state.Cgroup.Unit.Name) != "ActiveState=failed"; {
			time.Sleep(10 * time.Millisecond)
		}
		wantProperties(t, c, "ActiveState=failed", "Result=timeout")
		return c
	}
	timedOut()
	c := timedOut()
	if err := c.Delete(t.Context()); err != nil {
		t.Error(err)
	}
	wantProperties(t, c, "LoadState=not-found")
}

// TestUnitRefused: what systemd refuses is told with the step, and leaves nothing.
func TestUnitRefused(t *testing.T) {
	deps := needSystemd(t)
	for value, want := range map[string]string{"'no such property'": "Nonsense", "uint64 1": "Nonsense"} {
		bundle := newBundle(t, func(s *specs.Spec) { s.Annotations = map[string]string{unit.AnnotationPrefix + "Nonsense": value} })
		before := takeTrace(t, bundle)
		_, err := Create(t.Context(), deps, request(bundle))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "start the systemd unit") {
			t.Errorf("%v, want %s", err, want)
		}
		t.Log(err)
		noTrace(t, before, bundle)
	}
}

// TestUnitPaths: where each form of cgroupsPath puts a container, and what is refused by its name before anything is made.
func TestUnitPaths(t *testing.T) {
	deps := needSystemd(t)
	name := fmt.Sprintf("path-%d", os.Getpid())
	for path, want := range map[string]string{
		"":                                     "/system.slice/shim-ID.scope",
		":" + name + ":a":                      "/system.slice/" + name + "-a.scope",
		testSlice + ":" + name + ":a.b_c":      "/" + testSlice + "/" + name + "-a.b_c.scope",
		"shimruntest-sub.slice:" + name + ":a": "/" + testSlice + "/shimruntest-sub.slice/" + name + "-a.scope",
		"-.slice:" + name + ":a":               "/" + name + "-a.scope",
		"/" + name:                             "",
		testSlice + ":" + name:                 "",
		"a--b.slice:" + name + ":a":            "",
		testSlice + ":" + name + ":a@b":        "",
	} {
		bundle := newBundle(t, func(s *specs.Spec) { s.Process.Args, s.Linux.CgroupsPath = []string{"sleep", "1000"}, path })
		before := takeTrace(t, bundle)
		r := request(bundle)
		r.SystemdCgroup = true
		c, err := Create(t.Context(), deps, r)
		switch {
		case want == "":
			if !errors.Is(err, errdefs.ErrInvalidArgument) || !strings.Contains(err.Error(), "/linux/cgroupsPath") {
				t.Errorf("%q: %v", path, err)
			}
			noTrace(t, before, bundle)
			continue
		case err != nil:
			t.Errorf("%q: %v", path, err)
			continue
		}
		if line := ":" + strings.ReplaceAll(want, "ID", filepath.Base(bundle)) + "\n"; !strings.Contains(procFile(t, c.Init().Pid(), "cgroup"), line) {
			t.Errorf("%q: in\n%swant %s", path, procFile(t, c.Init().Pid(), "cgroup"), line)
		}
		if err := c.Delete(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// TestUnitTwice: a unit that is there is another's, whose container goes on.
func TestUnitTwice(t *testing.T) {
	deps := needSystemd(t)
	path := fmt.Sprintf("%s:%d:twice", testSlice, os.Getpid())
	c := sleeping(t, deps, func(s *specs.Spec) { s.Linux.CgroupsPath = path })
	bundle := newBundle(t, func(s *specs.Spec) { s.Linux.CgroupsPath = path })
	before := takeTrace(t, bundle)
	if _, err := Create(t.Context(), deps, request(bundle)); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Errorf("got %v", err)
	}
	noTrace(t, before, bundle)
	if got := execIn(t, c, nil, "echo alive"); got != "alive" {
		t.Error(got)
	}
}

// TestUnitSlice makes a container in a slice.
func TestUnitSlice(t *testing.T) {
	deps := needSystemd(t)
	name := fmt.Sprintf("shimruntest-%d.slice", os.Getpid())
	c := sleeping(t, deps, func(s *specs.Spec) {
		s.Linux.CgroupsPath = "::" + name
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(64 << 20))}
	})
	wantProperties(t, c, "ActiveState=active", "Slice="+testSlice)
	if got := procFile(t, c.Init().Pid(), "cgroup"); !strings.Contains(got, "/"+testSlice+"/"+name+"\n") {
		t.Errorf("it is in %s", got)
	}
	if err := c.Delete(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := systemctl(t, "show", "-p", "LoadState", "-p", "ActiveState", name); strings.Contains(got, "ActiveState=active") {
		t.Error(got)
	}
}

// TestUnitOOM: an OOM kill of init is told with its exit, though systemd removes the cgroup then.
func TestUnitOOM(t *testing.T) {
	deps := needSystemd(t)
	for i := range 10 {
		bundle := newBundle(t, func(s *specs.Spec) {
			s.Process.Args = []string{"tail", "/dev/zero"}
			s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(8 << 20)), Swap: new(int64(8 << 20))}
		})
		c, err := Create(t.Context(), deps, request(bundle))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-c.init.Done()
		if status, _ := c.init.Exit(); status != 128+uint32(unix.SIGKILL) {
			t.Errorf("%d: exit status %d", i, status)
		}
		if i%2 == 1 { // we are late: the cgroup is gone
			for end := time.Now().Add(settle); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if _, err := os.Stat(c.state.CgroupDirs[len(c.state.CgroupDirs)-1].Path); err != nil {
					break
				}
			}
		}
		if n := c.OOM().Pending(); n != 1 {
			t.Errorf("%d: %d OOM kills, want 1", i, n)
		}
		if err := c.Delete(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// TestUnitUser makes a container in the unit of another manager, as a user who is not root has one.
func TestUnitUser(t *testing.T) {
	deps := needSystemd(t)
	dir := t.TempDir()
	service := fmt.Sprintf("shimruntest-user-%d.service", os.Getpid())
	command(t, "systemd-run", "--unit="+service, "--property=Delegate=yes", "--setenv=XDG_RUNTIME_DIR="+dir, "/lib/systemd/systemd", "--user", "--unit=basic.target")
	t.Cleanup(func() { systemctl(t, "stop", service) })
	t.Setenv("XDG_RUNTIME_DIR", dir)
	if !isUnified(deps) {
		deps.Facts.UID = 1000
		for end := time.Now().Add(settle); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			if _, err := SystemdFacts(t.Context(), deps.Facts); errors.Is(err, errdefs.ErrNotImplemented) {
				return
			}
		}
		t.Fatal("a user's systemd was taken on cgroup v1")
	}
	for end := time.Now().Add(settle); ; time.Sleep(50 * time.Millisecond) {
		var err error
		if deps.Facts, err = SystemdFacts(t.Context(), deps.Facts); err == nil && deps.Facts.Cgroup.Systemd.User {
			break
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
		deps.Facts.UID = 1000
	}
	c := sleeping(t, deps, func(s *specs.Spec) { s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(64 << 20))} })
	want := "/system.slice/" + service + "/" + testSlice + "/"
	if got := procFile(t, c.Init().Pid(), "cgroup"); !strings.Contains(got, want) {
		t.Errorf("it is in %s, not below %s", got, want)
	}
	if err := c.Cgroup().Update(&specs.LinuxResources{Pids: &specs.LinuxPids{Limit: new(int64(50))}}); err != nil {
		t.Error(err)
	}
	wantContent(t, c, "pids pids.max=50")
	for range 2 {
		if err := c.Delete(context.Background()); err != nil {
			t.Error(err)
		}
	}
	if left, _ := filepath.Glob(dir + "/systemd/transient/*.scope"); left != nil {
		t.Errorf("left: %v", left)
	}
}
