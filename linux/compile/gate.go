package compile

import (
	"encoding/binary"
	"fmt"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// waitAtGate ends a create: the child waits, and the parent does what the container's root had to be ready for.
func (c *compiler) waitAtGate() error {
	c.b.In(plan.Child, plan.Ready)
	if c.enteredBy(hookStartContainer) && !c.in.Gate {
		if err := c.aloneInside(hookStartContainer); err != nil {
			return err
		}
		c.dumpable("let the user's hooks reach us", 1)
	}
	c.tell("be ready", "", plan.RegSyncC)
	c.b.In(plan.Parent, plan.Ready)
	c.hear("wait until the child is ready", "", plan.RegSyncP, 1)
	if c.proc.Terminal && !c.rootless() { // a plain user's was sent
		c.fetchTerminal()
	}
	c.oomScore()
	c.schedule()
	if err := c.lateLimits(); err != nil {
		return err
	}
	c.home(plan.RegPid)
	c.b.Add(plan.Step{Op: plan.OpGate, Label: "the container is created"})
	c.b.In(plan.Parent, plan.Start)
	if c.in.Gate {
		c.waitAtFifo()
		return nil
	}
	c.hooks(hookStartContainer)
	c.tell("open the gate", "", plan.RegSyncP)
	c.b.In(plan.Child, plan.Ready)
	c.signalled(plan.R(c.b.Reg(plan.RegSyncC)), 0)
	c.hear("wait for the start", "0 is the runtime's death: then this process ends too", plan.RegSyncC, 1)
	return nil
}

// waitAtFifo lets the child go on without its creator. It keeps both ends of the fifo, so the read waits however many writers come and go, and the
// starter sees the program executed, or the process dead, by the fifo having no reader any more.
func (c *compiler) waitAtFifo() {
	if c.filterAtGate() {
		c.loadFilter()
		c.b.In(plan.Parent, plan.Start)
	}
	c.tell("leave the child alone", "", plan.RegSyncP)
	c.b.In(plan.Child, plan.Ready)
	c.hear("wait until everything is done", "0 is the creator's death: then this process ends too", plan.RegSyncC, 1)
	// It has a long time to wait: it keeps nothing but its streams and the gate, which moves behind them.
	if c.rootless() { // whom a plain user adds enters by setns(2), which asks whether it may trace us; nobody is in here before the create is done
		c.dumpable("let the creator's user reach us", 1)
	}
	at := uint64(firstPreserved + c.in.PreserveFDs)
	c.b.Add(plan.Step{Label: fmt.Sprintf("make the gate descriptor %d", at), Why: "dup(2)", Sys: abi.SysDup3, Tolerate: []abi.Errno{abi.EINVAL}, // it is
		Args: []plan.Arg{plan.R(c.b.Reg(plan.RegGate)), plan.V(at), plan.T(abi.O_CLOEXEC, "O_CLOEXEC")}})
	c.b.Add(plan.Step{Label: AloneLabel, Why: "close_range(2)", Sys: abi.SysCloseRange, Args: []plan.Arg{plan.V(at + 1), plan.T(1<<32-1, "max"), plan.V(0)}})
	if !c.filterAtGate() { // whose profile need not allow these calls
		c.signalled(plan.V(at), at+1)
	}
	c.b.Add(plan.Step{Label: GateLabel, Why: "fifo(7)", Sys: abi.SysRead, HasWant: true, Want: 1,
		Args: []plan.Arg{plan.V(at), plan.A(c.b.Buf("start", 8)), plan.V(1)}})
}

// endsByDefault are the signals whose default action ends a process (signal(7)): all but those that are ignored, stop, or let go on. Bit n is signal n+1.
const endsByDefault = ^uint64(1<<(abi.SIGCHLD-1) | 1<<(abi.SIGCONT-1) | 1<<(abi.SIGSTOP-1) | 1<<(abi.SIGTSTP-1) | 1<<(abi.SIGTTIN-1) | 1<<(abi.SIGTTOU-1) |
	1<<(abi.SIGURG-1) | 1<<(abi.SIGWINCH-1))

const whySignals = "signalfd(2): the child is blocked for all signals, and a process that waits must end by one"

// seeSignals opens the descriptor that signals are read from.
func (c *compiler) seeSignals(want uint64) plan.Reg {
	mask, r := binary.LittleEndian.AppendUint64(nil, endsByDefault), c.b.Temp("signals")
	c.b.Add(plan.Step{Label: "see signals that end a process", Why: whySignals, Sys: abi.SysSignalfd4, Save: r, FD: true, HasWant: want != 0, Want: int64(want),
		Args: []plan.Arg{plan.N(-1), plan.A(c.b.Bytes("sigset", mask)), plan.V(8), plan.T(abi.O_CLOEXEC, "SFD_CLOEXEC")}})
	return r
}

// watchSignals opens it before the container's limit of open files holds, which counts what the child still has of the runtime's. At a fifo all that is closed.
func (c *compiler) watchSignals() error {
	if !c.in.Gate {
		c.b.In(plan.Child, plan.Identity)
		c.signals = c.seeSignals(0)
	}
	return nil
}

// signalled ends a child that gets a signal while it waits at the gate, as its program would end by it, with the status that a shell tells of that. All
// signals are blocked here, and the first process of a pid namespace would not die of one that is let in: it takes a handler (pid_namespaces(7)),
// which would need a stack. So they are read. A start that has come by then wins: its program gets the signal. want, if not 0, is the descriptor that has
// to be the signals' one: nothing may be between the gate and it.
func (c *compiler) signalled(gate plan.Arg, want uint64) {
	const (
		pollfd    = 8            // struct pollfd (poll(2)): a descriptor, and from the middle on what to wait for
		revents   = 0xffff << 48 // in it, as a word: what has come
		infoSize  = 128          // struct signalfd_siginfo, whose first word is the signal (signalfd(2))
		signalled = 128          // added to the signal's number
	)
	signals, open := c.signals, c.b.Label()
	if signals == 0 {
		signals = c.seeSignals(want)
	}
	fds := c.b.Buf("pollfd gate, signals", 2*pollfd+pollfd/2)
	for n, fd := range []plan.Arg{gate, plan.R(signals)} {
		// Two stores for one structure: of a descriptor's 64 bits the upper half is 0.
		c.b.Add(plan.Step{Label: "wait for it too", Op: plan.OpMove, Args: []plan.Arg{fd, plan.AtOff(fds, n*pollfd)}})
		c.b.Add(plan.Step{Label: "to be read", Op: plan.OpMove, Args: []plan.Arg{plan.T(abi.POLLIN, "POLLIN"), plan.AtOff(fds, n*pollfd+pollfd/2)}})
	}
	c.b.Add(plan.Step{Label: WaitLabel, Why: "poll(2)", Sys: abi.SysPpoll,
		Args: []plan.Arg{plan.A(fds), plan.V(2), plan.V(0), plan.V(0), plan.V(0)}})
	i := c.b.Add(plan.Step{Label: "is it a signal alone", Op: plan.OpCheck, Args: []plan.Arg{plan.M(fds, 0)}, Mask: revents, Equal: 0, Errno: abi.EAGAIN,
		Tolerate: []abi.Errno{abi.EAGAIN}})
	c.b.OnErr(i, open)
	info := c.b.Buf("signalfd_siginfo", infoSize)
	c.b.Add(plan.Step{Label: "read the signal", Why: whySignals, Sys: abi.SysRead, Args: []plan.Arg{plan.R(signals), plan.A(info), plan.V(infoSize)}, HasWant: true, Want: infoSize})
	c.b.Add(plan.Step{Label: SignalLabel, Why: whySignals, Op: plan.OpExit, Args: []plan.Arg{plan.M(info, 0)}, Equal: signalled})
	c.b.Place(open)
}

// Labels of steps of a child at its gate.
const (
	AloneLabel  = "close the socket and the rest"  // from here on it is alone; the socket may be gone a step before
	WaitLabel   = "wait for the start or a signal" // the first of those that a start finds it at
	SignalLabel = "end by the signal"              // that came
	GateLabel   = "wait at the fifo for the start" // of another process
)
