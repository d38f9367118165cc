package wire

// MetricsV1 is io.containerd.cgroups.v1.Metrics.
type MetricsV1 struct {
	Hugetlb          []*HugetlbStatV1
	Pids             *PidsStat
	CPU              *CPUStatV1
	Memory           *MemoryStatV1
	Blkio            *BlkIOStatV1
	Rdma             *RdmaStat
	Network          []*NetworkStat
	CgroupStats      *CgroupStatsV1
	MemoryOomControl *MemoryOomControlV1
}

func (m *MetricsV1) fields(c *coder) {
	many(c, 1, &m.Hugetlb)
	one(c, 2, &m.Pids)
	one(c, 3, &m.CPU)
	one(c, 4, &m.Memory)
	one(c, 5, &m.Blkio)
	one(c, 6, &m.Rdma)
	many(c, 7, &m.Network)
	one(c, 8, &m.CgroupStats)
	one(c, 9, &m.MemoryOomControl)
}

// HugetlbStatV1 is io.containerd.cgroups.v1.HugetlbStat.
type HugetlbStatV1 struct {
	Usage, Max, Failcnt uint64
	Pagesize            string
}

func (m *HugetlbStatV1) fields(c *coder) {
	c.uint64(1, &m.Usage)
	c.uint64(2, &m.Max)
	c.uint64(3, &m.Failcnt)
	c.text(4, &m.Pagesize)
}

// CPUStatV1 is io.containerd.cgroups.v1.CPUStat.
type CPUStatV1 struct {
	Usage      *CPUUsageV1
	Throttling *ThrottleV1
}

func (m *CPUStatV1) fields(c *coder) {
	one(c, 1, &m.Usage)
	one(c, 2, &m.Throttling)
}

// CPUUsageV1 is io.containerd.cgroups.v1.CPUUsage.
type CPUUsageV1 struct {
	Total, Kernel, User uint64
	PerCPU              []uint64
}

func (m *CPUUsageV1) fields(c *coder) {
	c.uint64(1, &m.Total)
	c.uint64(2, &m.Kernel)
	c.uint64(3, &m.User)
	c.uint64s(4, &m.PerCPU)
}

// ThrottleV1 is io.containerd.cgroups.v1.Throttle.
type ThrottleV1 struct {
	Periods, ThrottledPeriods, ThrottledTime uint64
}

func (m *ThrottleV1) fields(c *coder) {
	c.uint64(1, &m.Periods)
	c.uint64(2, &m.ThrottledPeriods)
	c.uint64(3, &m.ThrottledTime)
}

// MemoryStatV1 is io.containerd.cgroups.v1.MemoryStat.
type MemoryStatV1 struct {
	Cache, RSS, RSSHuge, MappedFile, Dirty, Writeback, PgPgIn, PgPgOut                                                                    uint64
	PgFault, PgMajFault, InactiveAnon, ActiveAnon, InactiveFile, ActiveFile, Unevictable, HierarchicalMemoryLimit                         uint64
	HierarchicalSwapLimit, TotalCache, TotalRSS, TotalRSSHuge, TotalMappedFile, TotalDirty, TotalWriteback, TotalPgPgIn                   uint64
	TotalPgPgOut, TotalPgFault, TotalPgMajFault, TotalInactiveAnon, TotalActiveAnon, TotalInactiveFile, TotalActiveFile, TotalUnevictable uint64
	Usage, Swap, Kernel, KernelTCP                                                                                                        *MemoryEntryV1
}

