package compile

import (
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

const (
	atClass  = "/linux/intelRdt"
	whyClass = "config-linux.md, IntelRdt; Documentation/filesystems/resctrl.rst"
)

// Class is the class of service of a container: groups below the mount point of resctrl.
type Class struct {
	Group   string // of the class, or the root of resctrl
	Monitor string // of what is measured, below Group; "" for none
	// Own says that Group is this container's alone: it is made, and goes with the container. One with a closID is shared, and stays.
	Own bool
}

// ClassOf returns the groups that a configuration asks for, nil for none. resctrl is where it is mounted.
func ClassOf(resctrl, id string, s *specs.Spec) *Class {
	r := s.Linux.IntelRdt
	if r == nil || resctrl == "" {
		return nil
	}
	c := &Class{Group: resctrl}
	switch r.ClosID {
	case spec.DefaultCLOS:
	case "":
		c.Group, c.Own = path.Join(resctrl, id), true
	default:
		c.Group = path.Join(resctrl, r.ClosID)
	}
	if r.EnableMonitoring {
		c.Monitor = path.Join(c.Group, "mon_groups", id)
	}
	return c
}

// Made lists the groups that go with the container, the inner one first.
func (c *Class) Made() (list []string) {
	if c == nil {
		return nil
	}
	if c.Monitor != "" {
		list = append(list, c.Monitor)
	}
	if c.Own {
		list = append(list, c.Group)
	}
	return list
}

// class returns the container's class of service, nil for none, and an error where there is none to be had.
func (c *compiler) class() (*Class, error) {
	if c.spec.Linux.IntelRdt == nil {
		return nil, nil
	}
	if c.in.Facts.Resctrl == "" {
		return nil, refuse(atClass, "no resctrl file system is mounted on this machine")
	}
	return ClassOf(c.in.Facts.Resctrl, c.in.ID, c.spec), nil
}

// makeClass makes the groups and gives a new one its schemata; one that was there must have what is asked for.
func (c *compiler) makeClass() error {
	class, err := c.class()
	if class == nil || err != nil {
		return err
	}
	c.b.In(plan.Parent, plan.Cgroup)
	r := c.spec.Linux.IntelRdt
	lines := joinLines(r.L3CacheSchema, r.MemBwSchema)
	asks := lines != "" || len(r.Schemata) > 0
	switch {
	case class.Own:
		c.makeGroup(class.Group, atClass)
		c.schemata(class.Group, lines)
	case class.Group == c.in.Facts.Resctrl:
		c.hasSchemata(class.Group, lines)
	case asks:
		c.sharedGroup(class.Group, lines)
	}
	c.schemata(class.Group, joinLines(r.Schemata...)) // last, and in a write of its own: the kernel takes a resource once in each
	if class.Monitor != "" {
		c.makeGroup(class.Monitor, atClass+"/enableMonitoring")
	}
	return nil
}

// joinLines makes one text of the lines that there are; the kernel wants a newline at the end.
func joinLines(list ...string) string {
	var b strings.Builder
	for _, l := range list {
		if l != "" {
			b.WriteString(l + "\n")
		}
	}
	return b.String()
}

// makeGroup makes a group that is nobody else's. ENOSPC says that the processor has no more of them.
func (c *compiler) makeGroup(dir, source string) int {
	return c.b.Add(plan.Step{Label: "make the resctrl group " + dir, Source: source, Path: dir, Why: whyClass, Sys: abi.SysMkdirat,
		Args: []plan.Arg{plan.AtCwd(), c.b.Str(dir), plan.T(0o755, "0755")},
		Undo: &plan.Undo{Label: "remove the resctrl group", Sys: abi.SysUnlinkat, Path: dir,
			Args: []plan.Arg{plan.AtCwd(), c.b.Str(dir), plan.T(abi.AT_REMOVEDIR, "AT_REMOVEDIR")}}})
}

// sharedGroup makes the group of a closID when it is not there.
func (c *compiler) sharedGroup(dir, lines string) {
	i := c.makeGroup(dir, atClass+"/closID")
	c.b.Last().Tolerate = []abi.Errno{abi.EEXIST}
	if lines == "" {
		return
	}
	there, done := c.b.Label(), c.b.Label()
	c.b.OnErr(i, there)
	c.b.OnOK(c.schemata(dir, lines), done)
	c.b.Place(there)
	c.hasSchemata(dir, lines)
	c.b.Place(done)
}

func (c *compiler) schemata(dir, lines string) int {
	if lines == "" {
		return -1
	}
	return c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallSchemata, Label: "share cache and memory bandwidth", Source: atClass, Path: path.Join(dir, "schemata"), Why: whyClass,
		Args: []plan.Arg{c.b.Str(c.in.Facts.Resctrl), c.b.Str(dir), c.b.Str(lines)}})
}

func (c *compiler) hasSchemata(dir, lines string) {
	if lines != "" {
		c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallHasSchemata, Label: "compare with the class of service that is there", Source: atClass, Path: path.Join(dir, "schemata"),
			Why: whyClass, Args: []plan.Arg{c.b.Str(dir), c.b.Str(lines)}})
	}
}

// openClass opens what the child writes to be in its groups.
func (c *compiler) openClass() error {
	class, err := c.class()
	if class == nil || err != nil {
		return err
	}
	c.b.In(plan.Parent, plan.Prepare)
	for _, dir := range []string{class.Group, class.Monitor} { // the class first: a group that measures takes its processes alone
		if dir != "" {
			r := c.open(plan.Step{Label: "open the resctrl group " + dir, Source: atClass}, path.Join(dir, "tasks"), abi.O_WRONLY, "O_WRONLY")
			c.classes, c.keep = append(c.classes, r), append(c.keep, r)
		}
	}
	return nil
}

// joinClass puts the child into its groups; what it starts is born there.
func (c *compiler) joinClass() {
	for _, r := range c.classes {
		c.write(plan.Step{Label: "join the class of service", Source: atClass, Why: whyClass + "; 0 is the caller"}, r, "0")
		c.close(r, "the resctrl group")
	}
}
