package wire

// MetricsV2 is io.containerd.cgroups.v2.Metrics.
type MetricsV2 struct {
	Pids         *PidsStat
	CPU          *CPUStatV2
	Memory       *MemoryStatV2
	Rdma         *RdmaStat
	Io           *IOStatV2
	Hugetlb      []*HugeTlbStatV2
	MemoryEvents *MemoryEventsV2
	Network      []*NetworkStat
}

func (m *MetricsV2) fields(c *coder) {
	one(c, 1, &m.Pids)
	one(c, 2, &m.CPU)
	one(c, 4, &m.Memory)
	one(c, 5, &m.Rdma)
	one(c, 6, &m.Io)
	many(c, 7, &m.Hugetlb)
	one(c, 8, &m.MemoryEvents)
	many(c, 9, &m.Network)
}

// CPUStatV2 is io.containerd.cgroups.v2.CPUStat.
type CPUStatV2 struct {
	UsageUsec, UserUsec, SystemUsec, NrPeriods, NrThrottled, ThrottledUsec uint64
	PSI                                                                    *PSIStatsV2
	NrBursts, BurstUsec                                                    uint64
}

func (m *CPUStatV2) fields(c *coder) {
	c.uint64(1, &m.UsageUsec)
	c.uint64(2, &m.UserUsec)
	c.uint64(3, &m.SystemUsec)
	c.uint64(4, &m.NrPeriods)
	c.uint64(5, &m.NrThrottled)
	c.uint64(6, &m.ThrottledUsec)
	one(c, 7, &m.PSI)
	c.uint64(8, &m.NrBursts)
	c.uint64(9, &m.BurstUsec)
}

// PSIStatsV2 is io.containerd.cgroups.v2.PSIStats.
type PSIStatsV2 struct {
	Some, Full *PSIDataV2
}

func (m *PSIStatsV2) fields(c *coder) {
	one(c, 1, &m.Some)
	one(c, 2, &m.Full)
}

// PSIDataV2 is io.containerd.cgroups.v2.PSIData.
type PSIDataV2 struct {
	Avg10, Avg60, Avg300 float64
	Total                uint64
}

func (m *PSIDataV2) fields(c *coder) {
	c.double(1, &m.Avg10)
	c.double(2, &m.Avg60)
	c.double(3, &m.Avg300)
	c.uint64(4, &m.Total)
}

// MemoryStatV2 is io.containerd.cgroups.v2.MemoryStat.
type MemoryStatV2 struct {
	Anon, File, KernelStack, Slab, Sock, Shmem, FileMapped, FileDirty                                                      uint64
	FileWriteback, AnonThp, InactiveAnon, ActiveAnon, InactiveFile, ActiveFile, Unevictable, SlabReclaimable               uint64
	SlabUnreclaimable, Pgfault, Pgmajfault, WorkingsetRefault, WorkingsetActivate, WorkingsetNodereclaim, Pgrefill, Pgscan uint64
	Pgsteal, Pgactivate, Pgdeactivate, Pglazyfree, Pglazyfreed, ThpFaultAlloc, ThpCollapseAlloc, Usage                     uint64
	UsageLimit, SwapUsage, SwapLimit, MaxUsage, SwapMaxUsage                                                               uint64
	PSI                                                                                                                    *PSIStatsV2
}

func (m *MemoryStatV2) fields(c *coder) {
	c.uint64(1, &m.Anon)
	c.uint64(2, &m.File)
	c.uint64(3, &m.KernelStack)
	c.uint64(4, &m.Slab)
	c.uint64(5, &m.Sock)
	c.uint64(6, &m.Shmem)
	c.uint64(7, &m.FileMapped)
	c.uint64(8, &m.FileDirty)
	c.uint64(9, &m.FileWriteback)
	c.uint64(10, &m.AnonThp)
	c.uint64(11, &m.InactiveAnon)
	c.uint64(12, &m.ActiveAnon)
	c.uint64(13, &m.InactiveFile)
	c.uint64(14, &m.ActiveFile)
	c.uint64(15, &m.Unevictable)
	c.uint64(16, &m.SlabReclaimable)
	c.uint64(17, &m.SlabUnreclaimable)
	c.uint64(18, &m.Pgfault)
	c.uint64(19, &m.Pgmajfault)
	c.uint64(20, &m.WorkingsetRefault)
	c.uint64(21, &m.WorkingsetActivate)
	c.uint64(22, &m.WorkingsetNodereclaim)
	c.uint64(23, &m.Pgrefill)
	c.uint64(24, &m.Pgscan)
	c.uint64(25, &m.Pgsteal)
	c.uint64(26, &m.Pgactivate)
	c.uint64(27, &m.Pgdeactivate)
	c.uint64(28, &m.Pglazyfree)
	c.uint64(29, &m.Pglazyfreed)
	c.uint64(30, &m.ThpFaultAlloc)
	c.uint64(31, &m.ThpCollapseAlloc)
	c.uint64(32, &m.Usage)
	c.uint64(33, &m.UsageLimit)
	c.uint64(34, &m.SwapUsage)
	c.uint64(35, &m.SwapLimit)
	c.uint64(36, &m.MaxUsage)
	c.uint64(37, &m.SwapMaxUsage)
	one(c, 38, &m.PSI)
}

// IOStatV2 is io.containerd.cgroups.v2.IOStat.
type IOStatV2 struct {
	Usage []*IOEntryV2
	PSI   *PSIStatsV2
}

func (m *IOStatV2) fields(c *coder) {
	many(c, 1, &m.Usage)
	one(c, 2, &m.PSI)
}

// IOEntryV2 is io.containerd.cgroups.v2.IOEntry.
type IOEntryV2 struct {
	Major, Minor, Rbytes, Wbytes, Rios, Wios uint64
}

func (m *IOEntryV2) fields(c *coder) {
	c.uint64(1, &m.Major)
	c.uint64(2, &m.Minor)
	c.uint64(3, &m.Rbytes)
	c.uint64(4, &m.Wbytes)
	c.uint64(5, &m.Rios)
	c.uint64(6, &m.Wios)
}

// HugeTlbStatV2 is io.containerd.cgroups.v2.HugeTlbStat.
type HugeTlbStatV2 struct {
	Current, Max uint64
	Pagesize     string
	Failcnt      uint64
}

func (m *HugeTlbStatV2) fields(c *coder) {
	c.uint64(1, &m.Current)
	c.uint64(2, &m.Max)
	c.text(3, &m.Pagesize)
	c.uint64(4, &m.Failcnt)
}

// MemoryEventsV2 is io.containerd.cgroups.v2.MemoryEvents.
type MemoryEventsV2 struct {
	Low, High, Max, Oom, OomKill, OomGroupKill uint64
}

func (m *MemoryEventsV2) fields(c *coder) {
	c.uint64(1, &m.Low)
	c.uint64(2, &m.High)
	c.uint64(3, &m.Max)
	c.uint64(4, &m.Oom)
	c.uint64(5, &m.OomKill)
	c.uint64(6, &m.OomGroupKill)
}
