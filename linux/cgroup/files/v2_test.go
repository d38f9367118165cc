package files

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/facts"
)

var pure = Dir{Controllers: []string{"cpu", "cpuset", "hugetlb", "io", "memory", "pids", "rdma"}, Mount: "/cg", Path: "/cg/a", Unified: true}

// v2Lines are the writes, or the error, one a line. The pointers stand without their prefix.
func v2Lines(list []Write, err error) string {
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, w := range list {
		fmt.Fprintf(&b, "%s=%s %s", w.File, strings.TrimSuffix(w.Value, "\n"), strings.TrimPrefix(w.Source, "/linux/resources"))
		if w.When == Late {
			b.WriteString(" late")
		}
		if w.Optional {
			b.WriteString(" optional")
		}
		if w.Else != nil {
			fmt.Fprintf(&b, " else %s=%s", w.Else.File, w.Else.Value)
		}
		if w.Live != Whole {
			fmt.Fprintf(&b, " live %d", w.Live)
		}
		if w.InUse.Files != nil {
			fmt.Fprintf(&b, " %d not below %s", w.InUse.Limit, strings.Join(w.InUse.Files, " + "))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func mem(limit, swap int64) *specs.LinuxMemory {
	m := &specs.LinuxMemory{}
	if limit != 0 {
		m.Limit = &limit
	}
	if swap != 0 {
		m.Swap = &swap
	}
	return m
}

func throttle(major, minor int64, rate uint64) specs.LinuxThrottleDevice {
	d := specs.LinuxThrottleDevice{Rate: rate}
	d.Major, d.Minor = major, minor
	return d
}

func weightDevice(minor int64, weight uint16) specs.LinuxWeightDevice {
	d := specs.LinuxWeightDevice{Weight: &weight}
	d.Major, d.Minor = 8, minor
	return d
}

func TestV2(t *testing.T) {
	for _, c := range []struct {
		name string
		r    specs.LinuxResources
		want string
	}{
		{"nothing", specs.LinuxResources{}, ""},
		{"memory", specs.LinuxResources{Memory: mem(100, 0)}, "memory.max=100 /memory/limit\n"},
		{"memory and swap", specs.LinuxResources{Memory: mem(100, 150)}, "memory.swap.max=50 /memory/swap\nmemory.max=100 /memory/limit\n"},
		{"no swap", specs.LinuxResources{Memory: mem(100, 100)}, "memory.swap.max=0 /memory/swap optional\nmemory.max=100 /memory/limit\n"},
		{"free swap", specs.LinuxResources{Memory: mem(100, -1)}, "memory.swap.max=max /memory/swap optional\nmemory.max=100 /memory/limit\n"},
		{"unlimited", specs.LinuxResources{Memory: mem(-1, 0)}, "memory.swap.max=max /memory/limit optional\nmemory.max=max /memory/limit\n"},
		{"reservation", specs.LinuxResources{Memory: &specs.LinuxMemory{Reservation: ptr(int64(7))}}, "memory.low=7 /memory/reservation\n"},
		{"memory fields that ask for nothing", specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: ptr(int64(0)), Kernel: ptr(int64(-1)), KernelTCP: ptr(int64(0)),
			UseHierarchy: ptr(true), DisableOOMKiller: ptr(false), CheckBeforeUpdate: ptr(true)}}, ""},
		{"cpu", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(1024)), Quota: ptr(int64(5000)), Period: ptr(uint64(10000)), Burst: ptr(uint64(9)), Cpus: "0-1", Mems: "0"}},
			"cpu.weight=100 /cpu/shares\ncpu.max=5000 10000 /cpu/quota\ncpu.max.burst=9 /cpu/burst\ncpuset.cpus=0-1 /cpu/cpus\ncpuset.mems=0 /cpu/mems\n"},
		{"into idle", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(2)), Idle: ptr(int64(1))}}, "cpu.idle=1 /cpu/idle\n"},
		{"into idle by name", specs.LinuxResources{Unified: map[string]string{"cpu.idle": "1", "cpu.weight": "8", "cpu.weight.nice": "1"}}, "cpu.idle=1 /unified/cpu.idle\n"},
		{"out of idle", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(2)), Idle: ptr(int64(0))}}, "cpu.idle=0 /cpu/idle optional\ncpu.weight=1 /cpu/shares\n"},
		{"quota", specs.LinuxResources{CPU: &specs.LinuxCPU{Quota: ptr(int64(-1)), Burst: ptr(uint64(0))}}, "cpu.max=max /cpu/quota\ncpu.max.burst=0 /cpu/burst optional\n"},
		{"period", specs.LinuxResources{CPU: &specs.LinuxCPU{Period: ptr(uint64(50000))}}, "cpu.max=max 50000 /cpu/period live 1\n"},
		{"cpu fields that ask for nothing", specs.LinuxResources{CPU: &specs.LinuxCPU{Shares: ptr(uint64(0)), Quota: ptr(int64(0)), RealtimePeriod: ptr(uint64(0)), RealtimeRuntime: ptr(int64(0))}}, ""},
		{"pids 0", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(0))}}, "pids.max=0 /pids/limit late\n"},
		{"pids max", specs.LinuxResources{Pids: &specs.LinuxPids{Limit: ptr(int64(-1))}}, "pids.max=max /pids/limit late\n"},
		{"weights", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{Weight: ptr(uint16(10)), LeafWeight: ptr(uint16(0)),
			WeightDevice: []specs.LinuxWeightDevice{weightDevice(0, 1000), weightDevice(16, 100), weightDevice(32, 0)}}},
			"io.bfq.weight=10 /blockIO/weight else io.weight=default 1\n" +
				"io.bfq.weight=8:0 1000 /blockIO/weightDevice/0 else io.weight=8:0 10000\n" +
				"io.bfq.weight=8:16 100 /blockIO/weightDevice/1 else io.weight=8:16 910\n"},
		{"throttles", specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{
			ThrottleReadBpsDevice: []specs.LinuxThrottleDevice{throttle(8, 0, 1)}, ThrottleWriteBpsDevice: []specs.LinuxThrottleDevice{throttle(8, 16, 2), throttle(8, 0, 3)},
			ThrottleReadIOPSDevice: []specs.LinuxThrottleDevice{throttle(8, 0, 0)}, ThrottleWriteIOPSDevice: []specs.LinuxThrottleDevice{throttle(8, 0, 5)}}},
			"io.max=8:0 rbps=1 wbps=3 riops=max wiops=5 /blockIO/throttleReadBpsDevice/0\nio.max=8:16 wbps=2 /blockIO/throttleWriteBpsDevice/0\n"},
		{"hugetlb", specs.LinuxResources{HugepageLimits: []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}, {Pagesize: "1GB", Limit: math.MaxUint64}}},
			"hugetlb.2MB.max=4194304 /hugepageLimits/0\nhugetlb.2MB.rsvd.max=4194304 /hugepageLimits/0 optional\n" +
				"hugetlb.1GB.max=max /hugepageLimits/1\nhugetlb.1GB.rsvd.max=max /hugepageLimits/1 optional\n"},
		{"rdma", specs.LinuxResources{Rdma: map[string]specs.LinuxRdma{"b": {HcaHandles: ptr(uint32(2))}, "a": {HcaObjects: ptr(uint32(math.MaxUint32))}, "c": {}}},
			"rdma.max=a hca_object=max /rdma/a\nrdma.max=b hca_handle=2 /rdma/b\n"},
		{"network", specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: ptr(uint32(0))}}, ""},
		{"unified is last", specs.LinuxResources{Memory: mem(100, 0), Unified: map[string]string{"pids.max": "5", "memory.high": "90", "cgroup.max.depth": "1", "cpuset.cpus.partition": "",
			"io.max": "8:0 rbps=1\n8:16 rbps=2\n"}},
			"memory.max=100 /memory/limit\ncgroup.max.depth=1 /unified/cgroup.max.depth\ncpuset.cpus.partition= /unified/cpuset.cpus.partition\n" +
				"io.max=8:0 rbps=1 /unified/io.max\nio.max=8:16 rbps=2 /unified/io.max\nmemory.high=90 /unified/memory.high\npids.max=5 /unified/pids.max late\n"},
	} {
		list, err := V2(&c.r, pure, "/linux/resources")
		if got := v2Lines(list, err); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
	}
	if list, err := V2(nil, pure, ""); err != nil || list != nil {
		t.Errorf("no resources: %v, %v", list, err)
	}
}

