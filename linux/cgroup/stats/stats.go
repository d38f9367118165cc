// Package stats is what a cgroup's accounting says, as plain data. It knows no file and no message format.
package stats

// Metrics is the accounting of one container: V1 or V2 is set, as the machine's cgroups are.
type Metrics struct {
	V1 *V1
	V2 *V2
}

// V1 is the accounting of the cgroup v1 hierarchies. A nil part is one whose controller is not mounted.
type V1 struct {
	Hugetlb []Hugetlb
	Pids    *Pids
	CPU     *CPU
	Memory  *Memory
	Blkio   *Blkio
	Rdma    *Rdma
}

// Hugetlb counts huge pages of one size, in bytes.
type Hugetlb struct {
	Pagesize            string // "2MB"
	Usage, Max, Failcnt uint64
}

// Pids counts tasks; a Limit of 0 is none.
type Pids struct{ Current, Limit uint64 }

// CPU is CPU time in nanoseconds and throttling.
type CPU struct {
	Total, Kernel, User uint64
	PerCPU              []uint64
	Periods             uint64 // number of enforcement periods
	ThrottledPeriods    uint64
	ThrottledTime       uint64 // nanoseconds
}

// Entry is one usage counter, in bytes but for Failcnt.
type Entry struct{ Limit, Usage, Max, Failcnt uint64 }

// Memory is memory accounting; Stat holds the lines of memory.stat by name, in bytes and counts.
type Memory struct {
	Stat                     map[string]uint64
	Usage                    *Entry
	Swap, Kernel, KernelTCP  *Entry // nil where the kernel does not account it
	OOMKillDisable, UnderOOM uint64
	OOMKill                  uint64
}

// Blkio is block I/O accounting: one list an entry file, empty where the kernel has no such file.
type Blkio struct {
	ServiceBytes, Serviced, Queued, ServiceTime, WaitTime, Merged, Time, Sectors []BlkioEntry
}

// BlkioEntry is one line of a blkio file.
type BlkioEntry struct {
	Op           string // "Read", "Write", "" for a file without operations
	Device       string // "/dev/vda", or "" when it has no name
	Major, Minor uint64
	Value        uint64
}

// Rdma counts RDMA resources by device.
type Rdma struct{ Current, Limit []RdmaEntry }

// RdmaEntry is one device of an rdma file.
type RdmaEntry struct {
	Device                 string
	HcaHandles, HcaObjects uint32
}
