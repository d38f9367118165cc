package run

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// TestResourcesV2 sets every resource that cgroup v2 has, and reads the kernel's files.
func TestResourcesV2(t *testing.T) {
	deps := onV2(t)
	var st unix.Stat_t
	if err := unix.Stat("/", &st); err != nil {
		t.Fatal(err)
	}
	disk := specs.LinuxBlockIODevice{Major: int64(unix.Major(st.Dev)), Minor: int64(unix.Minor(st.Dev))}
	rate := func(n uint64) []specs.LinuxThrottleDevice {
		return []specs.LinuxThrottleDevice{{LinuxBlockIODevice: disk, Rate: n}}
	}
	box := sleeping(t, deps, func(s *specs.Spec) {
		s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(96 << 20)), Reservation: new(int64(32 << 20)), CheckBeforeUpdate: new(true)}
		s.Linux.Resources.CPU = &specs.LinuxCPU{Shares: new(uint64(512)), Period: new(uint64(50000)), Quota: new(int64(20000)), Burst: new(uint64(5000)), Cpus: "0", Mems: "0"}
		s.Linux.Resources.BlockIO = &specs.LinuxBlockIO{ThrottleReadBpsDevice: rate(1 << 20), ThrottleWriteBpsDevice: rate(2 << 20), ThrottleReadIOPSDevice: rate(100),
			ThrottleWriteIOPSDevice: rate(200)}
		s.Linux.Resources.HugepageLimits = []specs.LinuxHugepageLimit{{Pagesize: "2MB", Limit: 4 << 20}}
		s.Linux.Resources.Pids = &specs.LinuxPids{Limit: new(int64(33))}
		s.Linux.Resources.Unified = map[string]string{"memory.high": "50331648", "cgroup.max.depth": "3", "memory.oom.group": "1"}
	})
	for file, want := range map[string]string{
		"memory/memory.max": "67108864", "memory/memory.swap.max": "33554432", "memory/memory.low": "33554432", "memory/memory.high": "50331648", "memory/memory.oom.group": "1",
		"cpu/cpu.weight": "59", "cpu/cpu.max": "20000 50000", "cpu/cpu.max.burst": "5000", "cpuset/cpuset.cpus": "0", "cpuset/cpuset.mems": "0",
		"io/io.max":                    fmt.Sprintf("%d:%d rbps=1048576 wbps=2097152 riops=100 wiops=200", disk.Major, disk.Minor),
		"hugetlb/hugetlb.2MB.max":      "4194304",
		"hugetlb/hugetlb.2MB.rsvd.max": "4194304", "pids/pids.max": "33", "pids/cgroup.max.depth": "3",
	} {
		if got := cgroupFile(t, box, file); strings.TrimSpace(got) != want {
			t.Errorf("%s is %q, want %s", file, got, want)
		}
	}
	cpus := execIn(t, box, nil, "grep Cpus_allowed_list /proc/self/status")
	if cpus != "Cpus_allowed_list:\t0" {
		t.Errorf("a further process has %s", cpus)
	}
}

// TestResourcesV2Rest: what does not go together with the others, and the limits of pids: 0 is one, and -1 is none.
func TestResourcesV2Rest(t *testing.T) {
	deps := onV2(t)
	for name, c := range map[string]struct {
		edit       func(*specs.LinuxResources)
		file, want string
	}{
		"idle":             {func(r *specs.LinuxResources) { r.CPU = &specs.LinuxCPU{Idle: new(int64(1))} }, "cpu/cpu.idle", "1"},
		"no limit of pids": {func(r *specs.LinuxResources) { r.Pids = &specs.LinuxPids{Limit: new(int64(-1))} }, "pids/pids.max", "max"},
		"a period":         {func(r *specs.LinuxResources) { r.CPU = &specs.LinuxCPU{Period: new(uint64(20000))} }, "cpu/cpu.max", "max 20000"},
		"no swap limit": {func(r *specs.LinuxResources) {
			r.Memory = &specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(-1))}
		}, "memory/memory.swap.max", "max"},
	} {
		t.Run(name, func(t *testing.T) {
			box := sleeping(t, deps, func(s *specs.Spec) { c.edit(s.Linux.Resources) })
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
	t.Run("I/O weight", func(t *testing.T) { // with bfq's file, with that of the cost model, or refused by its field
		bundle := newBundle(t, func(s *specs.Spec) { s.Linux.Resources.BlockIO = &specs.LinuxBlockIO{Weight: new(uint16(300))} })
		box, err := Create(t.Context(), deps, request(bundle))
		if err != nil {
			if !strings.Contains(err.Error(), "(/linux/resources/blockIO/weight)") || !strings.Contains(err.Error(), "io.weight") {
				t.Error(err)
			}
			return
		}
		defer func() {
			if err := box.Delete(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		dir := box.state.CgroupDirs[0].Path
		bfq, err := os.ReadFile(dir + "/io.bfq.weight")
		if err == nil && strings.TrimSpace(string(bfq)) != "default 300" {
			t.Errorf("io.bfq.weight: %q", bfq)
		}
		if cost, err2 := os.ReadFile(dir + "/io.weight"); err != nil && !strings.HasPrefix(string(cost), "default 2930") {
			t.Errorf("io.weight: %q, %v", cost, err2)
		}
	})
}
