package main

import "example.io/shim/linux/cgroup/stats"

// The data of an event of type stats, in the form of runc's.
type (
	statsData struct {
		CPU        cpuData                `json:"cpu"`
		CPUSet     cpusetData             `json:"cpuset"`
		Memory     memoryData             `json:"memory"`
		Pids       pidsData               `json:"pids"`
		Blkio      blkioData              `json:"blkio"`
		Hugetlb    map[string]hugetlbData `json:"hugetlb"`
		IntelRdt   struct{}               `json:"intel_rdt"`
		Interfaces []struct{}             `json:"network_interfaces"`
	}
	cpuData struct {
		Usage struct {
			Total  uint64   `json:"total,omitempty"`
			Percpu []uint64 `json:"percpu,omitempty"`
			Kernel uint64   `json:"kernel"`
			User   uint64   `json:"user"`
		} `json:"usage"`
		Throttling struct {
			Periods          uint64 `json:"periods,omitempty"`
			ThrottledPeriods uint64 `json:"throttledPeriods,omitempty"`
			ThrottledTime    uint64 `json:"throttledTime,omitempty"`
		} `json:"throttling"`
		PSI *psiData `json:"psi,omitempty"`
	}
	memoryData struct {
		Cache     uint64            `json:"cache,omitempty"`
		Usage     entryData         `json:"usage"`
		Swap      entryData         `json:"swap"`
		Kernel    entryData         `json:"kernel"`
		KernelTCP entryData         `json:"kernelTCP"`
		Raw       map[string]uint64 `json:"raw,omitempty"`
		PSI       *psiData          `json:"psi,omitempty"`
	}
	entryData struct {
		Limit   uint64 `json:"limit"`
		Usage   uint64 `json:"usage,omitempty"`
		Max     uint64 `json:"max,omitempty"`
		Failcnt uint64 `json:"failcnt"`
	}
	pidsData struct {
		Current uint64 `json:"current,omitempty"`
		Limit   uint64 `json:"limit,omitempty"`
	}
	hugetlbData struct {
		Usage   uint64 `json:"usage,omitempty"`
		Max     uint64 `json:"max,omitempty"`
		Failcnt uint64 `json:"failcnt"`
	}
	blkioEntry struct {
		Major uint64 `json:"major,omitempty"`
		Minor uint64 `json:"minor,omitempty"`
		Op    string `json:"op,omitempty"`
		Value uint64 `json:"value,omitempty"`
	}
	blkioData struct {
		ServiceBytes []blkioEntry `json:"ioServiceBytesRecursive,omitempty"`
		Serviced     []blkioEntry `json:"ioServicedRecursive,omitempty"`
		Queued       []blkioEntry `json:"ioQueueRecursive,omitempty"`
		ServiceTime  []blkioEntry `json:"ioServiceTimeRecursive,omitempty"`
		WaitTime     []blkioEntry `json:"ioWaitTimeRecursive,omitempty"`
		Merged       []blkioEntry `json:"ioMergedRecursive,omitempty"`
		Time         []blkioEntry `json:"ioTimeRecursive,omitempty"`
		Sectors      []blkioEntry `json:"sectorsRecursive,omitempty"`
		PSI          *psiData     `json:"psi,omitempty"`
	}
	psiData struct {
		Some stallData `json:"some"`
		Full stallData `json:"full"`
	}
	stallData struct {
		Avg10  float64 `json:"avg10"`
		Avg60  float64 `json:"avg60"`
		Avg300 float64 `json:"avg300"`
		Total  uint64  `json:"total"`
	}
)

func statsOf(m *stats.Metrics) *statsData {
	d := &statsData{Hugetlb: map[string]hugetlbData{}}
	switch {
	case m.V1 != nil:
		d.v1(m.V1)
	case m.V2 != nil:
		d.v2(m.V2)
	}
	return d
}

