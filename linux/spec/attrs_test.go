package spec

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

const timeNS = `{"type": "mount"}, {"type": "user"}, {"type": "uts"}, {"type": "time"}`

// TestAttributeRules: as TestRules, for what a process has besides its identity.
func TestAttributeRules(t *testing.T) {
	for _, c := range []struct{ patch, want string }{
		{`{"process": {"scheduler": {"policy": "SCHED_OTHER", "nice": -20, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}}}`, ""},
		{`{"process": {"scheduler": {"nice": 1}}}`, "/process/scheduler/policy: is missing"},
		{`{"process": {"scheduler": {"policy": "other"}}}`, `/process/scheduler/policy: "other" is none of SCHED_BATCH, SCHED_DEADLINE, `},
		{`{"process": {"scheduler": {"policy": "SCHED_ISO"}}}`, `*/process/scheduler/policy: SCHED_ISO: Linux has the name`},
		{`{"process": {"scheduler": {"policy": "SCHED_BATCH", "nice": 20}}}`, "/process/scheduler/nice: 20 is not in -20 to 19"},
		{`{"process": {"scheduler": {"policy": "SCHED_BATCH", "priority": 1}}}`, "/process/scheduler/priority: 1: SCHED_BATCH has none"},
		{`{"process": {"scheduler": {"policy": "SCHED_RR"}}}`, "/process/scheduler/priority: 0 is not in 1 to 99, as SCHED_RR needs"},
		{`{"process": {"scheduler": {"policy": "SCHED_FIFO", "priority": 99}}}`, ""},
		{`{"process": {"scheduler": {"policy": "SCHED_FIFO", "priority": 99, "flags": ["SCHED_FLAG_RECLAIM", "X"]}}}`, `/process/scheduler/flags/1: "X" is none of SCHED_FLAG_DL_OVERRUN, `},
		{`{"process": {"scheduler": {"policy": "SCHED_OTHER", "period": 5}}}`, "/process/scheduler/period: 5: SCHED_OTHER has none"},
		{`{"process": {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 1024}}}`, ""},
		{`{"process": {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1023, "deadline": 2000}}}`, "/process/scheduler/runtime: 1023 is less than 1024 ns"},
		{`{"process": {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 1999}}}`, "/process/scheduler/deadline: 1999 is less than the runtime"},
		{`{"process": {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 3000, "period": 2999}}}`, "/process/scheduler/period: 2999 is less than the deadline"},
		{`{"process": {"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0}}}`, ""},
		{`{"process": {"ioPriority": {"class": "IDLE", "priority": 0}}}`, `/process/ioPriority/class: "IDLE" is none of IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE, IOPRIO_CLASS_RT`},
		{`{"process": {"ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 8}}}`, "/process/ioPriority/priority: 8 is not in 0 to 7"},

		{`{"process": {"execCPUAffinity": {"initial": "0-3,7", "final": " 5 , 8191"}}}`, ""},
		{`{"process": {"execCPUAffinity": {"initial": "3-0"}}}`, `/process/execCPUAffinity/initial: "3-0" ends before it begins`},
		{`{"process": {"execCPUAffinity": {"final": "8192"}}}`, `/process/execCPUAffinity/final: "8192": there are at most 8192`},
		{`{"process": {"execCPUAffinity": {"final": "1,"}}}`, `/process/execCPUAffinity/final: "" is neither a number`},
		{`{"process": {"execCPUAffinity": {"final": "1-2-3"}}}`, `/process/execCPUAffinity/final: "1-2-3" is neither a number`},

		{`{"linux": {"personality": {"domain": "LINUX32"}}}`, ""},
		{`{"linux": {"personality": {"domain": "BSD"}}}`, `/linux/personality/domain: "BSD" is none of LINUX, LINUX32`},
		{`{"linux": {"personality": {"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE", "STICKY_TIMEOUTS"]}}}`, ""},
		{`{"linux": {"personality": {"domain": "LINUX", "flags": ["ADDR_RANDOMIZE"]}}}`, `/linux/personality/flags/0: "ADDR_RANDOMIZE" is none of ADDR_COMPAT_LAYOUT, `},
		{`{"linux": {"intelRdt": {"closID": "gold", "l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=20", "schemata": ["L2:0=f"], "enableMonitoring": true}}}`, ""},
		{`{"linux": {"intelRdt": {"closID": "/"}}}`, ""},
		{`{"linux": {"intelRdt": {"closID": "../x"}}}`, `/linux/intelRdt/closID: "../x" is no name of a group`},
		{`{"linux": {"intelRdt": {"closID": ".."}}}`, `/linux/intelRdt/closID: ".." is no name of a group`},
		{`{"linux": {"intelRdt": {"l3CacheSchema": "L3:0=f\nMB:0=5"}}}`, `/linux/intelRdt/l3CacheSchema: "L3:0=f\nMB:0=5": one line is needed`},
		{`{"linux": {"intelRdt": {"l3CacheSchema": "0=f"}}}`, `/linux/intelRdt/l3CacheSchema: "0=f" does not begin with L3`},
		{`{"linux": {"intelRdt": {"memBwSchema": "L3:0=f"}}}`, `/linux/intelRdt/memBwSchema: "L3:0=f" does not begin with MB:`},
		{`{"linux": {"intelRdt": {"schemata": ["MB:0=5", ""]}}}`, `/linux/intelRdt/schemata/1: is empty`},

		{`{"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-3", "flags": ["MPOL_F_STATIC_NODES"]}}}`, ""},
		{`{"linux": {"memoryPolicy": {"mode": "MPOL_PREFERRED"}}}`, ""},
		{`{"linux": {"memoryPolicy": {"nodes": "0"}}}`, `/linux/memoryPolicy/mode: "" is none of MPOL_BIND, MPOL_DEFAULT, `},
		{`{"linux": {"memoryPolicy": {"mode": "MPOL_BIND"}}}`, `/linux/memoryPolicy/nodes: is missing: MPOL_BIND needs some`},
		{`{"linux": {"memoryPolicy": {"mode": "MPOL_LOCAL", "nodes": "1"}}}`, `/linux/memoryPolicy/nodes: "1": this mode requires 0 nodes but got 1: MPOL_LOCAL has none`},
		{`{"linux": {"memoryPolicy": {"mode": "MPOL_DEFAULT", "nodes": "0-7,9"}}}`, `/linux/memoryPolicy/nodes: "0-7,9": this mode requires 0 nodes but got 9: MPOL_DEFAULT has none`},
		{`{"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "1024"}}}`, `/linux/memoryPolicy/nodes: "1024": there are at most 1024`},
		{`{"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "1", "flags": ["X"]}}}`, `/linux/memoryPolicy/flags/0: "X" is none of MPOL_F_NUMA_BALANCING, `},
		{`{"linux": {"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "1", "flags": ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"]}}}`, `/linux/memoryPolicy/flags: MPOL_F_STATIC_NODES and`},

		{`{"linux": {"timeOffsets": {"boottime": {"secs": 5}}}}`, `/linux/timeOffsets: would be the host's: the container has no time namespace`},
		{`{"linux": {"namespaces": [` + timeNS + `], "timeOffsets": {"boottime": {"secs": -5, "nanosecs": 999999999}, "monotonic": {"nanosecs": 1}}}}`, ``},
		{`{"linux": {"namespaces": [` + timeNS + `], "timeOffsets": {"boottime": {"nanosecs": 1000000000}}}}`, `/linux/timeOffsets/boottime/nanosecs: 1000000000 is not in 0 to 999999999`},
		{`{"linux": {"namespaces": [` + timeNS + `], "timeOffsets": {"realtime": {"secs": 1}}}}`, `/linux/timeOffsets/realtime: is no clock of a time namespace: there are monotonic and boottime`},
		{`{"linux": {"namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "uts"}, {"type": "time", "path": "/x"}], "timeOffsets": {"boottime": {}}}}`,
			`/linux/timeOffsets: cannot be set: the time namespace is there already, at /x`},

		{`{"linux": {"netDevices": {"eth9": {}}, "namespaces": [{"type": "mount"}, {"type": "user"}, {"type": "uts"}]}}`, `/linux/netDevices: the container has no network namespace`},
		{`{"linux": {"netDevices": {"eth9": {}, "x": {"name": "eth%d"}, "y": {"name": "eth%d"}}}}`, ``},
		{`{"linux": {"netDevices": {"eth9": {}, "x": {"name": "eth9"}}}}`, `/linux/netDevices/x/name: "eth9" is the name of eth9 in the container`},
		{`{"linux": {"netDevices": {"eth%d": {}}}}`, `/linux/netDevices/eth%d: "eth%d": is no name of a network device`},
		{`{"linux": {"netDevices": {"x": {"name": "a%d%d"}}}}`, `/linux/netDevices/x/name: "a%d%d": is no name`},
		{`{"linux": {"netDevices": {"x": {"name": "1234567890123456"}}}}`, `/linux/netDevices/x/name: "1234567890123456": more than 15 bytes`},
		{`{"linux": {"netDevices": {"": {"name": "x"}}}}`, `/linux/netDevices/: "": is empty`},
		{`{"linux": {"netDevices": {"x": {"name": "a/b"}, "y": {"name": ".."}}}}`, `/linux/netDevices/x/name: "a/b": is no name of a network device; /linux/netDevices/y/name: "..": is no name`},
	} {
		s, err := Parse(patched(t, c.patch))
		if err != nil {
			t.Fatalf("%s: %v", c.patch, err)
		}
		err = Validate(s, Options{})
		want, later := strings.CutPrefix(c.want, "*")
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", c.patch, err)
		case want == "":
		case err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "; ") != strings.Count(want, "; "):
			t.Errorf("%s:\ngot  %v\nwant %s", c.patch, err, want)
		case errors.Is(err, errdefs.ErrNotImplemented) != later:
			t.Errorf("%s: wrong class: %v", c.patch, err)
		}
	}
}
