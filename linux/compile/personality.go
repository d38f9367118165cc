package compile

import (
	"strings"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// personality sets the execution domain, before the process gives up anything and before a filter.
func (c *compiler) personality() error {
	p := c.spec.Linux.Personality
	if p == nil {
		return nil
	}
	c.b.In(plan.Child, plan.Identity)
	bits, text := spec.Personalities[p.Domain], "PER_"+string(p.Domain)
	for _, f := range p.Flags {
		bits, text = bits|spec.PersonalityFlags[f], text+"|"+string(f)
	}
	c.b.Add(plan.Step{Label: "have the personality " + strings.TrimPrefix(text, "PER_"), Source: "/linux/personality", Why: "personality(2)", Sys: abi.SysPersonality,
		Args: []plan.Arg{plan.T(bits, text)}})
	return nil
}

// memoryPolicy says from which nodes the process's memory is taken. It is in its cpuset by now, which bounds them.
func (c *compiler) memoryPolicy() error {
	m := c.spec.Linux.MemoryPolicy
	if m == nil {
		return nil
	}
	c.b.In(plan.Child, plan.Identity)
	mode, text := spec.MemoryModes[m.Mode], []string{string(m.Mode)}
	for _, f := range m.Flags {
		mode |= spec.MemoryFlags[f]
		text = append(text, string(f))
	}
	set, err := spec.NodeSet(m.Nodes)
	if err != nil {
		return invalid("/linux/memoryPolicy/nodes", "%v", err)
	}
	nodes, bits := plan.V(0), 0
	if set != nil {
		nodes, bits = plan.A(c.b.Bytes("memory nodes "+m.Nodes, set)), 8*len(set)+1 // one is not counted (set_mempolicy(2), BUGS of older pages)
	}
	c.b.Add(plan.Step{Label: strings.TrimSpace("take memory by " + string(m.Mode) + " " + m.Nodes), Source: "/linux/memoryPolicy", Why: "set_mempolicy(2)", Sys: abi.SysSetMempolicy,
		Args: []plan.Arg{plan.T(mode, strings.Join(text, "|")), nodes, plan.V(uint64(bits))}})
	return nil
}