func (d *statsData) v1(m *stats.V1) {
	d.pids(m.Pids)
	if c := m.CPU; c != nil {
		d.CPU.Usage.Total, d.CPU.Usage.Percpu, d.CPU.Usage.Kernel, d.CPU.Usage.User = c.Total, c.PerCPU, c.Kernel, c.User
		d.CPU.Throttling.Periods, d.CPU.Throttling.ThrottledPeriods, d.CPU.Throttling.ThrottledTime = c.Periods, c.ThrottledPeriods, c.ThrottledTime
	}
	if mem := m.Memory; mem != nil {
		d.Memory.Cache, d.Memory.Raw = mem.Stat["cache"], mem.Stat
		for to, from := range map[*entryData]*stats.Entry{&d.Memory.Usage: mem.Usage, &d.Memory.Swap: mem.Swap, &d.Memory.Kernel: mem.Kernel, &d.Memory.KernelTCP: mem.KernelTCP} {
			if from != nil {
				*to = entryData{from.Limit, from.Usage, from.Max, from.Failcnt}
			}
		}
	}
	if b := m.Blkio; b != nil {
		for to, from := range map[*[]blkioEntry][]stats.BlkioEntry{
			&d.Blkio.ServiceBytes: b.ServiceBytes, &d.Blkio.Serviced: b.Serviced, &d.Blkio.Queued: b.Queued, &d.Blkio.ServiceTime: b.ServiceTime,
			&d.Blkio.WaitTime: b.WaitTime, &d.Blkio.Merged: b.Merged, &d.Blkio.Time: b.Time, &d.Blkio.Sectors: b.Sectors,
		} {
			for _, e := range from {
				*to = append(*to, blkioEntry{e.Major, e.Minor, e.Op, e.Value})
			}
		}
	}
	for _, h := range m.Hugetlb {
		d.Hugetlb[h.Pagesize] = hugetlbData{h.Usage, h.Max, h.Failcnt}
	}
}

func (d *statsData) pids(p *stats.Pids) {
	if p == nil {
		return
	}
	d.Pids.Current, d.Pids.Limit = p.Current, p.Limit
	if p.Limit == stats.Unlimited {
		d.Pids.Limit = 0
	}
}

func (d *statsData) v2(m *stats.V2) {
	const nsec = 1000 // nanoseconds in cpu.stat's unit
	d.pids(m.Pids)
	if c := m.CPU; c != nil {
		u, t := &d.CPU.Usage, &d.CPU.Throttling
		u.Total, u.Kernel, u.User = nsec*c.Stat["usage_usec"], nsec*c.Stat["system_usec"], nsec*c.Stat["user_usec"]
		t.Periods, t.ThrottledPeriods, t.ThrottledTime = c.Stat["nr_periods"], c.Stat["nr_throttled"], nsec*c.Stat["throttled_usec"]
		d.CPU.PSI = psiOf(c.Pressure)
	}
	if mem := m.Memory; mem != nil {
		d.Memory.Cache, d.Memory.Raw = mem.Stat["file"], mem.Stat // without its events: who looks for an OOM kill in the lines would find their names
		d.Memory.Usage = entryData{Limit: deref(mem.Max), Usage: deref(mem.Current), Max: deref(mem.Peak), Failcnt: mem.Events["max"]}
		d.Memory.Swap = entryData{Limit: deref(mem.SwapMax), Usage: deref(mem.SwapCurrent), Max: deref(mem.SwapPeak), Failcnt: mem.SwapEvents["max"]}
		d.Memory.PSI = psiOf(mem.Pressure)
	}
	if io := m.IO; io != nil {
		for _, v := range io.Devices {
			add := func(list *[]blkioEntry, op string, n uint64) {
				*list = append(*list, blkioEntry{v.Major, v.Minor, op, n})
			}
			add(&d.Blkio.ServiceBytes, "Read", v.Rbytes)
			add(&d.Blkio.ServiceBytes, "Write", v.Wbytes)
			add(&d.Blkio.ServiceBytes, "Discard", v.Dbytes)
			add(&d.Blkio.Serviced, "Read", v.Rios)
			add(&d.Blkio.Serviced, "Write", v.Wios)
			add(&d.Blkio.Serviced, "Discard", v.Dios)
		}
		d.Blkio.PSI = psiOf(io.Pressure)
	}
	for _, h := range m.Hugetlb {
		d.Hugetlb[h.Pagesize] = hugetlbData{h.Current, h.Max, h.Failures}
	}
}

func deref(n *uint64) uint64 {
	if n == nil {
		return 0
	}
	return *n
}

func psiOf(p *stats.Pressure) *psiData {
	if p == nil {
		return nil
	}
	line := func(s *stats.Stall) stallData {
		if s == nil {
			return stallData{}
		}
		return stallData{s.Avg10, s.Avg60, s.Avg300, s.Total}
	}
	return &psiData{line(p.Some), line(p.Full)}
}
