package process

import (
	"context"
	"time"
)

// startFailedStatus is the exit status of a process that never ran its program: no signal and no
// program of a shell's conventions (126, 127, 128+n) gives it.
const startFailedStatus = 255

// proc is one process of a container, init or exec. Its owner is the container's goroutine; fields are
// touched by others only after settled is closed, and then only exit and known.
type proc struct {
	execID string // empty for init
	spec   []byte
	stdio  StdioConfig
	status Status

	child   Child   // nil for an exec until started
	streams Streams // nil for an exec until started, and after delete
	cancel  context.CancelFunc

	stdinClosed bool // CloseIO came before the streams were there
	ended       bool // the child was reaped
	failed      bool // the start failed: no exit event

	exit    Exit
	known   bool          // exit is valid
	settled chan struct{} // closed when nothing more will become of the process: waiters go on
}

func newProc(execID string, stdio StdioConfig, status Status) *proc {
	return &proc{execID: execID, stdio: stdio, status: status, settled: make(chan struct{})}
}

// apply moves the process by the table.
func (p *proc) apply(e event) error {
	s, err := next(p.status, e)
	p.status = s
	return err
}

func (p *proc) pid() int {
	if p.child == nil {
		return 0
	}
	return p.child.Pid()
}

// end notes how the process ended; waiters are not told yet.
func (p *proc) end(e Exit) {
	if !p.known {
		p.exit, p.known = e, true
	}
}

// fail notes that the program was never executed.
func (p *proc) fail() {
	p.failed = true
	p.end(Exit{Status: startFailedStatus, At: time.Now()})
}

// settle lets the waiters go. Idempotent.
func (p *proc) settle() {
	if !p.isSettled() {
		close(p.settled)
	}
}

func (p *proc) isSettled() bool {
	select {
	case <-p.settled:
		return true
	default:
		return false
	}
}
