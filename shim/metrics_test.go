package shim

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"example.io/shim/linux/cgroup/stats"
	"example.io/shim/shim/wire"
)

// memoryLines are the lines of memory.stat that have a field.
var memoryLines = strings.Fields(`cache rss rss_huge mapped_file dirty writeback pgpgin pgpgout pgfault pgmajfault
	inactive_anon active_anon inactive_file active_file unevictable hierarchical_memory_limit hierarchical_memsw_limit
	total_cache total_rss total_rss_huge total_mapped_file total_dirty total_writeback total_pgpgin total_pgpgout total_pgfault total_pgmajfault
	total_inactive_anon total_active_anon total_inactive_file total_active_file total_unevictable`)

// lineOf is the line of memory.stat of a field of containerd's message, where the names differ in more than "_".
var lineOf = map[string]string{"HierarchicalSwapLimit": "hierarchical_memsw_limit"}

// linesV2 are the lines of cpu.stat, memory.stat and memory.events that have a field, each once.
var linesV2 = map[string][]string{
	"CPU": strings.Fields("usage_usec user_usec system_usec nr_periods nr_throttled throttled_usec nr_bursts burst_usec"),
	"Stat": strings.Fields(`anon file kernel_stack slab sock shmem file_mapped file_dirty file_writeback anon_thp inactive_anon active_anon inactive_file active_file
	unevictable slab_reclaimable slab_unreclaimable pgfault pgmajfault workingset_refault workingset_activate workingset_nodereclaim pgrefill pgscan pgsteal
	pgactivate pgdeactivate pglazyfree pglazyfreed thp_fault_alloc thp_collapse_alloc`),
	"Events": strings.Fields("low high max oom oom_kill oom_group_kill"),
}

// fill gives every number and text of v a value of its own, and lists two elements, so that no field can stand for another one.
func fill(v reflect.Value, next *uint64) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), next)
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), next)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), next)
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for _, line := range memoryLines {
			*next++
			v.SetMapIndex(reflect.ValueOf(line), reflect.ValueOf(*next))
		}
	case reflect.Uint64, reflect.Uint32:
		*next++
		v.SetUint(*next)
	case reflect.String:
		*next++
		v.SetString(fmt.Sprint("text ", *next))
	default:
		panic(v.Kind())
	}
}

// values lists all that is in v, by path: lower case, without "_" and without the parts of the path that one side has and the other has not.
func values(prefix string, v reflect.Value, to map[string]string) {
	switch v.Kind() {
	case reflect.Pointer:
		values(prefix, v.Elem(), to)
	case reflect.Struct:
		for i := range v.NumField() {
			values(prefix+"."+v.Type().Field(i).Name, v.Field(i), to)
		}
	case reflect.Slice:
		for i := range v.Len() {
			values(fmt.Sprint(prefix, i), v.Index(i), to)
		}
	case reflect.Map:
		for _, k := range v.MapKeys() {
			values(strings.TrimSuffix(prefix, ".Stat")+"."+k.String(), v.MapIndex(k), to)
		}
	default:
		to[same(prefix)] = fmt.Sprint(v)
	}
}

// messageValues is values of a message, by the names of its fields.
func messageValues(prefix string, v reflect.Value, to map[string]string) {
	v = reflect.Indirect(v)
	for i := range v.NumField() {
		name, f := v.Type().Field(i).Name, v.Field(i)
		if line, ok := lineOf[name]; ok {
			name = line
		}
		path := prefix + "." + name
		switch {
		case f.Kind() == reflect.Slice:
			for j := range f.Len() {
				if e := f.Index(j); e.Kind() == reflect.Pointer {
					messageValues(fmt.Sprint(path, j), e, to)
				} else {
					to[same(fmt.Sprint(path, j))] = fmt.Sprint(e)
				}
			}
		case f.Kind() == reflect.Pointer && !f.IsNil():
			messageValues(path, f, to)
		case f.Kind() != reflect.Pointer:
			to[same(path)] = fmt.Sprint(f)
		}
	}
}

var sameNames = strings.NewReplacer("_", "", ".cpu.usage.", ".cpu.", ".cpu.throttling.", ".cpu.", ".memoryoomcontrol.", ".memory.", ".blkio.io", ".blkio.", "recursive", "")

func same(path string) string {
	return sameNames.Replace(strings.ReplaceAll(strings.ToLower(path), "_", ""))
}

