package unit

import (
	"errors"
	"strings"
	"testing"

	"example.io/shim/linux/cgroup/gvariant"
	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/cgroup/files"
)

func join(list []Property) string {
	var words []string
	for _, p := range list {
		words = append(words, p.String())
	}
	return strings.Join(words, "; ")
}

// TestValues: every value that this package makes is one that the library reads, and survives the plan.
func TestValues(t *testing.T) {
	var all []Property
	for _, u := range []Unit{{Name: "x.scope", Slice: "a.slice"}, {Name: "a-b.slice", Slice: "a.slice"}} {
		all = append(all, u.New("it's", 1)...)
		all = append(all, u.New("id", 2)...)
	}
	all = append(all, Property{Name: "X", Value: "uint64 1", Since: 252})
	v1, err := files.V1(everything(), v1Dirs(), "")
	if err != nil {
		t.Fatal(err)
	}
	list, err := OfWrites(1, v1)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range append(all, list...) {
		if _, err := gvariant.Parse(p.Value); err != nil {
			t.Errorf("%s: %v", p, err)
		}
		if got := ReadProperty(p.String()); got != p {
			t.Errorf("%+v became %+v", p, got)
		}
	}
}

func v1Dirs() (dirs []files.Dir) {
	for _, c := range []string{"cpu", "cpuset", "memory", "pids", "devices", "blkio"} {
		dirs = append(dirs, files.Dir{Controllers: []string{c}, Mount: "/cg/" + c, Path: "/cg/" + c + "/x"})
	}
	return dirs
}

func everything() *specs.LinuxResources {
	return &specs.LinuxResources{
		Memory:  &specs.LinuxMemory{Limit: new(int64(64 << 20)), Swap: new(int64(96 << 20)), Reservation: new(int64(8 << 20))},
		CPU:     &specs.LinuxCPU{Shares: new(uint64(512)), Quota: new(int64(25500)), Period: new(uint64(50000)), Cpus: "0-2,9", Mems: "0"},
		Pids:    &specs.LinuxPids{Limit: new(int64(100))},
		BlockIO: &specs.LinuxBlockIO{Weight: new(uint16(500))},
		Devices: []specs.LinuxDeviceCgroup{{Access: "rwm"}, {Allow: true, Type: "c", Major: new(int64(10)), Minor: new(int64(229)), Access: "rw"},
			{Allow: true, Type: "b", Major: new(int64(8)), Access: "r"}},
	}
}

