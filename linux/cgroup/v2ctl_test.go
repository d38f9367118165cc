package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/internal/need"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/cgroup/stats"
)

// needControllers returns a new cgroup with those controllers on, in a parent as the compiler makes it. Where cgroup v1 has them (a hybrid
// machine) these tests cannot run.
func needControllers(t *testing.T, names ...string) *v2 {
	t.Helper()
	there := strings.Fields(v2Content(t, v2Mount(t), "cgroup.controllers"))
	for _, name := range names {
		if slices.Contains(there, name) {
			continue
		}
		need.CgroupV2.Lacking(t, fmt.Sprintf("%s is none of %v", name, there))
	}
	parent := newV2(t)
	dir := parent.dir
	dir.Controllers, dir.Path = there, filepath.Join(dir.Path, "c")
	for _, e := range files.Enable(dir) {
		if err := write(e.Dir, "cgroup.subtree_control", e.All); err != nil {
			t.Fatal(err)
		}
	}
	v2Mkdir(t, dir.Path)
	return &v2{dir: dir}
}

// v2WantFiles compares files with what is wanted, "file=content".
func v2WantFiles(t *testing.T, c *v2, want ...string) {
	t.Helper()
	for _, w := range want {
		name, value, _ := strings.Cut(w, "=")
		if got := v2Content(t, c.dir.Path, name); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
}

// TestV2Files writes everything a new cgroup can get and reads it back.
func TestV2Files(t *testing.T) {
	c := needControllers(t, "cpu", "cpuset", "memory", "pids", "hugetlb")
	r := &specs.LinuxResources{
		Memory:         &specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(96 << 20)), Reservation: new(int64(8 << 20))},
		CPU:            &specs.LinuxCPU{Shares: new(uint64(2048)), Quota: new(int64(20000)), Period: new(uint64(50000)), Burst: new(uint64(1000)), Cpus: "0", Mems: "0"},
		Pids:           &specs.LinuxPids{Limit: new(int64(50))},
		HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}},
		Unified:        map[string]string{"memory.high": "60M", "cgroup.max.depth": "3"},
	}
	list, err := files.V2(r, c.dir, "/linux/resources")
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range list {
		if err := write(c.dir.Path, w.File, w.Value); err != nil {
			t.Errorf("%s: %v", w.Source, err)
		}
	}
	v2WantFiles(t, c, "memory.max=67108864", "memory.swap.max=33554432", "memory.low=8388608", "memory.high=62914560", "cpu.weight=174", "cpu.max=20000 50000",
		"cpu.max.burst=1000", "cpuset.cpus=0", "cpuset.mems=0", "pids.max=50", "hugetlb.2MB.max=4194304", "hugetlb.2MB.rsvd.max=4194304", "cgroup.max.depth=3")
}

// TestV2Updates changes a living cgroup, step by step.
func TestV2Updates(t *testing.T) {
	c := needControllers(t, "cpu", "cpuset", "memory", "pids", "io")
	cpu := func(x specs.LinuxCPU) *specs.LinuxResources { return &specs.LinuxResources{CPU: &x} }
	memory := func(x specs.LinuxMemory) *specs.LinuxResources { return &specs.LinuxResources{Memory: &x} }
	for _, s := range []struct {
		name string
		r    *specs.LinuxResources
		want []string // files, or
		err  error
	}{
		{"quota with burst", cpu(specs.LinuxCPU{Quota: new(int64(50000)), Burst: new(uint64(40000))}), []string{"cpu.max=50000 100000", "cpu.max.burst=40000"}, nil},
		{"the burst goes down first", cpu(specs.LinuxCPU{Quota: new(int64(20000)), Burst: new(uint64(10000))}), []string{"cpu.max=20000 100000", "cpu.max.burst=10000"}, nil},
		{"the burst goes up last", cpu(specs.LinuxCPU{Quota: new(int64(60000)), Burst: new(uint64(60000))}), []string{"cpu.max=60000 100000", "cpu.max.burst=60000"}, nil},
		{"the period alone", cpu(specs.LinuxCPU{Period: new(uint64(80000))}), []string{"cpu.max=60000 80000"}, nil},
		{"no quota", cpu(specs.LinuxCPU{Quota: new(int64(-1))}), []string{"cpu.max=max 80000"}, nil},
		{"into idle", cpu(specs.LinuxCPU{Shares: new(uint64(1024)), Idle: new(int64(1))}), []string{"cpu.idle=1"}, nil},
		{"out of idle", cpu(specs.LinuxCPU{Shares: new(uint64(512)), Idle: new(int64(0))}), []string{"cpu.idle=0", "cpu.weight=59"}, nil},
		{"into idle again", cpu(specs.LinuxCPU{Shares: new(uint64(1024)), Idle: new(int64(1))}), []string{"cpu.idle=1"}, nil},
		{"into idle, being it", cpu(specs.LinuxCPU{Shares: new(uint64(1024)), Idle: new(int64(1))}), []string{"cpu.idle=1"}, nil},
		{"out of idle by a weight", cpu(specs.LinuxCPU{Shares: new(uint64(512))}), []string{"cpu.idle=0", "cpu.weight=59"}, nil},
		{"memory", memory(specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(64 << 20))}), []string{"memory.max=67108864", "memory.swap.max=0"}, nil},
		{"the sum alone", memory(specs.LinuxMemory{Swap: new(int64(65 << 20))}), []string{"memory.max=67108864", "memory.swap.max=1048576"}, nil},
		{"a sum below memory", memory(specs.LinuxMemory{Swap: new(int64(1 << 20))}), []string{"memory.swap.max=1048576"}, errdefs.ErrInvalidArgument},
		{"below the usage", memory(specs.LinuxMemory{Limit: new(int64(4096)), CheckBeforeUpdate: new(true)}), []string{"memory.max=67108864"}, errdefs.ErrFailedPrecondition},
		{"a sum below the usage", memory(specs.LinuxMemory{Limit: new(int64(4096)), Swap: new(int64(8192)), CheckBeforeUpdate: new(true)}),
			[]string{"memory.max=67108864", "memory.swap.max=1048576"}, errdefs.ErrFailedPrecondition},
		{"no limit", memory(specs.LinuxMemory{Limit: new(int64(-1))}), []string{"memory.max=max", "memory.swap.max=max"}, nil},
		{"a sum without a limit", memory(specs.LinuxMemory{Swap: new(int64(1 << 20))}), []string{"memory.swap.max=max"}, errdefs.ErrInvalidArgument},
		{"CPUs", cpu(specs.LinuxCPU{Cpus: "0"}), []string{"cpuset.cpus=0"}, nil},
		{"taken back", &specs.LinuxResources{CPU: &specs.LinuxCPU{Cpus: "0"}, Pids: &specs.LinuxPids{Limit: new(int64(9))}, Unified: map[string]string{"pids.max": "many"}},
			[]string{"pids.max=max", "cpuset.cpus=0"}, os.ErrInvalid},
	} {
		err := c.Update(s.r)
		if s.err == nil && err != nil || s.err != nil && err == nil || s.err != nil && !errors.Is(s.err, os.ErrInvalid) && !errors.Is(err, s.err) {
			t.Errorf("%s: %v, want %v", s.name, err, s.err)
		}
		v2WantFiles(t, c, s.want...)
		if s.name == "memory" { // something to be in use
			v2Start(t, c.dir.Path, "exec sleep 1000")
		}
	}
}