func TestV2Update(t *testing.T) {
	checked := mem(100, 150)
	checked.CheckBeforeUpdate = ptr(true)
	for _, c := range []struct {
		name string
		r    specs.LinuxResources
		want string
	}{
		{"sum alone", specs.LinuxResources{Memory: mem(0, 150)}, "memory.swap.max=150 /memory/swap live 2\n"},
		{"checked", specs.LinuxResources{Memory: checked}, "memory.swap.max=50 /memory/swap 150 not below memory.current + memory.swap.current\n" +
			"memory.max=100 /memory/limit 100 not below memory.current\n"},
		{"rules stay", specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true}}}, ""},
	} {
		list, err := V2Update(&c.r, pure)
		if got := v2Lines(list, err); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
	}
}

func TestV2Errors(t *testing.T) {
	invalid, cannot := errdefs.ErrInvalidArgument, errdefs.ErrNotImplemented
	unified := func(name string) specs.LinuxResources {
		return specs.LinuxResources{Unified: map[string]string{name: "1"}}
	}
	for _, c := range []struct {
		field string
		class error
		r     specs.LinuxResources
	}{
		{"/memory/swap: memory and swap together (1) are less than memory (2)", invalid, specs.LinuxResources{Memory: mem(2, 1)}},
		{"/memory/swap: is memory and swap together", invalid, specs.LinuxResources{Memory: mem(0, 1)}},
		{"/memory/swap: is memory and swap together", invalid, specs.LinuxResources{Memory: mem(-1, 1)}},
		{"/memory/swappiness", cannot, specs.LinuxResources{Memory: &specs.LinuxMemory{Swappiness: ptr(uint64(0))}}},
		{"/memory/disableOOMKiller", cannot, specs.LinuxResources{Memory: &specs.LinuxMemory{DisableOOMKiller: ptr(true)}}},
		{"/memory/kernel", cannot, specs.LinuxResources{Memory: &specs.LinuxMemory{Kernel: ptr(int64(1))}}},
		{"/memory/kernelTCP", cannot, specs.LinuxResources{Memory: &specs.LinuxMemory{KernelTCP: ptr(int64(1))}}},
		{"/memory/useHierarchy", cannot, specs.LinuxResources{Memory: &specs.LinuxMemory{UseHierarchy: ptr(false)}}},
		{"/cpu/realtimePeriod", cannot, specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimePeriod: ptr(uint64(1))}}},
		{"/cpu/realtimeRuntime", cannot, specs.LinuxResources{CPU: &specs.LinuxCPU{RealtimeRuntime: ptr(int64(1))}}},
		{"/blockIO/leafWeight", cannot, specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{LeafWeight: ptr(uint16(10))}}},
		{"/blockIO/weightDevice/0/leafWeight", cannot, specs.LinuxResources{BlockIO: &specs.LinuxBlockIO{WeightDevice: []specs.LinuxWeightDevice{{LeafWeight: ptr(uint16(10))}}}}},
		{"/network/classID", cannot, specs.LinuxResources{Network: &specs.LinuxNetwork{ClassID: ptr(uint32(1))}}},
		{"/network/priorities", cannot, specs.LinuxResources{Network: &specs.LinuxNetwork{Priorities: []specs.LinuxInterfacePriority{{Name: "lo"}}}}},
		{"/unified/misc.max: the cgroup controller misc is not available", cannot, unified("misc.max")},
		{"/unified/memory.~1..~1..~1x", invalid, unified("memory./../../x")},
		{"/unified/memory", invalid, unified("memory")},
		{"/unified/memory.", invalid, unified("memory.")},
		{"/unified/..", invalid, unified("..")},
		{"/unified/a~0b: is no name", invalid, unified("a~b")},
		{"/unified/cgroup.procs", invalid, unified("cgroup.procs")},
		{"/unified/cgroup.subtree_control", invalid, unified("cgroup.subtree_control")},
		{"/unified/cgroup.freeze", invalid, unified("cgroup.freeze")},
	} {
		list, err := V2(&c.r, pure, "/linux/resources")
		if !errors.Is(err, c.class) || !strings.HasPrefix(err.Error(), "/linux/resources"+c.field) || list != nil {
			t.Errorf("got %v and %d writes, want %s", err, len(list), c.field)
		}
	}
	bare := Dir{Mount: "/cg", Path: "/cg/a", Unified: true}
	if _, err := V2(&specs.LinuxResources{Memory: mem(1, 0)}, bare, ""); !errors.Is(err, cannot) || !strings.HasPrefix(err.Error(), "/memory/limit: the cgroup controller memory is not available") {
		t.Errorf("without the controller: %v", err)
	}
}

