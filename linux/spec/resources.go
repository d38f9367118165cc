package spec

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Limits of the kernel's cgroup files (Documentation/admin-guide/cgroup-v1, cgroup-v2.rst).
const (
	maxSwappiness = 100
	minWeight     = 10 // blkio.weight
	maxWeight     = 1000
	minQuota      = 1000    // µs, min_cfs_quota_period in the kernel
	maxPeriod     = 1000000 // µs, max_cfs_quota_period
)

// resources checks resources whose fields have been walked.
func (p *problems) resources(here string, r *specs.LinuxResources) {
	for i, d := range r.Devices {
		p.deviceRule(at(here, "devices", i), &d)
	}
	if m := r.Memory; m != nil {
		p.memory(here+"/memory", m)
	}
	if c := r.CPU; c != nil {
		p.cpu(here+"/cpu", c)
	}
	if r.Pids != nil {
		p.atLeast(here+"/pids/limit", r.Pids.Limit, -1)
	}
	if b := r.BlockIO; b != nil {
		p.blockIO(here+"/blockIO", b)
	}
	seen := map[string]bool{}
	for i, h := range r.HugepageLimits {
		switch {
		case !isPageSize(h.Pagesize):
			p.bad(at(here, "hugepageLimits", i, "pageSize"), "%q is no size such as 2MB", h.Pagesize)
		case seen[h.Pagesize]:
			p.bad(at(here, "hugepageLimits", i, "pageSize"), "%s stands in the list before", h.Pagesize)
		}
		seen[h.Pagesize] = true
	}
	if r.Network != nil {
		for i, n := range r.Network.Priorities {
			if n.Name == "" || strings.ContainsAny(n.Name, " /\n\t") {
				p.bad(at(here, "network", "priorities", i, "name"), "%q is no name of an interface", n.Name)
			}
		}
	}
	for _, name := range sortedKeys(r.Rdma) {
		if name == "" || strings.ContainsAny(name, " \n\t") {
			p.bad(at(here, "rdma", name), "%q is no name of a device", name)
		}
	}
	p.unified(here+"/unified", r.Unified)
}

// isPageSize knows the format of a huge page's size, "2MB" (config-linux.md, "Huge page limits").
func isPageSize(s string) bool {
	digits := strings.TrimRight(s, "KMGB")
	unit := strings.TrimPrefix(s, digits)
	n, err := strconv.ParseUint(digits, 10, 32)
	return err == nil && n > 0 && digits[0] >= '1' && digits[0] <= '9' && (unit == "KB" || unit == "MB" || unit == "GB")
}

func (p *problems) unified(here string, u map[string]string) {
	if len(u) > 0 && p.o.CgroupVersion == 1 {
		p.cannot(here, "is for cgroup v2; this machine has v1")
	}
	for _, name := range sortedKeys(u) {
		if name == "" || name == "." || name == ".." || strings.ContainsAny(name, "/\n") || !strings.Contains(name, ".") {
			p.bad(at(here, name), "is no name of a cgroup file")
		}
	}
}

func (p *problems) deviceRule(here string, d *specs.LinuxDeviceCgroup) {
	switch d.Type {
	case "", "a", "b", "c":
	default:
		p.bad(here+"/type", "%q is none of a, b, c", d.Type)
	}
	if strings.Trim(d.Access, "rwm") != "" || len(d.Access) > len("rwm") {
		p.bad(here+"/access", "%q is not made of r, w and m", d.Access)
	}
	for _, n := range []struct {
		name  string
		value *int64
		most  int64
	}{{"major", d.Major, maxMajor}, {"minor", d.Minor, maxMinor}} {
		if n.value != nil && (*n.value < -1 || *n.value > n.most) {
			p.bad(at(here, n.name), "%s", inRange(*n.value, -1, n.most))
		}
	}
}

// atLeast checks a limit; -1 says "none" in most of them.
func (p *problems) atLeast(here string, v *int64, low int64) {
	if v != nil && *v < low {
		p.bad(here, "%d is less than %d", *v, low)
	}
}

