package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNumbers(t *testing.T) {
	for list, want := range map[string][]int{"": nil, "0": {0}, "0-2,5": {0, 1, 2, 5}, "7,9-10": {7, 9, 10}} {
		if got, err := numbers(list); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v", list, got, err)
		}
	}
	for _, bad := range []string{"a", "1-", "-1", "3-1", "0,,1", "0-99999999"} {
		if got, err := numbers(bad); err == nil {
			t.Errorf("%q: %v", bad, got)
		}
	}
}

// TestCpuset reads a folder like a cpuset's; a file that is not there is an error that names it.
func TestCpuset(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"cpus": "0-1", "mems": "0", "cpu_exclusive": "0", "mem_hardwall": "1", "mem_exclusive": "0", "memory_migrate": "1",
		"memory_spread_page": "0", "memory_spread_slab": "0", "memory_pressure": "7", "sched_load_balance": "1", "sched_relax_domain_level": "-1"} {
		if err := os.WriteFile(filepath.Join(dir, "cpuset."+name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d, err := readCpuset(dir)
	if err != nil || !slices.Equal(d.CPUs, []int{0, 1}) || d.MemHardwall != 1 || d.MemoryPressure != 7 || d.SchedRelaxDomainLevel != -1 {
		t.Errorf("%+v, %v", d, err)
	}
	if err := os.Remove(filepath.Join(dir, "cpuset.mems")); err != nil {
		t.Fatal(err)
	}
	if _, err := readCpuset(dir); err == nil || !strings.Contains(err.Error(), "cpuset.mems") {
		t.Errorf("without mems: %v", err)
	}
}
