package spec

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/quickjson"
)

func readLinux(r *reader, v *specs.Linux) { quickjson.Object(r, v, linuxFields) }

var linuxFields = []quickjson.Field[specs.Linux]{
	{Name: "uidMappings", Read: func(r *reader, v *specs.Linux) { quickjson.List(r, &v.UIDMappings, readMapping) }},
	{Name: "gidMappings", Read: func(r *reader, v *specs.Linux) { quickjson.List(r, &v.GIDMappings, readMapping) }},
	{Name: "sysctl", Read: func(r *reader, v *specs.Linux) { quickjson.Map(r, &v.Sysctl, quickjson.String) }},
	{Name: "resources", Read: func(r *reader, v *specs.Linux) { quickjson.Pointer(r, &v.Resources, readResources) }},
	{Name: "cgroupsPath", Read: func(r *reader, v *specs.Linux) { quickjson.String(r, &v.CgroupsPath) }},
	{Name: "namespaces", Read: func(r *reader, v *specs.Linux) { quickjson.List(r, &v.Namespaces, readNamespace) }},
	{Name: "devices", Read: func(r *reader, v *specs.Linux) { quickjson.List(r, &v.Devices, readDevice) }},
	{Name: "seccomp", Read: func(r *reader, v *specs.Linux) { quickjson.Pointer(r, &v.Seccomp, readSeccomp) }},
	{Name: "rootfsPropagation", Read: func(r *reader, v *specs.Linux) { quickjson.String(r, &v.RootfsPropagation) }},
	{Name: "maskedPaths", Read: func(r *reader, v *specs.Linux) { quickjson.Strings(r, &v.MaskedPaths) }},
	{Name: "readonlyPaths", Read: func(r *reader, v *specs.Linux) { quickjson.Strings(r, &v.ReadonlyPaths) }},
	{Name: "mountLabel", Read: func(r *reader, v *specs.Linux) { quickjson.String(r, &v.MountLabel) }},
}

func readMapping(r *reader, v *specs.LinuxIDMapping) { quickjson.Object(r, v, mappingFields) }

var mappingFields = []quickjson.Field[specs.LinuxIDMapping]{
	{Name: "containerID", Read: func(r *reader, v *specs.LinuxIDMapping) { quickjson.Uint(r, &v.ContainerID) }},
	{Name: "hostID", Read: func(r *reader, v *specs.LinuxIDMapping) { quickjson.Uint(r, &v.HostID) }},
	{Name: "size", Read: func(r *reader, v *specs.LinuxIDMapping) { quickjson.Uint(r, &v.Size) }},
}

func readNamespace(r *reader, v *specs.LinuxNamespace) { quickjson.Object(r, v, namespaceFields) }

var namespaceFields = []quickjson.Field[specs.LinuxNamespace]{
	{Name: "type", Read: func(r *reader, v *specs.LinuxNamespace) { quickjson.String(r, &v.Type) }},
	{Name: "path", Read: func(r *reader, v *specs.LinuxNamespace) { quickjson.String(r, &v.Path) }},
}

func readDevice(r *reader, v *specs.LinuxDevice) { quickjson.Object(r, v, deviceFields) }

var deviceFields = []quickjson.Field[specs.LinuxDevice]{
	{Name: "path", Read: func(r *reader, v *specs.LinuxDevice) { quickjson.String(r, &v.Path) }},
	{Name: "type", Read: func(r *reader, v *specs.LinuxDevice) { quickjson.String(r, &v.Type) }},
	{Name: "major", Read: func(r *reader, v *specs.LinuxDevice) { quickjson.Int(r, &v.Major) }},
	{Name: "minor", Read: func(r *reader, v *specs.LinuxDevice) { quickjson.Int(r, &v.Minor) }},
	{Name: "fileMode", Read: func(r *reader, v *specs.LinuxDevice) { quickjson.Pointer(r, &v.FileMode, quickjson.Uint) }},
	{Name: "uid", Read: func(r *reader, v *specs.LinuxDevice) { quickjson.Pointer(r, &v.UID, quickjson.Uint) }},
	{Name: "gid", Read: func(r *reader, v *specs.LinuxDevice) { quickjson.Pointer(r, &v.GID, quickjson.Uint) }},
}

