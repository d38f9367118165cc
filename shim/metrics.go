package shim

import (
	"fmt"

	"example.io/shim/linux/cgroup/stats"
	"example.io/shim/shim/wire"
)

// metrics makes containerd's message of a *stats.Metrics.
func metrics(m any) (*wire.Any, error) {
	s, ok := m.(*stats.Metrics)
	switch {
	case ok && s.V1 != nil:
		return wire.Pack(metricsV1(s.V1))
	case ok && s.V2 != nil:
		return wire.Pack(metricsV2(s.V2))
	}
	return nil, fmt.Errorf("accounting of type %T cannot be told", m)
}

func metricsV1(s *stats.V1) *wire.MetricsV1 {
	m := &wire.MetricsV1{}
	for _, h := range s.Hugetlb {
		m.Hugetlb = append(m.Hugetlb, &wire.HugetlbStatV1{Usage: h.Usage, Max: h.Max, Failcnt: h.Failcnt, Pagesize: h.Pagesize})
	}
	m.Pids = pids(s.Pids)
	if c := s.CPU; c != nil {
		m.CPU = &wire.CPUStatV1{
			Usage:      &wire.CPUUsageV1{Total: c.Total, Kernel: c.Kernel, User: c.User, PerCPU: c.PerCPU},
			Throttling: &wire.ThrottleV1{Periods: c.Periods, ThrottledPeriods: c.ThrottledPeriods, ThrottledTime: c.ThrottledTime},
		}
	}
	if s.Memory != nil {
		m.Memory = memoryV1(s.Memory)
		m.MemoryOomControl = &wire.MemoryOomControlV1{OomKillDisable: s.Memory.OOMKillDisable, UnderOom: s.Memory.UnderOOM, OomKill: s.Memory.OOMKill}
	}
	if b := s.Blkio; b != nil {
		m.Blkio = &wire.BlkIOStatV1{
			IoServiceBytesRecursive: blkioV1(b.ServiceBytes), IoServicedRecursive: blkioV1(b.Serviced), IoQueuedRecursive: blkioV1(b.Queued),
			IoServiceTimeRecursive: blkioV1(b.ServiceTime), IoWaitTimeRecursive: blkioV1(b.WaitTime), IoMergedRecursive: blkioV1(b.Merged),
			IoTimeRecursive: blkioV1(b.Time), SectorsRecursive: blkioV1(b.Sectors),
		}
	}
	m.Rdma = rdma(s.Rdma)
	return m
}

func memoryV1(m *stats.Memory) *wire.MemoryStatV1 {
	s := m.Stat
	return &wire.MemoryStatV1{
		Cache: s["cache"], RSS: s["rss"], RSSHuge: s["rss_huge"], MappedFile: s["mapped_file"], Dirty: s["dirty"], Writeback: s["writeback"],
		PgPgIn: s["pgpgin"], PgPgOut: s["pgpgout"], PgFault: s["pgfault"], PgMajFault: s["pgmajfault"],
		InactiveAnon: s["inactive_anon"], ActiveAnon: s["active_anon"], InactiveFile: s["inactive_file"], ActiveFile: s["active_file"],
		Unevictable: s["unevictable"], HierarchicalMemoryLimit: s["hierarchical_memory_limit"], HierarchicalSwapLimit: s["hierarchical_memsw_limit"],
		TotalCache: s["total_cache"], TotalRSS: s["total_rss"], TotalRSSHuge: s["total_rss_huge"], TotalMappedFile: s["total_mapped_file"],
		TotalDirty: s["total_dirty"], TotalWriteback: s["total_writeback"], TotalPgPgIn: s["total_pgpgin"], TotalPgPgOut: s["total_pgpgout"],
		TotalPgFault: s["total_pgfault"], TotalPgMajFault: s["total_pgmajfault"], TotalInactiveAnon: s["total_inactive_anon"],
		TotalActiveAnon: s["total_active_anon"], TotalInactiveFile: s["total_inactive_file"], TotalActiveFile: s["total_active_file"],
		TotalUnevictable: s["total_unevictable"],
		Usage:            entryV1(m.Usage), Swap: entryV1(m.Swap), Kernel: entryV1(m.Kernel), KernelTCP: entryV1(m.KernelTCP),
	}
}

func entryV1(e *stats.Entry) *wire.MemoryEntryV1 {
	if e == nil {
		return nil
	}
	return &wire.MemoryEntryV1{Limit: e.Limit, Usage: e.Usage, Max: e.Max, Failcnt: e.Failcnt}
}

func blkioV1(list []stats.BlkioEntry) []*wire.BlkIOEntryV1 {
	var out []*wire.BlkIOEntryV1
	for _, e := range list {
		out = append(out, &wire.BlkIOEntryV1{Op: e.Op, Device: e.Device, Major: e.Major, Minor: e.Minor, Value: e.Value})
	}
	return out
}

func pids(p *stats.Pids) *wire.PidsStat {
	if p == nil {
		return nil
	}
	return &wire.PidsStat{Current: p.Current, Limit: p.Limit}
}

func rdma(r *stats.Rdma) *wire.RdmaStat {
	if r == nil {
		return nil
	}
	entries := func(list []stats.RdmaEntry) (out []*wire.RdmaEntry) {
		for _, e := range list {
			out = append(out, &wire.RdmaEntry{Device: e.Device, HcaHandles: e.HcaHandles, HcaObjects: e.HcaObjects})
		}
		return out
	}
	return &wire.RdmaStat{Current: entries(r.Current), Limit: entries(r.Limit)}
}
