package run

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/internal/need"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/facts"
)

// moreControllers mounts, until the test ends, the controllers of these that nobody has mounted.
func moreControllers(t *testing.T, deps *Deps, names ...string) {
	t.Helper()
	f := &deps.Facts.Cgroup
	f.Hierarchies = slices.Clone(f.Hierarchies)
	for _, name := range names {
		if !slices.ContainsFunc(f.Hierarchies, func(h facts.Hierarchy) bool { return slices.Contains(h.Controllers, name) }) {
			f.Hierarchies = append(f.Hierarchies, facts.Hierarchy{Controllers: []string{name}, Mount: mountHierarchy(t, name), Root: "/", Own: "/"})
		}
	}
}

// blockDevice makes a block device until the test ends, and returns its number, and whether it is scheduled by bfq.
func blockDevice(t *testing.T) (major, minor int64, bfq bool) {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "disk"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(1 << 20); err != nil {
		t.Fatal(err)
	}
	dev, name, err := attachLoop(int(f.Fd()), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(dev) })
	bfq = os.WriteFile("/sys/block/"+filepath.Base(name)+"/queue/scheduler", []byte("bfq"), 0) == nil
	var st unix.Stat_t
	if err := unix.Fstat(dev, &st); err != nil {
		t.Fatal(err)
	}
	return int64(unix.Major(st.Rdev)), int64(unix.Minor(st.Rdev)), bfq
}

// TestResourcesV1 sets every resource that cgroup v1 has, and reads the kernel's files.
func TestResourcesV1(t *testing.T) {
	deps := onV1(t)
	if !alone(t) {
		return
	}
	moreControllers(t, deps, "net_cls", "net_prio", "hugetlb")
	major, minor, bfq := blockDevice(t)
	disk := specs.LinuxBlockIODevice{Major: major, Minor: minor}
	rate := func(n uint64) []specs.LinuxThrottleDevice {
		return []specs.LinuxThrottleDevice{{LinuxBlockIODevice: disk, Rate: n}}
	}
	yes := true
	box := sleeping(t, deps, func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(96 << 20)), Reservation: new(int64(32 << 20)), KernelTCP: new(int64(8 << 20)),
			Swappiness: new(uint64(17)), DisableOOMKiller: &yes, UseHierarchy: &yes, CheckBeforeUpdate: &yes}
		s.Linux.Resources.CPU = &specs.LinuxCPU{Shares: new(uint64(512)), Period: new(uint64(50000)), Quota: new(int64(20000)), Burst: new(uint64(5000)), Cpus: "0", Mems: "0"}
		s.Linux.Resources.BlockIO = &specs.LinuxBlockIO{ThrottleReadBpsDevice: rate(1 << 20), ThrottleWriteBpsDevice: rate(2 << 20), ThrottleReadIOPSDevice: rate(100),
			ThrottleWriteIOPSDevice: rate(200)}
		s.Linux.Resources.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}
		s.Linux.Resources.Network = &specs.LinuxNetwork{ClassID: new(uint32(0x100001)), Priorities: []specs.LinuxInterfacePriority{{Name: "lo", Priority: 7}}}
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: new(int64(33))}
	})
	t.Run("weights", func(t *testing.T) { ioWeights(t, deps, disk, bfq) })
	throttle := fmt.Sprintf("%d:%d ", major, minor)
	for file, want := range map[string]string{
		"memory/memory.limit_in_bytes": "67108864", "memory/memory.memsw.limit_in_bytes": "100663296", "memory/memory.soft_limit_in_bytes": "33554432",
		"memory/memory.kmem.tcp.limit_in_bytes": "8388608", "memory/memory.swappiness": "17", "memory/memory.use_hierarchy": "1", "memory/memory.oom_control": "oom_kill_disable 1",
		"cpu/cpu.shares": "512", "cpu/cpu.cfs_period_us": "50000", "cpu/cpu.cfs_quota_us": "20000", "cpu/cpu.cfs_burst_us": "5000", "cpuset/cpuset.cpus": "0", "cpuset/cpuset.mems": "0",
		"blkio/blkio.throttle.read_bps_device":  throttle + "1048576",
		"blkio/blkio.throttle.write_bps_device": throttle + "2097152", "blkio/blkio.throttle.read_iops_device": throttle + "100", "blkio/blkio.throttle.write_iops_device": throttle + "200",
		"hugetlb/hugetlb.2MB.limit_in_bytes": "4194304", "hugetlb/hugetlb.2MB.rsvd.limit_in_bytes": "4194304", "net_cls/net_cls.classid": "1048577", "net_prio/net_prio.ifpriomap": "lo 7",
		"pids/pids.max": "33",
	} {
		if got := cgroupFile(t, box, file); !strings.Contains("\n"+got, "\n"+want+"\n") {
			t.Errorf("%s is %q, want %s", file, got, want)
		}
	}
}