func (m *MemoryStatV1) fields(c *coder) {
	c.uint64(1, &m.Cache)
	c.uint64(2, &m.RSS)
	c.uint64(3, &m.RSSHuge)
	c.uint64(4, &m.MappedFile)
	c.uint64(5, &m.Dirty)
	c.uint64(6, &m.Writeback)
	c.uint64(7, &m.PgPgIn)
	c.uint64(8, &m.PgPgOut)
	c.uint64(9, &m.PgFault)
	c.uint64(10, &m.PgMajFault)
	c.uint64(11, &m.InactiveAnon)
	c.uint64(12, &m.ActiveAnon)
	c.uint64(13, &m.InactiveFile)
	c.uint64(14, &m.ActiveFile)
	c.uint64(15, &m.Unevictable)
	c.uint64(16, &m.HierarchicalMemoryLimit)
	c.uint64(17, &m.HierarchicalSwapLimit)
	c.uint64(18, &m.TotalCache)
	c.uint64(19, &m.TotalRSS)
	c.uint64(20, &m.TotalRSSHuge)
	c.uint64(21, &m.TotalMappedFile)
	c.uint64(22, &m.TotalDirty)
	c.uint64(23, &m.TotalWriteback)
	c.uint64(24, &m.TotalPgPgIn)
	c.uint64(25, &m.TotalPgPgOut)
	c.uint64(26, &m.TotalPgFault)
	c.uint64(27, &m.TotalPgMajFault)
	c.uint64(28, &m.TotalInactiveAnon)
	c.uint64(29, &m.TotalActiveAnon)
	c.uint64(30, &m.TotalInactiveFile)
	c.uint64(31, &m.TotalActiveFile)
	c.uint64(32, &m.TotalUnevictable)
	one(c, 33, &m.Usage)
	one(c, 34, &m.Swap)
	one(c, 35, &m.Kernel)
	one(c, 36, &m.KernelTCP)
}

// MemoryEntryV1 is io.containerd.cgroups.v1.MemoryEntry.
type MemoryEntryV1 struct {
	Limit, Usage, Max, Failcnt uint64
}

func (m *MemoryEntryV1) fields(c *coder) {
	c.uint64(1, &m.Limit)
	c.uint64(2, &m.Usage)
	c.uint64(3, &m.Max)
	c.uint64(4, &m.Failcnt)
}

// BlkIOStatV1 is io.containerd.cgroups.v1.BlkIOStat.
type BlkIOStatV1 struct {
	IoServiceBytesRecursive, IoServicedRecursive, IoQueuedRecursive, IoServiceTimeRecursive, IoWaitTimeRecursive, IoMergedRecursive, IoTimeRecursive, SectorsRecursive []*BlkIOEntryV1
}

func (m *BlkIOStatV1) fields(c *coder) {
	many(c, 1, &m.IoServiceBytesRecursive)
	many(c, 2, &m.IoServicedRecursive)
	many(c, 3, &m.IoQueuedRecursive)
	many(c, 4, &m.IoServiceTimeRecursive)
	many(c, 5, &m.IoWaitTimeRecursive)
	many(c, 6, &m.IoMergedRecursive)
	many(c, 7, &m.IoTimeRecursive)
	many(c, 8, &m.SectorsRecursive)
}

// BlkIOEntryV1 is io.containerd.cgroups.v1.BlkIOEntry.
type BlkIOEntryV1 struct {
	Op, Device          string
	Major, Minor, Value uint64
}

func (m *BlkIOEntryV1) fields(c *coder) {
	c.text(1, &m.Op)
	c.text(2, &m.Device)
	c.uint64(3, &m.Major)
	c.uint64(4, &m.Minor)
	c.uint64(5, &m.Value)
}

// CgroupStatsV1 is io.containerd.cgroups.v1.CgroupStats.
type CgroupStatsV1 struct {
	NrSleeping, NrRunning, NrStopped, NrUninterruptible, NrIoWait uint64
}

func (m *CgroupStatsV1) fields(c *coder) {
	c.uint64(1, &m.NrSleeping)
	c.uint64(2, &m.NrRunning)
	c.uint64(3, &m.NrStopped)
	c.uint64(4, &m.NrUninterruptible)
	c.uint64(5, &m.NrIoWait)
}

// MemoryOomControlV1 is io.containerd.cgroups.v1.MemoryOomControl.
type MemoryOomControlV1 struct {
	OomKillDisable, UnderOom, OomKill uint64
}

func (m *MemoryOomControlV1) fields(c *coder) {
	c.uint64(1, &m.OomKillDisable)
	c.uint64(2, &m.UnderOom)
	c.uint64(3, &m.OomKill)
}
