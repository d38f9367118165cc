// Package features is the OCI features document (runtime-spec, features.md): what this version carries out, whatever the machine can.
package features

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/opencontainers/runtime-spec/specs-go/features"

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
	}
}

func linux() *features.Linux {
	yes, no := new(true), new(false)
	caps := make([]string, 0, spec.LastCap+1)
	for n := range spec.LastCap + 1 {
		caps = append(caps, spec.CapName(n))
	}
	return &features.Linux{
		Namespaces: []string{"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}, Capabilities: caps,
		Cgroup:          &features.Cgroup{V1: yes, V2: yes, Systemd: no, SystemdUser: no, Rdma: yes},
		Seccomp:         &features.Seccomp{Enabled: no},
		Apparmor:        &features.Apparmor{Enabled: yes},
		Selinux:         &features.Selinux{Enabled: yes},
		IntelRdt:        &features.IntelRdt{Enabled: yes, Schemata: yes, Monitoring: yes},
		MemoryPolicy:    &features.MemoryPolicy{Modes: names(spec.MemoryModes), Flags: names(spec.MemoryFlags)},
		MountExtensions: &features.MountExtensions{IDMap: &features.IDMap{Enabled: yes}},
		NetDevices:      &features.NetDevices{Enabled: yes},
	}
}

// names lists what a table of the specification's words knows.
func names[K ~string, V any](table map[K]V) []string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(table)) {
		list = append(list, string(k))
	}
	return list
}