// ioWeights gives a container and a device of it weights.
func ioWeights(t *testing.T, deps *Deps, disk specs.LinuxBlockIODevice, bfq bool) {
	t.Helper()
	weigh := func(s *specs.Spec) {
		s.Linux.Resources.BlockIO = &specs.LinuxBlockIO{Weight: new(uint16(300))}
		s.Linux.Resources.BlockIO.WeightDevice = []specs.LinuxWeightDevice{{LinuxBlockIODevice: disk, Weight: new(uint16(400))}}
	}
	if !bfq { // this kernel has no scheduler with weights
		if _, err := Create(t.Context(), deps, request(newBundle(t, weigh))); err == nil || !strings.Contains(err.Error(), "(/linux/resources/blockIO/weight)") {
			t.Errorf("weights without bfq: %v", err)
		}
		return
	}
	box := sleeping(t, deps, weigh)
	for file, want := range map[string]string{"blkio/blkio.bfq.weight": "300", "blkio/blkio.bfq.weight_device": fmt.Sprintf("%d:%d 400", disk.Major, disk.Minor)} {
		if got := cgroupFile(t, box, file); !strings.Contains("\n"+got, "\n"+want+"\n") {
			t.Errorf("%s is %q, want %s", file, got, want)
		}
	}
}

// cgroupFile reads CONTROLLER/FILE of the container's cgroup.
func cgroupFile(t *testing.T, box *Container, name string) string {
	t.Helper()
	controller, file, _ := strings.Cut(name, "/")
	d, ok := files.Find(box.state.CgroupDirs, controller)
	if !ok {
		t.Fatalf("no %s", controller)
	}
	data, err := os.ReadFile(filepath.Join(d.Path, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestResourcesV1Rest: what does not go together with the others, and the limits of pids: 0 is one, and -1 is none.
func TestResourcesV1Rest(t *testing.T) {
	deps := onV1(t)
	for name, c := range map[string]struct {
		edit       func(*specs.Spec)
		file, want string
	}{
		"idle": {func(s *specs.Spec) { s.Linux.Resources.CPU = &specs.LinuxCPU{Idle: new(int64(1))} }, "cpu/cpu.idle", "1"},
		"realtime runtime": {func(s *specs.Spec) {
			realtime(s)
		}, "cpu/cpu.rt_runtime_us", "10000"},
		"no limit of pids": {func(s *specs.Spec) { s.Linux.Resources.Pids = &specs.LinuxPids{Limit: new(int64(-1))} }, "pids/pids.max", "max"},
		"no swap limit": {func(s *specs.Spec) {
			s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(-1))}
		}, "memory/memory.memsw.limit_in_bytes", "9223372036854771712"},
	} {
		t.Run(name, func(t *testing.T) {
			box := sleeping(t, deps, c.edit)
			if name == "realtime runtime" {
				if _, err := os.Stat("/sys/fs/cgroup/cpu/cpu.rt_runtime_us"); err != nil {
					need.RealtimeGroups.Lacking(t, err.Error())
				}
			}
			if got := strings.TrimSpace(cgroupFile(t, box, c.file)); got != c.want {
				t.Errorf("%s is %s, want %s", c.file, got, c.want)
			}
		})
	}
	t.Run("no process but the first", func(t *testing.T) {
		got := runScript(t, func(s *specs.Spec) { s.Linux.Resources.Pids = &specs.LinuxPids{Limit: new(int64(0))} }, `(echo forked) || echo refused`)
		if !strings.Contains(got, "can't fork") || strings.Contains(got, "forked") {
			t.Errorf("got %q", got)
		}
	})
}

// TestResourcesRefused: what this machine does not have is refused by its field, before anything is made.
func TestResourcesRefused(t *testing.T) {
	deps := newDeps(t)
	rdma := slices.ContainsFunc(deps.Facts.Cgroup.Hierarchies, func(h facts.Hierarchy) bool { return slices.Contains(h.Controllers, "rdma") })
	absent := "/linux/resources/rdma/mlx5_0: the cgroup controller rdma is not mounted"
	switch {
	case isUnified(deps):
		absent = "/linux/resources/network/classID: cgroup v2 has no such limit"
	case rdma: // then it is the kernel that does not know the device
		absent = "(/linux/resources/rdma/mlx5_0)"
	}
	for want, edit := range map[string]func(*specs.LinuxResources){
		"/linux/resources/memory/kernel: cannot be carried out": func(r *specs.LinuxResources) { r.Memory = &specs.LinuxMemory{Kernel: new(int64(1 << 20))} }, //nolint:staticcheck // deprecated
		"/linux/resources/blockIO/leafWeight: cannot be carried out": func(r *specs.LinuxResources) {
			r.BlockIO = &specs.LinuxBlockIO{LeafWeight: new(uint16(10))}
		},
		"/linux/resources/blockIO/weightDevice/0/leafWeight: cannot be carried out": func(r *specs.LinuxResources) {
			r.BlockIO = &specs.LinuxBlockIO{}
			r.BlockIO.WeightDevice = []specs.LinuxWeightDevice{{LeafWeight: new(uint16(10))}}
		},
		absent: func(r *specs.LinuxResources) {
			if isUnified(deps) {
				r.Network = &specs.LinuxNetwork{ClassID: new(uint32(1))}
				return
			}
			r.Rdma = map[string]specs.LinuxRdma{"mlx5_0": {HcaHandles: new(uint32(3)), HcaObjects: new(uint32(4))}}
		},
	} {
		bundle := newBundle(t, func(s *specs.Spec) { edit(s.Linux.Resources) })
		before := takeTrace(t, bundle)
		if _, err := Create(t.Context(), deps, request(bundle)); err == nil || !strings.Contains(err.Error(), want) || !rdma && !errors.Is(err, errdefs.ErrNotImplemented) {
			t.Errorf("got %v, want %s", err, want)
		}
		noTrace(t, before, bundle)
	}
}

// TestCgroupsPath: an absolute path counts from the hierarchy's root, a relative one from the runtime's own cgroup (v2: beside it); without one it is /NAMESPACE/ID.
func TestCgroupsPath(t *testing.T) {
	deps := newDeps(t)
	own := deps.Facts.Cgroup.Hierarchies[0].Own
	if isUnified(deps) {
		own = filepath.Dir(own) // nothing can be in a cgroup that gives controllers to others
	}
	name := fmt.Sprintf("shim-run-test/%d-path", os.Getpid())
	for path, want := range map[string]string{"/" + name: "/" + name, name: filepath.Join(own, name), "": "/test/ID"} {
		t.Run(path, func(t *testing.T) {
			box := sleeping(t, deps, func(s *specs.Spec) { s.Linux.CgroupsPath = path })
			if want := ":" + strings.ReplaceAll(want, "ID", filepath.Base(box.state.Bundle)) + "\n"; !strings.Contains(procFile(t, box.Init().Pid(), "cgroup"), want) {
				t.Errorf("in\n%swant %s", procFile(t, box.Init().Pid(), "cgroup"), want)
			}
		})
	}
}
