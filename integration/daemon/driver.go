package daemon

import (
	"os"

	runcopts "github.com/containerd/containerd/api/types/runc/options"

	"example.io/shim/integration/trace"
)

// Systemd says that the tests' cgroups are to be made by systemd: integration/vm/test.sh v2-systemd. The tests that talk to a shim themselves go on without.
var Systemd = os.Getenv("SHIM_TEST_CGROUP_DRIVER") == "systemd"

// RuntimeOptions are the runtime's for the driver of these tests.
func RuntimeOptions() any {
	if Systemd {
		return &runcopts.Options{SystemdCgroup: true}
	}
	return nil
}

// CgroupsPath is that of a container.
func CgroupsPath(id string) string {
	if Systemd {
		return trace.Slice(Namespace) + ":shim:" + id
	}
	return "/" + Namespace + "/" + id // as ctr does it
}