func TestWeightOfShares(t *testing.T) {
	// The values of the kubernetes discussion: the ends, the default, and the least a pod asks for.
	for shares, want := range map[uint64]uint64{1: 1, 2: 1, 102: 17, 512: 59, 1024: 100, 2048: 174, 262144: 10000, math.MaxUint64: 10000} {
		if got := weightOfShares(shares); got != want {
			t.Errorf("%d shares are weight %d, want %d", shares, got, want)
		}
	}
	last := uint64(0)
	for shares := uint64(2); shares <= 1<<18; shares++ {
		got := weightOfShares(shares)
		if got < last || got > 10000 {
			t.Fatalf("%d shares are weight %d, one less are %d", shares, got, last)
		}
		last = got
	}
}

func TestFormer(t *testing.T) {
	for _, c := range []struct{ file, value, content, want string }{
		{"memory.max", "1", "max\n", "max"},
		{"cpu.max", "5000", "max 100000\n", "max 100000"},
		{"cpuset.cpus", "0", "\n", "\n"},
		{"cpuset.cpus", "0", "1-2\n", "1-2"},
		{"io.max", "8:0 rbps=5", "8:16 rbps=1 wbps=max riops=max wiops=max\n8:0 rbps=max wbps=7 riops=max wiops=max\n", "8:0 rbps=max wbps=7 riops=max wiops=max"},
		{"io.max", "8:1 rbps=5", "8:16 rbps=1 wbps=max riops=max wiops=max\n", "8:1 rbps=max wbps=max riops=max wiops=max"},
		{"io.weight", "default 5", "default 100\n8:0 50\n", "default 100"},
		{"io.weight", "8:0 5", "default 100\n8:0 50\n", "8:0 50"},
		{"io.weight", "8:16 5", "default 100\n8:0 50\n", "8:16 default"},
		{"io.bfq.weight", "5", "default 100\n", "default 100"},
		{"io.bfq.weight", "5", "100\n", "100"},
		{"io.latency", "8:0 target=5", "", "8:0 target=0"},
		{"rdma.max", "a hca_handle=5", "a hca_handle=1 hca_object=max\n", "a hca_handle=1 hca_object=max"},
		{"rdma.max", "b hca_handle=5", "a hca_handle=1 hca_object=max\n", "b hca_handle=max hca_object=max"},
		{"misc.max", "sev 5", "sev 10\n", "sev 10"},
		{"misc.max", "sev_es 5", "sev 10\n", "sev_es max"},
	} {
		if got := (Write{File: c.file, Value: c.value}).Former(c.content); got != c.want {
			t.Errorf("%s of %q: got %q, want %q", c.file, c.content, got, c.want)
		}
	}
}

