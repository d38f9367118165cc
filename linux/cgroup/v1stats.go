package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/cgroup/stats"
	"example.io/shim/linux/plainfile"
)

// Stats implements Cgroup. Files that this kernel does not have are left out.
func (c *v1) Stats() (*stats.Metrics, error) {
	m := &stats.V1{}
	var errs []error
	read := func(controller string, f func(dir string) error) {
		if dir := c.dir(controller); dir != "" {
			if err := f(dir); err != nil {
				errs = append(errs, fmt.Errorf("stats of %s: %w", controller, err))
			}
		}
	}
	read("pids", func(dir string) (err error) { m.Pids, err = pidsStats(dir); return })
	read("cpuacct", func(dir string) (err error) { m.CPU, err = cpuacctStats(dir); return })
	read("cpu", func(dir string) error {
		if m.CPU == nil {
			m.CPU = &stats.CPU{}
		}
		return throttling(dir, m.CPU)
	})
	read("memory", func(dir string) (err error) { m.Memory, err = memoryStats(dir); return })
	read("blkio", func(dir string) (err error) { m.Blkio, err = blkioStats(dir); return })
	read("hugetlb", func(dir string) (err error) { m.Hugetlb, err = hugetlbStats(dir); return })
	read("rdma", func(dir string) (err error) { m.Rdma, err = rdmaStats(dir); return })
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return &stats.Metrics{V1: m}, nil
}

// readUint reads a file with one number; "max" and what cannot be read are not ok.
func readUint(path string) (uint64, bool) {
	data, err := plainfile.Read(path)
	if err != nil {
		return 0, false
	}
	v, err := strconv.ParseUint(strings.TrimSpace(string(data)), 10, 64)
	return v, err == nil
}

// keyed reads the lines "name number" of a file.
func keyed(path string) (map[string]uint64, error) {
	data, err := plainfile.Read(path)
	if err != nil {
		return nil, err
	}
	m := map[string]uint64{}
	for line := range strings.Lines(string(data)) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		v, err := strconv.ParseUint(value, 10, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("%s: line %q is not a name and a number", path, strings.TrimSpace(line))
		}
		m[name] = v
	}
	return m, nil
}

func pidsStats(dir string) (*stats.Pids, error) {
	current, ok := readUint(filepath.Join(dir, "pids.current"))
	if !ok {
		return nil, fmt.Errorf("read pids.current: %w", fs.ErrNotExist)
	}
	limit, _ := readUint(filepath.Join(dir, "pids.max")) // "max" is 0, no limit
	return &stats.Pids{Current: current, Limit: limit}, nil
}

// tick is the unit of cpuacct.stat: USER_HZ, which is 100 on every architecture that Go runs on.
const tick = uint64(time.Second) / 100

