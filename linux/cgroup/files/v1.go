package files

import (
	"fmt"
	"math"
	"strconv"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
)

// When says at which time of a create a file is written.
type When uint8

// The times of a write.
const (
	// Early: before the process is in the cgroup.
	Early When = iota
	// Late: when the container's root is ready. The thread that launches counts for pids.max, and device nodes must have been made.
	Late
)

// Write is one write to one file of a container's cgroup.
type Write struct {
	Controller  string
	File, Value string
	Source      string // JSON pointer into config.json
	Label       string
	When        When
	V2Only
}

// resources collects the writes of one LinuxResources.
type resources struct {
	dirs   []Dir
	prefix string
	list   []Write
	err    error
	update bool // of a living container
}

// V1 returns the writes to cgroup v1 files that carry r out in a new cgroup, in order. prefix is the JSON pointer of r
// ("/linux/resources"). A controller that is asked for and not mounted is an error. Without any device rule, all devices but the default ones are denied.
func V1(r *specs.LinuxResources, dirs []Dir, prefix string) ([]Write, error) {
	if r == nil {
		r = &specs.LinuxResources{}
	}
	w := &resources{dirs: dirs, prefix: prefix}
	if err := w.common(r); err != nil {
		return nil, err
	}
	w.devices(r.Devices)
	return w.list, w.err
}

// V1Update returns the writes that change a living cgroup. Device rules stay as they were made: clients that update (the CRI) send the whole
// section again, with the rules of the create.
func V1Update(r *specs.LinuxResources, dirs []Dir) ([]Write, error) {
	w := &resources{dirs: dirs, update: true}
	if err := w.common(r); err != nil {
		return nil, err
	}
	return w.list, w.err
}

// common is all but the device rules.
func (w *resources) common(r *specs.LinuxResources) error {
	if len(r.Unified) > 0 {
		return w.no("/unified", "this machine has cgroup v1", errdefs.ErrNotImplemented)
	}
	w.memory(r.Memory)
	w.cpu(r.CPU)
	w.blkio(r.BlockIO)
	w.hugetlb(r.HugepageLimits)
	w.network(r.Network)
	w.rdma(r.Rdma)
	w.pids(r.Pids)
	return nil
}

func (w *resources) no(field, msg string, class error) error {
	return fmt.Errorf("%s%s: %s: %w", w.prefix, field, msg, class)
}

func (w *resources) fail(field, msg string, class error) {
	if w.err == nil {
		w.err = w.no(field, msg, class)
	}
}

// add appends a write; field is a JSON pointer below the prefix.
func (w *resources) add(controller, file, value, field, label string, when When) {
	if _, ok := Find(w.dirs, controller); !ok {
		w.fail(field, "the cgroup controller "+controller+" is not mounted", errdefs.ErrNotImplemented)
		return
	}
	w.list = append(w.list, Write{Controller: controller, File: file, Value: value, Source: w.prefix + field, Label: label, When: when})
}

func (w *resources) memory(m *specs.LinuxMemory) {
	if m == nil {
		return
	}
	set := func(file, field string, v *int64) {
		if v != nil && *v != 0 {
			w.add("memory", file, strconv.FormatInt(*v, 10), "/memory/"+field, fmt.Sprintf("set %s to %s", file, bytesText(*v)), Early)
		}
	}
	if m.Limit != nil && m.Swap != nil && *m.Limit > 0 && *m.Swap > 0 && *m.Swap < *m.Limit {
		w.fail("/memory/swap", fmt.Sprintf("memory and swap together (%d) are less than memory (%d)", *m.Swap, *m.Limit), errdefs.ErrInvalidArgument)
		return
	}
	set("memory.limit_in_bytes", "limit", m.Limit)
	set("memory.memsw.limit_in_bytes", "swap", m.Swap)
	set("memory.soft_limit_in_bytes", "reservation", m.Reservation)
	set("memory.kmem.limit_in_bytes", "kernel", m.Kernel) //nolint:staticcheck // deprecated, but configurations have it
	set("memory.kmem.tcp.limit_in_bytes", "kernelTCP", m.KernelTCP)
	if m.Swappiness != nil {
		if *m.Swappiness > 100 {
			w.fail("/memory/swappiness", fmt.Sprintf("%d is not in 0 to 100", *m.Swappiness), errdefs.ErrInvalidArgument)
			return
		}
		w.add("memory", "memory.swappiness", strconv.FormatUint(*m.Swappiness, 10), "/memory/swappiness", "set the swappiness", Early)
	}
	if m.DisableOOMKiller != nil && *m.DisableOOMKiller {
		w.add("memory", "memory.oom_control", "1", "/memory/disableOOMKiller", "turn the OOM killer off", Early)
	}
	if m.UseHierarchy != nil && *m.UseHierarchy {
		w.add("memory", "memory.use_hierarchy", "1", "/memory/useHierarchy", "account the memory of children", Early)
	}
}

// bytesText is a limit for people.
func bytesText(v int64) string {
	switch {
	case v < 0:
		return "no limit"
	case v%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", v>>20)
	}
	return fmt.Sprintf("%d bytes", v)
}

