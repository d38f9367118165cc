package compile

import (
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// A container without a mount namespace has its mounts in the host's, below its root, which is mounted at its place there and taken away with the
// container; its processes have that root by chroot(2). They are no prisoners there (pivot_root(2)): who asks for this trusts them.

// hostMounts says that the container has no mount namespace of its own.
func (c *compiler) hostMounts() bool { return !c.hasNamespace(specs.MountNamespace) }

// checkHostMounts refuses it for who may not mount on the host; what else cannot be there package spec does.
func (c *compiler) checkHostMounts() error {
	if c.hostMounts() && c.rootless() {
		return refuse("/linux/namespaces", "has no mount namespace, and a plain user may not mount among the host's mounts")
	}
	return nil
}

// placeRootOnHost mounts the root at its place in the host's tree, so that everything that is mounted in it goes with it.
func (c *compiler) placeRootOnHost() {
	c.b.In(plan.Parent, plan.Prepare)
	c.b.Add(plan.Step{Label: "mount the root at its place on the host", Source: "/root/path", Path: c.in.Rootfs, Why: "move_mount(2)", Sys: abi.SysMoveMount,
		Args: []plan.Arg{plan.R(c.root), c.b.Str(""), plan.AtCwd(), c.b.Str(c.in.Rootfs), plan.T(abi.MOVE_MOUNT_F_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH")},
		Undo: &plan.Undo{Label: "unmount", Path: c.in.Rootfs, Sys: abi.SysUmount2,
			Args: []plan.Arg{c.b.Str(c.in.Rootfs), plan.T(abi.MNT_DETACH|umountNofollow, "MNT_DETACH|UMOUNT_NOFOLLOW")}}})
}

// changeRoot makes what is held the child's root.
func (c *compiler) changeRoot(root plan.Reg, source string) {
	c.b.Add(plan.Step{Label: "go to the root", Source: source, Sys: abi.SysFchdir, Args: []plan.Arg{plan.R(root)}})
	c.b.Add(plan.Step{Label: "make it the root", Source: source, Why: "chroot(2)", Sys: abi.SysChroot, Args: []plan.Arg{c.b.Str(".")}})
	c.b.Add(plan.Step{Label: "go to /", Source: source, Sys: abi.SysChdir, Args: []plan.Arg{c.b.Str("/")}})
}

// openHostRoot opens the root of such a container for a further process, whose namespaces have the host's.
func (c *compiler) openHostRoot() error {
	if !c.hostMounts() {
		return nil
	}
	c.b.In(plan.Parent, plan.Prepare)
	c.root = c.open(plan.Step{Label: "hold the container's root", Source: "/root/path"}, c.in.Rootfs, abi.O_PATH|abi.O_DIRECTORY, "O_PATH|O_DIRECTORY")
	c.keep = append(c.keep, c.root)
	return nil
}
