package spec

import (
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const maxDevName = 15 // bytes, IFNAMSIZ without the NUL (netdevice(7))

// NetDeviceName returns the name that a host's network device gets in the container.
func NetDeviceName(host string, d specs.LinuxNetDevice) string {
	if d.Name == "" {
		return host
	}
	return d.Name
}

func (p *problems) netDevices(s *specs.Spec) {
	const here = "/linux/netDevices"
	if len(s.Linux.NetDevices) == 0 {
		return
	}
	if _, own := Namespace(s, specs.NetworkNamespace); !own {
		p.bad(here, "the container has no network namespace to move them to")
	}
	taken := map[string]string{}
	for _, host := range sortedKeys(s.Linux.NetDevices) {
		pointer := at(here, host)
		if why := badDevName(host, false); why != "" {
			p.bad(pointer, "%q: %s", host, why)
			continue
		}
		name := NetDeviceName(host, s.Linux.NetDevices[host])
		if why := badDevName(name, true); why != "" {
			p.bad(pointer+"/name", "%q: %s", name, why)
			continue
		}
		if other, twice := taken[name]; twice && !strings.Contains(name, "%d") {
			p.bad(pointer+"/name", "%q is the name of %s in the container", name, other)
		}
		taken[name] = host
	}
}

// badDevName says what is wrong with a device's name, by the kernel's rules; %d stands for a free number.
func badDevName(name string, template bool) string {
	rest := name
	if template {
		rest = strings.Replace(name, "%d", "", 1)
	}
	switch {
	case name == "":
		return "is empty"
	case len(name) > maxDevName:
		return "more than 15 bytes"
	case name == "." || name == ".." || strings.ContainsAny(rest, "/:% \t\n\v\f\r"):
		return "is no name of a network device"
	}
	return ""
}
