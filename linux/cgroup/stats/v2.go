package stats

import "math"

// Unlimited is a limit of "max" in a V2.
const Unlimited = math.MaxUint64

// V2 is the accounting of a cgroup in the unified hierarchy. A nil part, number or map is a file that this kernel or cgroup does not have.
type V2 struct {
	Pids    *Pids // Limit may be Unlimited; 0 is a limit
	CPU     *CPUV2
	Memory  *MemoryV2
	IO      *IO
	Hugetlb []HugetlbV2
	Rdma    *Rdma
}

// CPUV2 is CPU time; Stat holds the lines of cpu.stat by name: times in microseconds, and counts.
type CPUV2 struct {
	Stat     map[string]uint64
	Pressure *Pressure
}

// MemoryV2 is memory accounting in bytes; Stat, Events and EventsLocal hold the lines of these files by name. Events are counted with those of
// the cgroups below (unless the hierarchy is mounted with memory_localevents), EventsLocal without.
type MemoryV2 struct {
	Stat                            map[string]uint64
	Current, Peak, Max              *uint64
	SwapCurrent, SwapPeak, SwapMax  *uint64
	Events, EventsLocal, SwapEvents map[string]uint64
	Pressure                        *Pressure
}

// IO is block I/O accounting.
type IO struct {
	Devices  []IODevice
	Pressure *Pressure
}

// IODevice is one line of io.stat: bytes and operations, read, written and discarded.
type IODevice struct {
	Major, Minor   uint64
	Rbytes, Wbytes uint64
	Rios, Wios     uint64
	Dbytes, Dios   uint64
}

// HugetlbV2 counts huge pages of one size, in bytes; Failures is how often the limit was hit.
type HugetlbV2 struct {
	Pagesize               string // "2MB"
	Current, Max, Failures uint64
}

// Pressure is pressure stall information (Documentation/accounting/psi.rst): the share of time that some, or all, processes waited.
type Pressure struct{ Some, Full *Stall }

// Stall is one line of a pressure file: averages in percent, and microseconds in all.
type Stall struct {
	Avg10, Avg60, Avg300 float64
	Total                uint64
}