// TestMetricsV1 fills every field of V1 with a value of its own and finds each at the message's field of that name.
func TestMetricsV1(t *testing.T) {
	var s stats.V1
	var n uint64
	fill(reflect.ValueOf(&s).Elem(), &n)
	a, err := metrics(&stats.Metrics{V1: &s})
	must(t, err)
	if a.TypeUrl != "io.containerd.cgroups.v1.Metrics" {
		t.Errorf("type URL %q", a.TypeUrl)
	}
	m := &wire.MetricsV1{}
	must(t, wire.Unmarshal(a.Value, m))
	want, got := map[string]string{}, map[string]string{}
	values("", reflect.ValueOf(s), want)
	messageValues("", reflect.ValueOf(m), got)
	for path, v := range want {
		if got[path] != v {
			t.Errorf("%s is %q, want %q", path, got[path], v)
		}
	}
	for path, v := range got {
		// Accounting of networks and of tasks' states is not a file of a cgroup.
		if _, ok := want[path]; !ok && !strings.HasPrefix(path, ".cgroupstats.") {
			t.Errorf("%s is %q, and comes from nowhere", path, v)
		}
	}
	if len(want) != int(n) {
		t.Errorf("%d values have %d paths", n, len(want))
	}
}

// TestMetricsParts are machines that lack something: the part is left out, and is not a zero.
func TestMetricsParts(t *testing.T) {
	entry := &stats.Entry{Usage: 5}
	cases := []struct {
		name string
		s    stats.V1
		want *wire.MetricsV1
	}{
		{"nothing", stats.V1{}, &wire.MetricsV1{}},
		{"pids without a limit", stats.V1{Pids: &stats.Pids{Current: 3}}, &wire.MetricsV1{Pids: &wire.PidsStat{Current: 3}}},
		{"memory without swap and kernel", stats.V1{Memory: &stats.Memory{Usage: entry}},
			&wire.MetricsV1{Memory: &wire.MemoryStatV1{Usage: &wire.MemoryEntryV1{Usage: 5}}, MemoryOomControl: &wire.MemoryOomControlV1{}}},
		{"an idle block device", stats.V1{Blkio: &stats.Blkio{}}, &wire.MetricsV1{Blkio: &wire.BlkIOStatV1{}}},
		{"RDMA without devices", stats.V1{Rdma: &stats.Rdma{}}, &wire.MetricsV1{Rdma: &wire.RdmaStat{}}},
		{"CPU", stats.V1{CPU: &stats.CPU{}}, &wire.MetricsV1{CPU: &wire.CPUStatV1{Usage: &wire.CPUUsageV1{}, Throttling: &wire.ThrottleV1{}}}},
	}
	for _, c := range cases {
		if got := metricsV1(&c.s); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

// TestMetricsV2 gives each line and number a value of its own and looks for it at the message's field of that name.
func TestMetricsV2(t *testing.T) {
	var n uint64
	next := func() uint64 { n++; return n }
	ptr := func() *uint64 { v := next(); return &v }
	lines := func(names []string) map[string]uint64 {
		m := map[string]uint64{}
		for _, name := range names {
			m[name] = next()
		}
		return m
	}
	stall := func() *stats.Stall {
		return &stats.Stall{Avg10: float64(next()), Avg60: float64(next()), Avg300: float64(next()), Total: next()}
	}
	psi := func() *stats.Pressure { return &stats.Pressure{Some: stall(), Full: stall()} }
	device := func() stats.IODevice {
		return stats.IODevice{Major: next(), Minor: next(), Rbytes: next(), Wbytes: next(), Rios: next(), Wios: next()}
	}
	rdma := func() []stats.RdmaEntry {
		return []stats.RdmaEntry{{Device: "a", HcaHandles: uint32(next()), HcaObjects: uint32(next())}, {Device: "b", HcaHandles: uint32(next()), HcaObjects: uint32(next())}}
	}
	s := stats.V2{
		Pids:    &stats.Pids{Current: next(), Limit: next()},
		CPU:     &stats.CPUV2{Stat: lines(linesV2["CPU"]), Pressure: psi()},
		Memory:  &stats.MemoryV2{Stat: lines(linesV2["Stat"]), Current: ptr(), Peak: ptr(), Max: ptr(), SwapCurrent: ptr(), SwapPeak: ptr(), SwapMax: ptr(), Events: lines(linesV2["Events"]), Pressure: psi()},
		IO:      &stats.IO{Devices: []stats.IODevice{device(), device()}, Pressure: psi()},
		Hugetlb: []stats.HugetlbV2{{Pagesize: "2MB", Current: next(), Max: next(), Failures: next()}, {Pagesize: "1GB", Current: next(), Max: next(), Failures: next()}},
		Rdma:    &stats.Rdma{Current: rdma(), Limit: rdma()},
	}
	a, err := metrics(&stats.Metrics{V2: &s})
	must(t, err)
	if a.TypeUrl != "io.containerd.cgroups.v2.Metrics" {
		t.Errorf("type URL %q", a.TypeUrl)
	}
	m := &wire.MetricsV2{}
	must(t, wire.Unmarshal(a.Value, m))
	got := map[string]string{}
	messageValues("", reflect.ValueOf(m), got)
	want := map[string]string{}
	valuesV2(&s, want)
	for path, v := range want {
		if got[path] != v {
			t.Errorf("%s is %q, want %q", path, got[path], v)
		}
	}
	for path, v := range got {
		if _, ok := want[path]; !ok {
			t.Errorf("%s is %q, and comes from nowhere", path, v)
		}
	}
}

// valuesV2 lists all that is in s by the path of its field in the message.
func valuesV2(s *stats.V2, to map[string]string) {
	put := func(path string, v any) { to[same(path)] = fmt.Sprint(v) }
	psi := func(path string, p *stats.Pressure) {
		for name, l := range map[string]*stats.Stall{"some": p.Some, "full": p.Full} {
			put(path+".psi."+name+".avg10", l.Avg10)
			put(path+".psi."+name+".avg60", l.Avg60)
			put(path+".psi."+name+".avg300", l.Avg300)
			put(path+".psi."+name+".total", l.Total)
		}
	}
	put(".pids.current", s.Pids.Current)
	put(".pids.limit", s.Pids.Limit)
	for prefix, lines := range map[string]map[string]uint64{".cpu.": s.CPU.Stat, ".memory.": s.Memory.Stat, ".memory_events.": s.Memory.Events} {
		for name, v := range lines {
			put(prefix+name, v)
		}
	}
	psi(".cpu", s.CPU.Pressure)
	psi(".memory", s.Memory.Pressure)
	psi(".io", s.IO.Pressure)
	for name, v := range map[string]*uint64{"usage": s.Memory.Current, "usage_limit": s.Memory.Max, "max_usage": s.Memory.Peak,
		"swap_usage": s.Memory.SwapCurrent, "swap_limit": s.Memory.SwapMax, "swap_max_usage": s.Memory.SwapPeak} {
		put(".memory."+name, *v)
	}
	for i, d := range s.IO.Devices {
		for name, v := range map[string]uint64{"major": d.Major, "minor": d.Minor, "rbytes": d.Rbytes, "wbytes": d.Wbytes, "rios": d.Rios, "wios": d.Wios} {
			put(fmt.Sprint(".io.usage", i, ".", name), v)
		}
	}
	for i, h := range s.Hugetlb {
		for name, v := range map[string]any{"pagesize": h.Pagesize, "current": h.Current, "max": h.Max, "failcnt": h.Failures} {
			put(fmt.Sprint(".hugetlb", i, ".", name), v)
		}
	}
	for which, list := range map[string][]stats.RdmaEntry{"current": s.Rdma.Current, "limit": s.Rdma.Limit} {
		for i, e := range list {
			for name, v := range map[string]any{"device": e.Device, "hca_handles": e.HcaHandles, "hca_objects": e.HcaObjects} {
				put(fmt.Sprint(".rdma.", which, i, ".", name), v)
			}
		}
	}
}

// TestMetricsPartsV2 are cgroups and kernels that lack something, and the lines that newer kernels have two of.
func TestMetricsPartsV2(t *testing.T) {
	five := uint64(5)
	for _, c := range []struct {
		name string
		s    stats.V2
		want *wire.MetricsV2
	}{
		{"nothing", stats.V2{}, &wire.MetricsV2{}},
		{"no pressure", stats.V2{CPU: &stats.CPUV2{}, IO: &stats.IO{}}, &wire.MetricsV2{CPU: &wire.CPUStatV2{}, Io: &wire.IOStatV2{}}},
		{"pressure of some", stats.V2{CPU: &stats.CPUV2{Pressure: &stats.Pressure{Some: &stats.Stall{}}}}, &wire.MetricsV2{CPU: &wire.CPUStatV2{PSI: &wire.PSIStatsV2{Some: &wire.PSIDataV2{}}}}},
		{"no swap, no events", stats.V2{Memory: &stats.MemoryV2{Current: &five}}, &wire.MetricsV2{Memory: &wire.MemoryStatV2{Usage: 5}}},
		{"refaults", stats.V2{Memory: &stats.MemoryV2{Stat: map[string]uint64{"workingset_refault_anon": 1, "workingset_refault_file": 2, "workingset_activate_anon": 3, "workingset_activate_file": 4}}},
			&wire.MetricsV2{Memory: &wire.MemoryStatV2{WorkingsetRefault: 3, WorkingsetActivate: 7}}},
	} {
		if got := metricsV2(&c.s); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestMetricsOfNothing(t *testing.T) {
	for _, m := range []any{nil, "text", stats.Metrics{}, &stats.Metrics{}, &stats.V1{}} {
		_, err := metrics(m)
		holds(t, fmt.Sprintf("%T", m), err, fmt.Sprintf("accounting of type %T", m))
	}
}
