package spec

// rlimitNames are the resources of getrlimit(2) by number (include/uapi/asm-generic/resource.h); amd64 and arm64 have the same.
var rlimitNames = [...]string{
	"RLIMIT_CPU", "RLIMIT_FSIZE", "RLIMIT_DATA", "RLIMIT_STACK", "RLIMIT_CORE", "RLIMIT_RSS", "RLIMIT_NPROC", "RLIMIT_NOFILE",
	"RLIMIT_MEMLOCK", "RLIMIT_AS", "RLIMIT_LOCKS", "RLIMIT_SIGPENDING", "RLIMIT_MSGQUEUE", "RLIMIT_NICE", "RLIMIT_RTPRIO", "RLIMIT_RTTIME",
}

// RlimitNumber returns the number of a resource, as prlimit(2) takes it.
func RlimitNumber(name string) (int, bool) {
	for n, s := range rlimitNames {
		if s == name {
			return n, true
		}
	}
	return 0, false
}

// RlimitName returns the name of a resource, "" for a number that has none.
func RlimitName(n int) string {
	if n < 0 || n >= len(rlimitNames) {
		return ""
	}
	return rlimitNames[n]
}
