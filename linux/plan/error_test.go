package plan

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/abi"
)

func TestStepErrorText(t *testing.T) {
	p := &Plan{Name: "create web1", Steps: []Step{
		{Label: "mount proc on /proc", Source: "/mounts/0", Sys: abi.SysFsmount},
		{Label: "open the source", Source: "/mounts/1/source", Sys: abi.SysOpenTree, Path: "/srv/data"},
		{Label: "run the command", Source: "/process/args/0", Sys: abi.SysExecve, Actor: Child, Command: "foo"},
		{Label: "run the command", Source: "/process/args/0", Sys: abi.SysExecve, Actor: Child, Command: "/bin/x"},
		{Label: "look up HOME", Op: OpCall, Call: CallHome},
	}}
	for _, c := range []struct {
		step   int
		errno  abi.Errno
		detail string
		want   string
		class  error
	}{
		{0, abi.EPERM, "", `create web1: step 1/5 "mount proc on /proc" (/mounts/0): fsmount: operation not permitted`, errdefs.ErrPermissionDenied},
		{0, abi.ENOSYS, "", `create web1: step 1/5 "mount proc on /proc" (/mounts/0): fsmount: function not implemented`, errdefs.ErrNotImplemented},
		{1, abi.ENOENT, "", `create web1: step 2/5 "open the source" (/mounts/1/source): open_tree /srv/data: does not exist`, errdefs.ErrInvalidArgument},
		{1, abi.EACCES, "", `create web1: step 2/5 "open the source" (/mounts/1/source): open_tree /srv/data: access refused`, errdefs.ErrPermissionDenied},
		{2, abi.ENOENT, "", `create web1: step 3/5 "run the command" (/process/args/0): exec: "foo": executable file not found in $PATH`, errdefs.ErrInvalidArgument},
		{2, abi.EACCES, "", `create web1: step 3/5 "run the command" (/process/args/0): exec: "foo": permission denied`, errdefs.ErrInvalidArgument},
		{3, abi.ENOENT, "", `create web1: step 4/5 "run the command" (/process/args/0): exec: "/bin/x": no such file or directory`, errdefs.ErrInvalidArgument},
		{3, abi.ENOMEM, "", `create web1: step 4/5 "run the command" (/process/args/0): exec: "/bin/x": cannot allocate memory`, errdefs.ErrResourceExhausted},
		{4, 0, "open passwd: no such file or directory", `create web1: step 5/5 "look up HOME": home: open passwd: does not exist`, errdefs.ErrInternal},
		{4, 999, "", `create web1: step 5/5 "look up HOME": home: errno 999`, errdefs.ErrInternal},
	} {
		err := NewStepError("web1", "create", p, c.step, c.errno, c.detail)
		if err.Error() != c.want {
			t.Errorf("got  %s\nwant %s", err, c.want)
		}
		if !errors.Is(err, c.class) {
			t.Errorf("%s: not of class %v", err, c.class)
		}
		if c.errno != 0 && !errors.Is(err, c.errno) {
			t.Errorf("%s: not %v", err, c.errno)
		}
		var se *StepError
		if !errors.As(err, &se) || se.Step != c.step+1 {
			t.Errorf("%s: errors.As", err)
		}
	}
}

// TestStepErrorWords: no errno of a step without a command gives a word that a client would take for a missing command, and none gives a
// class that a client would take for a missing or existing task.
func TestStepErrorWords(t *testing.T) {
	p := &Plan{Steps: []Step{{Label: "x", Sys: abi.SysOpenat}, {Label: "x", Sys: abi.SysExecve, Command: "c"}}}
	for n := range 140 {
		text := NewStepError("a", "create", p, 0, abi.Errno(n), "").Error()
		for _, w := range []string{"no such file or directory", "executable file not found", "permission denied"} {
			if strings.Contains(text, w) {
				t.Errorf("errno %d: %q holds %q", n, text, w)
			}
		}
		for i := range p.Steps {
			err := NewStepError("a", "create", p, i, abi.Errno(n), "")
			if errdefs.IsNotFound(err) || errdefs.IsAlreadyExists(err) {
				t.Errorf("errno %d, step %d: class %v", n, i, err)
			}
		}
	}
	_ = NewStepError("a", "create", p, 7, abi.EIO, "").Error() // a step that is not there
}
