package compile

import (
	"fmt"
	"path"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// maskPaths makes paths read-only, then masks others. A path that is not there needs neither.
func (c *compiler) maskPaths() error {
	c.b.In(plan.Child, plan.Root)
	for i, p := range c.spec.Linux.ReadonlyPaths {
		c.readonlyPath(fmt.Sprintf("/linux/readonlyPaths/%d", i), p)
	}
	if len(c.spec.Linux.MaskedPaths) == 0 {
		return nil
	}
	// One empty tmpfs and one /dev/null serve all: the first place gets the mount itself, the others copies of it.
	dirs := &mask{what: "an empty folder", used: c.b.Buf("folder used", 8)}
	dirs.reg = c.newFS(plan.Step{Label: "make an empty tmpfs, which masks folders", Source: "/linux/maskedPaths"}, "tmpfs", "tmpfs",
		[]spec.MountData{{Key: "nr_blocks", Value: "1", HasValue: true, Index: ours}, {Key: "mode", Value: "0755", HasValue: true, Index: ours}},
		spec.MountOptions{Set: abi.MOUNT_ATTR_RDONLY | abi.MOUNT_ATTR_NOSUID | abi.MOUNT_ATTR_NODEV | abi.MOUNT_ATTR_NOEXEC}, "/linux/maskedPaths")
	files := &mask{what: "/dev/null", reg: c.null, used: c.b.Buf("null used", 8)}
	seen := map[string]bool{}
	for i, p := range c.spec.Linux.MaskedPaths {
		if seen[path.Clean(p)] {
			continue // a second mask would hide nothing more
		}
		seen[path.Clean(p)] = true
		c.maskPath(fmt.Sprintf("/linux/maskedPaths/%d", i), p, dirs, files)
	}
	return nil
}

// mask is what covers a path.
type mask struct {
	what string
	reg  plan.Reg
	used plan.Ref // 1 when the mount is somewhere: then it can be copied
}

// optional holds a path; where there is none, the plan goes on at missing.
func (c *compiler) optional(s plan.Step, p string, missing plan.Label) plan.Reg {
	r := c.b.Temp("at")
	s.Label, s.Tolerate = "look for "+p, []abi.Errno{abi.ENOENT, abi.ENOTDIR}
	c.b.OnErr(c.lookupInto(s, r, p, abi.O_PATH, inRoot, "O_PATH, "+inRootText), missing)
	return r
}

// again is open_tree(OPEN_TREE_CLONE) of a mount that is attached in the container.
func (c *compiler) again(s plan.Step, r plan.Reg, rec bool) plan.Reg {
	n := c.b.Temp("copy")
	flags, text := uint64(abi.OPEN_TREE_CLONE|abi.OPEN_TREE_CLOEXEC|abi.AT_EMPTY_PATH), "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC|AT_EMPTY_PATH"
	if rec {
		flags, text = flags|abi.AT_RECURSIVE, text+"|AT_RECURSIVE"
	}
	s.Sys, s.Save, s.FD, s.Why = abi.SysOpenTree, n, true, "open_tree(2)"
	s.Args = []plan.Arg{plan.R(r), c.b.Str(""), plan.T(flags, text)}
	c.b.Add(s)
	return n
}

func (c *compiler) readonlyPath(source, p string) {
	missing := c.b.Label()
	s := plan.Step{Label: "make " + p + " read-only", Source: source, Path: p}
	at := c.optional(s, p, missing)
	n := c.again(s, at, true)
	c.setattr(s, n, false, abi.MOUNT_ATTR_RDONLY, 0, 0, "RDONLY")
	c.attach(s, n, at)
	c.close(n, "the copy")
	c.close(at, p)
	c.b.Place(missing)
}

func (c *compiler) maskPath(source, p string, dirs, files *mask) {
	missing, isFile := c.b.Label(), c.b.Label()
	s := plan.Step{Label: "mask " + p, Source: source, Path: p}
	at := c.optional(s, p, missing)
	stat := c.statOf(s, at, p)
	c.b.OnErr(c.checkMode(plan.Step{Label: p + " is a folder", Source: source}, stat, abi.S_IFDIR), isFile)
	c.cover(s, at, dirs)
	c.b.OnOK(c.jump(p+" is masked"), missing)
	c.b.Place(isFile)
	c.cover(s, at, files)
	c.b.Place(missing)
}

// jump is a step that always goes on at its OnOK.
func (c *compiler) jump(label string) int {
	return c.b.Add(plan.Step{Label: label, Op: plan.OpCheck, Args: []plan.Arg{plan.V(0)}, Errno: abi.EPROTO})
}

// cover mounts the mask on a held path: the mount itself the first time, a copy later.
func (c *compiler) cover(s plan.Step, at plan.Reg, m *mask) {
	first, done := c.b.Label(), c.b.Label()
	i := c.b.Add(plan.Step{Label: m.what + " is in use", Source: s.Source, Op: plan.OpCheck, Args: []plan.Arg{plan.M(m.used, 0)}, Mask: 1, Equal: 1,
		Errno: abi.ENOENT, Tolerate: []abi.Errno{abi.ENOENT}})
	c.b.OnErr(i, first)
	n := c.again(s, m.reg, false)
	c.attach(s, n, at)
	c.close(n, "the copy")
	c.b.OnOK(c.jump("covered by a copy"), done)
	c.b.Place(first)
	c.attach(s, m.reg, at)
	c.b.Add(plan.Step{Label: m.what + " is in use now", Op: plan.OpMove, Args: []plan.Arg{plan.V(1), plan.AtOff(m.used, 0)}})
	c.b.Place(done)
	c.close(at, "the masked path")
}
