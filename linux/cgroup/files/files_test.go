package files

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/facts"
)

var machine = facts.Cgroup{Version: 1, Hierarchies: []facts.Hierarchy{
	{Controllers: []string{"memory"}, Mount: "/cg/memory", Root: "/", Own: "/sys/containerd"},
	{Controllers: []string{"cpu", "cpuacct"}, Mount: "/cg/cpu", Root: "/", Own: "/"},
	{Controllers: []string{"devices"}, Mount: "/cg/devices", Root: "/docker/1", Own: "/docker/1/x"},
	{Controllers: []string{"pids"}, Mount: "/cg/pids", Root: "/", Own: "/"},
}}

func TestPaths(t *testing.T) {
	for _, c := range []struct{ path, memory, devices string }{
		{"/default/web1", "/cg/memory/default/web1", "/cg/devices/default/web1"},
		{"sub/web1", "/cg/memory/sys/containerd/sub/web1", "/cg/devices/x/sub/web1"},
		{"", "/cg/memory/ns/id", "/cg/devices/ns/id"},
		{"/../../etc", "/cg/memory/etc", "/cg/devices/etc"},
		{"../../../etc", "/cg/memory/sys/containerd/etc", "/cg/devices/x/etc"},
	} {
		dirs, err := Paths(machine, c.path, "ns", "id")
		if err != nil {
			t.Fatal(err)
		}
		if dirs[0].Path != c.memory || dirs[2].Path != c.devices {
			t.Errorf("%q: %s and %s, want %s and %s", c.path, dirs[0].Path, dirs[2].Path, c.memory, c.devices)
		}
	}
	for path, class := range map[string]error{"/": errdefs.ErrInvalidArgument, "..": errdefs.ErrInvalidArgument, "system.slice:shim:web1": errdefs.ErrInvalidArgument} {
		if _, err := Paths(machine, path, "ns", "id"); !errors.Is(err, class) || !strings.Contains(err.Error(), "/linux/cgroupsPath") {
			t.Errorf("%q: %v", path, err)
		}
	}
}

// TestUnitPaths: a unit has one cgroup in all hierarchies; on a machine with v2 alone, in that one.
func TestUnitPaths(t *testing.T) {
	c := facts.Cgroup{Version: 1, Systemd: facts.Systemd{Cgroup: "/docker/x"}, Hierarchies: []facts.Hierarchy{
		{Controllers: []string{"memory"}, Mount: "/cg/memory", Root: "/docker/x", Own: "/docker/x/a"},
		{Controllers: []string{"name=systemd"}, Mount: "/cg/systemd", Root: "/"}, {Mount: "/cg/unified", Root: "/", Unified: true}}}
	check := func(want ...string) {
		t.Helper()
		dirs, err := UnitPaths(c, "/a.slice/x.scope")
		var got []string
		for _, d := range dirs {
			got = append(got, d.Path)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v; want %q", got, err, want)
		}
	}
	check("/cg/memory/a.slice/x.scope", "/cg/systemd/docker/x/a.slice/x.scope", "/cg/unified/docker/x/a.slice/x.scope")
	c.Version, c.Hierarchies = 2, c.Hierarchies[1:]
	check("/cg/unified/docker/x/a.slice/x.scope")
	c.Hierarchies = nil
	if _, err := UnitPaths(c, "/x.scope"); !errors.Is(err, errdefs.ErrFailedPrecondition) {
		t.Error(err)
	}
}

func lines(t *testing.T, r *specs.LinuxResources) string {
	t.Helper()
	dirs, err := Paths(machine, "/a", "", "")
	if err != nil {
		t.Fatal(err)
	}
	list, err := V1(r, dirs, "/linux/resources")
	if err != nil {
		return err.Error()
	}
	var b strings.Builder
	for _, w := range list {
		fmt.Fprintf(&b, "%s=%s %s %d\n", w.File, w.Value, w.Source, w.When)
	}
	return b.String()
}

func ptr[T any](v T) *T { return &v }

func TestV1(t *testing.T) {
	got := lines(t, &specs.LinuxResources{
		Memory:  &specs.LinuxMemory{Limit: ptr(int64(64 << 20)), Swap: ptr(int64(-1))},
		CPU:     &specs.LinuxCPU{Quota: ptr(int64(5000)), Period: ptr(uint64(10000)), Shares: ptr(uint64(2))},
		Pids:    &specs.LinuxPids{Limit: ptr(int64(0))},
		Devices: []specs.LinuxDeviceCgroup{{Allow: true, Type: "c", Major: ptr(int64(10)), Minor: ptr(int64(200)), Access: "rw"}},
	})
	want := `memory.limit_in_bytes=67108864 /linux/resources/memory/limit 0
memory.memsw.limit_in_bytes=-1 /linux/resources/memory/swap 0
cpu.shares=2 /linux/resources/cpu/shares 0
cpu.cfs_period_us=10000 /linux/resources/cpu/period 0
cpu.cfs_quota_us=5000 /linux/resources/cpu/quota 0
pids.max=0 /linux/resources/pids/limit 1
devices.deny=a /linux/resources/devices 1
devices.allow=c 10:200 rw /linux/resources/devices/0 1
`
	if !strings.HasPrefix(got, want) || !strings.Contains(got, "devices.allow=c 1:3 rwm") {
		t.Errorf("got:\n%swant:\n%s", got, want)
	}
	if got := lines(t, nil); !strings.HasPrefix(got, "devices.deny=a ") {
		t.Errorf("no resources at all must deny devices:\n%s", got)
	}
	privileged := lines(t, &specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: false, Access: "rwm"}, {Allow: true, Access: "rwm"}}})
	if privileged != "devices.deny=a /linux/resources/devices/0 1\ndevices.allow=a /linux/resources/devices/1 1\n" {
		t.Errorf("privileged:\n%s", privileged)
	}
}

func TestV1Errors(t *testing.T) {
	for want, r := range map[string]*specs.LinuxResources{
		"/linux/resources/unified: ":                                             {Unified: map[string]string{"memory.high": "1"}},
		"/linux/resources/memory/swap: ":                                         {Memory: &specs.LinuxMemory{Limit: ptr(int64(2)), Swap: ptr(int64(1))}},
		"/linux/resources/memory/swappiness: ":                                   {Memory: &specs.LinuxMemory{Swappiness: ptr(uint64(101))}},
		"/linux/resources/cpu/cpus: the cgroup controller cpuset is not mounted": {CPU: &specs.LinuxCPU{Cpus: "0"}},
		"/linux/resources/devices/0/type: ":                                      {Devices: []specs.LinuxDeviceCgroup{{Type: "x"}}},
		"/linux/resources/devices/1/access: ":                                    {Devices: []specs.LinuxDeviceCgroup{{}, {Type: "c", Access: "rx"}}},
	} {
		if got := lines(t, r); !strings.HasPrefix(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