func readResources(r *reader, v *specs.LinuxResources) { quickjson.Object(r, v, resourcesFields) }

var resourcesFields = []quickjson.Field[specs.LinuxResources]{
	{Name: "devices", Read: func(r *reader, v *specs.LinuxResources) { quickjson.List(r, &v.Devices, readRule) }},
	{Name: "memory", Read: func(r *reader, v *specs.LinuxResources) { quickjson.Pointer(r, &v.Memory, readMemory) }},
	{Name: "cpu", Read: func(r *reader, v *specs.LinuxResources) { quickjson.Pointer(r, &v.CPU, readCPU) }},
	{Name: "pids", Read: func(r *reader, v *specs.LinuxResources) { quickjson.Pointer(r, &v.Pids, readPids) }},
	{Name: "hugepageLimits", Read: func(r *reader, v *specs.LinuxResources) { quickjson.List(r, &v.HugepageLimits, readHuge) }},
	{Name: "unified", Read: func(r *reader, v *specs.LinuxResources) { quickjson.Map(r, &v.Unified, quickjson.String) }},
}

func readRule(r *reader, v *specs.LinuxDeviceCgroup) { quickjson.Object(r, v, ruleFields) }

var ruleFields = []quickjson.Field[specs.LinuxDeviceCgroup]{
	{Name: "allow", Read: func(r *reader, v *specs.LinuxDeviceCgroup) { quickjson.Bool(r, &v.Allow) }},
	{Name: "type", Read: func(r *reader, v *specs.LinuxDeviceCgroup) { quickjson.String(r, &v.Type) }},
	{Name: "major", Read: func(r *reader, v *specs.LinuxDeviceCgroup) { quickjson.Pointer(r, &v.Major, quickjson.Int) }},
	{Name: "minor", Read: func(r *reader, v *specs.LinuxDeviceCgroup) { quickjson.Pointer(r, &v.Minor, quickjson.Int) }},
	{Name: "access", Read: func(r *reader, v *specs.LinuxDeviceCgroup) { quickjson.String(r, &v.Access) }},
}

func readMemory(r *reader, v *specs.LinuxMemory) { quickjson.Object(r, v, memoryFields) }

var memoryFields = []quickjson.Field[specs.LinuxMemory]{
	{Name: "limit", Read: func(r *reader, v *specs.LinuxMemory) { quickjson.Pointer(r, &v.Limit, quickjson.Int) }},
	{Name: "reservation", Read: func(r *reader, v *specs.LinuxMemory) { quickjson.Pointer(r, &v.Reservation, quickjson.Int) }},
	{Name: "swap", Read: func(r *reader, v *specs.LinuxMemory) { quickjson.Pointer(r, &v.Swap, quickjson.Int) }},
	{Name: "swappiness", Read: func(r *reader, v *specs.LinuxMemory) { quickjson.Pointer(r, &v.Swappiness, quickjson.Uint) }},
	{Name: "disableOOMKiller", Read: func(r *reader, v *specs.LinuxMemory) { quickjson.Pointer(r, &v.DisableOOMKiller, quickjson.Bool) }},
}

func readCPU(r *reader, v *specs.LinuxCPU) { quickjson.Object(r, v, cpuFields) }

