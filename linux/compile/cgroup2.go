package compile

import (
	"fmt"
	"path"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

const whyV2 = "Documentation/admin-guide/cgroup-v2.rst"

// unified says that the container's cgroup is in the v2 hierarchy.
func (c *compiler) unified() bool { return len(c.dirs) == 1 && c.dirs[0].Unified }

// makeUnified makes the container's directory in the v2 hierarchy, and gives it the controllers on the way. Where the directory above has them all to
// give, it is left alone: a write there takes the lock of all cgroups, and waits for those below it that are on their way out.
func (c *compiler) makeUnified() {
	d := c.dirs[0]
	list := d.Parents()
	leaf := list[len(list)-1]
	rest, ready := c.b.Label(), c.b.Label()
	writes := files.Enable(d)
	if len(writes) > 0 {
		c.hasAll(writes[len(writes)-1], rest, ready)
	}
	c.b.Place(rest)
	enable := map[string]files.Enabling{}
	for _, e := range writes {
		enable[e.Dir] = e
	}
	c.enable(enable[d.Mount])
	for _, dir := range list[:len(list)-1] {
		c.b.Add(plan.Step{Label: "make the cgroup " + dir, Source: "/linux/cgroupsPath", Path: dir, Sys: abi.SysMkdirat,
			Args: []plan.Arg{plan.AtCwd(), c.b.Str(dir), plan.T(0o755, "0755")}, Tolerate: []abi.Errno{abi.EEXIST},
			Stays: "other containers are in it too"})
		c.enable(enable[dir])
	}
	c.b.Place(ready)
	c.makeLeaf(leaf, func() { c.checkMoving(leaf, false) })
	c.delegate(d)
}

// hasAll goes on at yes when a directory gives its children all controllers, and at no when it does not, or is not there. The kernel lists them in one
// order, so the length says it.
func (c *compiler) hasAll(e files.Enabling, no, yes plan.Label) {
	s := plan.Step{Label: "look which controllers " + e.Dir + " gives", Source: "/linux/cgroupsPath", Path: e.File, Why: whyV2 + ", Enabling and Disabling"}
	fd, n := c.b.Temp("fd"), c.b.Temp("n")
	t := s
	t.Sys, t.Save, t.FD, t.Tolerate = abi.SysOpenat, fd, true, []abi.Errno{abi.ENOENT}
	t.Args = []plan.Arg{plan.AtCwd(), c.b.Str(e.File), plan.T(abi.O_RDONLY|abi.O_CLOEXEC, "O_RDONLY|O_CLOEXEC"), plan.V(0)}
	c.b.OnErr(c.b.Add(t), no)
	t = s
	t.Sys, t.Save = abi.SysRead, n
	t.Args = []plan.Arg{plan.R(fd), plan.A(c.b.Buf("controllers", controllersSize)), plan.V(controllersSize)}
	c.b.Add(t)
	c.close(fd, e.File)
	i := c.b.Add(plan.Step{Label: "it gives all", Op: plan.OpCheck, Args: []plan.Arg{plan.R(n)}, Mask: ^uint64(0), Equal: uint64(len(e.Full)),
		Errno: abi.ENOENT, Tolerate: []abi.Errno{abi.ENOENT}})
	c.b.OnOK(i, yes)
}

// controllersSize is enough for the names of all controllers of a kernel: there are ten.
const controllersSize = 256

// enable gives the cgroups below a directory their controllers: all at once, or else those that can be had. What the container then lacks shows
// when a limit is written.
func (c *compiler) enable(e files.Enabling) {
	if e.All == "" {
		return
	}
	done, skip := c.b.Label(), c.b.Label()
	refused := []abi.Errno{abi.EBUSY, abi.ENOTSUP, abi.EINVAL, abi.ENOENT}
	s := plan.Step{Label: "give controllers to the cgroups in " + e.Dir, Source: "/linux/cgroupsPath", Path: e.File, Why: whyV2 + ", Enabling and Disabling"}
	r := c.b.Temp("fd")
	o := s
	o.Sys, o.Save, o.FD, o.Tolerate = abi.SysOpenat, r, true, []abi.Errno{abi.EACCES, abi.EPERM, abi.EROFS} // a plain user's cgroups are further down
	o.Args = []plan.Arg{plan.AtCwd(), c.b.Str(e.File), plan.T(abi.O_WRONLY|abi.O_CLOEXEC, "O_WRONLY|O_CLOEXEC"), plan.V(0)}
	c.b.OnErr(c.b.Add(o), skip)
	write := func(text string) int {
		t := s
		t.Sys, t.Tolerate, t.Args = abi.SysWrite, refused, []plan.Arg{plan.R(r), c.b.Str(text), plan.V(uint64(len(text)))}
		return c.b.Add(t)
	}
	c.b.OnOK(write(e.All), done)
	for _, text := range e.Each {
		write(text)
	}
	c.b.Place(done)
	c.close(r, e.File)
	c.b.Place(skip)
}

// delegate gives the cgroup to the container's user where the container may write to it: in a cgroup namespace of its own with a cgroupfs that
// is not read-only (config-linux.md, "Cgroup ownership").
func (c *compiler) delegate(d files.Dir) {
	uid := c.proc.User.UID
	if len(c.spec.Linux.UIDMappings) > 0 {
		uid = hostID(c.spec.Linux.UIDMappings, uid)
	}
	if p, ok := spec.Namespace(c.spec, specs.CgroupNamespace); !ok || p != "" || uid == 0 || !c.writableCgroup() {
		return
	}
	s := plan.Step{Label: "give the cgroup to the container's user", Source: "/process/user/uid", Path: d.Path, Why: "config-linux.md, Cgroup ownership", Sys: abi.SysFchownat,
		Args: []plan.Arg{plan.AtCwd(), c.b.Str(d.Path), plan.V(uint64(uid)), plan.T(keepID, "-1"), plan.V(0)}}
	c.b.Add(s)
	for _, name := range c.in.Facts.Cgroup.Delegate {
		file := path.Join(d.Path, name)
		s.Label, s.Path, s.Tolerate = "give "+name+" to the container's user", file, []abi.Errno{abi.ENOENT}
		s.Why = "/sys/kernel/cgroup/delegate"
		s.Args = []plan.Arg{plan.AtCwd(), c.b.Str(file), plan.V(uint64(uid)), plan.T(keepID, "-1"), plan.V(0)}
		c.b.Add(s)
	}
}

func hostID(maps []specs.LinuxIDMapping, id uint32) uint32 {
	for _, m := range maps {
		if id >= m.ContainerID && id-m.ContainerID < m.Size {
			return m.HostID + id - m.ContainerID
		}
	}
	return 0
}

// writableCgroup says that the container mounts its cgroup and may write to it.
func (c *compiler) writableCgroup() bool {
	for i := range c.spec.Mounts {
		if m := &c.spec.Mounts[i]; m.Type == "cgroup" || m.Type == "cgroup2" {
			opt, err := spec.ParseMountOptions(m.Options)
			return err == nil && (opt.Set|opt.RecSet)&abi.MOUNT_ATTR_RDONLY == 0
		}
	}
	return false
}

// limitUnified writes the limits that hold from the start, and arms the OOM watcher.
func (c *compiler) limitUnified() error {
	d := c.dirs[0]
	writes, err := files.V2(c.spec.Linux.Resources, d, "/linux/resources")
	if err != nil {
		return err
	}
	for _, w := range writes {
		if w.When == files.Early {
			c.writeUnified(w)
		}
	}
	if d.Has("memory") && !c.in.Unwatched {
		c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallArmOOM, Label: "watch for OOM kills", Path: d.Path, Args: []plan.Arg{c.b.Str(d.Path)},
			Why:      "armed before the container's first instruction: no kill is missed",
			Tolerate: []abi.Errno{abi.ENOENT}}) // the controller could not be given
	}
	return nil
}

