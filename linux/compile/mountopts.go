package compile

import (
	"fmt"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// openIDMap makes, as the parent, the user namespace whose maps an idmapped mount gets. Without mappings of its own it has those of the container's user
// namespace (config.md, "mounts", uidMappings).
func (c *compiler) openIDMap(mt *mount) error {
	uids, gids, source := mt.m.UIDMappings, mt.m.GIDMappings, mt.source+"/uidMappings"
	if len(uids) == 0 && len(gids) == 0 {
		if !mt.opt.IDMap {
			return nil
		}
		uids, gids, source = c.spec.Linux.UIDMappings, c.spec.Linux.GIDMappings, "/linux/uidMappings"
		if c.ns.joinUser {
			for i := range c.ns.joins {
				if j := &c.ns.joins[i]; j.typ == specs.UserNamespace {
					mt.userns = j.reg
					return nil
				}
			}
		}
		if len(uids) == 0 {
			return invalid(mt.source+"/options", "idmap without mappings, in a container without a user namespace")
		}
	}
	mt.userns = c.usernsOf(source, string(spec.IDMap(uids)), string(spec.IDMap(gids)))
	if !mt.opt.Bind {
		c.keep = append(c.keep, mt.userns) // the file system is the child's to make
	}
	return nil
}

// usernsOf is a descriptor of a user namespace with these maps.
func (c *compiler) usernsOf(source, uids, gids string) plan.Reg {
	ns := c.b.Temp("userns")
	c.b.Add(plan.Step{Label: "make a user namespace with the mappings", Source: source, Op: plan.OpCall, Call: plan.CallUserns,
		Args: []plan.Arg{c.b.Str(uids), c.b.Str(gids)}, Save: ns, FD: true})
	return ns
}

// idmap maps the ids of a detached mount (mount_setattr(2), "ID-mapped mounts").
func (c *compiler) idmap(mt *mount) {
	if mt.userns == 0 {
		return
	}
	name := mt.m.Source
	if !mt.opt.Bind {
		name = mt.dst
	}
	s := plan.Step{Label: "map the ids of " + name, Source: mt.source, Path: name}
	if c.parentMaps(mt) {
		c.parentTurn(plan.Mounts, func() {
			rec := uint64(0)
			if mt.opt.RIDMap {
				rec = 1
			}
			s.Op, s.Call, s.Why, s.Args = plan.OpCall, plan.CallMapMount, "mount_setattr(2): with the host's rights", []plan.Arg{plan.R(mt.reg), plan.R(mt.userns), plan.V(rec)}
			c.b.Add(s)
		})
		return
	}
	c.setIDMap(s, mt.reg, mt.userns, mt.opt.RIDMap)
	if !c.ns.joinUser || len(mt.m.UIDMappings) > 0 {
		c.close(mt.userns, "the user namespace")
	}
}

// parentMaps says that the parent maps the ids of a mount whose source the container's own mounts bring about: a child in a user namespace may not.
func (c *compiler) parentMaps(mt *mount) bool {
	return mt.inside != "" && c.hasNamespace(specs.UserNamespace)
}

func (c *compiler) setIDMap(s plan.Step, mount, userns plan.Reg, rec bool) {
	attr := c.b.Bytes("mount_attr IDMAP "+s.Source, abi.MountAttr(abi.MOUNT_ATTR_IDMAP, 0, 0))
	c.b.Add(plan.Step{Label: "put it into the attributes", Op: plan.OpMove, Args: []plan.Arg{plan.R(userns), plan.AtOff(attr, abi.MountAttrUserns)}})
	flags, text := uint64(abi.AT_EMPTY_PATH), "AT_EMPTY_PATH"
	if rec {
		flags, text = flags|abi.AT_RECURSIVE, text+"|AT_RECURSIVE"
	}
	s.Why, s.Sys = "mount_setattr(2), ID-mapped mounts", abi.SysMountSetattr
	s.Args = []plan.Arg{plan.R(mount), c.b.Str(""), plan.T(flags, text), plan.A(attr), plan.V(abi.MountAttrSize)}
	c.b.Add(s)
}

// copyUp lets the parent copy what the image has at the destination into the new tmpfs, before that covers it. The child waits.
func (c *compiler) copyUp(mt *mount) {
	if !mt.opt.TmpCopyUp {
		return
	}
	flags := uint64(0)
	for _, d := range mt.opt.Data {
		if d.Key == "mode" || d.Key == "uid" || d.Key == "gid" {
			flags = 1 // the options say what the folder itself is
		}
	}
	uids, gids := string(spec.IDMap(c.spec.Linux.UIDMappings)), string(spec.IDMap(c.spec.Linux.GIDMappings))
	c.parentTurn(plan.Mounts, func() {
		c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallCopyUp, Label: "copy what the image has in " + mt.dst, Source: mt.source + "/options", Path: mt.dst,
			Why: "tmpcopyup (config-linux.md)", Args: []plan.Arg{plan.R(c.root), c.b.Str(mt.dst), plan.R(mt.reg), plan.V(flags), c.b.Str(uids), c.b.Str(gids)}})
	})
}

