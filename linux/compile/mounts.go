package compile

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// mount is one entry of /mounts on its way.
type mount struct {
	m      *specs.Mount
	source string // JSON pointer
	dst    string // cleaned, absolute in the container
	opt    spec.MountOptions
	reg    plan.Reg // the detached mount
	stat   plan.Ref // of a bind's source
	binds  []bindOf // type cgroup: what is mounted inside
	userns plan.Reg // with the mappings of an idmapped mount, or 0
	inside string   // a bind's source that other mounts of the container bring about, below its root; "" for one of the host's
	sealed bool     // made read-only when everything is mounted in it
}

// openSources makes, as the parent with the host's rights, a detached copy of every tree that the child mounts: the root and the sources of
// binds. What the child gets is mounts, not paths.
func (c *compiler) openSources() error {
	c.b.In(c.owner(), plan.Prepare)
	c.root = c.copyTree(plan.Step{Label: "copy the root's mounts", Source: "/root/path"}, c.in.Rootfs, true)
	// Also for a root that is to be shared later: pivot_root(2) takes no shared one.
	propagation, text := uint64(abi.MS_SLAVE), "MS_SLAVE"
	if c.hostMounts() {
		// It is mounted over what it is a copy of: as a slave it would get its own unmounting, and with it lose what was mounted at its place before.
		propagation, text = abi.MS_PRIVATE, "MS_PRIVATE"
	}
	c.setattr(plan.Step{Label: "let no mount get out of the container", Source: "/linux/rootfsPropagation"}, c.root, true, 0, 0, propagation, text)
	for i := range c.spec.Mounts {
		if err := c.openSource(i); err != nil {
			return err
		}
	}
	if len(c.spec.Linux.MaskedPaths) > 0 {
		c.null = c.copyTree(plan.Step{Label: "copy /dev/null, which masks files", Source: "/linux/maskedPaths"}, "/dev/null", false)
		c.private(c.null, "/linux/maskedPaths")
		c.isDevice(c.null, "/linux/maskedPaths", "/dev/null", abi.S_IFCHR, 1, 3)
	}
	return c.openDevices()
}

// copyTree is open_tree(OPEN_TREE_CLONE) of a host path, kept for the child.
func (c *compiler) copyTree(s plan.Step, file string, rec bool) plan.Reg {
	r := c.b.Temp("tree")
	flags, text := uint64(abi.OPEN_TREE_CLONE|abi.OPEN_TREE_CLOEXEC), "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC"
	if rec {
		flags, text = flags|abi.AT_RECURSIVE, text+"|AT_RECURSIVE"
	}
	s.Sys, s.Path, s.Save, s.FD = abi.SysOpenTree, file, r, true
	s.Why = "open_tree(2): a copy that nobody else can reach"
	s.Args = []plan.Arg{plan.AtCwd(), c.b.Str(file), plan.T(flags, text)}
	c.b.Add(s)
	c.keep = append(c.keep, r)
	return r
}

// private takes a copy of one of the host's mounts out of the group of mounts that it was copied from: what the container mounts over the file would
// else be mounted over the host's own (mount_namespaces(7), "Shared subtrees").
func (c *compiler) private(r plan.Reg, source string) {
	c.setattr(plan.Step{Label: "let no mount get out of the container", Source: source}, r, false, 0, 0, abi.MS_PRIVATE, "MS_PRIVATE")
}