// lateUnified writes the rest when the container's root is ready.
func (c *compiler) lateUnified() error {
	writes, err := files.V2(c.spec.Linux.Resources, c.dirs[0], "/linux/resources")
	if err != nil {
		return err
	}
	for _, w := range writes {
		if w.When == files.Late {
			c.writeUnified(w)
		}
	}
	return c.deviceFilter()
}

// openUnified opens the directory that the child is born in (clone3(2), CLONE_INTO_CGROUP).
func (c *compiler) openUnified() {
	dir := c.dirs[0].Path
	if c.create || c.named {
		c.openInto(plan.Step{Label: "open the cgroup " + dir, Why: "clone3(2), CLONE_INTO_CGROUP"}, dir)
		return
	}
	// A container that has made cgroups of its own has moved its processes there: nothing can be in a cgroup that gives controllers to others.
	c.into = c.b.Temp("cgroup")
	c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallCgroup, Label: "open the cgroup " + dir, Path: dir, Why: whyV2 + ", No Internal Process Constraint",
		Args: []plan.Arg{c.b.Str(c.dirs[0].Mount), c.b.Str(dir), plan.R(c.b.Reg(plan.RegInitPid))}, Save: c.into, FD: true})
}

// openInto opens a directory that is there for the child to be born in.
func (c *compiler) openInto(s plan.Step, dir string) {
	c.into = c.open(s, dir, abi.O_PATH|abi.O_DIRECTORY, "O_PATH|O_DIRECTORY")
}