// remount changes a mount that is there: its flags, and without bind also the options of its file system. What the options do not name stays as
// it is: a mount that was nosuid is not made otherwise by forgetting the word.
func (c *compiler) remount(mt *mount) {
	s := plan.Step{Label: "hold the mount on " + mt.dst, Source: mt.source}
	at := c.lookup(s, mt.dst, abi.O_PATH, inRoot, "O_PATH, "+inRootText)
	mt.reg = at
	opt := mt.opt
	if opt.Bind {
		opt.Data, opt.Super, opt.SuperClear = nil, 0, 0
	}
	if len(opt.Propagation) == 0 {
		mt.opt.Bind = false // no propagation of a copy
	}
	c.attributes(mt, mt.dst)
	if len(opt.Data) > 0 || opt.Super|opt.SuperClear != 0 {
		c.reconfigure(plan.Step{Label: "change the file system on " + mt.dst, Source: mt.source + "/options", Path: mt.dst}, at, opt)
	}
	c.close(at, mt.dst)
}

// reconfigure changes the options of a mounted file system (fspick(2), fsconfig(2)).
func (c *compiler) reconfigure(s plan.Step, at plan.Reg, opt spec.MountOptions) {
	ctx := c.b.Temp("fs")
	source := s.Source
	step := func(sys abi.Sys, why string, args ...plan.Arg) {
		s.Sys, s.Why, s.Args = sys, why, args
		c.b.Add(s)
	}
	s.Save, s.FD = ctx, true
	step(abi.SysFspick, "fspick(2)", plan.R(at), c.b.Str(""), plan.T(abi.FSPICK_CLOEXEC|abi.FSPICK_EMPTY_PATH, "FSPICK_CLOEXEC|FSPICK_EMPTY_PATH"))
	s.Save, s.FD = 0, false
	for _, d := range opt.Data {
		s.Source = fmt.Sprintf("%s/%d", source, d.Index)
		if d.HasValue {
			step(abi.SysFsconfig, "fsconfig(2)", plan.R(ctx), plan.T(abi.FSCONFIG_SET_STRING, "FSCONFIG_SET_STRING"), c.b.Str(d.Key), c.b.Str(d.Value), plan.V(0))
		} else {
			step(abi.SysFsconfig, "fsconfig(2)", plan.R(ctx), plan.T(abi.FSCONFIG_SET_FLAG, "FSCONFIG_SET_FLAG"), c.b.Str(d.Key), plan.V(0), plan.V(0))
		}
	}
	s.Source = source
	for _, f := range superFlags {
		name := f.name
		if opt.SuperClear&f.flag != 0 {
			name = strings.Replace("no"+name, "nosync", "async", 1)
		} else if opt.Super&f.flag == 0 {
			continue
		}
		step(abi.SysFsconfig, "fsconfig(2)", plan.R(ctx), plan.T(abi.FSCONFIG_SET_FLAG, "FSCONFIG_SET_FLAG"), c.b.Str(name), plan.V(0), plan.V(0))
	}
	step(abi.SysFsconfig, "fsconfig(2)", plan.R(ctx), plan.T(abi.FSCONFIG_CMD_RECONFIGURE, "FSCONFIG_CMD_RECONFIGURE"), plan.V(0), plan.V(0), plan.V(0))
	c.close(ctx, "its context")
}