func (c *compiler) openSource(i int) error {
	m := &c.spec.Mounts[i]
	mt := &mount{m: m, source: fmt.Sprintf("/mounts/%d", i), dst: spec.Destination(m)}
	var err error
	if mt.opt, err = spec.ParseMountOptions(m.Options); err != nil {
		return invalid(mt.source+"/options", "%v", err)
	}
	c.mounts = append(c.mounts, mt)
	switch {
	case mt.opt.Remount:
		return nil
	case mt.dst == "/":
		return invalid(mt.source+"/destination", "the root cannot be mounted over")
	case isCgroup(m) && c.unified():
		return c.openUnifiedMount(mt)
	case isCgroup(m):
		c.openCgroupBinds(mt)
		return nil
	case !mt.opt.Bind:
		return c.openIDMap(mt)
	}
	if err := overProc(mt); err != nil {
		return err
	}
	from := c.hostPath(m.Source)
	if mt.inside = c.madeInside(from); mt.inside != "" {
		err := c.openIDMap(mt)
		if mt.userns != 0 && !c.parentMaps(mt) {
			c.keep = append(c.keep, mt.userns)
		}
		return err
	}
	s := plan.Step{Label: "copy the mounts of " + from, Source: mt.source}
	mt.reg = c.copyTree(s, from, mt.opt.Recursive)
	if mt.dst == "/proc" {
		c.isProc(mt.reg, mt.source, from)
	}
	mt.stat = c.statOf(plan.Step{Label: "look at " + from, Source: mt.source, Path: from}, mt.reg, from)
	after := c.keepLocked(mt, from)
	c.attributes(mt, from)
	after()
	if err := c.openIDMap(mt); err != nil {
		return err
	}
	c.idmap(mt)
	return nil
}

func isCgroup(m *specs.Mount) bool { return m.Type == "cgroup" || m.Type == "cgroup2" }

// overProc refuses mounts inside /proc: with a forged file there, what is written to it goes elsewhere (CVE-2019-16884).
func overProc(mt *mount) error {
	if spec.ForgesProc(mt.dst) {
		return invalid(mt.source+"/destination", "%s: nothing may be mounted inside /proc there", mt.dst)
	}
	return nil
}

// isProc checks that a tree mounted on /proc is procfs.
func (c *compiler) isProc(r plan.Reg, source, from string) {
	buf := c.b.Buf("statfs "+from, abi.StatfsSize)
	why := "CVE-2019-16884: a forged /proc redirects what is written there"
	c.b.Add(plan.Step{Label: "look at " + from, Source: source, Path: from, Why: why, Sys: abi.SysFstatfs, Args: []plan.Arg{plan.R(r), plan.A(buf)}})
	c.b.Add(plan.Step{Label: "only procfs can be mounted on /proc", Source: source, Path: from, Why: why, Op: plan.OpCheck,
		Args: []plan.Arg{plan.M(buf, abi.StatfsType)}, Mask: ^uint64(0), Equal: abi.PROC_SUPER_MAGIC, Errno: abi.EINVAL})
}

// attributes gives a detached tree its flags and propagation, before anybody can see it.
func (c *compiler) attributes(mt *mount, name string) {
	s := plan.Step{Label: "set the flags of " + name, Source: mt.source + "/options", Path: name}
	set, clr := mt.opt.Set, mt.opt.Clear
	if mt.opt.Bind && !mt.opt.Remount {
		set, clr = c.bindFlags(mt)
	}
	if set|clr != 0 {
		c.setattr(s, mt.reg, false, set, clr, 0, attrText(set, clr))
	}
	if mt.opt.RecSet|mt.opt.RecClear != 0 {
		c.setattr(s, mt.reg, true, mt.opt.RecSet, mt.opt.RecClear, 0, attrText(mt.opt.RecSet, mt.opt.RecClear))
	}
	s.Label = "set the propagation of " + name
	if mt.opt.Bind && !mt.opt.Remount && !slices.ContainsFunc(mt.opt.Propagation, func(p spec.Propagation) bool { return p.Recursive || p.Type == abi.MS_SHARED }) {
		// The container's mounts below it are not to show on the host; "private" and its like speak of the topmost mount alone.
		c.setattr(s, mt.reg, true, 0, 0, abi.MS_SLAVE, "MS_SLAVE")
	}
	for _, p := range mt.opt.Propagation {
		c.setattr(s, mt.reg, p.Recursive, 0, 0, p.Type, propagationText(p.Type))
	}
}

func propagationText(flag uint64) string {
	for _, p := range propagations {
		if p.flag == flag {
			return p.text
		}
	}
	return ""
}

