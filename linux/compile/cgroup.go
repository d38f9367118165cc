package compile

import (
	"encoding/binary"
	"path"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/plan"
)

const whyV1 = "Documentation/admin-guide/cgroup-v1/"

// makeCgroups makes the container's directories, writes the limits that hold from the start, and arms the OOM watcher.
func (c *compiler) makeCgroups() error {
	c.b.In(plan.Parent, plan.Cgroup)
	if c.in.NoCgroup {
		return c.noLimits()
	}
	if c.unit != nil {
		return c.makeUnit()
	}
	if c.unified() {
		c.makeUnified()
		return c.limitUnified()
	}
	c.makeHierarchies(c.dirs)
	writes, err := files.V1(c.spec.Linux.Resources, c.dirs, "/linux/resources")
	if err != nil {
		return err
	}
	c.limitHierarchies(writes)
	return nil
}

// makeHierarchies makes the container's directory in each of these v1 hierarchies.
func (c *compiler) makeHierarchies(dirs []files.Dir) {
	for _, d := range dirs {
		list := d.Parents()
		for i, dir := range list {
			if i < len(list)-1 {
				c.b.Add(plan.Step{Label: "make the cgroup " + dir, Source: "/linux/cgroupsPath", Path: dir, Sys: abi.SysMkdirat,
					Args: []plan.Arg{plan.AtCwd(), c.b.Str(dir), plan.T(0o755, "0755")}, Tolerate: []abi.Errno{abi.EEXIST},
					Stays: "other containers are in it too"})
			} else {
				freezer := func() {}
				if d.Has("freezer") {
					freezer = func() { c.checkThawed(dir) }
				}
				c.makeLeaf(dir, freezer)
			}
			if d.Has("cpuset") {
				c.inheritCpuset(dir)
			}
		}
	}
}

// limitHierarchies writes the limits that hold from the start, and arms the OOM watcher.
func (c *compiler) limitHierarchies(writes []files.Write) {
	c.writeFiles(writes, files.Early)
	if d, ok := files.Find(c.dirs, "memory"); ok && !c.in.Unwatched {
		c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallArmOOM, Label: "watch for OOM kills", Path: d.Path, Args: []plan.Arg{c.b.Str(d.Path)},
			Why: "armed before the container's first instruction: no kill is missed"})
	}
}

// makeLeaf makes the container's own directory. One that is there already must be empty of processes: they would be the container's, and
// die with it. And it must pass the check of its freezer.
func (c *compiler) makeLeaf(dir string, freezer func()) {
	made := c.b.Label()
	i := c.b.Add(plan.Step{Label: "make the cgroup " + dir, Source: "/linux/cgroupsPath", Path: dir, Sys: abi.SysMkdirat,
		Args: []plan.Arg{plan.AtCwd(), c.b.Str(dir), plan.T(0o755, "0755")}, Tolerate: []abi.Errno{abi.EEXIST},
		Undo: &plan.Undo{Label: "remove the cgroup", Sys: abi.SysUnlinkat, Path: dir,
			Args: []plan.Arg{plan.AtCwd(), c.b.Str(dir), plan.T(abi.AT_REMOVEDIR, "AT_REMOVEDIR")}}})
	c.b.OnOK(i, made)
	s := plan.Step{Label: "container's cgroup is not empty: look into " + dir, Source: "/linux/cgroupsPath"}
	r := c.open(s, path.Join(dir, "cgroup.procs"), abi.O_RDONLY, "O_RDONLY")
	s.Sys, s.Path, s.HasWant, s.Want, s.Errno = abi.SysRead, dir, true, 0, abi.EBUSY
	s.Args = []plan.Arg{plan.R(r), plan.A(c.b.Buf("procs", 8)), plan.V(8)}
	c.b.Add(s)
	c.close(r, "cgroup.procs")
	freezer()
	c.b.Place(made)
}

// checkThawed refuses a cgroup that is frozen already: the child would stop when it enters, and everybody with it.
func (c *compiler) checkThawed(dir string) {
	c.checkFreezer(dir, "freezer.state", whyV1+"freezer-subsystem.rst", 0, "THAWED\n\x00", false)
}

// checkMoving is checkThawed in the v2 hierarchy, where the file also tells of a frozen cgroup above. absent says that the directory need not be there.
func (c *compiler) checkMoving(dir string, absent bool) {
	const before, line = "populated 0\nf", "rozen 0\n"
	c.checkFreezer(dir, "cgroup.events", whyV2+", Core Interface Files", len(before), line, absent)
}

// checkFreezer wants a file to have these eight bytes at an offset, or not to be there.
func (c *compiler) checkFreezer(dir, file, why string, offset int, want string, absent bool) {
	const size = 64 // of the whole file
	s := plan.Step{Label: "container's cgroup unexpectedly frozen: look at " + dir, Source: "/linux/cgroupsPath", Path: dir, Why: why}
	r, buf, done := c.b.Temp("fd"), c.b.Buf(file, size), c.b.Label()
	o, name := s, path.Join(dir, file)
	o.Sys, o.Path, o.Save, o.FD = abi.SysOpenat, name, r, true
	o.Args = []plan.Arg{plan.AtCwd(), c.b.Str(name), plan.T(abi.O_RDONLY|abi.O_CLOEXEC, "O_RDONLY|O_CLOEXEC"), plan.V(0)}
	if absent {
		o.Tolerate = []abi.Errno{abi.ENOENT}
	}
	if i := c.b.Add(o); absent {
		c.b.OnErr(i, done)
	}
	s.Sys, s.Args = abi.SysRead, []plan.Arg{plan.R(r), plan.A(buf), plan.V(size)}
	c.b.Add(s)
	c.close(r, file)
	c.b.Add(plan.Step{Label: s.Label, Source: s.Source, Path: dir, Op: plan.OpCheck, Args: []plan.Arg{plan.M(buf, offset)}, Mask: ^uint64(0),
		Equal: binary.LittleEndian.Uint64([]byte(want)), Errno: abi.EBUSY})
	c.b.Place(done)
}

