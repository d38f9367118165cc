package compile

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// lockable are the flags that a mount keeps in a less privileged mount namespace, beside those of access times (mount_namespaces(7), "Restrictions on
// mount namespaces").
const lockable = abi.MOUNT_ATTR_RDONLY | abi.MOUNT_ATTR_NOSUID | abi.MOUNT_ATTR_NODEV | abi.MOUNT_ATTR_NOEXEC

// bindFlags are the flags that a copy of a mount is given. Options that name none leave it as its source is. Options that name one say all of them: what
// is not named is cleared, as runc does (mount(8) keeps it, and "rw" would depend on where the source lies). Of access times that holds among
// themselves only; without a word on them the source's stay. In a user namespace what is locked stays, without a word.
func (c *compiler) bindFlags(mt *mount) (set, clr uint64) {
	set, clr = mt.opt.Set, mt.opt.Clear
	if set|clr == 0 {
		return 0, 0
	}
	if namesAtime(set, clr) {
		clr |= abi.MOUNT_ATTR__ATIME | abi.MOUNT_ATTR_NODIRATIME&^set
	} else if c.locked() {
		clr &^= abi.MOUNT_ATTR_NODIRATIME
	}
	clr |= abi.MOUNT_ATTR_NOSYMFOLLOW &^ set
	if !c.locked() {
		clr |= lockable &^ set
	}
	return set, clr
}

// namesAtime says that an access-time mode was chosen. diratime alone chooses none.
func namesAtime(set, clr uint64) bool {
	return set&abi.MOUNT_ATTR_NODIRATIME|clr&abi.MOUNT_ATTR__ATIME != 0
}

// locked says that the container has a user namespace that the source of a bind is not of: the kernel would not let its root clear the source's flags.
func (c *compiler) locked() bool { return c.hasNamespace(specs.UserNamespace) || c.rootless() }

// statfsFlags are the flags of a mount as statfs(2) tells them.
var statfsFlags = []struct{ attr, st uint64 }{
	{abi.MOUNT_ATTR_NOSUID, abi.ST_NOSUID}, {abi.MOUNT_ATTR_NODEV, abi.ST_NODEV}, {abi.MOUNT_ATTR_NOEXEC, abi.ST_NOEXEC},
}

// keepLocked refuses a bind that clears a flag of its source, or changes its access-time mode, in a container with a user namespace: we have the host's
// rights, and the container's root would have got EPERM. It returns what to add when the flags are set.
func (c *compiler) keepLocked(mt *mount, from string) (after func()) {
	set, clr := mt.opt.Set, mt.opt.Clear
	if !c.hasNamespace(specs.UserNamespace) || !namesAtime(set, clr) && clr&lockable == 0 {
		return func() {}
	}
	s := plan.Step{Label: "look at the flags of " + from, Source: mt.source + "/options", Path: from, Why: "mount_namespaces(7): locked flags"}
	buf := c.b.Buf("statfs "+from, abi.StatfsSize)
	look := func() {
		t := s
		t.Sys, t.Args = abi.SysFstatfs, []plan.Arg{plan.R(mt.reg), plan.A(buf)}
		c.b.Add(t)
	}
	check := func(label string, mask, equal uint64) plan.Step {
		return plan.Step{Label: label, Source: s.Source, Path: from, Why: s.Why, Op: plan.OpCheck, Args: []plan.Arg{plan.M(buf, abi.StatfsFlags)}, Mask: mask, Equal: equal,
			Errno: abi.EPERM}
	}
	look()
	var mask uint64
	for _, f := range statfsFlags {
		if clr&f.attr != 0 {
			mask |= f.st
		}
	}
	if mask != 0 {
		c.b.Add(check("a container in a user namespace keeps the flags of "+from, mask, 0))
	}
	if namesAtime(set, clr) {
		mask, equal := atimeFlags(set)
		c.b.Add(check("a container in a user namespace keeps the access-time mode of "+from, mask, equal))
	}
	if clr&abi.MOUNT_ATTR_RDONLY == 0 {
		return func() {}
	}
	// "ro" may be the file system's: that is nothing to keep. What is not gone when the mount's flag is cleared was not the mount's.
	return func() {
		writable := c.b.Label()
		t := check(from+" is not read-only", abi.ST_RDONLY, 0)
		t.Tolerate = []abi.Errno{abi.EPERM}
		c.b.OnOK(c.b.Add(t), writable)
		look()
		c.b.Add(check("a container in a user namespace keeps "+from+" read-only", abi.ST_RDONLY, abi.ST_RDONLY))
		c.b.Place(writable)
	}
}

// atimeFlags are the flags of statfs(2) that a mount of the wanted access-time mode has, of those in mask. Together with noatime, relatime says nothing.
func atimeFlags(set uint64) (mask, equal uint64) {
	mask = abi.ST_NOATIME | abi.ST_NODIRATIME | abi.ST_RELATIME
	switch set & abi.MOUNT_ATTR__ATIME {
	case abi.MOUNT_ATTR_NOATIME:
		mask, equal = mask&^abi.ST_RELATIME, abi.ST_NOATIME
	case abi.MOUNT_ATTR_STRICTATIME:
	default:
		equal = abi.ST_RELATIME
	}
	if set&abi.MOUNT_ATTR_NODIRATIME != 0 {
		equal |= abi.ST_NODIRATIME
	}
	return mask, equal
}