func attrText(set, clr uint64) string {
	names := []string{}
	for _, f := range []struct {
		flag uint64
		name string
	}{{abi.MOUNT_ATTR_RDONLY, "RDONLY"}, {abi.MOUNT_ATTR_NOSUID, "NOSUID"}, {abi.MOUNT_ATTR_NODEV, "NODEV"}, {abi.MOUNT_ATTR_NOEXEC, "NOEXEC"},
		{abi.MOUNT_ATTR_NODIRATIME, "NODIRATIME"}, {abi.MOUNT_ATTR_NOSYMFOLLOW, "NOSYMFOLLOW"}} {
		if set&f.flag != 0 {
			names = append(names, f.name)
		}
		if clr&f.flag != 0 {
			names = append(names, "-"+f.name)
		}
	}
	if clr&abi.MOUNT_ATTR__ATIME != 0 {
		switch set & abi.MOUNT_ATTR__ATIME {
		case abi.MOUNT_ATTR_NOATIME:
			names = append(names, "NOATIME")
		case abi.MOUNT_ATTR_STRICTATIME:
			names = append(names, "STRICTATIME")
		default:
			names = append(names, "RELATIME")
		}
	}
	return strings.Join(names, "|")
}

// makeMounts makes every new file system, detached, while the host's tree is still there.
func (c *compiler) makeMounts() error {
	c.b.In(plan.Child, plan.Mounts)
	if !c.hostMounts() {
		c.b.Add(plan.Step{Label: "keep what is mounted from now on to ourselves", Source: "/linux/rootfsPropagation", Path: "/", Why: "mount_namespaces(7)", Sys: abi.SysMountSetattr,
			Args: []plan.Arg{plan.AtCwd(), c.b.Str("/"), plan.T(abi.AT_RECURSIVE, "AT_RECURSIVE"), plan.A(c.b.Bytes("mount_attr MS_PRIVATE", abi.MountAttr(0, 0, abi.MS_PRIVATE))), plan.V(abi.MountAttrSize)}})
	}
	for _, mt := range c.mounts {
		switch {
		case mt.opt.Remount:
		case isCgroup(mt.m) && c.unified():
			c.makeUnifiedMount(mt)
		case isCgroup(mt.m):
			opt := mt.opt
			opt.Set, opt.RecSet = opt.Set&^abi.MOUNT_ATTR_RDONLY, opt.RecSet&^abi.MOUNT_ATTR_RDONLY // only when the hierarchies are in it
			mt.reg = c.newFS(plan.Step{Label: "make a tmpfs for " + mt.dst, Source: mt.source}, "tmpfs", "tmpfs", []spec.MountData{{Key: "mode", Value: "755", HasValue: true, Index: ours}}, opt, mt.source)
		case !mt.opt.Bind:
			s := plan.Step{Label: fmt.Sprintf("mount %s on %s", mt.m.Type, mt.dst), Source: mt.source, Path: mt.dst}
			src := mt.m.Source
			if src == "" {
				src = mt.m.Type
			}
			for _, d := range mt.opt.Data {
				if len(d.Value) >= fsconfigLimit {
					return refuse(fmt.Sprintf("%s/options/%d", mt.source, d.Index), "a value longer than %d bytes", fsconfigLimit-1)
				}
			}
			opt := mt.opt
			if mt.sealed = c.sealedLater(mt); mt.sealed {
				opt.Set, opt.RecSet = opt.Set&^abi.MOUNT_ATTR_RDONLY, opt.RecSet&^abi.MOUNT_ATTR_RDONLY
			}
			mt.reg = c.newFS(s, mt.m.Type, src, mt.opt.Data, opt, mt.source)
			if len(mt.opt.Propagation) > 0 {
				c.attributes(&mount{source: mt.source, reg: mt.reg, opt: spec.MountOptions{Propagation: mt.opt.Propagation}}, mt.dst)
			}
			c.idmap(mt)
		}
	}
	return nil
}