func TestOfWrites(t *testing.T) {
	v1, err := files.V1(everything(), v1Dirs(), "")
	if err != nil {
		t.Fatal(err)
	}
	list, err := OfWrites(1, v1)
	want := "MemoryLimit=uint64 67108864; CPUShares=uint64 512; CPUQuotaPeriodUSec=uint64 50000; CPUQuotaPerSecUSec=uint64 510000; BlockIOWeight=uint64 500; " +
		"TasksMax=uint64 100; DevicePolicy='strict'; DeviceAllow=@a(ss) [('/dev/char/10:229', 'rw'), ('block-8', 'r'), ('char-*', 'm'), ('block-*', 'm'), " +
		"('/dev/char/1:3', 'rwm'), ('/dev/char/1:5', 'rwm'), ('/dev/char/1:7', 'rwm'), ('/dev/char/1:8', 'rwm'), ('/dev/char/1:9', 'rwm'), " +
		"('/dev/char/5:0', 'rwm'), ('/dev/char/5:1', 'rwm'), ('/dev/char/5:2', 'rwm'), ('char-136', 'rwm')]"
	if got := join(list); got != want || err != nil {
		t.Errorf("v1: %v\n got %s\nwant %s", err, got, want)
	}
	r := everything()
	r.Devices = nil
	r.Unified = map[string]string{"memory.high": "50M", "memory.min": "4096", "pids.max": "max"}
	r.Unified["memory.high"] = "52428800"
	dir := files.Dir{Controllers: []string{"cpu", "cpuset", "memory", "pids", "io"}, Mount: "/cg", Path: "/cg/x", Unified: true}
	v2, err := files.V2(r, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	list, err = OfWrites(2, v2)
	want = "MemoryMin=uint64 4096; MemoryLow=uint64 8388608; MemoryHigh=uint64 52428800; MemoryMax=uint64 67108864; MemorySwapMax=uint64 33554432; " +
		"CPUWeight=uint64 59; CPUQuotaPeriodUSec=uint64 50000; CPUQuotaPerSecUSec=uint64 510000; AllowedCPUs=@ay [7, 2]; AllowedMemoryNodes=@ay [1]; " +
		"IOWeight=uint64 4950; TasksMax=uint64 18446744073709551615"
	if got := join(list); got != want || err != nil {
		t.Errorf("v2: %v\n got %s\nwant %s", err, got, want)
	}
}

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		version int
		files   map[string]string
		want    string
	}{
		{2, map[string]string{"cpu.max": "max 100000\n"}, "CPUQuotaPeriodUSec=uint64 100000; CPUQuotaPerSecUSec=uint64 18446744073709551615"},
		{2, map[string]string{"cpu.max": "1000"}, "CPUQuotaPerSecUSec=uint64 10000"},
		{2, map[string]string{"cpu.max": "33333 100000"}, "CPUQuotaPeriodUSec=uint64 100000; CPUQuotaPerSecUSec=uint64 340000"},
		{2, map[string]string{"cpu.idle": "1", "cpu.weight": "100"}, "CPUWeight@252=uint64 0"},
		{2, map[string]string{"cpu.idle": "0", "cpu.weight": "59"}, "CPUWeight=uint64 59"},
		{2, map[string]string{"cpu.idle": "0"}, "CPUWeight=uint64 100"},
		{2, map[string]string{"pids.max": "0"}, "TasksMax=uint64 1"},
		{2, map[string]string{"cpuset.cpus": "\n"}, "AllowedCPUs=@ay []"},
		{2, map[string]string{"io.weight": "8:0 50\n"}, ""},
		{2, map[string]string{"io.weight": "default 70\n8:0 50\n"}, "IOWeight=uint64 70"},
		{2, map[string]string{"memory.max": "max"}, "MemoryMax=uint64 18446744073709551615"},
		{1, map[string]string{"memory.limit_in_bytes": "-1"}, "MemoryLimit=uint64 18446744073709551615"},
		{1, map[string]string{"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}, "CPUQuotaPeriodUSec=uint64 100000; CPUQuotaPerSecUSec=uint64 18446744073709551615"},
		{2, map[string]string{"memory.zswap.max": "4096"}, "MemoryZSwapMax@253=uint64 4096"},
		{2, map[string]string{"hugetlb.2MB.max": "0"}, ""},
	} {
		var names []string
		for name := range c.files {
			names = append(names, name)
		}
		list, err := Limits(c.version, names, func(f string) (string, bool) { v, ok := c.files[f]; return v, ok })
		if got := join(list); got != c.want || err != nil {
			t.Errorf("%v: %s, %v; want %s", c.files, got, err, c.want)
		}
	}
	for _, bad := range []map[string]string{{"cpu.max": "x"}, {"cpu.max": "1 0"}, {"memory.max": "64M"}, {"cpuset.cpus": "a"}} {
		for name := range bad {
			if _, err := Limits(2, []string{name}, func(f string) (string, bool) { return bad[f], true }); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%v: %v", bad, err)
			}
		}
	}
}

func TestDevices(t *testing.T) {
	w := func(lines ...string) (list []files.Write) {
		for _, l := range lines {
			file, value, _ := strings.Cut(l, " ")
			list = append(list, files.Write{File: "devices." + file, Value: value})
		}
		return list
	}
	for _, c := range []struct {
		lines []string
		want  string
	}{
		{nil, ""},
		{[]string{"deny a", "allow a"}, ""},
		{[]string{"allow a", "deny c 1:3 rwm"}, ""},
		{[]string{"deny a"}, "DevicePolicy='strict'; DeviceAllow=@a(ss) []"},
		{[]string{"deny a", "allow c 1:3 r", "allow c 1:3 w"}, "DevicePolicy='strict'; DeviceAllow=@a(ss) [('/dev/char/1:3', 'rw')]"},
		{[]string{"deny a", "allow c 1:3 rwm", "deny c 1:3 m"}, "DevicePolicy='strict'; DeviceAllow=@a(ss) [('/dev/char/1:3', 'rw')]"},
		{[]string{"deny a", "allow c 1:3 rwm", "allow b *:* m", "deny c 1:3 rwm"}, "DevicePolicy='strict'; DeviceAllow=@a(ss) [('block-*', 'm')]"},
		{[]string{"deny a", "allow c 1:3 r", "deny c 1:* rwm"}, "DevicePolicy='strict'; DeviceAllow=@a(ss) [('/dev/char/1:3', 'r')]"}, // as the kernel does
	} {
		if got := join(devices(w(c.lines...))); got != c.want {
			t.Errorf("%v: %s, want %s", c.lines, got, c.want)
		}
	}
}

