package compile

import (
	"encoding/binary"
	"maps"
	"path"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// sysctls writes kernel parameters through a procfs that is not attached anywhere yet: nothing can lie over its files (CVE-2025-52881).
func (c *compiler) sysctls() error {
	if len(c.spec.Linux.Sysctl) == 0 {
		return nil
	}
	c.b.In(plan.Child, plan.Mounts)
	proc := c.newFS(plan.Step{Label: "make a procfs for ourselves", Source: "/linux/sysctl", Why: "CVE-2025-52881"}, "proc", "proc", nil, spec.MountOptions{}, "/linux/sysctl")
	for _, name := range slices.Sorted(maps.Keys(c.spec.Linux.Sysctl)) {
		file, ok := spec.SysctlPath(name)
		if !ok {
			return invalid("/linux/sysctl/"+name, "no such name")
		}
		value := c.spec.Linux.Sysctl[name]
		s := plan.Step{Label: "set " + name, Source: "/linux/sysctl/" + name, Path: file, Why: "sysctl(8)"}
		r := c.b.Temp("sysctl")
		how := c.b.Bytes("open_how sysctl", abi.OpenHow(abi.O_WRONLY|abi.O_CLOEXEC, 0, abi.RESOLVE_BENEATH|abi.RESOLVE_NO_SYMLINKS|abi.RESOLVE_NO_XDEV))
		s.Sys, s.Save, s.FD, s.Retry, s.RetryOn = abi.SysOpenat2, r, true, retries, abi.EAGAIN
		s.Args = []plan.Arg{plan.R(proc), c.b.Str(path.Join("sys", file)), plan.A(how), plan.V(abi.OpenHowSize)}
		c.b.Add(s)
		c.write(plan.Step{Label: s.Label, Source: s.Source, Path: file}, r, value)
		c.close(r, file)
	}
	c.close(proc, "our procfs")
	return nil
}

// names sets the names of the UTS namespace.
func (c *compiler) names() error {
	c.b.In(plan.Child, plan.Identity)
	for _, n := range []struct {
		sys           abi.Sys
		name, pointer string
	}{{abi.SysSethostname, c.spec.Hostname, "/hostname"}, {abi.SysSetdomainname, c.spec.Domainname, "/domainname"}} {
		if n.name != "" {
			c.b.Add(plan.Step{Label: "set the name " + n.name, Source: n.pointer, Why: n.sys.String() + "(2)", Sys: n.sys, Args: []plan.Arg{c.b.Str(n.name), plan.V(uint64(len(n.name)))}})
		}
	}
	return nil
}

// Values of netdevice(7) and ip(7).
const (
	afInet, sockDgram = 2, 2
	siocsifflags      = 0x8914
	iffUp             = 1
	ifreqSize         = 40
	ifreqFlags        = 16 // offset of ifr_flags
)

// loopback brings up "lo" in a new network namespace.
func (c *compiler) loopback() error {
	if p, ok := spec.Namespace(c.spec, specs.NetworkNamespace); !ok || p != "" {
		return nil
	}
	c.b.In(plan.Child, plan.Identity)
	r := c.b.Temp("socket")
	s := plan.Step{Label: "bring the loopback interface up", Source: "/linux/namespaces", Why: "netdevice(7)"}
	s.Sys, s.Save, s.FD = abi.SysSocket, r, true
	s.Args = []plan.Arg{plan.T(afInet, "AF_INET"), plan.T(sockDgram|abi.O_CLOEXEC, "SOCK_DGRAM|SOCK_CLOEXEC"), plan.V(0)}
	c.b.Add(s)
	req := make([]byte, ifreqSize)
	copy(req, "lo")
	binary.LittleEndian.PutUint16(req[ifreqFlags:], iffUp)
	s.Sys, s.Save, s.FD = abi.SysIoctl, 0, false
	s.Args = []plan.Arg{plan.R(r), plan.T(siocsifflags, "SIOCSIFFLAGS"), plan.A(c.b.Bytes("ifreq lo IFF_UP", req))}
	c.b.Add(s)
	c.close(r, "the socket")
	return nil
}