// sealedLater says that something is to be made in a read-only tmpfs: mount targets, or devices.
func (c *compiler) sealedLater(mt *mount) bool {
	if mt.m.Type != "tmpfs" || (mt.opt.Set|mt.opt.RecSet)&abi.MOUNT_ATTR_RDONLY == 0 {
		return false
	}
	return mt.dst == "/dev" || slices.ContainsFunc(c.mounts, func(o *mount) bool { return strings.HasPrefix(o.dst, mt.dst+"/") })
}

// madeInside returns the path within the root of a bind's source on the host when another mount, before it, covers that path in the container: what is
// meant is what is there then.
func (c *compiler) madeInside(from string) string {
	rel, ok := strings.CutPrefix(from, strings.TrimSuffix(c.in.Rootfs, "/")+"/")
	if !ok {
		return ""
	}
	rel = "/" + rel
	for _, mt := range c.mounts[:len(c.mounts)-1] {
		if rel == mt.dst || strings.HasPrefix(rel, mt.dst+"/") {
			return rel
		}
	}
	return ""
}

// copyInside copies the tree of a source that the container's own mounts have brought about.
func (c *compiler) copyInside(mt *mount) {
	held := c.lookup(plan.Step{Label: "hold the source " + mt.inside, Source: mt.source, Path: mt.inside}, mt.inside, abi.O_PATH, inRoot, "O_PATH, "+inRootText)
	mt.stat = c.statOf(plan.Step{Label: "look at " + mt.inside, Source: mt.source, Path: mt.inside}, held, mt.inside)
	mt.reg = c.again(plan.Step{Label: "copy the mounts of " + mt.inside, Source: mt.source, Path: mt.inside}, held, mt.opt.Recursive)
	c.close(held, mt.inside)
	if mt.dst == "/proc" {
		c.isProc(mt.reg, mt.source, mt.inside)
	}
	c.attributes(mt, mt.inside)
	c.idmap(mt)
}

// fsconfigLimit is how long a string of fsconfig(2) may be, with its NUL.
const fsconfigLimit = 256

// ours is the index of an option that is in no configuration.
const ours = -1

