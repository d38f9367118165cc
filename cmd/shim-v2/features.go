package main

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
	ocifeatures "github.com/opencontainers/runtime-spec/specs-go/features"

	"example.io/shim/linux/spec"
)

// features is the OCI features document (features.md): what this version carries out.
func features() ([]byte, error) {
	yes, no := true, false
	caps := make([]string, 0, spec.LastCap+1)
	for n := range spec.LastCap + 1 {
		caps = append(caps, spec.CapName(n))
	}
	options := spec.MountOptionNames()
	slices.Sort(options)
	data, err := json.Marshal(ocifeatures.Features{
		OCIVersionMin: "1.0.0", OCIVersionMax: specs.Version, MountOptions: options,
		Hooks: []string{"prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"},
		Linux: &ocifeatures.Linux{
			Namespaces: []string{"cgroup", "ipc", "mount", "network", "pid", "time", "user", "uts"}, Capabilities: caps,
			Cgroup:          &ocifeatures.Cgroup{V1: &yes, V2: &yes, Systemd: &no, SystemdUser: &no, Rdma: &yes},
			Seccomp:         &ocifeatures.Seccomp{Enabled: &no},
			Apparmor:        &ocifeatures.Apparmor{Enabled: &yes},
			Selinux:         &ocifeatures.Selinux{Enabled: &yes},
			IntelRdt:        &ocifeatures.IntelRdt{Enabled: &no},
			MountExtensions: &ocifeatures.MountExtensions{IDMap: &ocifeatures.IDMap{Enabled: &yes}},
			NetDevices:      &ocifeatures.NetDevices{Enabled: &yes},
		},
	})
	if err != nil {
		return nil, fmt.Errorf("features: %w", err)
	}
	return data, nil
}
