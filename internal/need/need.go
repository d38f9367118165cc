// Package need leaves tests out that this machine cannot run, for the reasons below and no other. Where a virtual machine (integration/vm) is there to have what
// a test needs, such a test fails instead.
package need

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Need is something that not every machine has.
type Need struct {
	What  string
	Modes []string // those of integration/vm/test.sh that have it
}

// All that tests may need. docs/testing.md has the table.
var (
	CgroupV1  = Need{"the controllers of cgroup v1", []string{"v1", "v1-systemd"}}
	CgroupV2  = Need{"the controllers of cgroup v2", []string{"v2", "v2-systemd", "v2-apparmor", "v2-criu"}}
	Systemd   = Need{"systemd, and its cgroup driver", []string{"v1-systemd", "v2-systemd"}}
	AppArmor  = Need{"AppArmor", []string{"v2-apparmor"}}
	Criu      = Need{"a CRIU that knows the kernel", []string{"v1", "v2", "v1-systemd", "v2-systemd", "v2-apparmor", "v2-criu"}}
	Resources = Need{"CAP_SYS_RESOURCE", []string{"v1", "v2", "v1-systemd", "v2-systemd", "v2-apparmor", "v2-criu"}}
	// Debian's kernel has them as little as others whose processes are systemd's.
	RealtimeGroups = Need{"a kernel with CONFIG_RT_GROUP_SCHED", nil}
)

// envMode is what integration/vm/test.sh calls the machine that it has started.
const envMode = "SHIM_TEST_VM_MODE"

// Mode is the virtual machine that the tests run in, "" on a host.
func Mode() string { return os.Getenv(envMode) }

// Expected says that this virtual machine is there to have it.
func (n Need) Expected() bool { return slices.Contains(n.Modes, Mode()) }

// Lacking ends a test that found that the machine does not have what it needs.
func (n Need) Lacking(t testing.TB, seen string) {
	t.Helper()
	if n.Expected() {
		t.Fatalf("%s is what the virtual machine %s is for: %s", n.What, Mode(), seen)
	}
	where := "no virtual machine has it"
	if len(n.Modes) > 0 {
		where = "integration/vm/test.sh " + strings.Join(n.Modes, ", ")
	}
	t.Skipf("needs %s (%s): %s", n.What, where, seen)
}