// newFS makes a file system and returns its detached mount (fsopen(2), fsconfig(2), fsmount(2)).
func (c *compiler) newFS(s plan.Step, typ, src string, data []spec.MountData, opt spec.MountOptions, source string) plan.Reg {
	ctx, r := c.b.Temp("fs"), c.b.Temp("mount")
	step := func(sys abi.Sys, why string, args ...plan.Arg) {
		s.Sys, s.Why, s.Args = sys, why, args
		c.b.Add(s)
	}
	s.Save, s.FD = ctx, true
	step(abi.SysFsopen, "fsopen(2)", c.b.Str(typ), plan.T(abi.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC"))
	s.Save, s.FD = 0, false
	set := func(ptr, key, value string, has bool) {
		s.Source = ptr
		if has {
			step(abi.SysFsconfig, "fsconfig(2)", plan.R(ctx), plan.T(abi.FSCONFIG_SET_STRING, "FSCONFIG_SET_STRING"), c.b.Str(key), c.b.Str(value), plan.V(0))
		} else {
			step(abi.SysFsconfig, "fsconfig(2)", plan.R(ctx), plan.T(abi.FSCONFIG_SET_FLAG, "FSCONFIG_SET_FLAG"), c.b.Str(key), plan.V(0), plan.V(0))
		}
	}
	set(source, "source", src, true)
	for _, d := range data {
		ptr := source
		if d.Index != ours {
			ptr = fmt.Sprintf("%s/options/%d", source, d.Index)
		}
		set(ptr, d.Key, d.Value, d.HasValue)
	}
	if label := c.mountLabel(typ, data); label != "" {
		set(atMounts, "context", label, true)
	}
	for _, f := range superFlags {
		if opt.Super&f.flag != 0 {
			set(source+"/options", f.name, "", false)
		}
	}
	s.Source = source
	step(abi.SysFsconfig, "fsconfig(2)", plan.R(ctx), plan.T(abi.FSCONFIG_CMD_CREATE, "FSCONFIG_CMD_CREATE"), plan.V(0), plan.V(0), plan.V(0))
	s.Save, s.FD = r, true
	attrs := opt.Set | opt.RecSet
	step(abi.SysFsmount, "fsmount(2)", plan.R(ctx), plan.T(abi.FSMOUNT_CLOEXEC, "FSMOUNT_CLOEXEC"), plan.T(attrs, attrText(attrs, (opt.Clear|opt.RecClear)&abi.MOUNT_ATTR__ATIME)))
	c.close(ctx, "its context")
	c.labelMount(typ, r)
	return r
}

// superFlags are the flags of a file system that fsconfig knows by name.
var superFlags = []struct {
	flag uint64
	name string
}{{abi.MS_SYNCHRONOUS, "sync"}, {abi.MS_DIRSYNC, "dirsync"}, {abi.MS_LAZYTIME, "lazytime"}, {abi.MS_MANDLOCK, "mand"}}

// attachMounts mounts everything where it belongs, in order.
func (c *compiler) attachMounts() error {
	c.b.In(plan.Child, plan.Mounts)
	for _, mt := range c.mounts {
		if mt.opt.Remount {
			c.remount(mt)
			continue
		}
		if mt.inside != "" {
			c.copyInside(mt)
		}
		s := plan.Step{Label: "mount on " + mt.dst, Source: mt.source, Path: mt.dst}
		kind := dirTarget
		if mt.stat != 0 {
			kind = kindOf{stat: mt.stat}
		}
		var at plan.Reg
		if !mt.opt.Bind && (mt.m.Type == "proc" || mt.m.Type == "sysfs") {
			at = c.ordinaryDir(s, mt.dst)
		} else {
			at = c.target(s, mt.dst, kind)
		}
		c.copyUp(mt)
		c.attach(s, mt.reg, at)
		c.countVersions(mt)
		c.close(at, mt.dst)
		if mt.binds != nil {
			c.attachCgroups(mt)
		}
	}
	return nil
}

// countVersions makes a file system count the versions of its inodes: fsconfig(2) has no such flag, so it is changed by mount(2) where it is mounted by now.
func (c *compiler) countVersions(mt *mount) {
	if mt.opt.Super&abi.MS_I_VERSION == 0 || mt.opt.Bind {
		return
	}
	s := plan.Step{Label: "count the versions of inodes on " + mt.dst, Source: mt.source + "/options", Path: mt.dst}
	flags, text := mountFlags(mt.opt)
	s.Sys, s.Args = abi.SysFchdir, []plan.Arg{plan.R(mt.reg)}
	c.b.Add(s)
	s.Why, s.Sys = "mount(2), MS_I_VERSION", abi.SysMount
	s.Args = []plan.Arg{plan.V(0), c.b.Str("."), plan.V(0), plan.T(flags|abi.MS_REMOUNT, "MS_REMOUNT|"+text), plan.V(0)}
	c.b.Add(s)
	s.Why, s.Sys, s.Args = "", abi.SysFchdir, []plan.Arg{plan.R(c.root)}
	c.b.Add(s)
}

// ordinaryDir holds the target of procfs or sysfs: no link leads there, or a volume could be made to look like /proc (CVE-2019-19921, CVE-2023-27561).
func (c *compiler) ordinaryDir(s plan.Step, dst string) plan.Reg {
	r := c.b.Temp("at")
	have := c.b.Label()
	s.Why = "CVE-2019-19921, CVE-2023-27561"
	look := func(tolerate ...abi.Errno) int {
		t := s
		t.Label, t.Tolerate = dst+" must be mounted on ordinary directory", tolerate
		return c.lookupInto(t, r, dst, abi.O_PATH|abi.O_DIRECTORY, inRoot|abi.RESOLVE_NO_SYMLINKS, "O_PATH|O_DIRECTORY, "+inRootText+"|RESOLVE_NO_SYMLINKS")
	}
	c.b.OnOK(look(abi.ENOENT), have)
	at := c.root
	if dir := path.Dir(dst); dir != "/" {
		at = c.target(s, dir, dirTarget)
	}
	c.makeDir(s, at, path.Base(dst), dst)
	look()
	c.b.Place(have)
	return r
}
