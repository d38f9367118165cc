package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
	"example.io/shim/shim/ttrpc"
	"example.io/shim/shim/wire"
)

// classCodes are all classes of errdefs.
var classCodes = []struct {
	class error
	code  ttrpc.Code
}{
	{errdefs.ErrInvalidArgument, ttrpc.InvalidArgument},
	{errdefs.ErrNotFound, ttrpc.NotFound},
	{errdefs.ErrAlreadyExists, ttrpc.AlreadyExists},
	{errdefs.ErrPermissionDenied, ttrpc.PermissionDenied},
	{errdefs.ErrResourceExhausted, ttrpc.ResourceExhausted},
	{errdefs.ErrFailedPrecondition, ttrpc.FailedPrecondition},
	{errdefs.ErrAborted, ttrpc.Aborted},
	{errdefs.ErrOutOfRange, ttrpc.OutOfRange},
	{errdefs.ErrNotImplemented, ttrpc.Unimplemented},
	{errdefs.ErrInternal, ttrpc.Internal},
	{errdefs.ErrUnavailable, ttrpc.Unavailable},
	{errdefs.ErrDataLoss, ttrpc.DataLoss},
	{context.Canceled, ttrpc.Canceled},
	{context.DeadlineExceeded, ttrpc.DeadlineExceeded},
	// Classes that nothing of ours has.
	{errdefs.ErrUnknown, ttrpc.Unknown},
	{errdefs.ErrConflict, ttrpc.Unknown},
	{errdefs.ErrNotModified, ttrpc.Unknown},
	{errdefs.ErrUnauthenticated, ttrpc.Unknown},
	{io.EOF, ttrpc.Unknown},
}

func TestCodes(t *testing.T) {
	for _, c := range classCodes {
		for how, err := range map[string]error{
			"bare":          c.class,
			"wrapped":       fmt.Errorf("create web1: %w", c.class),
			"wrapped twice": fmt.Errorf("a: %w", fmt.Errorf("b: %w", c.class)),
			"joined":        errors.Join(io.ErrUnexpectedEOF, c.class),
			"with a cause":  fmt.Errorf("a: %w: %w", io.ErrUnexpectedEOF, c.class),
		} {
			got := coded(err)
			if ttrpc.CodeOf(got) != c.code {
				t.Errorf("%v, %s: %v, want %v", c.class, how, ttrpc.CodeOf(got), c.code)
			}
			if textOf(got) != err.Error() {
				t.Errorf("%v, %s: %q became %q", c.class, how, err, textOf(got))
			}
		}
	}
	if err := coded(nil); err != nil {
		t.Errorf("nil became %v", err)
	}
}

// TestFirstCodeCounts has errors of two classes: the end of the caller's patience, and what is wrong with the request, go before what followed of it.
func TestFirstCodeCounts(t *testing.T) {
	cases := []struct {
		a, b error
		want ttrpc.Code
	}{
		{errdefs.ErrUnavailable, context.DeadlineExceeded, ttrpc.DeadlineExceeded},
		{errdefs.ErrAborted, context.Canceled, ttrpc.Canceled},
		{errdefs.ErrInternal, errdefs.ErrInvalidArgument, ttrpc.InvalidArgument},
		{errdefs.ErrInternal, errdefs.ErrNotFound, ttrpc.NotFound},
		{errdefs.ErrUnavailable, errdefs.ErrFailedPrecondition, ttrpc.FailedPrecondition},
	}
	for _, c := range cases {
		for _, err := range []error{errors.Join(c.a, c.b), errors.Join(c.b, c.a)} {
			if got := ttrpc.CodeOf(coded(err)); got != c.want {
				t.Errorf("%q: %v, want %v", err, got, c.want)
			}
		}
	}
}

