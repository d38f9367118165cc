package compile

import (
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// device is a node to be made.
type device struct {
	path         string
	typ          uint64 // S_IF
	major, minor uint32
	mode         uint32
	uid, gid     uint32
	source       string
}

// defaultDevices are in every container (config-linux.md, "Default Devices").
var defaultDevices = []device{
	{path: "/dev/null", typ: abi.S_IFCHR, major: 1, minor: 3, mode: 0o666},
	{path: "/dev/zero", typ: abi.S_IFCHR, major: 1, minor: 5, mode: 0o666},
	{path: "/dev/full", typ: abi.S_IFCHR, major: 1, minor: 7, mode: 0o666},
	{path: "/dev/random", typ: abi.S_IFCHR, major: 1, minor: 8, mode: 0o666},
	{path: "/dev/urandom", typ: abi.S_IFCHR, major: 1, minor: 9, mode: 0o666},
	{path: "/dev/tty", typ: abi.S_IFCHR, major: 5, minor: 0, mode: 0o666},
}

// defaultLinks are the links in every container's /dev (runtime-linux.md, "Dev symbolic links", and what programs expect of ptmx).
var defaultLinks = []struct{ to, name string }{
	{"/proc/self/fd", "fd"}, {"/proc/self/fd/0", "stdin"}, {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"}, {"pts/ptmx", "ptmx"},
	{"/proc/kcore", "core"},
}

// devices returns the nodes: those of the configuration, and the default ones that it does not have.
func (c *compiler) devices() []device {
	var list []device
	seen := map[string]bool{}
	for i, d := range c.spec.Linux.Devices {
		dev := device{path: path.Clean(d.Path), major: uint32(d.Major), minor: uint32(d.Minor), mode: 0o666, source: fmt.Sprintf("/linux/devices/%d", i)}
		switch d.Type {
		case "b":
			dev.typ = abi.S_IFBLK
		case "p":
			dev.typ, dev.major, dev.minor = abi.S_IFIFO, 0, 0
		default:
			dev.typ = abi.S_IFCHR
		}
		if d.FileMode != nil {
			dev.mode = uint32(*d.FileMode) & 0o7777 // stat(2)'s bits, not those of package fs
		}
		if d.UID != nil {
			dev.uid = *d.UID
		}
		if d.GID != nil {
			dev.gid = *d.GID
		}
		seen[dev.path] = true
		list = append(list, dev)
	}
	for _, d := range defaultDevices {
		if !seen[d.path] {
			list = append(list, d)
		}
	}
	return list
}

// foreignDev says that /dev is a folder of the host's: nothing is made there.
func (c *compiler) foreignDev() bool {
	for _, mt := range c.spec.Mounts {
		if path.Clean("/"+mt.Destination) == "/dev" {
			for _, o := range mt.Options {
				if o == "bind" || o == "rbind" {
					return true
				}
			}
		}
	}
	return false
}

// inUserns says that the child cannot make device nodes (mknod(2) needs CAP_MKNOD in the first user namespace).
func (c *compiler) inUserns() bool { return c.in.Facts.InUserns || c.hasNamespace(specs.UserNamespace) }

// openDevices copies the host's nodes for a container that cannot make its own.
func (c *compiler) openDevices() error {
	if !c.inUserns() || c.foreignDev() {
		return nil
	}
	for _, d := range c.devices() {
		if d.typ == abi.S_IFIFO {
			continue
		}
		s := plan.Step{Label: "copy the device " + d.path, Source: d.source, Why: "mknod(2): not in a user namespace"}
		r := c.copyTree(s, d.path, false)
		c.private(r, d.source)
		c.isDevice(r, d.source, d.path, d.typ, d.major, d.minor)
		c.nodes(d.path, r)
	}
	return nil
}

// nodes notes the register of a copied node.
func (c *compiler) nodes(file string, r plan.Reg) {
	if c.node == nil {
		c.node = map[string]plan.Reg{}
	}
	c.node[file] = r
}

// makeDevices makes nodes and links. They are made below the held /dev, whose file system is the container's new tmpfs or the image's folder.
func (c *compiler) makeDevices() error {
	c.b.In(plan.Child, plan.Mounts)
	if c.foreignDev() {
		return nil
	}
	dev := c.devFolder()
	for _, d := range c.devices() {
		s := plan.Step{Label: "make the device " + d.path, Source: d.source, Path: d.path}
		at, name := dev, strings.TrimPrefix(d.path, "/dev/")
		if !strings.HasPrefix(d.path, "/dev/") || strings.Contains(name, "/") {
			at, name = c.target(s, path.Dir(d.path), dirTarget), path.Base(d.path)
		}
		c.makeDevice(s, d, at, name)
	}
	for _, l := range defaultLinks {
		c.symlink(plan.Step{Label: "link /dev/" + l.name + " to " + l.to}, l.to, dev, l.name)
	}
	return nil
}

// devFolder returns the descriptor below which /dev's files are made: the new tmpfs itself, or the folder of the image, held.
func (c *compiler) devFolder() plan.Reg {
	for _, mt := range c.mounts {
		if mt.dst == "/dev" && !mt.opt.Bind {
			return mt.reg
		}
	}
	return c.target(plan.Step{Label: "hold /dev"}, "/dev", dirTarget)
}

func (c *compiler) makeDevice(s plan.Step, d device, at plan.Reg, name string) {
	if r, ok := c.node[d.path]; ok {
		c.makeFile(s, at, name, d.path)
		t := c.lookup(s, d.path, abi.O_PATH, inRoot|abi.RESOLVE_NO_SYMLINKS, "O_PATH, "+inRootText+"|RESOLVE_NO_SYMLINKS")
		s.Label = "bind the device " + d.path
		c.attach(s, r, t)
		c.close(t, d.path)
		return
	}
	dev := abi.Mkdev(d.major, d.minor)
	s.Sys, s.Why = abi.SysMknodat, "mknod(2)"
	s.Args = []plan.Arg{plan.R(at), c.b.Str(name), plan.T(d.typ|uint64(d.mode), fmt.Sprintf("%#o", d.typ|uint64(d.mode))), plan.T(dev, fmt.Sprintf("%d:%d", d.major, d.minor))}
	s.Tolerate = []abi.Errno{abi.EEXIST} // the image's own: checked below
	there, done := c.b.Label(), c.b.Label()
	c.b.OnErr(c.b.Add(s), there)
	own := s
	own.Sys, own.Tolerate, own.Label, own.Why = abi.SysFchownat, nil, "give "+d.path+" its owner", "chown(2)"
	own.Args = []plan.Arg{plan.R(at), c.b.Str(name), plan.V(uint64(d.uid)), plan.V(uint64(d.gid)), plan.T(abi.AT_SYMLINK_NOFOLLOW, "AT_SYMLINK_NOFOLLOW")}
	skip := c.b.Add(own)
	c.b.OnOK(skip, done)
	c.b.Place(there)
	t := c.lookup(plan.Step{Label: "look at the image's " + d.path, Source: d.source}, d.path, abi.O_PATH, inRoot|abi.RESOLVE_NO_SYMLINKS, "O_PATH, "+inRootText+"|RESOLVE_NO_SYMLINKS")
	c.isDevice(t, d.source, d.path, d.typ, d.major, d.minor)
	c.close(t, d.path)
	c.b.Place(done)
}

// symlink makes a link; a file of that name that is there stays.
func (c *compiler) symlink(s plan.Step, to string, at plan.Reg, name string) {
	s.Path, s.Sys, s.Tolerate = name, abi.SysSymlinkat, []abi.Errno{abi.EEXIST}
	s.Args = []plan.Arg{c.b.Str(to), plan.R(at), c.b.Str(name)}
	c.b.Add(s)
}
