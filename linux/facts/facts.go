// Package facts holds what the compiler needs to know about the machine. It is data only, so that a compile is a
// pure function and a golden test can state any machine; package host finds the values out.
package facts

// Support is what a probe found out by doing.
type Support int8

// The three answers of a probe. Unknown is the zero value: nobody asked, or the probe could not be carried out.
const (
	Unknown Support = iota
	Yes
	No
)

// Facts describe one machine and the runtime's own place on it.
type Facts struct {
	Kernel      string // release, for messages only: never compared
	Arch        string // GOARCH
	LastCap     int    // highest capability number, /proc/sys/kernel/cap_last_cap
	Caps        uint64 // our effective capabilities, bit n is capability n
	UID         uint32 // our effective uid
	InUserns    bool   // we are in another user namespace than the first: rootless Podman and containerd run us so
	PageSize    int    // bytes
	OOMScoreAdj int    // our own, -1000 to 1000
	Nofile      Rlimit // RLIMIT_NOFILE as inherited, before Go's runtime raised the soft limit
	Ignored     uint64 // signals that we ignore, bit n is signal n+1: they would stay so over execve
	Cgroup      Cgroup
	// Probed system calls and file-system abilities.
	TimeNamespace   Support
	CgroupNamespace Support
	OverlayAppend   Support // fsconfig lowerdir+ of overlayfs (6.8)
	AppArmor        Support // is active
	SELinux         Support // is active
	Seccomp         Support // filters, seccomp(2)
	SeccompFlags    uint64  // SECCOMP_FILTER_FLAG_ bits that the kernel knows
	Resctrl         string  // mount point of resctrl, "" for none
}

// Rlimit is a resource limit; the unit depends on the resource.
type Rlimit struct{ Soft, Hard uint64 }

// Cgroup describes the mounted cgroup hierarchies.
type Cgroup struct {
	Version     int // 1 (also hybrid), 2 (pure), 0 (none mounted)
	Hierarchies []Hierarchy
	Delegate    []string // v2: the files that go with a delegated cgroup, /sys/kernel/cgroup/delegate
	Systemd     Systemd  // asked for where it makes the cgroups only
}

// Systemd is the manager whose units containers are.
type Systemd struct {
	User   bool   // the one of our user, who is not root; otherwise the system's
	Cgroup string // its own cgroup, which its slices are below; relative to a hierarchy's root
}

// Hierarchy is one mounted cgroup v1 hierarchy or the v2 one.
type Hierarchy struct {
	Controllers []string // "memory", or "cpu","cpuacct", or "name=systemd"; of v2 those that it has, in the kernel's order
	Mount       string   // mount point in our mount namespace
	Root        string   // root of that mount within the hierarchy (mountinfo field 4), "/" normally
	Own         string   // our own cgroup in it, from /proc/self/cgroup, relative to the hierarchy's root
	Unified     bool     // the v2 hierarchy
}
