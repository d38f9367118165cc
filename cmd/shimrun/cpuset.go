package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"example.io/shim/linux/spec"
)

// cpusetData is what an event of type stats says of a cpuset of cgroup v1 (Documentation/admin-guide/cgroup-v1/cpusets.rst), in the form of runc's.
type cpusetData struct {
	CPUs                  []int `json:"cpus,omitempty"`
	CPUExclusive          int64 `json:"cpu_exclusive"`
	Mems                  []int `json:"mems,omitempty"`
	MemHardwall           int64 `json:"mem_hardwall"`
	MemExclusive          int64 `json:"mem_exclusive"`
	MemoryMigrate         int64 `json:"memory_migrate"`
	MemorySpreadPage      int64 `json:"memory_spread_page"`
	MemorySpreadSlab      int64 `json:"memory_spread_slab"`
	MemoryPressure        int64 `json:"memory_pressure"`
	SchedLoadBalance      int64 `json:"sched_load_balance"`
	SchedRelaxDomainLevel int64 `json:"sched_relax_domain_level"`
}

// readCpuset reads the files of a cpuset.
func readCpuset(dir string) (d cpusetData, err error) {
	read := func(name string) string {
		data, e := os.ReadFile(filepath.Join(dir, "cpuset."+name))
		if e != nil && err == nil {
			err = fmt.Errorf("statistics: %w", e)
		}
		return strings.TrimSpace(string(data))
	}
	for name, list := range map[string]*[]int{"cpus": &d.CPUs, "mems": &d.Mems} {
		text := read(name)
		var e error
		if *list, e = numbers(text); e != nil && err == nil {
			err = fmt.Errorf("statistics: cpuset.%s: %w", name, e)
		}
	}
	for name, n := range map[string]*int64{
		"cpu_exclusive": &d.CPUExclusive, "mem_hardwall": &d.MemHardwall, "mem_exclusive": &d.MemExclusive, "memory_migrate": &d.MemoryMigrate,
		"memory_spread_page": &d.MemorySpreadPage, "memory_spread_slab": &d.MemorySpreadSlab, "memory_pressure": &d.MemoryPressure,
		"sched_load_balance": &d.SchedLoadBalance, "sched_relax_domain_level": &d.SchedRelaxDomainLevel,
	} {
		text := read(name)
		var e error
		if *n, e = strconv.ParseInt(text, 10, 64); e != nil && err == nil {
			err = fmt.Errorf("statistics: cpuset.%s: %w", name, e)
		}
	}
	return d, err
}

// maxNumber is more than any kernel has of CPUs and memory nodes.
const maxNumber = 1 << 16

// numbers expands a list such as "0-2,5".
func numbers(list string) (all []int, err error) {
	set, err := spec.NumberSet(list, maxNumber)
	for n := range 8 * len(set) {
		if set[n/8]>>(n%8)&1 != 0 {
			all = append(all, n)
		}
	}
	return all, err
}
