package run

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// A dead process leaves its cgroup a moment after it was reaped: removing is tried again this often, so long apart.
const (
	busyTries = 200
	busyPause = 5 * time.Millisecond
)

func retryBusy(f func() error) error {
	for try := 0; ; try++ {
		err := f()
		if !errors.Is(err, unix.EBUSY) || try == busyTries {
			return err
		}
		time.Sleep(busyPause)
	}
}

// stepError is the error of step i.
func (e *engine) stepError(i int, errno abi.Errno, detail string) error {
	return plan.NewStepError(e.id, e.action, e.plan, i, errno, detail)
}

// childError returns the error of the child's step that failed, or of its death; nil when the child is not to blame.
func (e *engine) childError() error {
	if e.proc == nil {
		return nil
	}
	if e.im.Header(plan.HdrState) == plan.StateFailed {
		i := int(e.im.Header(plan.HdrFailed))
		res := int64(e.im.Header(plan.HdrResult))
		if res < 0 && res >= -4095 {
			return e.stepError(i, abi.Errno(-res), "")
		}
		return e.stepError(i, abi.EPROTO, fmt.Sprintf("result %d", res))
	}
	i := int(e.im.Header(plan.HdrStep))
	select {
	case <-e.proc.Done():
	case <-time.After(deathWait):
		return nil
	}
	status, _ := e.proc.Exit()
	if e.plan.Steps[i].Actor != plan.Child { // it has not begun one
		clone := slices.IndexFunc(e.plan.Steps, func(s plan.Step) bool { return s.Op == plan.OpClone })
		return e.stepError(clone, 0, fmt.Sprintf("the process was killed at its birth (status %d)", status))
	}
	return e.stepError(i, 0, fmt.Sprintf("the process was killed here (status %d)", status))
}

// deathWait is how long a child that has closed its socket gets to be reaped before it is said to live. Closing and
// dying are one call for it; a machine under load takes some milliseconds.
const deathWait = 2 * time.Second
