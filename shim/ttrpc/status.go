package ttrpc

import (
	"errors"
	"fmt"
	"strings"

	"example.io/shim/shim/wire"
)

// Code is what a client acts on: gRPC's numbers (google/rpc/code.proto).
type Code int32

// The codes.
const (
	OK                 Code = 0
	Canceled           Code = 1
	Unknown            Code = 2
	InvalidArgument    Code = 3
	DeadlineExceeded   Code = 4
	NotFound           Code = 5
	AlreadyExists      Code = 6
	PermissionDenied   Code = 7
	ResourceExhausted  Code = 8
	FailedPrecondition Code = 9
	Aborted            Code = 10
	OutOfRange         Code = 11
	Unimplemented      Code = 12
	Internal           Code = 13
	Unavailable        Code = 14
	DataLoss           Code = 15
	Unauthenticated    Code = 16
)

var codeNames = [...]string{"OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists", "PermissionDenied", "ResourceExhausted",
	"FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"}

func (c Code) String() string {
	if c < 0 || int(c) >= len(codeNames) {
		return fmt.Sprintf("Code(%d)", int32(c))
	}
	return codeNames[c]
}

// Error is an answer that is an error.
type Error struct {
	Code Code
	Text string
}

func (e *Error) Error() string { return e.Text + " (" + e.Code.String() + ")" }

// CodeOf is the code of an error: OK for none, Unknown where it has none.
func CodeOf(err error) Code {
	var e *Error
	switch {
	case err == nil:
		return OK
	case errors.As(err, &e):
		return e.Code
	}
	return Unknown
}

// statusOf is what is sent of err. Output of hooks and loggers may be in its text and may be no UTF-8, which cannot be sent.
func statusOf(err error) *wire.Status {
	text := err.Error()
	var e *Error
	if errors.As(err, &e) {
		text = e.Text
	}
	return &wire.Status{Code: int32(CodeOf(err)), Message: strings.ToValidUTF8(text, "\uFFFD")}
}