// inheritCpuset copies the parent's CPUs and memory nodes to a new cpuset, which nothing can enter before (cpusets.rst, 1.4).
func (c *compiler) inheritCpuset(dir string) {
	for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
		file, from := path.Join(dir, name), path.Join(path.Dir(dir), name)
		s := plan.Step{Label: "inherit " + name + " in " + dir, Why: whyV1 + "cpusets.rst, 1.4: it is empty at first"}
		buf := c.b.Buf("cpuset", cpusetSize)
		read := func(file string) plan.Reg {
			r, n := c.open(s, file, abi.O_RDONLY, "O_RDONLY"), c.b.Temp("n")
			c.b.Add(plan.Step{Label: s.Label, Path: file, Sys: abi.SysRead, Args: []plan.Arg{plan.R(r), plan.A(buf), plan.V(cpusetSize)}, Save: n})
			c.close(r, file)
			return n
		}
		has := c.b.Label()
		n := read(file)
		i := c.b.Add(plan.Step{Label: name + " is empty", Op: plan.OpCheck, Args: []plan.Arg{plan.R(n)}, Mask: ^uint64(1), Equal: 0, // "\n" or nothing
			Errno: abi.EEXIST, Tolerate: []abi.Errno{abi.EEXIST}})
		c.b.OnErr(i, has)
		n = read(from)
		w := c.open(s, file, abi.O_WRONLY, "O_WRONLY")
		c.b.Add(plan.Step{Label: s.Label, Why: s.Why, Path: file, Sys: abi.SysWrite, Args: []plan.Arg{plan.R(w), plan.A(buf), plan.R(n)}})
		c.close(w, file)
		c.b.Place(has)
	}
}

// cpusetSize is enough for the list of CPUs of any machine: 8192 CPUs, every second one, as "0,2,4,…" is 20 KiB; a page is what the
// kernel returns at most.
const cpusetSize = 4096

// lateLimits writes what waits for the container's root.
func (c *compiler) lateLimits() error {
	if c.in.NoCgroup {
		return nil
	}
	if c.unit != nil {
		if err := c.lateUnit(); err != nil {
			return err
		}
	}
	if c.unified() {
		return c.lateUnified()
	}
	writes, err := files.V1(c.spec.Linux.Resources, c.dirs, "/linux/resources")
	if err != nil {
		return err
	}
	c.writeFiles(writes, files.Late)
	return nil
}

func (c *compiler) writeFiles(writes []files.Write, when files.When) {
	for _, w := range writes {
		if w.When != when {
			continue
		}
		d, _ := files.Find(c.dirs, w.Controller)
		c.writeFile(plan.Step{Label: w.Label, Source: w.Source}, path.Join(d.Path, w.File), w.Value)
	}
}

// openCgroups opens what the child writes to join its cgroups.
func (c *compiler) openCgroups() error {
	c.b.In(plan.Parent, plan.Prepare)
	if c.unified() {
		c.openUnified()
		return nil
	}
	for _, d := range c.dirs {
		if d.Unified {
			c.openHybrid(d)
			continue
		}
		r := c.open(plan.Step{Label: "open the cgroup " + d.Path}, joinFile(d), abi.O_WRONLY, "O_WRONLY")
		c.joins = append(c.joins, joining{d, r})
		c.keep = append(c.keep, r)
	}
	return nil
}

// joining is a cgroup of a v1 hierarchy, and a descriptor of the file that its processes join it by.
type joining struct {
	dir files.Dir
	reg plan.Reg
}

// joinFile is what a process of v1 writes to join a cgroup.
func joinFile(d files.Dir) string { return path.Join(d.Path, "tasks") }

// openHybrid opens the container's cgroup in the v2 hierarchy of a machine with v1, which the child is born in. A further process of a container that has
// not that one there is born at the top: no controller is missed.
func (c *compiler) openHybrid(d files.Dir) {
	s := plan.Step{Label: "open the cgroup " + d.Path, Why: "clone3(2), CLONE_INTO_CGROUP: what is written to cgroup.procs waits for a grace period"}
	if c.create {
		c.openInto(s, d.Path)
		return
	}
	have := c.b.Label()
	c.into = c.b.Temp("cgroup")
	s.Sys, s.Save, s.FD, s.Tolerate = abi.SysOpenat, c.into, true, []abi.Errno{abi.ENOENT}
	for _, dir := range []string{d.Path, d.Mount} {
		s.Path, s.Args = dir, []plan.Arg{plan.AtCwd(), c.b.Str(dir), plan.T(abi.O_PATH|abi.O_DIRECTORY|abi.O_CLOEXEC, "O_PATH|O_DIRECTORY|O_CLOEXEC"), plan.V(0)}
		if i := c.b.Add(s); dir == d.Path {
			c.b.OnOK(i, have)
		}
		s.Label, s.Tolerate = "open the top of the hierarchy instead", nil
	}
	c.b.Place(have)
}

// joinCgroups puts the child into its cgroups. It moves itself: "0" to tasks is the only write that does not wait for a grace period of
// the kernel, and no thread of the runtime is ever in a container's cgroup, where a freezer would hold it.
func (c *compiler) joinCgroups() {
	for _, j := range c.joins {
		c.write(plan.Step{Label: "join the cgroup " + j.dir.Path, Path: joinFile(j.dir), Source: "/linux/cgroupsPath",
			Why: "cgroups(7); 0 is the caller"}, j.reg, "0")
		c.close(j.reg, "the cgroup")
	}
}
