package shim

import (
	"context"
	"errors"
	"strings"

	"github.com/containerd/errdefs"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// grpcCodes is the one place where an error becomes the code that containerd acts on; the first that matches counts. The text stays as it is.
var grpcCodes = []struct {
	err  error
	code codes.Code
}{
	{context.Canceled, codes.Canceled},
	{context.DeadlineExceeded, codes.DeadlineExceeded},
	{errdefs.ErrInvalidArgument, codes.InvalidArgument},
	{errdefs.ErrNotFound, codes.NotFound},
	{errdefs.ErrAlreadyExists, codes.AlreadyExists},
	{errdefs.ErrNotImplemented, codes.Unimplemented},
	{errdefs.ErrFailedPrecondition, codes.FailedPrecondition},
	{errdefs.ErrPermissionDenied, codes.PermissionDenied},
	{errdefs.ErrResourceExhausted, codes.ResourceExhausted},
	{errdefs.ErrAborted, codes.Aborted},
	{errdefs.ErrOutOfRange, codes.OutOfRange},
	{errdefs.ErrDataLoss, codes.DataLoss},
	{errdefs.ErrUnavailable, codes.Unavailable},
	{errdefs.ErrInternal, codes.Internal},
}

// toGRPC gives an error its code for ttrpc. One that is of no class is Unknown. Output of hooks and loggers may be in the text and may be no UTF-8: such
// an answer cannot be encoded, and ttrpc would close the connection, which for containerd is the shim's death.
func toGRPC(err error) error {
	if err == nil {
		return nil
	}
	code := codes.Unknown
	for _, c := range grpcCodes {
		if errors.Is(err, c.err) {
			code = c.code
			break
		}
	}
	return status.Error(code, strings.ToValidUTF8(err.Error(), "\uFFFD"))
}