func TestComplete(t *testing.T) {
	keep := Write{Value: "max 50000", V2Only: V2Only{Live: KeepFirst}}
	if got := keep.Complete("7000 100000\n"); got != "7000 50000" {
		t.Errorf("got %q", got)
	}
	if got := (Write{Value: "5"}).Complete("7\n"); got != "5" {
		t.Errorf("got %q", got)
	}
}

func TestV2Paths(t *testing.T) {
	for _, c := range []struct{ own, path, want string }{
		{"/", "web1", "/cg/web1"},
		{"/sys/containerd", "web1", "/cg/sys/web1"},
		{"/sys/containerd", "/web1", "/cg/web1"},
		{"/sys/containerd", "", "/cg/ns/id"},
		{"/sys/containerd", "../../..", "error"},
	} {
		m := facts.Cgroup{Version: 2, Hierarchies: []facts.Hierarchy{{Controllers: []string{"cpu", "memory"}, Mount: "/cg", Root: "/", Own: c.own, Unified: true}}}
		dirs, err := Paths(m, c.path, "ns", "id")
		got := "error"
		if err == nil {
			got = dirs[0].Path
		}
		if got != c.want || err == nil && !(dirs[0].Unified && dirs[0].Has("memory")) {
			t.Errorf("%q beside %s: %s, want %s (%v)", c.path, c.own, got, c.want, err)
		}
	}
}

func TestEnable(t *testing.T) {
	var got []string
	for _, e := range Enable(Dir{Controllers: []string{"cpu", "memory"}, Mount: "/cg", Path: "/cg/ns/id", Unified: true}) {
		got = append(got, e.Dir+" "+e.File+" "+e.All+" "+strings.Join(e.Each, ","))
	}
	want := "/cg /cg/cgroup.subtree_control +cpu +memory +cpu,+memory; /cg/ns /cg/ns/cgroup.subtree_control +cpu +memory +cpu,+memory"
	if strings.Join(got, "; ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if Enable(machineDir()) != nil || Enable(Dir{Mount: "/cg", Path: "/cg/a", Unified: true}) != nil {
		t.Error("something to enable without controllers")
	}
}

// machineDir is a directory of v1.
func machineDir() Dir {
	return Dir{Controllers: []string{"memory"}, Mount: "/cg/memory", Path: "/cg/memory/a"}
}
