package shim

import (
	"example.io/shim/linux/cgroup/stats"
	"example.io/shim/shim/wire"
)

func metricsV2(s *stats.V2) *wire.MetricsV2 {
	m := &wire.MetricsV2{}
	m.Pids = pids(s.Pids)
	if c := s.CPU; c != nil {
		m.CPU = &wire.CPUStatV2{
			UsageUsec: c.Stat["usage_usec"], UserUsec: c.Stat["user_usec"], SystemUsec: c.Stat["system_usec"],
			NrPeriods: c.Stat["nr_periods"], NrThrottled: c.Stat["nr_throttled"], ThrottledUsec: c.Stat["throttled_usec"],
			NrBursts: c.Stat["nr_bursts"], BurstUsec: c.Stat["burst_usec"], PSI: pressureV2(c.Pressure),
		}
	}
	if s.Memory != nil {
		m.Memory = memoryV2(s.Memory)
		m.MemoryEvents = eventsV2(s.Memory.Events)
	}
	if o := s.IO; o != nil {
		m.Io = &wire.IOStatV2{PSI: pressureV2(o.Pressure)}
		for _, d := range o.Devices {
			m.Io.Usage = append(m.Io.Usage, &wire.IOEntryV2{Major: d.Major, Minor: d.Minor, Rbytes: d.Rbytes, Wbytes: d.Wbytes, Rios: d.Rios, Wios: d.Wios})
		}
	}
	for _, h := range s.Hugetlb {
		m.Hugetlb = append(m.Hugetlb, &wire.HugeTlbStatV2{Pagesize: h.Pagesize, Current: h.Current, Max: h.Max, Failcnt: h.Failures})
	}
	m.Rdma = rdma(s.Rdma)
	return m
}

func memoryV2(m *stats.MemoryV2) *wire.MemoryStatV2 {
	s := m.Stat
	return &wire.MemoryStatV2{
		Anon: s["anon"], File: s["file"], KernelStack: s["kernel_stack"], Slab: s["slab"], Sock: s["sock"], Shmem: s["shmem"],
		FileMapped: s["file_mapped"], FileDirty: s["file_dirty"], FileWriteback: s["file_writeback"], AnonThp: s["anon_thp"],
		InactiveAnon: s["inactive_anon"], ActiveAnon: s["active_anon"], InactiveFile: s["inactive_file"], ActiveFile: s["active_file"],
		Unevictable: s["unevictable"], SlabReclaimable: s["slab_reclaimable"], SlabUnreclaimable: s["slab_unreclaimable"],
		Pgfault: s["pgfault"], Pgmajfault: s["pgmajfault"],
		// Since Linux 5.9 there are two lines instead of one.
		WorkingsetRefault:     s["workingset_refault"] + s["workingset_refault_anon"] + s["workingset_refault_file"],
		WorkingsetActivate:    s["workingset_activate"] + s["workingset_activate_anon"] + s["workingset_activate_file"],
		WorkingsetNodereclaim: s["workingset_nodereclaim"], Pgrefill: s["pgrefill"], Pgscan: s["pgscan"], Pgsteal: s["pgsteal"],
		Pgactivate: s["pgactivate"], Pgdeactivate: s["pgdeactivate"], Pglazyfree: s["pglazyfree"], Pglazyfreed: s["pglazyfreed"],
		ThpFaultAlloc: s["thp_fault_alloc"], ThpCollapseAlloc: s["thp_collapse_alloc"],
		Usage: number(m.Current), UsageLimit: number(m.Max), MaxUsage: number(m.Peak),
		SwapUsage: number(m.SwapCurrent), SwapLimit: number(m.SwapMax), SwapMaxUsage: number(m.SwapPeak), PSI: pressureV2(m.Pressure),
	}
}

// number is 0 for a file that this kernel does not have: the message cannot tell it from none.
func number(p *uint64) uint64 {
	if p == nil {
		return 0
	}
	return *p
}

func eventsV2(e map[string]uint64) *wire.MemoryEventsV2 {
	if e == nil {
		return nil
	}
	return &wire.MemoryEventsV2{Low: e["low"], High: e["high"], Max: e["max"], Oom: e["oom"], OomKill: e["oom_kill"], OomGroupKill: e["oom_group_kill"]}
}

func pressureV2(p *stats.Pressure) *wire.PSIStatsV2 {
	if p == nil {
		return nil
	}
	stall := func(s *stats.Stall) *wire.PSIDataV2 {
		if s == nil {
			return nil
		}
		return &wire.PSIDataV2{Avg10: s.Avg10, Avg60: s.Avg60, Avg300: s.Avg300, Total: s.Total}
	}
	return &wire.PSIStatsV2{Some: stall(p.Some), Full: stall(p.Full)}
}