// TestV2IO throttles and weighs a device, and takes a throttle back.
func TestV2IO(t *testing.T) {
	c := needControllers(t, "io")
	dev := strings.Split(v2Content(t, "/sys/block/vda/dev"), ":")
	if len(dev) != 2 {
		t.Fatal(dev)
	}
	d := specs.LinuxThrottleDevice{Rate: 1 << 20}
	d.Major, d.Minor = v2Number(t, dev[0]), v2Number(t, dev[1])
	name := dev[0] + ":" + dev[1]
	if err := c.Update(&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{d}, ThrottleWriteIOPSDevice: []specs.LinuxThrottleDevice{d}}}); err != nil {
		t.Fatal(err)
	}
	v2WantFiles(t, c, "io.max="+name+" rbps=1048576 wbps=max riops=max wiops=1048576")
	err := c.Update(&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleWriteBpsDevice: []specs.LinuxThrottleDevice{d}}, Unified: map[string]string{"io.max": "none"}})
	if err == nil {
		t.Error("nonsense is taken")
	}
	v2WantFiles(t, c, "io.max="+name+" rbps=1048576 wbps=max riops=max wiops=1048576")
	d.Rate = 0
	if err := c.Update(&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{d}, ThrottleWriteIOPSDevice: []specs.LinuxThrottleDevice{d}}}); err != nil {
		t.Fatal(err)
	}
	v2WantFiles(t, c, "io.max=")
	if err := c.Update(&specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: new(uint16(500))}}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(c.dir.Path, "io.bfq.weight")); err == nil {
		v2WantFiles(t, c, "io.bfq.weight=default 500")
	} else {
		v2WantFiles(t, c, "io.weight=default 4950")
	}
}

func v2Number(t *testing.T, word string) int64 {
	t.Helper()
	v, err := limitOf(word)
	if err != nil {
		t.Fatal(err)
	}
	return int64(v)
}

// TestV2Stats reads the accounting of a process.
func TestV2Stats(t *testing.T) {
	c := needControllers(t, "cpu", "memory", "pids", "io")
	v2Start(t, c.dir.Path, "exec sleep 1000")
	if err := c.Update(&specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: new(int64(32 << 20))}, CPU: &specs.LinuxCPU{Quota: new(int64(90000))}}); err != nil {
		t.Fatal(err)
	}
	all, err := c.Stats()
	if err != nil {
		t.Fatal(err)
	}
	m := all.V2
	if m.Pids == nil || *m.Pids != (stats.Pids{Current: 1, Limit: stats.Unlimited}) {
		t.Errorf("pids: %+v", m.Pids)
	}
	if _, ok := m.CPU.Stat["nr_throttled"]; m.CPU.Stat["usage_usec"] == 0 || !ok {
		t.Errorf("cpu: %+v", m.CPU)
	}
	if mem := m.Memory; mem == nil || *mem.Current == 0 || *mem.Max != 32<<20 || mem.Stat["anon"] == 0 || mem.Events == nil || mem.EventsLocal == nil {
		t.Errorf("memory: %+v", mem)
	}
	if m.IO == nil {
		t.Error("no I/O")
	}
}