var cpuFields = []quickjson.Field[specs.LinuxCPU]{
	{Name: "shares", Read: func(r *reader, v *specs.LinuxCPU) { quickjson.Pointer(r, &v.Shares, quickjson.Uint) }},
	{Name: "quota", Read: func(r *reader, v *specs.LinuxCPU) { quickjson.Pointer(r, &v.Quota, quickjson.Int) }},
	{Name: "burst", Read: func(r *reader, v *specs.LinuxCPU) { quickjson.Pointer(r, &v.Burst, quickjson.Uint) }},
	{Name: "period", Read: func(r *reader, v *specs.LinuxCPU) { quickjson.Pointer(r, &v.Period, quickjson.Uint) }},
	{Name: "cpus", Read: func(r *reader, v *specs.LinuxCPU) { quickjson.String(r, &v.Cpus) }},
	{Name: "mems", Read: func(r *reader, v *specs.LinuxCPU) { quickjson.String(r, &v.Mems) }},
}

func readPids(r *reader, v *specs.LinuxPids) { quickjson.Object(r, v, pidsFields) }

var pidsFields = []quickjson.Field[specs.LinuxPids]{
	{Name: "limit", Read: func(r *reader, v *specs.LinuxPids) { quickjson.Pointer(r, &v.Limit, quickjson.Int) }},
}

func readHuge(r *reader, v *specs.LinuxHugepageLimit) { quickjson.Object(r, v, hugeFields) }

var hugeFields = []quickjson.Field[specs.LinuxHugepageLimit]{
	{Name: "pageSize", Read: func(r *reader, v *specs.LinuxHugepageLimit) { quickjson.String(r, &v.Pagesize) }},
	{Name: "limit", Read: func(r *reader, v *specs.LinuxHugepageLimit) { quickjson.Uint(r, &v.Limit) }},
}

func readSeccomp(r *reader, v *specs.LinuxSeccomp) { quickjson.Object(r, v, seccompFields) }

var seccompFields = []quickjson.Field[specs.LinuxSeccomp]{
	{Name: "defaultAction", Read: func(r *reader, v *specs.LinuxSeccomp) { quickjson.String(r, &v.DefaultAction) }},
	{Name: "defaultErrnoRet", Read: func(r *reader, v *specs.LinuxSeccomp) { quickjson.Pointer(r, &v.DefaultErrnoRet, quickjson.Uint) }},
	{Name: "architectures", Read: func(r *reader, v *specs.LinuxSeccomp) { quickjson.Strings(r, &v.Architectures) }},
	{Name: "flags", Read: func(r *reader, v *specs.LinuxSeccomp) { quickjson.Strings(r, &v.Flags) }},
	{Name: "syscalls", Read: func(r *reader, v *specs.LinuxSeccomp) { quickjson.List(r, &v.Syscalls, readSyscall) }},
}

func readSyscall(r *reader, v *specs.LinuxSyscall) { quickjson.Object(r, v, syscallFields) }

var syscallFields = []quickjson.Field[specs.LinuxSyscall]{
	{Name: "names", Read: func(r *reader, v *specs.LinuxSyscall) { quickjson.Strings(r, &v.Names) }},
	{Name: "action", Read: func(r *reader, v *specs.LinuxSyscall) { quickjson.String(r, &v.Action) }},
	{Name: "errnoRet", Read: func(r *reader, v *specs.LinuxSyscall) { quickjson.Pointer(r, &v.ErrnoRet, quickjson.Uint) }},
	{Name: "args", Read: func(r *reader, v *specs.LinuxSyscall) { quickjson.List(r, &v.Args, readArg) }},
}

func readArg(r *reader, v *specs.LinuxSeccompArg) { quickjson.Object(r, v, argFields) }

var argFields = []quickjson.Field[specs.LinuxSeccompArg]{
	{Name: "index", Read: func(r *reader, v *specs.LinuxSeccompArg) { quickjson.Uint(r, &v.Index) }},
	{Name: "value", Read: func(r *reader, v *specs.LinuxSeccompArg) { quickjson.Uint(r, &v.Value) }},
	{Name: "valueTwo", Read: func(r *reader, v *specs.LinuxSeccompArg) { quickjson.Uint(r, &v.ValueTwo) }},
	{Name: "op", Read: func(r *reader, v *specs.LinuxSeccompArg) { quickjson.String(r, &v.Op) }},
}
