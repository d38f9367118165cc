// Package features is the OCI features document (runtime-spec, features.md): what this version carries out, whatever the machine can;
// but for the flags of seccomp that it lists as supported, which are the kernel's.
package features

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

	"example.io/shim/linux/bpf"
	"example.io/shim/linux/cgroup/unit"
	"example.io/shim/linux/compile"
	"example.io/shim/linux/host"
	"example.io/shim/linux/spec"
)

// oldest is the first version of the specification whose every configuration is taken.
const oldest = "1.0.0"

// versionAnnotation tells the version of this program.
const versionAnnotation = "io.example.shim.version"

// JSON returns the document. version is this program's.
func JSON(version string) ([]byte, error) {
	data, err := json.Marshal(document(version))
	if err != nil {
		return nil, fmt.Errorf("features: %w", err)
	}
	return data, nil
}

func document(version string) *features.Features {
	options := spec.MountOptionNames()
	slices.Sort(options)
	return &features.Features{
		OCIVersionMin: oldest, OCIVersionMax: specs.Version,
		Hooks:        []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		MountOptions: options,
		Linux:        linux(),
		Annotations:  map[string]string{versionAnnotation: version},
		// A property may be a path of the host, or hold a unit's stop back.
		PotentiallyUnsafeConfigAnnotations: []string{unit.AnnotationPrefix},
	}
}

func linux() *features.Linux {
	yes := new(true)
	caps := make([]string, 0, spec.LastCap+1)
	for n := range spec.LastCap + 1 {
		caps = append(caps, spec.CapName(n))
	}
	return &features.Linux{
		Namespaces: []string{"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}, Capabilities: caps,
		Cgroup:          &features.Cgroup{V1: yes, V2: yes, Systemd: yes, SystemdUser: yes, Rdma: yes},
		Seccomp:         seccomp(),
		Apparmor:        &features.Apparmor{Enabled: yes},
		Selinux:         &features.Selinux{Enabled: yes},
		IntelRdt:        &features.IntelRdt{Enabled: yes, Schemata: yes, Monitoring: yes},
		MemoryPolicy:    &features.MemoryPolicy{Modes: names(spec.MemoryModes), Flags: names(spec.MemoryFlags)},
		MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: yes}},
		NetDevices:      &features.NetDevices{Enabled: yes},
	}
}

// seccomp lists what a profile can name, and of its flags those that this machine's kernel knows: the one part of the document that depends on the machine.
func seccomp() *features.Seccomp {
	_, bits := host.Seccomp()
	var supported []specs.LinuxSeccompFlag
	for _, f := range spec.SeccompFlags {
		if bit := compile.SeccompFlag(f); bits&bit == bit {
			supported = append(supported, f)
		}
	}
	return &features.Seccomp{Enabled: new(true), Actions: texts(bpf.ActionNames), Operators: texts(spec.SeccompOperators), Archs: texts(bpf.ArchNames),
		KnownFlags: texts(spec.SeccompFlags), SupportedFlags: texts(supported)}
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

// names lists what a table of the specification's words knows.
func names[K ~string, V any](table map[K]V) []string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(table)) {
		list = append(list, string(k))
	}
	return list
}
