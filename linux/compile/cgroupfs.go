package compile

import (
	"path"
	"strings"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// bindOf is a hierarchy that the container sees below its mount of type cgroup.
type bindOf struct {
	name string   // folder: the controllers, "cpu,cpuacct", or "systemd"
	more []string // links to it, for merged controllers
	reg  plan.Reg
}

// openCgroupBinds copies the container's own directory of each v1 hierarchy. With a cgroup namespace too: it is what a mount there would show.
func (c *compiler) openCgroupBinds(mt *mount) {
	for _, d := range c.dirs {
		if d.Unified {
			continue // hybrid: it has no controllers
		}
		name := strings.TrimPrefix(strings.Join(d.Controllers, ","), "name=")
		b := bindOf{name: name}
		if len(d.Controllers) > 1 {
			b.more = d.Controllers
		}
		s := plan.Step{Label: "copy the cgroup " + d.Path, Source: mt.source}
		b.reg = c.copyTree(s, d.Path, false)
		set := uint64(abi.MOUNT_ATTR_NOSUID | abi.MOUNT_ATTR_NODEV | abi.MOUNT_ATTR_NOEXEC)
		text := "NOSUID|NODEV|NOEXEC"
		if (mt.opt.Set|mt.opt.RecSet)&abi.MOUNT_ATTR_RDONLY != 0 {
			set, text = set|abi.MOUNT_ATTR_RDONLY, "RDONLY|"+text
		}
		s = plan.Step{Label: "set the flags of " + d.Path, Source: mt.source + "/options", Path: d.Path}
		c.setattr(s, b.reg, false, set, 0, abi.MS_PRIVATE, text+", MS_PRIVATE")
		mt.binds = append(mt.binds, b)
	}
	// The tmpfs that holds them is made read-only only after they are in it.
	mt.opt.Data = nil
}

// attachCgroups fills the tmpfs with the hierarchies.
func (c *compiler) attachCgroups(mt *mount) {
	for _, b := range mt.binds {
		dst := path.Join(mt.dst, b.name)
		s := plan.Step{Label: "mount the cgroup " + b.name, Source: mt.source, Path: dst}
		c.makeDir(s, mt.reg, b.name, dst)
		at := c.target(s, dst, dirTarget)
		c.attach(s, b.reg, at)
		c.close(at, dst)
		for _, link := range b.more {
			c.symlink(plan.Step{Label: "link " + link + " to " + b.name, Source: mt.source}, b.name, mt.reg, link)
		}
	}
	if (mt.opt.Set|mt.opt.RecSet)&abi.MOUNT_ATTR_RDONLY != 0 {
		c.setattr(plan.Step{Label: "make " + mt.dst + " read-only", Source: mt.source + "/options"}, mt.reg, false, abi.MOUNT_ATTR_RDONLY, 0, 0, "RDONLY")
	}
}
