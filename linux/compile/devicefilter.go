package compile

import (
	"example.io/shim/linux/abi"
	"example.io/shim/linux/bpf"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/plan"
)

const whyDevices = whyV2 + ", Device controller"

// deviceFilter attaches the device rules as a program. Others may be attached to the cgroups above and, by the container's own managers, below: all of them
// have to allow (BPF_F_ALLOW_MULTI). It goes with the cgroup. A plain user may not load one (bpf(2)), nor make a device: of the host's, file modes say which it
// may use.
func (c *compiler) deviceFilter() error {
	rules, err := files.V2Devices(c.spec.Linux.Resources, "/linux/resources")
	if err != nil {
		return err
	}
	code := bpf.Devices(rules)
	if code == nil || c.rootless() {
		return nil
	}
	s := plan.Step{Source: "/linux/resources/devices", Path: c.dirs[0].Path, Why: whyDevices}
	s.Label = "open the cgroup for its device filter"
	target := c.open(s, s.Path, abi.O_RDONLY|abi.O_DIRECTORY, "O_RDONLY|O_DIRECTORY")
	insns := c.b.Bytes("device filter", code)
	attr := c.b.Struct("bpf_attr", abi.BpfProgLoad(abi.BPF_PROG_TYPE_CGROUP_DEVICE, uint32(len(code)/bpf.InstructionSize), "shim_devices"),
		plan.Word{Off: abi.BpfInsns, To: insns}, plan.Word{Off: abi.BpfLicense, To: c.b.Str("Apache-2.0").Data})
	prog := c.b.Temp("prog")
	s.Label = "load the device filter"
	t := s
	t.Sys, t.Save, t.FD = abi.SysBpf, prog, true
	t.Retry, t.RetryOn = retries, abi.EAGAIN // a signal ends the kernel's check of the program, and Go's runtime sends its threads many
	t.Args = []plan.Arg{plan.T(abi.BPF_PROG_LOAD, "BPF_PROG_LOAD"), plan.A(attr), plan.V(abi.BpfProgLoadSize)}
	c.b.Add(t)
	attach := c.b.Buf("bpf_attr attach", abi.BpfProgAttachSize)
	for _, m := range []struct { // each store is of 64 bits, and the next one completes it
		v  plan.Arg
		at int
	}{{plan.R(target), abi.BpfAttachTarget}, {plan.R(prog), abi.BpfAttachProg},
		{plan.T(abi.BPF_CGROUP_DEVICE|abi.BPF_F_ALLOW_MULTI<<32, "BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI"), abi.BpfAttachType}} {
		c.b.Add(plan.Step{Label: "put it together", Op: plan.OpMove, Source: s.Source, Args: []plan.Arg{m.v, plan.AtOff(attach, m.at)}})
	}
	s.Label, s.Sys = "attach the device filter", abi.SysBpf
	s.Args = []plan.Arg{plan.T(abi.BPF_PROG_ATTACH, "BPF_PROG_ATTACH"), plan.A(attach), plan.V(abi.BpfProgAttachSize)}
	c.b.Add(s)
	c.close(prog, "the device filter")
	c.close(target, s.Path)
	return nil
}
