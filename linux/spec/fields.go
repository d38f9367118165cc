package spec

// support says what becomes of a field.
type support uint8

const (
	carried support = iota + 1 // carried out
	later                      // not yet: errdefs.ErrNotImplemented
	gone                       // today's kernels cannot: errdefs.ErrNotImplemented
	foreign                    // of another platform: errdefs.ErrInvalidArgument
)

// fieldRule is one line of the table.
type fieldRule struct {
	pattern string // JSON pointer, * for any index or name; a rule that refuses covers all below it
	is      support
	why     string // for refusals
}

// carriedOut is the one table that says which fields of runtime-spec are carried out. A field that is in no line is refused when it is set, so the
// walk over specs-go in the tests demands a decision for each. To carry a field out: do it in package compile, and write carried here.
var carriedOut = []fieldRule{
	{"/ociVersion", carried, ""},
	{"/hostname", carried, ""},
	{"/domainname", carried, ""},
	{"/annotations", carried, ""}, // handed on in the state; those that ask for something are in refusedAnnotations
	{"/root/path", carried, ""},
	{"/root/readonly", carried, ""},
	{"/hooks/prestart/*/path", carried, ""},
	{"/hooks/prestart/*/args", carried, ""},
	{"/hooks/prestart/*/env", carried, ""},
	{"/hooks/prestart/*/timeout", carried, ""},
	{"/hooks/createRuntime/*/path", carried, ""},
	{"/hooks/createRuntime/*/args", carried, ""},
	{"/hooks/createRuntime/*/env", carried, ""},
	{"/hooks/createRuntime/*/timeout", carried, ""},
	{"/hooks/createContainer/*/path", carried, ""},
	{"/hooks/createContainer/*/args", carried, ""},
	{"/hooks/createContainer/*/env", carried, ""},
	{"/hooks/createContainer/*/timeout", carried, ""},
	{"/hooks/startContainer/*/path", carried, ""},
	{"/hooks/startContainer/*/args", carried, ""},
	{"/hooks/startContainer/*/env", carried, ""},
	{"/hooks/startContainer/*/timeout", carried, ""},
	{"/hooks/poststart/*/path", carried, ""},
	{"/hooks/poststart/*/args", carried, ""},
	{"/hooks/poststart/*/env", carried, ""},
	{"/hooks/poststart/*/timeout", carried, ""},
	{"/hooks/poststop/*/path", carried, ""},
	{"/hooks/poststop/*/args", carried, ""},
	{"/hooks/poststop/*/env", carried, ""},
	{"/hooks/poststop/*/timeout", carried, ""},
	{"/windows", foreign, "windows"},
	{"/solaris", foreign, "solaris"},
	{"/vm", foreign, "virtual machines"},
	{"/zos", foreign, "z/OS"},
	{"/freebsd", foreign, "FreeBSD"},

	{"/process/terminal", carried, ""},
	{"/process/consoleSize/height", carried, ""},
	{"/process/consoleSize/width", carried, ""},
	{"/process/user/uid", carried, ""},
	{"/process/user/gid", carried, ""},
	{"/process/user/umask", carried, ""},
	{"/process/user/additionalGids", carried, ""},
	{"/process/user/username", foreign, "windows"},
	{"/process/args", carried, ""},
	{"/process/commandLine", foreign, "windows"},
	{"/process/env", carried, ""},
	{"/process/cwd", carried, ""},
	{"/process/capabilities/bounding", carried, ""},
	{"/process/capabilities/effective", carried, ""},
	{"/process/capabilities/inheritable", carried, ""},
	{"/process/capabilities/permitted", carried, ""},
	{"/process/capabilities/ambient", carried, ""},
	{"/process/rlimits/*/type", carried, ""},
	{"/process/rlimits/*/hard", carried, ""},
	{"/process/rlimits/*/soft", carried, ""},
	{"/process/noNewPrivileges", carried, ""},
	{"/process/oomScoreAdj", carried, ""},
	{"/process/apparmorProfile", later, ""},
	{"/process/selinuxLabel", later, ""},
	{"/process/scheduler", later, ""},
	{"/process/ioPriority", later, ""},
	{"/process/execCPUAffinity", later, ""},

	{"/mounts/*/destination", carried, ""},
	{"/mounts/*/type", carried, ""},
	{"/mounts/*/source", carried, ""},
	{"/mounts/*/options", carried, ""},
	{"/mounts/*/uidMappings", later, ""},
	{"/mounts/*/gidMappings", later, ""},

	{"/linux/uidMappings/*/containerID", carried, ""},
	{"/linux/uidMappings/*/hostID", carried, ""},
	{"/linux/uidMappings/*/size", carried, ""},
	{"/linux/gidMappings/*/containerID", carried, ""},
	{"/linux/gidMappings/*/hostID", carried, ""},
	{"/linux/gidMappings/*/size", carried, ""},
	{"/linux/sysctl", carried, ""},
	{"/linux/cgroupsPath", carried, ""},
	{"/linux/namespaces/*/type", carried, ""}, // but see refusedNamespaces
	{"/linux/namespaces/*/path", carried, ""},
	{"/linux/devices/*/path", carried, ""},
	{"/linux/devices/*/type", carried, ""},
	{"/linux/devices/*/major", carried, ""},
	{"/linux/devices/*/minor", carried, ""},
	{"/linux/devices/*/fileMode", carried, ""},
	{"/linux/devices/*/uid", carried, ""},
	{"/linux/devices/*/gid", carried, ""},
	{"/linux/rootfsPropagation", carried, ""},
	{"/linux/maskedPaths", carried, ""},
	{"/linux/readonlyPaths", carried, ""},
	{"/linux/netDevices", later, ""},
	{"/linux/seccomp", later, ""},
	{"/linux/mountLabel", later, ""},
	{"/linux/intelRdt", later, ""},
	{"/linux/memoryPolicy", later, ""},
	{"/linux/personality", later, ""},
	{"/linux/timeOffsets", later, ""},

	{"/linux/resources/devices/*/allow", carried, ""},
	{"/linux/resources/devices/*/type", carried, ""},
	{"/linux/resources/devices/*/major", carried, ""},
	{"/linux/resources/devices/*/minor", carried, ""},
	{"/linux/resources/devices/*/access", carried, ""},
	{"/linux/resources/memory/limit", carried, ""},
	{"/linux/resources/memory/reservation", carried, ""},
	{"/linux/resources/memory/swap", carried, ""},
	{"/linux/resources/memory/kernel", gone, "Linux 5.16 and later have no such limit"},
	{"/linux/resources/memory/kernelTCP", carried, ""},
	{"/linux/resources/memory/swappiness", carried, ""},
	{"/linux/resources/memory/disableOOMKiller", carried, ""},
	{"/linux/resources/memory/useHierarchy", carried, ""}, // true is all that there is; false is refused
	{"/linux/resources/memory/checkBeforeUpdate", carried, ""},
	{"/linux/resources/cpu/shares", carried, ""},
	{"/linux/resources/cpu/quota", carried, ""},
	{"/linux/resources/cpu/burst", carried, ""},
	{"/linux/resources/cpu/period", carried, ""},
	{"/linux/resources/cpu/realtimeRuntime", carried, ""},
	{"/linux/resources/cpu/realtimePeriod", carried, ""},
	{"/linux/resources/cpu/cpus", carried, ""},
	{"/linux/resources/cpu/mems", carried, ""},
	{"/linux/resources/cpu/idle", carried, ""},
	{"/linux/resources/pids/limit", carried, ""},
	{"/linux/resources/blockIO/weight", carried, ""},
	{"/linux/resources/blockIO/leafWeight", gone, "the CFQ scheduler left Linux in 5.0"},
	{"/linux/resources/blockIO/weightDevice/*/major", carried, ""},
	{"/linux/resources/blockIO/weightDevice/*/minor", carried, ""},
	{"/linux/resources/blockIO/weightDevice/*/weight", carried, ""},
	{"/linux/resources/blockIO/weightDevice/*/leafWeight", gone, "the CFQ scheduler left Linux in 5.0"},
	{"/linux/resources/blockIO/throttleReadBpsDevice/*/major", carried, ""},
	{"/linux/resources/blockIO/throttleReadBpsDevice/*/minor", carried, ""},
	{"/linux/resources/blockIO/throttleReadBpsDevice/*/rate", carried, ""},
	{"/linux/resources/blockIO/throttleWriteBpsDevice/*/major", carried, ""},
	{"/linux/resources/blockIO/throttleWriteBpsDevice/*/minor", carried, ""},
	{"/linux/resources/blockIO/throttleWriteBpsDevice/*/rate", carried, ""},
	{"/linux/resources/blockIO/throttleReadIOPSDevice/*/major", carried, ""},
	{"/linux/resources/blockIO/throttleReadIOPSDevice/*/minor", carried, ""},
	{"/linux/resources/blockIO/throttleReadIOPSDevice/*/rate", carried, ""},
	{"/linux/resources/blockIO/throttleWriteIOPSDevice/*/major", carried, ""},
	{"/linux/resources/blockIO/throttleWriteIOPSDevice/*/minor", carried, ""},
	{"/linux/resources/blockIO/throttleWriteIOPSDevice/*/rate", carried, ""},
	{"/linux/resources/hugepageLimits/*/pageSize", carried, ""},
	{"/linux/resources/hugepageLimits/*/limit", carried, ""},
	{"/linux/resources/network/classID", carried, ""},
	{"/linux/resources/network/priorities/*/name", carried, ""},
	{"/linux/resources/network/priorities/*/priority", carried, ""},
	{"/linux/resources/rdma/*/hcaHandles", carried, ""},
	{"/linux/resources/rdma/*/hcaObjects", carried, ""},
	{"/linux/resources/unified", carried, ""}, // on cgroup v2; refused on v1 (Options.CgroupVersion)
}

// refusedAnnotations are beginnings of annotations that ask the runtime for something which is not carried out yet.
var refusedAnnotations = []string{"org.systemd.property."}

// refusedOptions are mount options that are not carried out yet.
func refusedOption(m *MountOptions) string {
	switch {
	case m.Remount:
		return "remount"
	case m.RIDMap:
		return "ridmap"
	case m.IDMap:
		return "idmap"
	}
	return ""
}
