package compile

import (
	"encoding/binary"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// console makes the terminal in the container's own devpts and binds it to /dev/console. No path of a terminal is looked up: the slave comes from
// the master, and the bind from the slave (CVE-2025-52565).
func (c *compiler) console() error {
	if !c.proc.Terminal {
		return nil
	}
	c.b.In(plan.Child, plan.Identity)
	slave := c.openTerminal()
	s := plan.Step{Label: "bind the terminal to /dev/console", Source: "/process/terminal", Why: "CVE-2025-52565"}
	if !c.foreignDev() {
		at := c.target(s, "/dev/console", fileTarget)
		n := c.again(s, slave, false)
		c.attach(s, n, at)
		c.close(n, "the copy")
		c.close(at, "/dev/console")
	}
	c.useTerminal(slave)
	return nil
}

// openTerminal opens master and slave. The parent fetches the master by pidfd_getfd(2) later.
func (c *compiler) openTerminal() plan.Reg {
	s := plan.Step{Label: "open the container's ptmx", Source: "/process/terminal", Path: "/dev/pts/ptmx", Why: "pts(4)"}
	pts := c.lookup(plan.Step{Label: "hold /dev/pts", Source: s.Source}, "/dev/pts", abi.O_PATH|abi.O_DIRECTORY, inRoot, "O_PATH|O_DIRECTORY, "+inRootText)
	buf := c.b.Buf("statfs /dev/pts", abi.StatfsSize)
	c.b.Add(plan.Step{Label: "look at /dev/pts", Source: s.Source, Path: "/dev/pts", Sys: abi.SysFstatfs, Args: []plan.Arg{plan.R(pts), plan.A(buf)}})
	c.b.Add(plan.Step{Label: "/dev/pts must be a devpts: a terminal is made there", Source: s.Source, Path: "/dev/pts", Op: plan.OpCheck,
		Args: []plan.Arg{plan.M(buf, abi.StatfsType)}, Mask: ^uint64(0), Equal: abi.DEVPTS_SUPER_MAGIC, Errno: abi.ENODEV})
	master, slave := c.b.Reg("master in child"), c.b.Temp("slave")
	how := c.b.Bytes("open_how ptmx", abi.OpenHow(abi.O_RDWR|abi.O_NOCTTY|abi.O_CLOEXEC, 0, abi.RESOLVE_BENEATH|abi.RESOLVE_NO_SYMLINKS|abi.RESOLVE_NO_XDEV))
	s.Sys, s.Save, s.FD, s.Retry, s.RetryOn = abi.SysOpenat2, master, true, retries, abi.EAGAIN
	s.Args = []plan.Arg{plan.R(pts), c.b.Str("ptmx"), plan.A(how), plan.V(abi.OpenHowSize)}
	c.b.Add(s)
	c.close(pts, "/dev/pts")
	s = plan.Step{Label: "unlock the terminal", Source: "/process/terminal", Why: "TIOCSPTLCK(2const)", Sys: abi.SysIoctl}
	s.Args = []plan.Arg{plan.R(master), plan.T(abi.TIOCSPTLCK, "TIOCSPTLCK"), plan.A(c.b.Buf("unlock", 8))}
	c.b.Add(s)
	s.Label, s.Why, s.Save, s.FD = "open its other end", "TIOCGPTPEER(2const): from the master, not by a name", slave, true
	s.Args = []plan.Arg{plan.R(master), plan.T(abi.TIOCGPTPEER, "TIOCGPTPEER"), plan.T(abi.O_RDWR|abi.O_NOCTTY|abi.O_CLOEXEC, "O_RDWR|O_NOCTTY|O_CLOEXEC")}
	c.b.Add(s)
	if c.rootless() {
		c.sendTerminal()
	}
	return slave
}

// useTerminal makes the slave the session's terminal and the process's streams.
func (c *compiler) useTerminal(slave plan.Reg) {
	s := plan.Step{Label: "give the terminal to the user", Source: "/process/user/uid", Why: "fchown(2): programs open /dev/tty and /dev/stdout again", Sys: abi.SysFchown}
	s.Args = []plan.Arg{plan.R(slave), plan.V(uint64(c.proc.User.UID)), plan.T(keepID, "-1")}
	c.b.Add(s)
	if size := c.proc.ConsoleSize; size != nil {
		ws := make([]byte, 8) // struct winsize
		binary.LittleEndian.PutUint16(ws, uint16(size.Height))
		binary.LittleEndian.PutUint16(ws[2:], uint16(size.Width))
		c.b.Add(plan.Step{Label: "set the terminal's size", Source: "/process/consoleSize", Why: "TIOCSWINSZ(2const)", Sys: abi.SysIoctl,
			Args: []plan.Arg{plan.R(slave), plan.T(abi.TIOCSWINSZ, "TIOCSWINSZ"), plan.A(c.b.Bytes("winsize", ws))}})
	}
	c.b.Add(plan.Step{Label: "make it the controlling terminal", Source: "/process/terminal", Why: "TIOCSCTTY(2const)", Sys: abi.SysIoctl,
		Args: []plan.Arg{plan.R(slave), plan.T(abi.TIOCSCTTY, "TIOCSCTTY"), plan.V(0)}})
	for n := range stdio {
		c.dup(slave, n)
	}
	c.close(slave, "the slave")
}

// keepID is the id that chown(2) leaves as it is.
const keepID = 1<<32 - 1

// fetchTerminal is the parent's: it gets the master out of the child.
func (c *compiler) fetchTerminal() {
	c.b.Add(plan.Step{Label: "fetch the terminal's master", Source: "/process/terminal", Why: "pidfd_getfd(2)", Sys: abi.SysPidfdGetfd, Save: c.b.Reg(plan.RegMaster), FD: true,
		Args: []plan.Arg{plan.R(c.b.Reg(plan.RegPidfd)), plan.R(c.b.Reg("master in child")), plan.V(0)}})
}
