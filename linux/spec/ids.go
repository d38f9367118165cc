package spec

import (
	"strconv"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ToHost returns the id on the host of an id in the container, and whether it is mapped.
func ToHost(maps []specs.LinuxIDMapping, id uint32) (uint32, bool) {
	for _, m := range maps {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + (id - m.ContainerID), true
		}
	}
	return 0, false
}

// ToContainer returns the id in the container of an id on the host, and whether it is mapped.
func ToContainer(maps []specs.LinuxIDMapping, id uint32) (uint32, bool) {
	for _, m := range maps {
		if id >= m.HostID && id-m.HostID < m.Size {
			return m.ContainerID + (id - m.HostID), true
		}
	}
	return 0, false
}

// IDMap returns the content of /proc/PID/uid_map or gid_map (user_namespaces(7)): a line "container host size" a mapping.
func IDMap(maps []specs.LinuxIDMapping) []byte {
	var b []byte
	for _, m := range maps {
		b = strconv.AppendUint(b, uint64(m.ContainerID), 10)
		b = append(b, ' ')
		b = strconv.AppendUint(b, uint64(m.HostID), 10)
		b = append(b, ' ')
		b = strconv.AppendUint(b, uint64(m.Size), 10)
		b = append(b, '\n')
	}
	return b
}

// Namespace returns the path of the namespace of that type ("" for a new one) and whether the container has one at all: without, it
// shares the runtime's.
func Namespace(s *specs.Spec, t specs.LinuxNamespaceType) (path string, ok bool) {
	if s.Linux == nil {
		return "", false
	}
	for _, n := range s.Linux.Namespaces {
		if n.Type == t {
			return n.Path, true
		}
	}
	return "", false
}

// OwnPidNamespace says that the container has a new pid namespace: the kernel ends its processes with init.
func OwnPidNamespace(s *specs.Spec) bool {
	path, ok := Namespace(s, specs.PIDNamespace)
	return ok && path == ""
}
