package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/errdefs"
	"github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// classCodes are all classes of errdefs.
var classCodes = []struct {
	class error
	code  codes.Code
}{
	{errdefs.ErrInvalidArgument, codes.InvalidArgument},
	{errdefs.ErrNotFound, codes.NotFound},
	{errdefs.ErrAlreadyExists, codes.AlreadyExists},
	{errdefs.ErrPermissionDenied, codes.PermissionDenied},
	{errdefs.ErrResourceExhausted, codes.ResourceExhausted},
	{errdefs.ErrFailedPrecondition, codes.FailedPrecondition},
	{errdefs.ErrAborted, codes.Aborted},
	{errdefs.ErrOutOfRange, codes.OutOfRange},
	{errdefs.ErrNotImplemented, codes.Unimplemented},
	{errdefs.ErrInternal, codes.Internal},
	{errdefs.ErrUnavailable, codes.Unavailable},
	{errdefs.ErrDataLoss, codes.DataLoss},
	{context.Canceled, codes.Canceled},
	{context.DeadlineExceeded, codes.DeadlineExceeded},
	// Classes that nothing of ours has.
	{errdefs.ErrUnknown, codes.Unknown},
	{errdefs.ErrConflict, codes.Unknown},
	{errdefs.ErrNotModified, codes.Unknown},
	{errdefs.ErrUnauthenticated, codes.Unknown},
	{io.EOF, codes.Unknown},
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
			got := toGRPC(err)
			if status.Code(got) != c.code {
				t.Errorf("%v, %s: %v, want %v", c.class, how, status.Code(got), c.code)
			}
			if status.Convert(got).Message() != err.Error() {
				t.Errorf("%v, %s: %q became %q", c.class, how, err, status.Convert(got).Message())
			}
		}
	}
	if err := toGRPC(nil); err != nil {
		t.Errorf("nil became %v", err)
	}
}

// TestFirstCodeCounts has errors of two classes: the end of the caller's patience, and what is wrong with the request, go before what followed of it.
func TestFirstCodeCounts(t *testing.T) {
	cases := []struct {
		a, b error
		want codes.Code
	}{
		{errdefs.ErrUnavailable, context.DeadlineExceeded, codes.DeadlineExceeded},
		{errdefs.ErrAborted, context.Canceled, codes.Canceled},
		{errdefs.ErrInternal, errdefs.ErrInvalidArgument, codes.InvalidArgument},
		{errdefs.ErrInternal, errdefs.ErrNotFound, codes.NotFound},
		{errdefs.ErrUnavailable, errdefs.ErrFailedPrecondition, codes.FailedPrecondition},
	}
	for _, c := range cases {
		for _, err := range []error{errors.Join(c.a, c.b), errors.Join(c.b, c.a)} {
			if got := status.Code(toGRPC(err)); got != c.want {
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
		code  codes.Code
		words string
	}{
		{mount, abi.EPERM, codes.PermissionDenied, `create web1: step 1/1 "mount proc on /proc" (/mounts/0): fsmount: operation not permitted`},
		{mount, abi.EACCES, codes.PermissionDenied, "access refused"},
		{mount, abi.ENOSYS, codes.Unimplemented, "function not implemented"},
		{mount, abi.ENOMEM, codes.ResourceExhausted, "cannot allocate memory"},
		{mount, abi.EBUSY, codes.FailedPrecondition, "device or resource busy"},
		{mount, abi.EEXIST, codes.FailedPrecondition, "file exists"},
		{mount, abi.EINTR, codes.Aborted, "interrupted system call"},
		{mount, abi.ETIMEDOUT, codes.Unavailable, "timed out"},
		{mount, abi.ENOENT, codes.InvalidArgument, "does not exist"},
		{mount, abi.EIO, codes.Internal, "input/output error"},
		{inner, abi.ENOENT, codes.Internal, "read: does not exist"},
		{inner, 0, codes.Internal, "wait for the gate"},
		{command, abi.ENOENT, codes.InvalidArgument, `exec: "foo": executable file not found in $PATH`},
		{path, abi.ENOENT, codes.InvalidArgument, `exec: "/bin/foo": no such file or directory`},
		{path, abi.EACCES, codes.InvalidArgument, `exec: "/bin/foo": permission denied`},
		{path, abi.ENOMEM, codes.ResourceExhausted, `exec: "/bin/foo": cannot allocate memory`},
	}
	for _, c := range cases {
		step := plan.NewStepError("web1", "create", &plan.Plan{Steps: []plan.Step{c.step}}, 0, c.errno, "")
		got := status.Convert(toGRPC(fmt.Errorf("shim: %w", step)))
		if got.Code() != c.code || !strings.Contains(got.Message(), c.words) {
			t.Errorf("%v, want %v with %q", got, c.code, c.words)
		}
	}
}

// serveOn serves on a socket of the test's, and returns a client and what ends both.
func serveOn(t *testing.T, register func(*ttrpc.Server)) *ttrpc.Client {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	must(t, err)
	server, err := ttrpc.NewServer(ttrpc.WithServerHandshaker(ttrpc.UnixSocketRequireSameUser()))
	must(t, err)
	register(server)
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), l) }()
	conn, err := net.Dial("unix", path)
	must(t, err)
	client := ttrpc.NewClient(conn)
	t.Cleanup(func() {
		must(t, client.Close())
		_ = server.Close() // the listener is closed twice, which it says
		if err := <-served; !errors.Is(err, ttrpc.ErrServerClosed) {
			t.Errorf("the server ended: %v", err)
		}
	})
	return client
}

// TestErrorsOnTheWire has each code and text at the client, also those that protobuf refuses; the connection lives through all.
func TestErrorsOnTheWire(t *testing.T) {
	var next error
	client := serveOn(t, func(s *ttrpc.Server) {
		s.RegisterService("test", &ttrpc.ServiceDesc{Methods: map[string]ttrpc.Method{
			"Fail": method(func(context.Context, *taskapi.StateRequest) (*taskapi.StateResponse, error) { return nil, next })}})
	})
	call := func() *status.Status {
		return status.Convert(client.Call(context.Background(), "test", "Fail", &taskapi.StateRequest{}, &taskapi.StateResponse{}))
	}
	for _, c := range classCodes {
		next = fmt.Errorf("kill web1: %w", c.class)
		if got := call(); got.Code() != c.code || got.Message() != next.Error() {
			t.Errorf("%v arrives as %v", next, got)
		}
	}
	next = fmt.Errorf("hook says \"\xff\xfe ü\n\": %w", errdefs.ErrAborted)
	if got, want := call(), "hook says \"\uFFFD ü\n\": aborted"; got.Code() != codes.Aborted || got.Message() != want {
		t.Errorf("text that is no UTF-8 arrives as %v, want %q", got, want)
	}
}
