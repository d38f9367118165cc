package compile

import (
	"path"
	"slices"
	"strings"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/cgroup/unit"
	"example.io/shim/linux/plan"
)

const whyUnit = "org.freedesktop.systemd1(5), systemd.resource-control(5)"

// Cgroups returns a new container's directories, and the systemd unit that they are of, nil without systemd.
func Cgroups(in CreateInput) ([]files.Dir, *unit.Unit, error) {
	if in.NoCgroup {
		return nil, nil, nil
	}
	if !in.SystemdCgroup {
		if pointer, ok := unit.Annotated(in.Spec.Annotations); ok {
			return nil, nil, refuse(pointer, "sets a property of a systemd unit, and the systemd cgroup driver was not asked for (option systemd_cgroup)")
		}
		dirs, err := files.Paths(in.Facts.Cgroup, in.Spec.Linux.CgroupsPath, in.Namespace, in.ID)
		if rootless(in.Facts) && in.Facts.Cgroup.Version == 1 { // who is given cgroups of v1 may not be given those of the hierarchy without controllers
			dirs = slices.DeleteFunc(dirs, func(d files.Dir) bool { return d.Unified })
		}
		return dirs, nil, err
	}
	u, err := unit.Parse(in.Spec.Linux.CgroupsPath, in.ID, in.Facts.Cgroup.Systemd.User)
	if err != nil {
		return nil, nil, err
	}
	dirs, err := files.UnitPaths(in.Facts.Cgroup, u.Cgroup())
	return dirs, &u, err
}

// makeUnit lets systemd make the container's cgroups. A process that does nothing holds them until the container's is there, which is born or goes in
// as into any cgroup, with the limits written: see docs/decisions.
func (c *compiler) makeUnit() error {
	if c.unified() {
		return c.makeUnifiedUnit()
	}
	writes, err := files.V1(c.spec.Linux.Resources, c.dirs, "/linux/resources")
	if err != nil {
		return err
	}
	// systemd knows some of the controllers. The directories for the others are ours; for all of them, so that none is missing where another version
	// of it knows fewer, and before the unit, so that they are removed behind it.
	var dirs []files.Dir
	for _, d := range c.dirs {
		if !d.Unified && !strings.HasPrefix(d.Controllers[0], "name=") {
			dirs = append(dirs, d)
		}
	}
	c.makeHierarchies(dirs)
	if err := c.startUnit(writes); err != nil {
		return err
	}
	for _, d := range dirs {
		for _, dir := range d.Parents() {
			c.b.Add(plan.Step{Label: "make the cgroup " + dir + ", if systemd has removed it", Source: "/linux/cgroupsPath", Path: dir, Sys: abi.SysMkdirat,
				Args: []plan.Arg{plan.AtCwd(), c.b.Str(dir), plan.T(0o755, "0755")}, Tolerate: []abi.Errno{abi.EEXIST},
				Stays: "the step that made it first takes it back",
				Why:   "it removes a unit's empty cgroups of the controllers that it does not need for it"})
			if d.Has("cpuset") {
				c.inheritCpuset(dir)
			}
		}
	}
	c.limitHierarchies(writes)
	return nil
}

// makeUnifiedUnit is makeUnit on cgroup v2. What systemd does not know (hugetlb, rdma, misc) is given to the unit as to any cgroup.
func (c *compiler) makeUnifiedUnit() error {
	d := c.dirs[0]
	writes, err := files.V2(c.spec.Linux.Resources, d, "/linux/resources")
	if err != nil {
		return err
	}
	c.checkMoving(d.Path, true) // systemd takes a directory that is there, and would remove it with the unit
	if err := c.startUnit(writes); err != nil {
		return err
	}
	c.checkMoving(d.Path, false)
	rest, ready := c.b.Label(), c.b.Label()
	top := path.Join(d.Mount, c.in.Facts.Cgroup.Systemd.Cgroup)
	list := files.Enable(d)
	if len(list) > 0 {
		c.hasAll(list[len(list)-1], rest, ready)
	}
	c.b.Place(rest)
	for _, e := range list {
		if e.Dir == top || strings.HasPrefix(e.Dir, strings.TrimSuffix(top, "/")+"/") { // above a user's manager it is not ours to give
			c.enable(e)
		}
	}
	c.b.Place(ready)
	c.delegate(d)
	return c.limitUnified()
}

// startUnit starts the unit with its properties: what every unit of ours has, the limits that hold from the start, and those of annotations, which come
// last and so prevail.
func (c *compiler) startUnit(writes []files.Write) error {
	props, err := c.limitsOf(writes, files.Early)
	if err != nil {
		return err
	}
	more, err := unit.Annotations(c.spec.Annotations)
	if err != nil {
		return err
	}
	props = append(append(c.unit.New(c.in.ID, c.cgroupVersion()), props...), more...)
	args := c.unitArgs()
	c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallStartUnit, Label: "start the systemd unit " + c.unit.Name, Source: "/linux/cgroupsPath", Why: whyUnit,
		Path: c.unit.Name, Args: append(args, c.propertyList(props)),
		Undo: &plan.Undo{Label: "stop the systemd unit", Call: plan.CallStopUnit, Path: c.unit.Name, Args: args}})
	return nil
}

// lateUnit sets what waits for the container's root, and takes the process out of the unit that held it.
func (c *compiler) lateUnit() error {
	var writes []files.Write
	var err error
	if c.unified() {
		writes, err = files.V2(c.spec.Linux.Resources, c.dirs[0], "/linux/resources")
	} else {
		writes, err = files.V1(c.spec.Linux.Resources, c.dirs, "/linux/resources")
	}
	if err != nil {
		return err
	}
	if !c.unit.IsSlice() {
		c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallLeaveUnit, Label: "end the process that held the unit", Path: c.unit.Name})
	}
	props, err := c.limitsOf(writes, files.Late)
	if err != nil || len(props) == 0 {
		return err
	}
	c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallSetUnit, Label: "set the late limits of the systemd unit " + c.unit.Name, Source: "/linux/resources", Why: whyUnit,
		Path: c.unit.Name, Args: append(c.unitArgs(), c.propertyList(props))})
	// systemd has written all files that it knows of anew, rounded the quota, and taken the group of the OOM killer back, for which a scope has no property
	// before version 253.
	for _, w := range writes {
		switch w.File {
		case "cpu.max", "memory.oom.group":
			c.writeUnified(w)
		case "cpu.cfs_quota_us":
			c.writeFiles([]files.Write{w}, w.When)
		}
	}
	return nil
}

// limitsOf are the properties for the writes of one time.
func (c *compiler) limitsOf(writes []files.Write, when files.When) ([]unit.Property, error) {
	var list []files.Write
	for _, w := range writes {
		if w.When == when {
			list = append(list, w)
		}
	}
	props, err := unit.OfWrites(c.cgroupVersion(), list)
	if err != nil {
		return nil, invalid("/linux/resources", "%v", err)
	}
	return props, nil
}

func (c *compiler) cgroupVersion() int {
	if c.unified() {
		return 2
	}
	return 1
}

func (c *compiler) unitArgs() []plan.Arg {
	user := plan.T(0, "system")
	if c.unit.User {
		user = plan.T(1, "user")
	}
	return []plan.Arg{c.b.Str(c.unit.Name), user}
}

func (c *compiler) propertyList(props []unit.Property) plan.Arg {
	words := make([]string, len(props))
	for i, p := range props {
		words[i] = p.String()
	}
	return plan.A(c.b.Vec("properties", words, 0))
}
