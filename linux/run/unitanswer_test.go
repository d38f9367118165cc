package run

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// TestAnswers: what systemd answers has a class in the step's error, and its words once.
func TestAnswers(t *testing.T) {
	p := &plan.Plan{Steps: []plan.Step{{Op: plan.OpCall, Call: plan.CallStartUnit, Label: "start it", Source: "/linux/cgroupsPath"}}}
	for answered, class := range map[error]error{errdefs.ErrAlreadyExists: errdefs.ErrFailedPrecondition, errdefs.ErrInvalidArgument: errdefs.ErrInvalidArgument,
		errdefs.ErrPermissionDenied: errdefs.ErrPermissionDenied, context.DeadlineExceeded: errdefs.ErrUnavailable, errors.New("x"): errdefs.ErrInternal} {
		res, detail := errnoOf(ofSystemd(fmt.Errorf("systemd: words: %w", answered)))
		errno := abi.Errno(-res)
		if errno == abi.EIO {
			errno = 0
		}
		if err := plan.NewStepError("web1", "create", p, 0, errno, detail); !errors.Is(err, class) {
			t.Errorf("%v: %v is not of class %v", answered, err, class)
		}
	}
	if ofSystemd(nil) != nil {
		t.Error("an error of none")
	}
}

// TestHolder: the process that holds a unit waits, ends when it is told to, and leaves nothing.
func TestHolder(t *testing.T) {
	dir := t.TempDir()
	before := takeTrace(t, dir)
	for range 3 {
		h, err := newHolder()
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-h.e.proc.Done():
			t.Error("it did not wait")
		case <-time.After(20 * time.Millisecond):
		}
		e := &engine{holder: h}
		e.leaveUnit()
		e.leaveUnit()
		select {
		case <-h.e.proc.Done():
		default:
			t.Error("it is not reaped")
		}
	}
	noTrace(t, before, dir)
}