func TestAnnotations(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"TimeoutStopUSec", "uint64 5000000", "TimeoutStopUSec=uint64 5000000"},
		{"TimeoutStopSec", "uint64 5", "TimeoutStopUSec=uint64 5000000"},
		{"TimeoutStopSec", "1.5", "TimeoutStopUSec=uint64 1500000"},
		{"TimeoutStopSec", "uint64 18446744073709551615", "TimeoutStopUSec=uint64 18446744073709551615"},
		{"CollectMode", "'inactive-or-failed'", "CollectMode='inactive-or-failed'"},
		{"After", "['a.service', 'b.service']", "After=['a.service', 'b.service']"},
		{"AllowedCPUs", "@ay [7]", "AllowedCPUs=@ay [7]"},
		{"SendSIGHUP", "true", "SendSIGHUP=true"},
		{"CPUQuotaPerSec", "5", "CPUQuotaPerUSec=uint64 5000000"},
	} {
		list, err := Annotations(map[string]string{AnnotationPrefix + c.name: c.value, "other": "x"})
		if got := join(list); err != nil || got != c.want {
			t.Errorf("%s=%s: %s, %v; want %s", c.name, c.value, got, err, c.want)
		}
	}
	for _, c := range []struct{ name, value, want string }{
		{"", "1", "no name of a property"},
		{"A/B", "1", "/annotations/org.systemd.property.A~1B: "},
		{"PIDs", "[uint32 1]", "the runtime's to set"},
		{"Slice", "'a.slice'", "the runtime's to set"},
		{"Delegate", "false", "the runtime's to set"},
		{"TimeoutStopSec", "'5'", "no number of seconds"},
		{"TimeoutStopSec", "-1", "no number of seconds"},
		{"TimeoutStopSec", "1e300", "no number of seconds"},
		{"After", "a.service", "no value in the text form"},
		{"After", "['a'", "no value in the text form"},
		{"After", "", "no value in the text form"},
		{"After", "'a\nb'", "control character"},
		{"X", "[1, 'a']", "no value in the text form"},
	} {
		_, err := Annotations(map[string]string{AnnotationPrefix + c.name: c.value})
		if !errors.Is(err, errdefs.ErrInvalidArgument) || !strings.HasPrefix(err.Error(), "/annotations/org.systemd.property.") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: %v, want %q", c.name, c.value, err, c.want)
		}
	}
	if p, ok := Annotated(map[string]string{"a": "", AnnotationPrefix + "X": ""}); !ok || p != "/annotations/org.systemd.property.X" {
		t.Error(p, ok)
	}
	if _, ok := Annotated(map[string]string{"a": ""}); ok {
		t.Error("found what is not there")
	}
	if _, ok := microseconds("NaN"); ok {
		t.Error("no number is a time")
	}
}

// FuzzAnnotation: no value brings the reader down, and what is accepted is a value still when it is read again.
func FuzzAnnotation(f *testing.F) {
	for _, v := range []string{"uint64 5", "['a', 'b']", "{'a': <1>}", "(1, 'x')", "b'abc'", "@a(ss) []", "<<1>>", "@v <'a'>", "[[]]", "0x", "'\\u12", "@", "@a"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := Annotations(map[string]string{AnnotationPrefix + "Name": text})
		if err == nil {
			if _, err := gvariant.Parse(list[0].Value); err != nil {
				t.Error(err)
			}
		}
	})
}
