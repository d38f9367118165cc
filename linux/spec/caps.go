package spec

import "github.com/opencontainers/runtime-spec/specs-go"

// capNames are the capabilities by number (capabilities(7), include/uapi/linux/capability.h). No name was added since Linux 5.9.
var capNames = [...]string{
	"CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL", "CAP_SETGID", "CAP_SETUID",
	"CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER",
	"CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYS_NICE",
	"CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE", "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP",
	"CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
}

// LastCap is the highest capability number that has a name here.
const LastCap = len(capNames) - 1

// CapNumber returns the number of a capability, 0 (CAP_CHOWN) to 40 (CAP_CHECKPOINT_RESTORE). Names are in capitals and begin with CAP_.
func CapNumber(name string) (int, bool) {
	for n, s := range capNames {
		if s == name {
			return n, true
		}
	}
	return 0, false
}

// CapName returns the name of a capability, "" for a number that has none.
func CapName(n int) string {
	if n < 0 || n > LastCap {
		return ""
	}
	return capNames[n]
}

// CapMask returns the set of the named capabilities, bit n for capability n. Names that are not known are left out (Validate refuses them).
func CapMask(names []string) uint64 {
	var m uint64
	for _, s := range names {
		if n, ok := CapNumber(s); ok {
			m |= 1 << n
		}
	}
	return m
}

// AmbientMask returns the ambient capabilities that can be raised: the ones in the permitted and in the inheritable set too (prctl(2),
// PR_CAP_AMBIENT_RAISE). The others are left out, not refused: "runc spec" writes such a list, and the specification says not to
// fail for capabilities that cannot be granted (config.md, "capabilities").
func AmbientMask(c *specs.LinuxCapabilities) uint64 {
	return CapMask(c.Ambient) & CapMask(c.Permitted) & CapMask(c.Inheritable)
}
