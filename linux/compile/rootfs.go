package compile

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// pageData is how long the options of mount(2) may be: one page with the NUL at its end.
const pageData = 4096 - 1

const umountNofollow = 8 // UMOUNT_NOFOLLOW

// mountRootfs makes the mounts that containerd sends, in order, on the host: other programs look for them there (nerdctl cp, the CRI's statistics).
func (c *compiler) mountRootfs() error {
	c.b.In(plan.Parent, plan.Rootfs)
	for i, m := range c.in.RootfsMounts {
		if err := c.rootfsMount(i, m); err != nil {
			return err
		}
	}
	return nil
}

func (c *compiler) rootfsMount(i int, m Mount) error {
	source := fmt.Sprintf("/rootfs/%d", i)
	var opts []string
	var w rootfsWords
	for n, o := range m.Options {
		ours, err := w.take(o)
		if err != nil {
			return invalid(fmt.Sprintf("%s/options/%d", source, n), "%v", err)
		}
		if !ours {
			opts = append(opts, o)
		}
	}
	if (w.uids == "") != (w.gids == "") {
		return invalid(source+"/options", "uidmap and gidmap go together")
	}
	p, err := spec.ParseMountOptions(opts)
	if err != nil {
		return invalid(source, "%v", err)
	}
	target := path.Join(c.in.Rootfs, path.Clean("/"+m.Target))
	if target == "/" {
		return invalid(source, "the root file system would be mounted on the host's root")
	}
	flags, text := mountFlags(p)
	var data []string
	for _, d := range p.Data {
		data = append(data, d.String())
	}
	what := m.Type
	if p.Bind || w.loop {
		what += " of " + m.Source // what is not there is the source or the target: both are to be named
	}
	s := plan.Step{Label: fmt.Sprintf("mount the root file system (%s)", what), Source: source, Path: target, Why: "mount(2)",
		Undo: &plan.Undo{Label: "unmount", Path: target, Sys: abi.SysUmount2,
			Args: []plan.Arg{c.b.Str(target), plan.T(abi.MNT_DETACH|umountNofollow, "MNT_DETACH|UMOUNT_NOFOLLOW")}}}
	if w.uids != "" {
		c.mapRootfs(s, m, target, p, strings.Join(data, ","), plan.T(flags, text), w)
		return nil
	}
	if w.loop {
		s.Op, s.Call, s.Why = plan.OpCall, plan.CallMountLoop, "loop(4)"
		s.Args = []plan.Arg{c.b.Str(m.Source), c.b.Str(target), c.b.Str(m.Type), plan.T(flags, text), c.b.Str(strings.Join(data, ","))}
		c.b.Add(s)
		return nil
	}
	if p.Bind {
		c.bindRootfs(s, m, target, p, flags, text)
		return nil
	}
	return c.newRootfs(s, m, target, strings.Join(data, ","), flags, text)
}

// rootfsWords are the options of containerd's that mount(2) does not know.
type rootfsWords struct {
	uids, gids string // contents of uid_map and gid_map
	loop       bool
}

// take says whether an option is one of these words.
func (w *rootfsWords) take(o string) (bool, error) {
	key, value, _ := strings.Cut(o, "=")
	var err error
	switch {
	case strings.HasPrefix(o, "X-containerd."): // its word to itself
	case o == "loop":
		w.loop = true
	case key == "uidmap":
		w.uids, err = mapLines(value)
	case key == "gidmap":
		w.gids, err = mapLines(value)
	default:
		return false, nil
	}
	return true, err
}

// mapLines makes "0:100000:65536,…" (id inside, id outside, number) the content of a uid_map.
func mapLines(value string) (string, error) {
	var b strings.Builder
	for one := range strings.SplitSeq(value, ",") {
		f := strings.Split(one, ":")
		for _, n := range f {
			if _, err := strconv.ParseUint(n, 10, 32); err != nil || len(f) != 3 {
				return "", fmt.Errorf("%q is not INSIDE:OUTSIDE:NUMBER", one)
			}
		}
		b.WriteString(strings.Join(f, " ") + "\n")
	}
	return b.String(), nil
}

