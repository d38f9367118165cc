package compile

import (
	"path"
	"strings"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

const (
	inRoot     = abi.RESOLVE_IN_ROOT | abi.RESOLVE_NO_MAGICLINKS
	inRootText = "RESOLVE_IN_ROOT|RESOLVE_NO_MAGICLINKS"
)

// lookup holds a path below the root: an O_PATH descriptor of what is there, mounts crossed, links followed within the root (openat2(2)).
func (c *compiler) lookup(s plan.Step, dst string, flags, resolve uint64, text string) plan.Reg {
	r := c.b.Temp("at")
	c.lookupInto(s, r, dst, flags, resolve, text)
	return r
}

func (c *compiler) lookupInto(s plan.Step, r plan.Reg, dst string, flags, resolve uint64, text string) int {
	return c.lookupBelow(c.root, s, r, dst, flags, resolve, text)
}

func (c *compiler) lookupBelow(root plan.Reg, s plan.Step, r plan.Reg, dst string, flags, resolve uint64, text string) int {
	rel := strings.TrimPrefix(path.Clean("/"+dst), "/")
	if rel == "" {
		rel = "."
	}
	s.Sys, s.Path, s.Save, s.FD, s.Retry, s.RetryOn = abi.SysOpenat2, dst, r, true, retries, abi.EAGAIN
	how := c.b.Bytes("open_how "+text, abi.OpenHow(flags|abi.O_CLOEXEC, 0, resolve))
	s.Args = []plan.Arg{plan.R(root), c.b.Str(rel), plan.A(how), plan.V(abi.OpenHowSize)}
	return c.b.Add(s)
}

// kindOf says what a missing mount target is made as.
type kindOf struct {
	file bool
	// stat, when set, is a struct statx of the source: a folder gets a folder, anything else a file.
	stat plan.Ref
}

var (
	dirTarget  = kindOf{}
	fileTarget = kindOf{file: true}
)

// target holds the mount target dst, and makes it, with the folders above, when it is not there. Nothing is made outside the root: every
// name is made below a held folder, which was looked up within the root (CVE-2021-30465, CVE-2024-45310).
func (c *compiler) target(s plan.Step, dst string, kind kindOf) plan.Reg {
	r := c.b.Temp("at")
	have, dangling := c.b.Label(), c.b.Label()
	first := s
	first.Label, first.Tolerate = s.Label+": look for "+dst, []abi.Errno{abi.ENOENT}
	i := c.lookupInto(first, r, dst, abi.O_PATH, inRoot, "O_PATH, "+inRootText)
	c.b.OnOK(i, have)
	parts := strings.Split(strings.TrimPrefix(path.Clean("/"+dst), "/"), "/")
	at := c.root
	for n, name := range parts {
		here := "/" + path.Join(parts[:n+1]...)
		last := n == len(parts)-1
		if last && (kind.file || kind.stat != 0) {
			c.makeFileOrDir(s, at, name, here, kind)
		} else {
			c.makeDir(s, at, name, here)
		}
		if !last {
			held := s
			held.Label = "hold " + here
			held.Tolerate = []abi.Errno{abi.ENOENT}
			at = c.b.Temp("at")
			c.b.OnErr(c.lookupInto(held, at, here, abi.O_PATH|abi.O_DIRECTORY, inRoot, "O_PATH|O_DIRECTORY, "+inRootText), dangling)
		}
	}
	again := s
	again.Label, again.Tolerate = "hold "+dst, []abi.Errno{abi.ENOENT}
	c.b.OnOK(c.lookupInto(again, r, dst, abi.O_PATH, inRoot, "O_PATH, "+inRootText), have)
	c.b.Place(dangling)
	c.askForTarget(s, dst, kind)
	again.Tolerate = nil
	c.lookupInto(again, r, dst, abi.O_PATH, inRoot, "O_PATH, "+inRootText)
	c.b.Place(have)
	return r
}

// askForTarget has the parent make the target: there is a link on the way that leads to what is not there. What is to be made then stands in the link, which
// the child cannot take apart.
func (c *compiler) askForTarget(s plan.Step, dst string, kind kindOf) {
	what := plan.V(1)
	switch {
	case kind.stat != 0:
		what = plan.AtOff(kind.stat, abi.StatxModeWord)
	case kind.file:
		what = plan.V(0)
	}
	if c.question == 0 {
		c.question = c.b.Bytes("question", []byte{plan.Asks, 0})
	}
	root := c.root
	if c.rootless() {
		root = c.b.Reg(rootInParent)
	}
	s.Label, s.Path, s.Op, s.Call, s.Sys = "make "+dst+" where links say", dst, plan.OpAsk, plan.CallTarget, abi.SysNone
	s.Why = "CVE-2021-30465, CVE-2024-45310: name by name below held folders"
	s.Args = []plan.Arg{plan.R(c.b.Reg(plan.RegSyncC)), plan.A(c.question)}
	s.Ask = []plan.Arg{plan.R(root), c.b.Str(dst), what, plan.R(c.b.Reg(plan.RegPid))}
	c.b.Add(s)
}

func (c *compiler) makeDir(s plan.Step, at plan.Reg, name, here string) {
	s.Label, s.Path, s.Sys, s.Tolerate = "make the folder "+here, here, abi.SysMkdirat, []abi.Errno{abi.EEXIST}
	s.Args = []plan.Arg{plan.R(at), c.b.Str(name), plan.T(0o755, "0755")}
	c.b.Add(s)
}

func (c *compiler) makeFile(s plan.Step, at plan.Reg, name, here string) {
	r := c.b.Temp("file")
	there := c.b.Label()
	s.Label, s.Path, s.Sys, s.Tolerate, s.Save, s.FD = "make the file "+here, here, abi.SysOpenat, []abi.Errno{abi.EEXIST}, r, true
	s.Args = []plan.Arg{plan.R(at), c.b.Str(name), plan.T(abi.O_RDONLY|abi.O_CREAT|abi.O_EXCL|abi.O_CLOEXEC, "O_CREAT|O_EXCL|O_CLOEXEC"), plan.T(0o644, "0644")}
	c.b.OnErr(c.b.Add(s), there)
	c.close(r, here)
	c.b.Place(there)
}

func (c *compiler) makeFileOrDir(s plan.Step, at plan.Reg, name, here string, kind kindOf) {
	if kind.stat == 0 {
		c.makeFile(s, at, name, here)
		return
	}
	isFile, done := c.b.Label(), c.b.Label()
	i := c.checkMode(plan.Step{Label: "is the source a folder"}, kind.stat, abi.S_IFDIR)
	c.b.OnErr(i, isFile)
	c.makeDir(s, at, name, here)
	c.b.OnOK(c.jump("a folder it is"), done)
	c.b.Place(isFile)
	c.makeFile(s, at, name, here)
	c.b.Place(done)
}

// checkMode checks the type of file in a struct statx; another one is the tolerated ENOTDIR.
func (c *compiler) checkMode(s plan.Step, stat plan.Ref, typ uint64) int {
	s.Op, s.Args = plan.OpCheck, []plan.Arg{plan.M(stat, abi.StatxModeWord)}
	s.Mask, s.Equal = abi.S_IFMT<<abi.StatxModeShift, typ<<abi.StatxModeShift
	s.Errno, s.Tolerate = abi.ENOTDIR, []abi.Errno{abi.ENOTDIR}
	return c.b.Add(s)
}

// statOf fills a new struct statx from a descriptor (statx(2)).
func (c *compiler) statOf(s plan.Step, r plan.Reg, name string) plan.Ref {
	buf := c.b.Buf("statx "+name, abi.StatxSize)
	s.Sys = abi.SysStatx
	s.Args = []plan.Arg{plan.R(r), c.b.Str(""), plan.T(abi.AT_EMPTY_PATH, "AT_EMPTY_PATH"), plan.T(abi.STATX_BASIC_STATS, "STATX_BASIC_STATS"), plan.A(buf)}
	c.b.Add(s)
	return buf
}

// isDevice checks that a descriptor is a device node of that type and number, by what it is and not by its name (CVE-2025-31133).
func (c *compiler) isDevice(r plan.Reg, source, name string, typ uint64, major, minor uint32) {
	s := plan.Step{Label: "look at " + name, Source: source, Path: name, Why: "CVE-2025-31133"}
	buf := c.statOf(s, r, name)
	c.b.Add(plan.Step{Label: name + " is a device", Source: source, Path: name, Why: s.Why, Op: plan.OpCheck, Args: []plan.Arg{plan.M(buf, abi.StatxModeWord)},
		Mask: abi.S_IFMT << abi.StatxModeShift, Equal: typ << abi.StatxModeShift, Errno: abi.ENODEV})
	c.b.Add(plan.Step{Label: name + " is the right device", Source: source, Path: name, Why: s.Why, Op: plan.OpCheck, Args: []plan.Arg{plan.M(buf, abi.StatxRdev)},
		Mask: ^uint64(0), Equal: uint64(major) | uint64(minor)<<32, Errno: abi.ENODEV})
}

// attach mounts a detached mount on a held target (move_mount(2)).
func (c *compiler) attach(s plan.Step, mount, target plan.Reg) {
	s.Sys = abi.SysMoveMount
	s.Args = []plan.Arg{plan.R(mount), c.b.Str(""), plan.R(target), c.b.Str(""),
		plan.T(abi.MOVE_MOUNT_F_EMPTY_PATH|abi.MOVE_MOUNT_T_EMPTY_PATH, "MOVE_MOUNT_F_EMPTY_PATH|MOVE_MOUNT_T_EMPTY_PATH")}
	c.b.Add(s)
}