func cpuacctStats(dir string) (*stats.CPU, error) {
	c := &stats.CPU{}
	c.Total, _ = readUint(filepath.Join(dir, "cpuacct.usage"))
	parts, err := keyed(filepath.Join(dir, "cpuacct.stat"))
	if err != nil {
		return nil, err
	}
	c.User, c.Kernel = parts["user"]*tick, parts["system"]*tick
	data, err := plainfile.Read(filepath.Join(dir, "cpuacct.usage_percpu"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for word := range strings.FieldsSeq(string(data)) {
		v, err := strconv.ParseUint(word, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("cpuacct.usage_percpu: %w", err)
		}
		c.PerCPU = append(c.PerCPU, v)
	}
	return c, nil
}

func throttling(dir string, c *stats.CPU) error {
	m, err := keyed(filepath.Join(dir, "cpu.stat"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a kernel without CFS bandwidth control
	}
	c.Periods, c.ThrottledPeriods, c.ThrottledTime = m["nr_periods"], m["nr_throttled"], m["throttled_time"]
	return err
}

func memoryStats(dir string) (*stats.Memory, error) {
	stat, err := keyed(filepath.Join(dir, "memory.stat"))
	if err != nil {
		return nil, err
	}
	m := &stats.Memory{Stat: stat, Usage: entry(dir, "memory"), Swap: entry(dir, "memory.memsw"), Kernel: entry(dir, "memory.kmem"), KernelTCP: entry(dir, "memory.kmem.tcp")}
	oom, err := keyed(filepath.Join(dir, "memory.oom_control"))
	if err != nil {
		return nil, err
	}
	m.OOMKillDisable, m.UnderOOM, m.OOMKill = oom["oom_kill_disable"], oom["under_oom"], oom["oom_kill"]
	return m, nil
}

// entry reads the four files of a memory counter; nil when the kernel does not have it.
func entry(dir, name string) *stats.Entry {
	usage, ok := readUint(filepath.Join(dir, name+".usage_in_bytes"))
	if !ok {
		return nil
	}
	e := &stats.Entry{Usage: usage}
	e.Max, _ = readUint(filepath.Join(dir, name+".max_usage_in_bytes"))
	e.Failcnt, _ = readUint(filepath.Join(dir, name+".failcnt"))
	e.Limit, _ = readUint(filepath.Join(dir, name+".limit_in_bytes"))
	return e
}

func hugetlbStats(dir string) ([]stats.Hugetlb, error) {
	names, err := filepath.Glob(filepath.Join(dir, "hugetlb.*.usage_in_bytes"))
	if err != nil {
		return nil, err
	}
	var list []stats.Hugetlb
	for _, path := range names {
		size := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(path), "hugetlb."), ".usage_in_bytes")
		if strings.Contains(size, ".") { // hugetlb.SIZE.rsvd
			continue
		}
		h := stats.Hugetlb{Pagesize: size}
		h.Usage, _ = readUint(path)
		h.Max, _ = readUint(filepath.Join(dir, "hugetlb."+size+".max_usage_in_bytes"))
		h.Failcnt, _ = readUint(filepath.Join(dir, "hugetlb."+size+".failcnt"))
		list = append(list, h)
	}
	return list, nil
}

func blkioStats(dir string) (*stats.Blkio, error) {
	b := &stats.Blkio{}
	var errs []error
	read := func(names ...string) []stats.BlkioEntry {
		for _, name := range names { // the first that the kernel has and that is not empty
			list, err := blkioFile(filepath.Join(dir, "blkio."+name))
			if err != nil {
				errs = append(errs, err)
			}
			if len(list) > 0 {
				return list
			}
		}
		return nil
	}
	b.ServiceBytes = read("bfq.io_service_bytes_recursive", "throttle.io_service_bytes_recursive", "throttle.io_service_bytes")
	b.Serviced = read("bfq.io_serviced_recursive", "throttle.io_serviced_recursive", "throttle.io_serviced")
	b.Queued = read("bfq.io_queued_recursive", "io_queued_recursive")
	b.ServiceTime = read("bfq.io_service_time_recursive", "io_service_time_recursive")
	b.WaitTime = read("bfq.io_wait_time_recursive", "io_wait_time_recursive")
	b.Merged = read("bfq.io_merged_recursive", "io_merged_recursive")
	b.Time = read("bfq.time_recursive", "time_recursive")
	b.Sectors = read("bfq.sectors_recursive", "sectors_recursive")
	return b, errors.Join(errs...)
}

// blkioFile parses "MAJOR:MINOR [OPERATION] NUMBER" lines; the last line is a total, which has no device.
func blkioFile(path string) ([]stats.BlkioEntry, error) {
	data, err := plainfile.Read(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []stats.BlkioEntry
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) < 2 || f[0] == "Total" {
			continue
		}
		major, minor, ok := strings.Cut(f[0], ":")
		a, err1 := strconv.ParseUint(major, 10, 64)
		i, err2 := strconv.ParseUint(minor, 10, 64)
		v, err3 := strconv.ParseUint(f[len(f)-1], 10, 64)
		if err := errors.Join(err1, err2, err3); !ok || err != nil {
			return nil, fmt.Errorf("%s: line %q: %w", path, strings.TrimSpace(line), err)
		}
		e := stats.BlkioEntry{Major: a, Minor: i, Value: v, Device: deviceName(a, i)}
		if len(f) == 3 {
			e.Op = f[1]
		}
		list = append(list, e)
	}
	return list, nil
}

// deviceName is /dev/NAME by the link in /sys/dev/block, "" when there is none.
func deviceName(major, minor uint64) string {
	to, err := os.Readlink(fmt.Sprintf("/sys/dev/block/%d:%d", major, minor))
	if err != nil {
		return ""
	}
	return "/dev/" + filepath.Base(to)
}

func rdmaStats(dir string) (*stats.Rdma, error) {
	r := &stats.Rdma{}
	var err1, err2 error
	r.Current, err1 = rdmaFile(filepath.Join(dir, "rdma.current"))
	r.Limit, err2 = rdmaFile(filepath.Join(dir, "rdma.max"))
	return r, errors.Join(err1, err2)
}

// rdmaFile parses "DEVICE hca_handle=N hca_object=N" lines; max is 2^32-1.
func rdmaFile(path string) ([]stats.RdmaEntry, error) {
	data, err := plainfile.Read(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var list []stats.RdmaEntry
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		e := stats.RdmaEntry{Device: f[0]}
		for _, word := range f[1:] {
			name, value, _ := strings.Cut(word, "=")
			n := ^uint32(0)
			if value != "max" {
				v, err := strconv.ParseUint(value, 10, 32)
				if err != nil {
					return nil, fmt.Errorf("%s: %q: %w", path, word, err)
				}
				n = uint32(v)
			}
			switch name {
			case "hca_handle":
				e.HcaHandles = n
			case "hca_object":
				e.HcaObjects = n
			}
		}
		list = append(list, e)
	}
	return list, err
}