// TestStepErrors has steps of plans as the runtime makes them.
func TestStepErrors(t *testing.T) {
	mount := plan.Step{Label: "mount proc on /proc", Source: "/mounts/0", Op: plan.OpSyscall, Sys: abi.SysFsmount}
	inner := plan.Step{Label: "wait for the gate", Op: plan.OpCall, Call: "read"}
	command := plan.Step{Label: "execute the program", Source: "/process/args/0", Op: plan.OpSyscall, Sys: abi.SysExecve, Command: "foo"}
	path := command
	path.Command = "/bin/foo"
	cases := []struct {
		step  plan.Step
		errno abi.Errno
		code  ttrpc.Code
		words string
	}{
		{mount, abi.EPERM, ttrpc.PermissionDenied, `create web1: step 1/1 "mount proc on /proc" (/mounts/0): fsmount: operation not permitted`},
		{mount, abi.EACCES, ttrpc.PermissionDenied, "access refused"},
		{mount, abi.ENOSYS, ttrpc.Unimplemented, "function not implemented"},
		{mount, abi.ENOMEM, ttrpc.ResourceExhausted, "cannot allocate memory"},
		{mount, abi.EBUSY, ttrpc.FailedPrecondition, "device or resource busy"},
		{mount, abi.EEXIST, ttrpc.FailedPrecondition, "file exists"},
		{mount, abi.EINTR, ttrpc.Aborted, "interrupted system call"},
		{mount, abi.ETIMEDOUT, ttrpc.Unavailable, "timed out"},
		{mount, abi.ENOENT, ttrpc.InvalidArgument, "does not exist"},
		{mount, abi.EIO, ttrpc.Internal, "input/output error"},
		{inner, abi.ENOENT, ttrpc.Internal, "read: does not exist"},
		{inner, 0, ttrpc.Internal, "wait for the gate"},
		{command, abi.ENOENT, ttrpc.InvalidArgument, `exec: "foo": executable file not found in $PATH`},
		{path, abi.ENOENT, ttrpc.InvalidArgument, `exec: "/bin/foo": no such file or directory`},
		{path, abi.EACCES, ttrpc.InvalidArgument, `exec: "/bin/foo": permission denied`},
		{path, abi.ENOMEM, ttrpc.ResourceExhausted, `exec: "/bin/foo": cannot allocate memory`},
	}
	for _, c := range cases {
		step := plan.NewStepError("web1", "create", &plan.Plan{Steps: []plan.Step{c.step}}, 0, c.errno, "")
		got := coded(fmt.Errorf("shim: %w", step))
		if ttrpc.CodeOf(got) != c.code || !strings.Contains(textOf(got), c.words) {
			t.Errorf("%v, want %v with %q", got, c.code, c.words)
		}
	}
}

// textOf is the text that a client gets.
func textOf(err error) string {
	var e *ttrpc.Error
	if errors.As(err, &e) {
		return e.Text
	}
	return "no answer: " + err.Error()
}

// serveOn serves on a socket of the test's, and returns its path. It ends with the test, which must not leave connections behind.
func serveOn(t *testing.T, services map[string]ttrpc.Service) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := ttrpc.Listen(path)
	must(t, err)
	server := ttrpc.NewServer(services, t.Logf)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		must(t, server.Close())
		server.HangUp(context.Background())
		if err := <-served; !errors.Is(err, ttrpc.ErrClosed) {
			t.Errorf("the server ended: %v", err)
		}
	})
	return path
}

// dial connects until the end of the test.
func dial(t *testing.T, path string) *ttrpc.Client {
	t.Helper()
	c, err := ttrpc.Dial(path)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestErrorsOnTheWire has each code and text at the client, also those that cannot be encoded; the connection lives through all.
func TestErrorsOnTheWire(t *testing.T) {
	var next error
	fail := func(string) ttrpc.Method {
		return method(func(context.Context, *wire.StateRequest) (*wire.StateResponse, error) { return nil, next })
	}
	client := dial(t, serveOn(t, map[string]ttrpc.Service{"test": fail}))
	call := func() error {
		return client.Call(context.Background(), "test", "Fail", &wire.StateRequest{}, &wire.StateResponse{})
	}
	for _, c := range classCodes {
		next = fmt.Errorf("kill web1: %w", c.class)
		if got := call(); ttrpc.CodeOf(got) != c.code || textOf(got) != next.Error() {
			t.Errorf("%v arrives as %v", next, got)
		}
	}
	next = fmt.Errorf("hook says \"\xff\xfe ü\n\": %w", errdefs.ErrAborted)
	if got, want := call(), "hook says \"\uFFFD ü\n\": aborted"; ttrpc.CodeOf(got) != ttrpc.Aborted || textOf(got) != want {
		t.Errorf("text that is no UTF-8 arrives as %v, want %q", got, want)
	}
}