func (p *problems) memory(here string, m *specs.LinuxMemory) {
	p.atLeast(here+"/limit", m.Limit, -1)
	p.atLeast(here+"/reservation", m.Reservation, -1)
	p.atLeast(here+"/swap", m.Swap, -1)
	p.atLeast(here+"/kernelTCP", m.KernelTCP, -1)
	if m.Limit != nil && m.Swap != nil && *m.Limit > 0 && *m.Swap > 0 && *m.Swap < *m.Limit {
		p.bad(here+"/swap", "%d is memory and swap together, and less than the memory limit %d", *m.Swap, *m.Limit)
	}
	if p.create && m.Swap != nil && *m.Swap > 0 && (m.Limit == nil || *m.Limit == -1) {
		p.bad(here+"/swap", "is memory and swap together: it needs a memory limit")
	}
	if m.Swappiness != nil && *m.Swappiness > maxSwappiness {
		p.bad(here+"/swappiness", "%s", inRange(*m.Swappiness, 0, maxSwappiness))
	}
	if m.UseHierarchy != nil && !*m.UseHierarchy {
		p.cannot(here+"/useHierarchy", "cannot be false (since Linux 5.11 it is always true)")
	}
}

func (p *problems) cpu(here string, c *specs.LinuxCPU) {
	if q := c.Quota; q != nil && *q > 0 && *q < minQuota {
		p.bad(here+"/quota", "%d µs is less than %d", *q, minQuota)
	}
	if c.Period != nil && *c.Period != 0 && (*c.Period < minQuota || *c.Period > maxPeriod) {
		p.bad(here+"/period", "%s µs", inRange(*c.Period, minQuota, maxPeriod))
	}
	if c.Idle != nil && (*c.Idle < 0 || *c.Idle > 1) {
		p.bad(here+"/idle", "%d is neither 0 nor 1", *c.Idle)
	}
	p.atLeast(here+"/realtimeRuntime", c.RealtimeRuntime, -1)
	for _, l := range []struct{ name, list string }{{"cpus", c.Cpus}, {"mems", c.Mems}} {
		if err := checkList(l.list); err != nil {
			p.bad(at(here, l.name), "%v", err)
		}
	}
}

// checkList checks the format "0-3,7" (cpuset(7), "List format"); white space around is let pass, as the kernel does.
func checkList(list string) error {
	list = strings.TrimSpace(list)
	if list == "" {
		return nil
	}
	for part := range strings.SplitSeq(list, ",") {
		low, high, ranged := strings.Cut(strings.TrimSpace(part), "-")
		a, err := strconv.ParseUint(low, 10, 16)
		b := a
		if err == nil && ranged {
			b, err = strconv.ParseUint(high, 10, 16)
		}
		if err != nil || b < a {
			return fmt.Errorf("%q is no list such as 0-3,7", list)
		}
	}
	return nil
}

func (p *problems) blockIO(here string, b *specs.LinuxBlockIO) {
	weight := func(pointer string, w *uint16) {
		if w != nil && *w != 0 && (*w < minWeight || *w > maxWeight) { // 0: as it is
			p.bad(pointer, "%s", inRange(*w, minWeight, maxWeight))
		}
	}
	device := func(pointer string, d *specs.LinuxBlockIODevice) {
		if d.Major < 0 || d.Major > maxMajor {
			p.bad(pointer+"/major", "%s", inRange(d.Major, 0, maxMajor))
		}
		if d.Minor < 0 || d.Minor > maxMinor {
			p.bad(pointer+"/minor", "%s", inRange(d.Minor, 0, maxMinor))
		}
	}
	weight(here+"/weight", b.Weight)
	for i := range b.WeightDevice {
		pointer := at(here, "weightDevice", i)
		device(pointer, &b.WeightDevice[i].LinuxBlockIODevice)
		weight(pointer+"/weight", b.WeightDevice[i].Weight)
	}
	for _, t := range []struct {
		name string
		list []specs.LinuxThrottleDevice
	}{
		{"throttleReadBpsDevice", b.ThrottleReadBpsDevice}, {"throttleWriteBpsDevice", b.ThrottleWriteBpsDevice},
		{"throttleReadIOPSDevice", b.ThrottleReadIOPSDevice}, {"throttleWriteIOPSDevice", b.ThrottleWriteIOPSDevice},
	} {
		for i := range t.list {
			device(at(here, t.name, i), &t.list[i].LinuxBlockIODevice)
		}
	}
}