// mapRootfs mounts an idmapped root file system: a bind as such, an overlay with its lower layers idmapped (overlayfs itself cannot be).
func (c *compiler) mapRootfs(s plan.Step, m Mount, target string, p spec.MountOptions, data string, flags plan.Arg, w rootfsWords) {
	ns := c.usernsOf(s.Source, w.uids, w.gids)
	if !p.Bind {
		s.Op, s.Call, s.Why = plan.OpCall, plan.CallMountMapped, "overlayfs takes idmapped layers (Linux 5.19)"
		s.Args = []plan.Arg{plan.R(ns), c.b.Str(m.Source), c.b.Str(target), c.b.Str(m.Type), flags, c.b.Str(data)}
		c.b.Add(s)
		c.close(ns, "the user namespace")
		return
	}
	tree := c.b.Temp("tree")
	t := plan.Step{Label: "copy the mounts of " + m.Source, Source: s.Source, Path: m.Source, Why: "open_tree(2)", Sys: abi.SysOpenTree, Save: tree, FD: true}
	bits, text := uint64(abi.OPEN_TREE_CLONE|abi.OPEN_TREE_CLOEXEC), "OPEN_TREE_CLONE|OPEN_TREE_CLOEXEC"
	if p.Recursive {
		bits, text = bits|abi.AT_RECURSIVE, text+"|AT_RECURSIVE"
	}
	t.Args = []plan.Arg{plan.AtCwd(), c.b.Str(m.Source), plan.T(bits, text)}
	c.b.Add(t)
	mt := &mount{source: s.Source, reg: tree, opt: p}
	c.attributes(mt, m.Source)
	c.setIDMap(plan.Step{Label: "map the ids of the root file system", Source: s.Source, Path: m.Source}, tree, ns, false)
	c.close(ns, "the user namespace")
	s.Sys, s.Why = abi.SysMoveMount, "move_mount(2)"
	s.Args = []plan.Arg{plan.R(tree), c.b.Str(""), plan.AtCwd(), c.b.Str(target), plan.T(abi.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH")}
	c.b.Add(s)
	c.close(tree, m.Source)
}

func (c *compiler) bindRootfs(s plan.Step, m Mount, target string, p spec.MountOptions, flags uint64, text string) {
	bind, bindText := uint64(abi.MS_BIND), "MS_BIND"
	if p.Recursive {
		bind, bindText = bind|abi.MS_REC, "MS_BIND|MS_REC"
	}
	s.Sys = abi.SysMount
	s.Args = []plan.Arg{c.b.Str(m.Source), c.b.Str(target), plan.V(0), plan.T(bind, bindText), plan.V(0)}
	c.b.Add(s)
	if flags != 0 {
		c.b.Add(plan.Step{Label: "set the flags of the root file system", Source: s.Source, Path: target, Why: "mount(2): a bind takes no others", Sys: abi.SysMount,
			Args: []plan.Arg{plan.V(0), c.b.Str(target), plan.V(0), plan.T(flags|abi.MS_BIND|abi.MS_REMOUNT, "MS_REMOUNT|MS_BIND|"+text), plan.V(0)}})
	}
}

// newRootfs mounts a file system. Options longer than a page are made shorter by naming overlay's layers from the folder they share.
func (c *compiler) newRootfs(s plan.Step, m Mount, target, data string, flags uint64, text string) error {
	args := []plan.Arg{c.b.Str(m.Source), c.b.Str(target), c.b.Str(m.Type), plan.T(flags, text)}
	if len(data) <= pageData {
		s.Sys, s.Args = abi.SysMount, append(args, c.b.Str(data))
		c.b.Add(s)
		return nil
	}
	dir, short := shorten(data)
	if len(short) > pageData {
		return invalid(s.Source, "the options are %d bytes long, and %d from the folder %s: more than a page", len(data), len(short), dir)
	}
	s.Op, s.Call, s.Args = plan.OpCall, plan.CallMountIn, append([]plan.Arg{c.b.Str(dir)}, append(args, c.b.Str(short))...)
	s.Why = "mount(2): options are a page at most"
	c.b.Add(s)
	return nil
}

// shorten names the layers in overlay's lowerdir from the folder that they share.
func shorten(data string) (dir, short string) {
	opts := strings.Split(data, ",")
	for i, o := range opts {
		list, ok := strings.CutPrefix(o, "lowerdir=")
		layers := strings.Split(list, ":")
		if !ok || strings.Contains(list, `\`) || slices.ContainsFunc(layers, func(l string) bool { return !path.IsAbs(l) }) {
			continue
		}
		dir = path.Dir(layers[0])
		for _, l := range layers {
			for dir != "/" && !strings.HasPrefix(l, dir+"/") {
				dir = path.Dir(dir)
			}
		}
		for n, l := range layers {
			layers[n] = strings.TrimPrefix(strings.TrimPrefix(l, dir), "/")
		}
		opts[i] = "lowerdir=" + strings.Join(layers, ":")
	}
	if dir == "" {
		dir = "/"
	}
	return dir, strings.Join(opts, ",")
}

// mountFlags are the MS_ flags of parsed options.
func mountFlags(p spec.MountOptions) (flags uint64, text string) {
	names := []string{}
	for _, f := range []struct {
		attr, ms uint64
		name     string
	}{
		{abi.MOUNT_ATTR_RDONLY, abi.MS_RDONLY, "MS_RDONLY"}, {abi.MOUNT_ATTR_NOSUID, abi.MS_NOSUID, "MS_NOSUID"}, {abi.MOUNT_ATTR_NODEV, abi.MS_NODEV, "MS_NODEV"},
		{abi.MOUNT_ATTR_NOEXEC, abi.MS_NOEXEC, "MS_NOEXEC"}, {abi.MOUNT_ATTR_NOATIME, abi.MS_NOATIME, "MS_NOATIME"},
		{abi.MOUNT_ATTR_STRICTATIME, abi.MS_STRICTATIME, "MS_STRICTATIME"}, {abi.MOUNT_ATTR_NODIRATIME, abi.MS_NODIRATIME, "MS_NODIRATIME"},
		{abi.MOUNT_ATTR_NOSYMFOLLOW, abi.MS_NOSYMFOLLOW, "MS_NOSYMFOLLOW"},
	} {
		if (p.Set|p.RecSet)&f.attr != 0 {
			flags, names = flags|f.ms, append(names, f.name)
		}
	}
	flags |= p.Super
	if p.Super != 0 {
		names = append(names, fmt.Sprintf("%#x", p.Super))
	}
	if flags == 0 {
		return 0, "0"
	}
	return flags, strings.Join(names, "|")
}

// enterRoot makes the container's root the root of its mount namespace, and takes the host's tree away.
func (c *compiler) enterRoot() error {
	c.b.In(plan.Child, plan.Root)
	source := "/root/path"
	if c.hostMounts() {
		c.changeRoot(c.root, source)
		return nil
	}
	move := func(why string) {
		if c.earlyHooks() {
			c.b.Add(plan.Step{Label: "go to the root", Source: source, Sys: abi.SysFchdir, Args: []plan.Arg{plan.R(c.root)}})
			if c.in.NoPivot {
				c.b.Add(plan.Step{Label: "mount the root over the host's", Source: source, Path: c.in.Rootfs, Why: why, Sys: abi.SysMoveMount,
					Args: []plan.Arg{plan.R(c.root), c.b.Str(""), plan.AtCwd(), c.b.Str("/"), plan.T(abi.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH")}})
			}
			return
		}
		c.b.Add(plan.Step{Label: "mount the root", Source: source, Path: c.in.Rootfs, Why: why, Sys: abi.SysMoveMount,
			Args: []plan.Arg{plan.R(c.root), c.b.Str(""), plan.AtCwd(), c.b.Str("/"), plan.T(abi.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH")}})
		c.b.Add(plan.Step{Label: "go to the root", Source: source, Sys: abi.SysFchdir, Args: []plan.Arg{plan.R(c.root)}})
	}
	if c.in.NoPivot {
		c.hideHost()
		move("the option no_pivot_root: for a root file system that is an initial ram disk")
		c.b.Add(plan.Step{Label: "make it the root", Source: source, Why: "chroot(2)", Sys: abi.SysChroot, Args: []plan.Arg{c.b.Str(".")}})
	} else {
		move("over the host's root: no path of the host is looked up")
		c.b.Add(plan.Step{Label: "make it the root", Source: source, Why: `pivot_root(2), "pivot_root(".", ".")"`, Sys: abi.SysPivotRoot,
			Args: []plan.Arg{c.b.Str("."), c.b.Str(".")}})
		c.b.Add(plan.Step{Label: "take the host's tree away", Source: source, Why: "umount2(2)", Sys: abi.SysUmount2,
			Args: []plan.Arg{c.b.Str("."), plan.T(abi.MNT_DETACH, "MNT_DETACH")}})
	}
	c.b.Add(plan.Step{Label: "go to /", Source: source, Sys: abi.SysChdir, Args: []plan.Arg{c.b.Str("/")}})
	return nil
}

// hideHost takes the host's procfs and sysfs out of a mount namespace whose host's tree stays below the container's root: while a whole one is there, a
// user namespace in the container could mount another without any mask (mount_namespaces(7), "Restrictions on mount namespaces").
func (c *compiler) hideHost() {
	for _, p := range []string{"/proc", "/sys"} {
		c.b.Add(plan.Step{Label: "take the host's " + p + " away", Path: p, Why: "a whole one would let the container mount another without masks", Sys: abi.SysUmount2,
			Args:     []plan.Arg{c.b.Str(p), plan.T(abi.MNT_DETACH|umountNofollow, "MNT_DETACH|UMOUNT_NOFOLLOW")},
			Tolerate: []abi.Errno{abi.EINVAL, abi.ENOENT}}) // it is none, or locked: a user namespace's copy of the host's mounts
	}
}

// propagations are the words of rootfsPropagation (config-linux.md) and mount options.
var propagations = map[string]struct {
	flag uint64
	text string
	rec  bool
}{
	"private": {abi.MS_PRIVATE, "MS_PRIVATE", false}, "rprivate": {abi.MS_PRIVATE, "MS_PRIVATE", true},
	"slave": {abi.MS_SLAVE, "MS_SLAVE", false}, "rslave": {abi.MS_SLAVE, "MS_SLAVE", true},
	"shared": {abi.MS_SHARED, "MS_SHARED", false}, "rshared": {abi.MS_SHARED, "MS_SHARED", true},
	"unbindable": {abi.MS_UNBINDABLE, "MS_UNBINDABLE", false}, "runbindable": {abi.MS_UNBINDABLE, "MS_UNBINDABLE", true},
}

// sealRoot gives the root its last attributes.
func (c *compiler) sealRoot() error {
	c.b.In(plan.Child, plan.Root)
	for _, mt := range c.mounts {
		if mt.sealed {
			c.setattr(plan.Step{Label: "make " + mt.dst + " read-only", Source: mt.source + "/options", Path: mt.dst}, mt.reg, false, abi.MOUNT_ATTR_RDONLY, 0, 0, "RDONLY")
		}
	}
	if c.spec.Root.Readonly {
		c.setattr(plan.Step{Label: "make the root read-only", Source: "/root/readonly"}, c.root, false, abi.MOUNT_ATTR_RDONLY, 0, 0, "MOUNT_ATTR_RDONLY")
	}
	if word := c.spec.Linux.RootfsPropagation; word != "" {
		p := propagations[word]
		c.setattr(plan.Step{Label: "make the root " + word, Source: "/linux/rootfsPropagation"}, c.root, p.rec, 0, 0, p.flag, p.text)
	}
	return nil
}

// setattr changes a mount's attributes (mount_setattr(2)).
func (c *compiler) setattr(s plan.Step, r plan.Reg, rec bool, set, clr, propagation uint64, text string) {
	flags, flagsText := uint64(abi.AT_EMPTY_PATH), "AT_EMPTY_PATH"
	if rec {
		flags, flagsText = flags|abi.AT_RECURSIVE, flagsText+"|AT_RECURSIVE"
	}
	if s.Why == "" {
		s.Why = "mount_setattr(2)"
	}
	s.Sys = abi.SysMountSetattr
	s.Args = []plan.Arg{plan.R(r), c.b.Str(""), plan.T(flags, flagsText), plan.A(c.b.Bytes("mount_attr "+text, abi.MountAttr(set, clr, propagation))), plan.V(abi.MountAttrSize)}
	c.b.Add(s)
}
