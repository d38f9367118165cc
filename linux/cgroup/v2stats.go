package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/cgroup/stats"
	"example.io/shim/linux/plainfile"
)

// Stats implements Cgroup. Files that are missing, of a controller that is off or a feature that this kernel has not, are fields that are absent.
func (c *v2) Stats() (*stats.Metrics, error) {
	if _, err := os.Stat(c.dir.Path); err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	r := &reader{dir: c.dir.Path}
	m := &stats.V2{Pids: r.pids(), CPU: r.cpu(), Memory: r.memory(), IO: r.io(), Hugetlb: r.hugetlb(), Rdma: r.rdma()}
	if err := errors.Join(r.errs...); err != nil {
		return nil, fmt.Errorf("stats: %w", err)
	}
	return &stats.Metrics{V2: m}, nil
}

// reader reads files of one cgroup and collects what is wrong with them.
type reader struct {
	dir  string
	errs []error
}

func (r *reader) fail(file string, err error) {
	r.errs = append(r.errs, fmt.Errorf("%s: %w", filepath.Join(r.dir, file), err))
}

// text is the content of a file, not ok when it is missing or pressure is not accounted (psi=0).
func (r *reader) text(file string) (string, bool) {
	data, err := plainfile.Read(filepath.Join(r.dir, file))
	if err != nil && !gone(err) && !errors.Is(err, unix.EOPNOTSUPP) {
		r.errs = append(r.errs, err)
	}
	return string(data), err == nil
}

// number is the content of a file with one number, or "max".
func (r *reader) number(file string) *uint64 {
	text, ok := r.text(file)
	if !ok {
		return nil
	}
	v, err := limitOf(strings.TrimSpace(text))
	if err != nil {
		r.fail(file, err)
		return nil
	}
	return &v
}

func limitOf(word string) (uint64, error) {
	if word == "max" {
		return stats.Unlimited, nil
	}
	return strconv.ParseUint(word, 10, 64)
}

// flat is a file of "name number" lines.
func (r *reader) flat(file string) map[string]uint64 {
	text, ok := r.text(file)
	if !ok {
		return nil
	}
	m, err := parseFlat(text)
	if err != nil {
		r.fail(file, err)
	}
	return m
}

func parseFlat(text string) (map[string]uint64, error) {
	m := map[string]uint64{}
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		v, err := strconv.ParseUint(value, 10, 64)
		if !ok || err != nil {
			return nil, fmt.Errorf("line %q is not a name and a number", strings.TrimSpace(line))
		}
		m[name] = v
	}
	return m, nil
}

func (r *reader) pressure(file string) *stats.Pressure {
	text, ok := r.text(file)
	if !ok {
		return nil
	}
	p, err := parsePressure(text)
	if err != nil {
		r.fail(file, err)
	}
	return p
}

// parsePressure parses "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" and the same with "full", which cpu has since Linux 5.13.
func parsePressure(text string) (*stats.Pressure, error) {
	p := &stats.Pressure{}
	for line := range strings.Lines(text) {
		s := &stats.Stall{}
		kind, rest, _ := strings.Cut(line, " ")
		switch kind {
		case "some":
			p.Some = s
		case "full":
			p.Full = s
		default:
			continue
		}
		for word := range strings.FieldsSeq(rest) {
			name, value, _ := strings.Cut(word, "=")
			var err error
			switch name {
			case "avg10":
				s.Avg10, err = strconv.ParseFloat(value, 64)
			case "avg60":
				s.Avg60, err = strconv.ParseFloat(value, 64)
			case "avg300":
				s.Avg300, err = strconv.ParseFloat(value, 64)
			case "total":
				s.Total, err = strconv.ParseUint(value, 10, 64)
			}
			if err != nil {
				return nil, fmt.Errorf("%q: %w", word, err)
			}
		}
	}
	return p, nil
}