func (w *resources) cpu(c *specs.LinuxCPU) {
	if c == nil {
		return
	}
	num := func(file, field, value, label string) { w.add("cpu", file, value, "/cpu/"+field, label, Early) }
	if c.Shares != nil && *c.Shares != 0 {
		num("cpu.shares", "shares", strconv.FormatUint(*c.Shares, 10), fmt.Sprintf("set %d CPU shares", *c.Shares))
	}
	// The period first: the quota is checked against it. The burst last: against the quota.
	if c.Period != nil && *c.Period != 0 {
		num("cpu.cfs_period_us", "period", strconv.FormatUint(*c.Period, 10), fmt.Sprintf("set the CPU period to %d µs", *c.Period))
	}
	if c.Quota != nil && *c.Quota != 0 {
		num("cpu.cfs_quota_us", "quota", strconv.FormatInt(*c.Quota, 10), fmt.Sprintf("set the CPU quota to %d µs a period", *c.Quota))
	}
	if c.Burst != nil {
		num("cpu.cfs_burst_us", "burst", strconv.FormatUint(*c.Burst, 10), fmt.Sprintf("set the CPU burst to %d µs", *c.Burst))
	}
	if c.RealtimePeriod != nil && *c.RealtimePeriod != 0 {
		num("cpu.rt_period_us", "realtimePeriod", strconv.FormatUint(*c.RealtimePeriod, 10), "set the realtime period")
	}
	if c.RealtimeRuntime != nil && *c.RealtimeRuntime != 0 {
		num("cpu.rt_runtime_us", "realtimeRuntime", strconv.FormatInt(*c.RealtimeRuntime, 10), "set the realtime runtime")
	}
	if c.Idle != nil && (*c.Idle != 0 || w.update) { // a new cgroup is not idle, and an older kernel has no such file
		num("cpu.idle", "idle", strconv.FormatInt(*c.Idle, 10), "schedule as idle")
	}
	if c.Cpus != "" {
		w.add("cpuset", "cpuset.cpus", c.Cpus, "/cpu/cpus", "allow CPUs "+c.Cpus, Early)
	}
	if c.Mems != "" {
		w.add("cpuset", "cpuset.mems", c.Mems, "/cpu/mems", "allow memory nodes "+c.Mems, Early)
	}
}

func (w *resources) pids(p *specs.LinuxPids) {
	if p == nil || p.Limit == nil {
		return
	}
	value := strconv.FormatInt(*p.Limit, 10)
	if *p.Limit < 0 {
		value = "max"
	}
	w.add("pids", "pids.max", value, "/pids/limit", "limit tasks to "+value, Late)
}

func (w *resources) blkio(b *specs.LinuxBlockIO) {
	if b == nil {
		return
	}
	if b.Weight != nil && *b.Weight != 0 {
		w.add("blkio", "blkio.bfq.weight", strconv.Itoa(int(*b.Weight)), "/blockIO/weight", "set the I/O weight", Early)
	}
	if b.LeafWeight != nil && *b.LeafWeight != 0 {
		w.add("blkio", "blkio.leaf_weight", strconv.Itoa(int(*b.LeafWeight)), "/blockIO/leafWeight", "set the leaf I/O weight", Early)
	}
	for i, d := range b.WeightDevice {
		field := fmt.Sprintf("/blockIO/weightDevice/%d", i)
		if d.Weight != nil {
			w.add("blkio", "blkio.bfq.weight_device", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, *d.Weight), field, "set a device's I/O weight", Early)
		}
		if d.LeafWeight != nil {
			w.add("blkio", "blkio.leaf_weight_device", fmt.Sprintf("%d:%d %d", d.Major, d.Minor, *d.LeafWeight), field, "set a device's leaf I/O weight", Early)
		}
	}
	throttle := func(file, field string, list []specs.LinuxThrottleDevice) {
		for i, d := range list {
			w.add("blkio", file, fmt.Sprintf("%d:%d %d", d.Major, d.Minor, d.Rate), fmt.Sprintf("/blockIO/%s/%d", field, i), "throttle a device", Early)
		}
	}
	throttle("blkio.throttle.read_bps_device", "throttleReadBpsDevice", b.ThrottleReadBpsDevice)
	throttle("blkio.throttle.write_bps_device", "throttleWriteBpsDevice", b.ThrottleWriteBpsDevice)
	throttle("blkio.throttle.read_iops_device", "throttleReadIOPSDevice", b.ThrottleReadIOPSDevice)
	throttle("blkio.throttle.write_iops_device", "throttleWriteIOPSDevice", b.ThrottleWriteIOPSDevice)
}

func (w *resources) hugetlb(list []specs.LinuxHugepageLimit) {
	for i, h := range list {
		field := fmt.Sprintf("/hugepageLimits/%d", i)
		value := strconv.FormatUint(h.Limit, 10)
		if h.Limit == math.MaxUint64 {
			value = "-1"
		}
		w.add("hugetlb", "hugetlb."+h.Pagesize+".limit_in_bytes", value, field, "limit huge pages of "+h.Pagesize, Early)
		w.add("hugetlb", "hugetlb."+h.Pagesize+".rsvd.limit_in_bytes", value, field, "limit reservations of huge pages of "+h.Pagesize, Early)
	}
}

func (w *resources) network(n *specs.LinuxNetwork) {
	if n == nil {
		return
	}
	if n.ClassID != nil {
		w.add("net_cls", "net_cls.classid", strconv.FormatUint(uint64(*n.ClassID), 10), "/network/classID", "set the class of packets", Early)
	}
	for i, p := range n.Priorities {
		w.add("net_prio", "net_prio.ifpriomap", fmt.Sprintf("%s %d", p.Name, p.Priority), fmt.Sprintf("/network/priorities/%d", i), "set the priority of "+p.Name, Early)
	}
}

func (w *resources) rdma(m map[string]specs.LinuxRdma) {
	for _, dev := range sortedKeys(m) {
		v := m[dev]
		line := dev
		if v.HcaHandles != nil {
			line += fmt.Sprintf(" hca_handle=%d", *v.HcaHandles)
		}
		if v.HcaObjects != nil {
			line += fmt.Sprintf(" hca_object=%d", *v.HcaObjects)
		}
		w.add("rdma", "rdma.max", line, "/rdma/"+dev, "limit RDMA device "+dev, Early)
	}
}
