package wire

// PidsStat is PidsStat of io.containerd.cgroups.v1 and of v2, which are the same.
type PidsStat struct {
	Current, Limit uint64
}

func (m *PidsStat) fields(c *coder) {
	c.uint64(1, &m.Current)
	c.uint64(2, &m.Limit)
}

// RdmaStat is RdmaStat of io.containerd.cgroups.v1 and of v2, which are the same.
type RdmaStat struct {
	Current, Limit []*RdmaEntry
}

func (m *RdmaStat) fields(c *coder) {
	many(c, 1, &m.Current)
	many(c, 2, &m.Limit)
}

// RdmaEntry is RdmaEntry of io.containerd.cgroups.v1 and of v2, which are the same.
type RdmaEntry struct {
	Device                 string
	HcaHandles, HcaObjects uint32
}

func (m *RdmaEntry) fields(c *coder) {
	c.text(1, &m.Device)
	c.uint32(2, &m.HcaHandles)
	c.uint32(3, &m.HcaObjects)
}

// NetworkStat is NetworkStat of io.containerd.cgroups.v1 and of v2, which are the same.
type NetworkStat struct {
	Name                                                                             string
	RxBytes, RxPackets, RxErrors, RxDropped, TxBytes, TxPackets, TxErrors, TxDropped uint64
}

func (m *NetworkStat) fields(c *coder) {
	c.text(1, &m.Name)
	c.uint64(2, &m.RxBytes)
	c.uint64(3, &m.RxPackets)
	c.uint64(4, &m.RxErrors)
	c.uint64(5, &m.RxDropped)
	c.uint64(6, &m.TxBytes)
	c.uint64(7, &m.TxPackets)
	c.uint64(8, &m.TxErrors)
	c.uint64(9, &m.TxDropped)
}
