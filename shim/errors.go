package shim

import (
	"context"
	"errors"

	"github.com/containerd/errdefs"

	"example.io/shim/shim/ttrpc"
)

// codes is the one place where an error becomes the code that containerd acts on; the first that matches counts. The text stays as it is.
var codes = []struct {
	err  error
	code ttrpc.Code
}{
	{context.Canceled, ttrpc.Canceled},
	{context.DeadlineExceeded, ttrpc.DeadlineExceeded},
	{errdefs.ErrInvalidArgument, ttrpc.InvalidArgument},
	{errdefs.ErrNotFound, ttrpc.NotFound},
	{errdefs.ErrAlreadyExists, ttrpc.AlreadyExists},
	{errdefs.ErrNotImplemented, ttrpc.Unimplemented},
	{errdefs.ErrFailedPrecondition, ttrpc.FailedPrecondition},
	{errdefs.ErrPermissionDenied, ttrpc.PermissionDenied},
	{errdefs.ErrResourceExhausted, ttrpc.ResourceExhausted},
	{errdefs.ErrAborted, ttrpc.Aborted},
	{errdefs.ErrOutOfRange, ttrpc.OutOfRange},
	{errdefs.ErrDataLoss, ttrpc.DataLoss},
	{errdefs.ErrUnavailable, ttrpc.Unavailable},
	{errdefs.ErrInternal, ttrpc.Internal},
}

// coded gives an error its code for ttrpc. One that is of no class is Unknown.
func coded(err error) error {
	if err == nil {
		return nil
	}
	code := ttrpc.Unknown
	for _, c := range codes {
		if errors.Is(err, c.err) {
			code = c.code
			break
		}
	}
	return &ttrpc.Error{Code: code, Text: err.Error()}
}