// cloneArgs are the arguments of OpClone.
func (c *compiler) cloneArgs(flags uint64) []plan.Arg {
	text := flagText(flags)
	if c.into == 0 {
		return []plan.Arg{plan.T(flags, text)}
	}
	if text == "0" {
		text = "CLONE_INTO_CGROUP"
	} else {
		text += "|CLONE_INTO_CGROUP"
	}
	return []plan.Arg{plan.T(flags|abi.CLONE_INTO_CGROUP, text), plan.R(c.into)}
}

// writeUnified writes one file; another one, or none, where a kernel lacks it.
func (c *compiler) writeUnified(w files.Write) {
	d := c.dirs[0]
	if !w.Optional && w.Else == nil {
		c.writeFile(plan.Step{Label: w.Label, Source: w.Source}, path.Join(d.Path, w.File), w.Value)
		return
	}
	missing, done := c.b.Label(), c.b.Label()
	file := path.Join(d.Path, w.File)
	s := plan.Step{Label: w.Label, Source: w.Source}
	r := c.b.Temp("fd")
	t := s
	t.Sys, t.Path, t.Save, t.FD, t.Tolerate = abi.SysOpenat, file, r, true, []abi.Errno{abi.ENOENT}
	t.Args = []plan.Arg{plan.AtCwd(), c.b.Str(file), plan.T(abi.O_WRONLY|abi.O_CLOEXEC, "O_WRONLY|O_CLOEXEC"), plan.V(0)}
	c.b.OnErr(c.b.Add(t), missing)
	s.Path = file
	c.write(s, r, w.Value)
	c.close(r, file)
	if w.Else == nil {
		c.b.Place(missing)
		return
	}
	c.b.OnOK(c.jump("it is written"), done)
	c.b.Place(missing)
	c.writeUnified(*w.Else)
	c.b.Place(done)
}

// openUnifiedMount prepares a mount of type cgroup. With a cgroup namespace it is a file system of the child's to make, which shows the container's
// cgroup as its root. Without one it shows the whole hierarchy, as /proc/PID/cgroup of the container does; a copy of the host's mount, for a new mount
// would reset the options of the hierarchy (nsdelegate, memory_recursiveprot) for the whole machine (kernel/cgroup/cgroup.c, apply_cgroup_root_flags). A
// container with a user namespace may see its own directory alone.
func (c *compiler) openUnifiedMount(mt *mount) error {
	if c.hasNamespace(specs.CgroupNamespace) {
		return nil
	}
	for _, d := range mt.opt.Data {
		return invalid(fmt.Sprintf("%s/options/%d", mt.source, d.Index), "%s: a mount of the host's cgroups has the host's options", d.Key)
	}
	d := c.dirs[0].Mount
	if c.hasNamespace(specs.UserNamespace) {
		d = c.dirs[0].Path
	}
	mt.reg = c.copyTree(plan.Step{Label: "copy the cgroups of " + d, Source: mt.source}, d, false)
	set := mt.opt.Set | mt.opt.RecSet
	text := "MS_PRIVATE"
	if set != 0 {
		text = attrText(set, 0) + ", " + text
	}
	c.setattr(plan.Step{Label: "set the flags of " + d, Source: mt.source + "/options", Path: d}, mt.reg, false, set, 0, abi.MS_PRIVATE, text)
	return nil
}

// makeUnifiedMount makes that file system.
func (c *compiler) makeUnifiedMount(mt *mount) {
	if mt.reg == 0 {
		mt.reg = c.newFS(plan.Step{Label: "mount cgroup2 on " + mt.dst, Source: mt.source, Path: mt.dst}, "cgroup2", "cgroup", mt.opt.Data, mt.opt, mt.source)
	}
}
