package nonblock

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/containerd/errdefs"
)

// Explain turns the error of opening or executing something of the host into text that clients cannot take for a failed
// exec: Docker and nerdctl make exit codes 126 and 127 out of the kernel's words for ENOENT and EACCES, wherever they
// stand. What is missing or refused is errdefs.ErrFailedPrecondition (not NotFound, which would mean the task).
// Everything else is returned as it is.
func Explain(err error) error {
	what := ""
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		what = fmt.Sprintf("%s %q: ", pe.Op, pe.Path)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%sdoes not exist: %w", what, errdefs.ErrFailedPrecondition)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%saccess is refused: %w", what, errdefs.ErrFailedPrecondition)
	}
	return err
}