func (r *reader) pids() *stats.Pids {
	current, limit := r.number("pids.current"), r.number("pids.max")
	if current == nil || limit == nil {
		return nil
	}
	return &stats.Pids{Current: *current, Limit: *limit}
}

func (r *reader) cpu() *stats.CPUV2 {
	stat := r.flat("cpu.stat") // without the controller too: the times alone
	if stat == nil {
		return nil
	}
	return &stats.CPUV2{Stat: stat, Pressure: r.pressure("cpu.pressure")}
}

func (r *reader) memory() *stats.MemoryV2 {
	current := r.number("memory.current")
	if current == nil {
		return nil
	}
	return &stats.MemoryV2{
		Current: current, Peak: r.number("memory.peak"), Max: r.number("memory.max"),
		SwapCurrent: r.number("memory.swap.current"), SwapPeak: r.number("memory.swap.peak"), SwapMax: r.number("memory.swap.max"),
		Stat: r.flat("memory.stat"), Events: r.flat("memory.events"), EventsLocal: r.flat("memory.events.local"), SwapEvents: r.flat("memory.swap.events"),
		Pressure: r.pressure("memory.pressure"),
	}
}

func (r *reader) io() *stats.IO {
	text, ok := r.text("io.stat")
	if !ok {
		return nil
	}
	devices, err := parseIOStat(text)
	if err != nil {
		r.fail("io.stat", err)
	}
	return &stats.IO{Devices: devices, Pressure: r.pressure("io.pressure")}
}

// parseIOStat parses "MAJOR:MINOR rbytes=1 wbytes=2 ..." lines. A device without numbers has no line end on some kernels: the numbers are of
// the device that stands last before them.
func parseIOStat(text string) ([]stats.IODevice, error) {
	var list []stats.IODevice
	for line := range strings.Lines(text) {
		d, numbers := stats.IODevice{}, false
		for word := range strings.FieldsSeq(line) {
			name, value, ok := strings.Cut(word, "=")
			if !ok {
				major, minor, _ := strings.Cut(word, ":")
				a, err1 := strconv.ParseUint(major, 10, 64)
				i, err2 := strconv.ParseUint(minor, 10, 64)
				if err1 == nil && err2 == nil { // "(unknown)" is a device that was removed
					d = stats.IODevice{Major: a, Minor: i}
				}
				continue
			}
			field := map[string]*uint64{"rbytes": &d.Rbytes, "wbytes": &d.Wbytes, "rios": &d.Rios, "wios": &d.Wios, "dbytes": &d.Dbytes, "dios": &d.Dios}[name]
			if field == nil {
				continue // of the cost model, or a later kernel
			}
			v, err := strconv.ParseUint(value, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("%q: %w", word, err)
			}
			*field, numbers = v, true
		}
		if numbers {
			list = append(list, d)
		}
	}
	return list, nil
}

func (r *reader) hugetlb() []stats.HugetlbV2 {
	entries, err := os.ReadDir(r.dir)
	if err != nil && !gone(err) {
		r.errs = append(r.errs, err)
	}
	var list []stats.HugetlbV2
	for _, e := range entries {
		part := strings.Split(e.Name(), ".") // hugetlb.SIZE.current, not hugetlb.SIZE.rsvd.current
		if len(part) != 3 || part[0] != "hugetlb" || part[2] != "current" {
			continue
		}
		size := part[1]
		current, limit := r.number("hugetlb."+size+".current"), r.number("hugetlb."+size+".max")
		if current == nil || limit == nil {
			continue
		}
		list = append(list, stats.HugetlbV2{Pagesize: size, Current: *current, Max: *limit, Failures: r.flat("hugetlb." + size + ".events")["max"]})
	}
	return list
}

func (r *reader) rdma() *stats.Rdma {
	if _, err := os.Stat(filepath.Join(r.dir, "rdma.current")); err != nil {
		return nil
	}
	m, err := rdmaStats(r.dir)
	if err != nil {
		r.fail("rdma", err)
	}
	return m
}
