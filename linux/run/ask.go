package run

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// A child can ask for something that only few need, at a place that only it knows of (plan.OpAsk): its parent, which waits for another message then, does it
// and waits on.

// asked says whether what the parent has just read is a question.
func (e *engine) asked(s *plan.Step) bool {
	return s.Sys == abi.SysRead && s.Args[0].Kind == plan.FromReg && s.Args[0].Reg == e.plan.Reg(plan.RegSyncP) && e.im.Item(s.Args[1].Data)[s.Args[1].Value] == plan.Asks
}

// answer does what the child asks for. What it asks stands in the plan, at the step that it is at.
func (e *engine) answer() error {
	i := int(e.im.Header(plan.HdrStep))
	if i >= len(e.plan.Steps) || e.plan.Steps[i].Op != plan.OpAsk {
		return fmt.Errorf("the child asks at a step that is none: %w", unix.EPROTO)
	}
	s := &e.plan.Steps[i]
	res, detail := e.call(&plan.Step{Call: s.Call, Args: s.Ask})
	if res < 0 {
		errno := abi.Errno(-res)
		if errno == abi.EIO && detail != "" {
			errno = 0 // no errno of the kernel's: the words say it
		}
		e.refused = e.stepError(i, errno, detail)
		return errors.Join(e.refused, errno)
	}
	_, err := unix.Write(int(e.im.Reg(e.plan.Reg(plan.RegSyncP))), []byte{plan.Asks})
	return err
}
