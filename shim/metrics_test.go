package shim

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"example.io/shim/linux/cgroup/stats"
)

// memoryLines are the lines of memory.stat that have a field.
var memoryLines = strings.Fields(`cache rss rss_huge mapped_file dirty writeback pgpgin pgpgout pgfault pgmajfault
	inactive_anon active_anon inactive_file active_file unevictable hierarchical_memory_limit hierarchical_memsw_limit
	total_cache total_rss total_rss_huge total_mapped_file total_dirty total_writeback total_pgpgin total_pgpgout total_pgfault total_pgmajfault
	total_inactive_anon total_active_anon total_inactive_file total_active_file total_unevictable`)

// lineOf is the line of memory.stat of a field of containerd's message, where the names differ in more than "_".
var lineOf = map[string]string{"hierarchical_swap_limit": "hierarchical_memsw_limit"}

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

// messageValues is values of a message.
func messageValues(prefix string, m protoreflect.Message, to map[string]string) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		name, v := string(f.Name()), m.Get(f)
		if line, ok := lineOf[name]; ok {
			name = line
		}
		path := prefix + "." + name
		switch {
		case f.IsList() && f.Message() != nil:
			for j := range v.List().Len() {
				messageValues(fmt.Sprint(path, j), v.List().Get(j).Message(), to)
			}
		case f.IsList():
			for j := range v.List().Len() {
				to[same(fmt.Sprint(path, j))] = v.List().Get(j).String()
			}
		case f.Message() != nil:
			messageValues(path, v.Message(), to)
		default:
			to[same(path)] = v.String()
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
	if a.GetTypeUrl() != "io.containerd.cgroups.v1.Metrics" {
		t.Errorf("type URL %q", a.GetTypeUrl())
	}
	m := &v1.Metrics{}
	must(t, proto.Unmarshal(a.GetValue(), m))
	want, got := map[string]string{}, map[string]string{}
	values("", reflect.ValueOf(s), want)
	messageValues("", m.ProtoReflect(), got)
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
		want *v1.Metrics
	}{
		{"nothing", stats.V1{}, &v1.Metrics{}},
		{"pids without a limit", stats.V1{Pids: &stats.Pids{Current: 3}}, &v1.Metrics{Pids: &v1.PidsStat{Current: 3}}},
		{"memory without swap and kernel", stats.V1{Memory: &stats.Memory{Usage: entry}},
			&v1.Metrics{Memory: &v1.MemoryStat{Usage: &v1.MemoryEntry{Usage: 5}}, MemoryOomControl: &v1.MemoryOomControl{}}},
		{"an idle block device", stats.V1{Blkio: &stats.Blkio{}}, &v1.Metrics{Blkio: &v1.BlkIOStat{}}},
		{"RDMA without devices", stats.V1{Rdma: &stats.Rdma{}}, &v1.Metrics{Rdma: &v1.RdmaStat{}}},
		{"CPU", stats.V1{CPU: &stats.CPU{}}, &v1.Metrics{CPU: &v1.CPUStat{Usage: &v1.CPUUsage{}, Throttling: &v1.Throttle{}}}},
	}
	for _, c := range cases {
		if got := metricsV1(&c.s); !proto.Equal(got, c.want) {
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
