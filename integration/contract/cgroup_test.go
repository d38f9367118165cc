package contract

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/containerd/cgroups/v3/cgroup1/stats"
	v2 "github.com/containerd/cgroups/v3/cgroup2/stats"
	"github.com/containerd/typeurl/v2"

	"example.io/shim/integration/daemon"
	"example.io/shim/integration/trace"
)

// unified says that this machine has cgroup v2 only.
var unified = func() bool {
	_, err := os.Stat("/sys/fs/cgroup/cgroup.controllers")
	return err == nil
}()

// limitFile is the limit of memory as a container sees it.
var limitFile = map[bool]string{false: "/sys/fs/cgroup/memory/memory.limit_in_bytes", true: "/sys/fs/cgroup/memory.max"}[unified]

// ownCaps is the line with our effective capabilities in /proc/PID/status: a privileged container has them all.
func ownCaps(t *testing.T) string {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "CapEff:") {
			return line
		}
	}
	t.Fatal("no CapEff")
	return ""
}

// usage is what the tests look at in containerd's message of either version.
type usage struct{ memory, limit, pids, cpu uint64 }

// usageOf reads the message of this machine's version.
func usageOf(t *testing.T, data typeurl.Any) usage {
	t.Helper()
	v, err := typeurl.UnmarshalAny(data)
	if err != nil {
		t.Fatal(err)
	}
	switch m := v.(type) {
	case *v1.Metrics:
		if !unified {
			return usage{m.GetMemory().GetUsage().GetUsage(), m.GetMemory().GetUsage().GetLimit(), m.GetPids().GetCurrent(), m.GetCPU().GetUsage().GetTotal()}
		}
	case *v2.Metrics:
		if unified {
			return usage{m.GetMemory().GetUsage(), m.GetMemory().GetUsageLimit(), m.GetPids().GetCurrent(), m.GetCPU().GetUsageUsec()}
		}
	}
	t.Fatalf("metrics of type %T", v)
	return usage{}
}

// frozen says what the kernel says of a container.
func frozen(t *testing.T, id string) bool {
	t.Helper()
	dir := filepath.Join(daemon.Namespace, id)
	scope := filepath.Join(trace.Slice(daemon.Namespace), "shim-"+id+".scope")
	for _, root := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/freezer"} {
		if _, err := os.Stat(filepath.Join(root, scope)); err == nil {
			dir = scope
		}
	}
	file := filepath.Join("/sys/fs/cgroup/freezer", dir, "freezer.state")
	if unified {
		file = filepath.Join("/sys/fs/cgroup", dir, "cgroup.events")
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(data), "FROZEN\n") || strings.Contains(string(data), "frozen 1\n")
}
