package plan

import (
	"fmt"
	"strings"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/abi"
)

// StepError says which step of a plan failed, and why:
//
//	create web1: step 17/64 "mount proc on /proc" (/mounts/0): fsmount: operation not permitted
//
// Docker and nerdctl turn a failed start into exit code 127 or 126 when the text holds the command together with "executable file not
// found", "no such file or directory" (127) or "permission denied" (126). So the steps with a Command say these words, and all others
// say "does not exist" and "access refused" instead.
//
// errors.Is finds the abi.Errno and the errdefs sentinel of Class.
type StepError struct {
	ID     string // of the container
	Action string // "create", "start" or "exec"
	Step   int    // 1 is the first
	Total  int    // number of steps
	Actor  Actor
	Phase  Phase
	Label  string
	Source string // JSON pointer into config.json, or ""
	Sys    abi.Sys
	Op     Op
	Call   string // OpCall
	Path   string // what the step worked on, or ""
	// Command is the command as the user wrote it when the step was to find or execute it, else "".
	Command string
	Errno   abi.Errno // 0 when there is none: then Detail says what happened
	Detail  string    // more words, or ""
}

// NewStepError returns the error of step i of p: a *StepError.
func NewStepError(id, action string, p *Plan, i int, errno abi.Errno, detail string) error {
	e := &StepError{ID: id, Action: action, Step: i + 1, Total: len(p.Steps), Errno: errno, Detail: detail}
	if i >= 0 && i < len(p.Steps) {
		s := &p.Steps[i]
		e.Actor, e.Phase, e.Label, e.Source = s.Actor, s.Phase, s.Label, s.Source
		e.Sys, e.Op, e.Call, e.Path, e.Command = s.Sys, s.Op, s.Call, s.Path, s.Command
	}
	return e
}

// ContainerID says that the text names the container: nobody need put it in front again.
func (e *StepError) ContainerID() string { return e.ID }

// Error returns one line.
func (e *StepError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: step %d/%d %q", e.Action, e.ID, e.Step, e.Total, e.Label)
	if e.Source != "" {
		fmt.Fprintf(&b, " (%s)", e.Source)
	}
	if e.Command != "" {
		fmt.Fprintf(&b, ": exec: %q", e.Command)
	} else {
		if v := e.verb(); v != "" {
			b.WriteString(": " + v)
			if e.Path != "" && !strings.Contains(e.Label, e.Path) {
				b.WriteString(" " + e.Path)
			}
		}
	}
	if e.Errno != 0 {
		b.WriteString(": " + e.words())
	}
	if e.Detail != "" {
		b.WriteString(": " + e.plain(e.Detail))
	}
	return b.String()
}

// verb is what was done: the system call's name, or that of the operation.
func (e *StepError) verb() string {
	switch e.Op {
	case OpSyscall:
		if e.Sys != abi.SysNone {
			return sysName(e.Sys)
		}
		return ""
	case OpCall:
		return e.Call
	case OpClone:
		return "clone3"
	case OpCheck:
		return "check"
	}
	return ""
}

// words returns the errno's words for this step.
func (e *StepError) words() string {
	if e.Command != "" {
		if e.Errno == abi.ENOENT && !strings.Contains(e.Command, "/") {
			return "executable file not found in $PATH"
		}
		return e.Errno.Error()
	}
	w := e.plain(e.Errno.Error())
	if w == "unknown error" {
		w = fmt.Sprintf("errno %d", e.Errno)
	}
	return w
}

// plainWords takes the words of a command that could not be run out of the texts of other steps.
var plainWords = strings.NewReplacer(
	"no such file or directory", "does not exist",
	"permission denied", "access refused",
	"executable file not found", "executable not there",
)

func (e *StepError) plain(s string) string {
	if e.Command != "" {
		return s
	}
	return plainWords.Replace(s)
}

// Unwrap returns the errno, if any, and the class.
func (e *StepError) Unwrap() []error {
	if e.Errno == 0 {
		return []error{e.Class()}
	}
	return []error{e.Errno, e.Class()}
}

// Class returns the errdefs sentinel from which the gRPC code is made. It is never NotFound or AlreadyExists: of a task service these
// say that the task is not there or is there already, and clients act on that.
func (e *StepError) Class() error {
	if e.Command != "" {
		switch e.Errno {
		case abi.ENOENT, abi.EACCES, abi.EPERM, abi.ENOEXEC, abi.ENOTDIR, abi.EISDIR, abi.ELOOP, abi.ENAMETOOLONG, abi.E2BIG, abi.EINVAL:
			return errdefs.ErrInvalidArgument // the command is what is wrong
		}
	}
	switch e.Errno {
	case abi.ENOSYS, abi.ENOTSUP, abi.EAFNOSUPPORT, abi.EPROTONOSUPPORT:
		return errdefs.ErrNotImplemented // by this kernel or this file system
	case abi.EPERM, abi.EACCES, abi.EROFS:
		return errdefs.ErrPermissionDenied
	case abi.ENOMEM, abi.EMFILE, abi.ENFILE, abi.ENOSPC, abi.EDQUOT, abi.EAGAIN, abi.EUSERS, abi.ENOBUFS, abi.EMLINK:
		return errdefs.ErrResourceExhausted
	case abi.EBUSY, abi.EEXIST, abi.ENOTEMPTY, abi.ETXTBSY, abi.ESRCH:
		return errdefs.ErrFailedPrecondition
	case abi.EPIPE, abi.ECONNRESET, abi.ECHILD, abi.EINTR, abi.ECANCELED:
		return errdefs.ErrAborted // the other side died, or was killed
	case abi.ETIMEDOUT:
		return errdefs.ErrUnavailable
	case abi.ENOENT, abi.ENOTDIR, abi.EISDIR, abi.ELOOP, abi.ENAMETOOLONG, abi.EINVAL, abi.ENODEV, abi.ENXIO, abi.ERANGE, abi.E2BIG, abi.EXDEV, abi.ENOTBLK:
		if e.Source != "" {
			return errdefs.ErrInvalidArgument // the configuration asked for it
		}
	}
	return errdefs.ErrInternal
}

// sysName is Sys.String for any value.
func sysName(s abi.Sys) string {
	if _, ok := s.Number("amd64"); !ok && s != abi.SysNone {
		return fmt.Sprintf("sys(%d)", uint8(s))
	}
	return s.String()
}
