package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	eventsttrpc "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	theirs "github.com/containerd/ttrpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.io/shim/shim/ttrpc"
	"example.io/shim/shim/wire"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// echo is a service of our server. Its methods take and give Anys.
type echo struct {
	mu      sync.Mutex
	running int           // calls of Wait
	more    chan struct{} // told when running has changed
}

func (e *echo) method(name string) ttrpc.Method {
	switch name {
	case "Echo":
		return ttrpc.Unary(func(_ context.Context, q *wire.Any) (*wire.Any, error) { return q, nil })
	case "Namespace":
		return ttrpc.Unary(func(ctx context.Context, _ *wire.Any) (*wire.Any, error) {
			return &wire.Any{TypeUrl: ttrpc.Metadata(ctx, "containerd-namespace-ttrpc")}, nil
		})
	case "Fail":
		return ttrpc.Unary(func(_ context.Context, q *wire.Any) (*wire.Any, error) {
			return nil, fmt.Errorf("wrapped: %w", &ttrpc.Error{Code: ttrpc.Code(len(q.Value)), Text: q.TypeUrl + "\xff"})
		})
	case "Deadline":
		return ttrpc.Unary(func(ctx context.Context, _ *wire.Any) (*wire.Timestamp, error) {
			d, _ := ctx.Deadline()
			return &wire.Timestamp{Seconds: int64(time.Until(d))}, nil
		})
	case "Wait":
		return ttrpc.Unary(e.wait)
	case "NoText":
		return ttrpc.Unary(func(context.Context, *wire.Any) (*wire.Any, error) { return &wire.Any{TypeUrl: "\xff"}, nil })
	case "Long":
		return ttrpc.Unary(func(context.Context, *wire.Any) (*wire.Any, error) { return &wire.Any{Value: make([]byte, 4<<20)}, nil })
	}
	return nil
}

// wait runs until its caller is gone.
func (e *echo) wait(ctx context.Context, _ *wire.Any) (*wire.Empty, error) {
	e.add(1)
	defer e.add(-1)
	<-ctx.Done()
	return nil, &ttrpc.Error{Code: ttrpc.Canceled, Text: ctx.Err().Error()}
}

func (e *echo) add(n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.running += n
	close(e.more)
	e.more = make(chan struct{})
}

// until waits for n running calls of Wait.
func (e *echo) until(n int) {
	for {
		e.mu.Lock()
		now, more := e.running, e.more
		e.mu.Unlock()
		if now == n {
			return
		}
		<-more
	}
}

// serve is our server, until the end of the test.
func serve(t *testing.T) (e *echo, path string) {
	t.Helper()
	e, path = &echo{more: make(chan struct{})}, filepath.Join(t.TempDir(), "s")
	l, err := ttrpc.Listen(path)
	must(t, err)
	server := ttrpc.NewServer(map[string]ttrpc.Service{"test.Echo": e.method}, t.Logf)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		must(t, server.Close())
		server.HangUp(context.Background())
		e.until(0)
		if err := <-served; !errors.Is(err, ttrpc.ErrClosed) {
			t.Errorf("the server ended: %v", err)
		}
	})
	return e, path
}

// dial is containerd's client.
func dial(t *testing.T, path string) *theirs.Client {
	t.Helper()
	conn, err := net.Dial("unix", path)
	must(t, err)
	c := theirs.NewClient(conn)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func call(ctx context.Context, c *theirs.Client, method string, q, r proto.Message) error {
	return c.Call(ctx, "test.Echo", method, q, r)
}

// TestTheirClient has containerd's client at our server: answers, codes, metadata, time limits.
func TestTheirClient(t *testing.T) {
	_, path := serve(t)
	c, ctx := dial(t, path), context.Background()
	for _, n := range []int{0, 1, 400, 512, 513, 70000, 4<<20 - 100} {
		q, r := &anypb.Any{TypeUrl: "x", Value: make([]byte, n)}, &anypb.Any{}
		if err := call(ctx, c, "Echo", q, r); err != nil || !proto.Equal(q, r) {
			t.Errorf("an echo of %d bytes: %v", n, err)
		}
	}
	for code := 1; code <= 16; code++ {
		err := call(ctx, c, "Fail", &anypb.Any{TypeUrl: "why", Value: make([]byte, code)}, &anypb.Any{})
		if s := status.Convert(err); s.Code() != codes.Code(code) || s.Message() != "why\uFFFD" || ttrpc.Code(code).String() != s.Code().String() {
			t.Errorf("code %d arrives as %v", code, err)
		}
	}
	r := &anypb.Any{}
	must(t, call(theirs.WithMetadata(ctx, theirs.MD{"containerd-namespace-ttrpc": {"k8s.io", "b"}, "a": {"c"}}), c, "Namespace", &anypb.Any{}, r))
	if r.TypeUrl != "k8s.io" {
		t.Errorf("namespace %q", r.TypeUrl)
	}
	must(t, call(ctx, c, "Namespace", &anypb.Any{}, r))
	if r.TypeUrl != "" {
		t.Errorf("no namespace is %q", r.TypeUrl)
	}
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	left := &timestamppb.Timestamp{}
	must(t, call(limited, c, "Deadline", &anypb.Any{}, left))
	if d := time.Duration(left.Seconds); d > time.Minute || d < 30*time.Second {
		t.Errorf("of a minute %v are left", d)
	}
	must(t, call(ctx, c, "Deadline", &anypb.Any{}, left))
	if left.Seconds > 0 {
		t.Errorf("without a limit %v are left", time.Duration(left.Seconds))
	}
}

// TestTheirClientRefused are calls that cannot be; the connection goes on after each.
func TestTheirClientRefused(t *testing.T) {
	_, path := serve(t)
	c, ctx := dial(t, path), context.Background()
	for _, k := range []struct {
		service, method string
		q               proto.Message
		code            codes.Code
		words           string
	}{
		{"test.Other", "Echo", &anypb.Any{}, codes.Unimplemented, "service test.Other"},
		{"test.Echo", "Other", &anypb.Any{}, codes.Unimplemented, "method Other"},
		{"", "", &anypb.Any{}, codes.Unimplemented, "service"},
		{"test.Echo", "NoText", &anypb.Any{}, codes.Internal, "UTF-8"},
		{"test.Echo", "Long", &anypb.Any{}, codes.ResourceExhausted, "4194304"},
	} {
		err := c.Call(ctx, k.service, k.method, k.q, &anypb.Any{})
		if s := status.Convert(err); s.Code() != k.code || !strings.Contains(s.Message(), k.words) {
			t.Errorf("%s/%s: %v, want %v with %q", k.service, k.method, err, k.code, k.words)
		}
	}
	// Streams: of both, of the client's and of the server's.
	for _, d := range []*theirs.StreamDesc{{StreamingClient: true, StreamingServer: true}, {StreamingClient: true}} {
		s, err := c.NewStream(ctx, d, "test.Echo", "Echo", nil)
		must(t, err)
		if err := s.RecvMsg(&anypb.Any{}); status.Code(err) != codes.Unimplemented {
			t.Errorf("a stream %+v: %v", d, err)
		}
	}
	must(t, call(ctx, c, "Echo", &anypb.Any{}, &anypb.Any{}))
}

// TestManyAtOnce has many callers on one connection and on several.
func TestManyAtOnce(t *testing.T) {
	const callers, calls, conns = 40, 50, 4
	_, path := serve(t)
	var clients []*theirs.Client
	for range conns {
		clients = append(clients, dial(t, path))
	}
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			for j := range calls {
				q, r := &anypb.Any{TypeUrl: fmt.Sprint(i, "/", j), Value: make([]byte, j*j)}, &anypb.Any{}
				if err := call(context.Background(), clients[i%conns], "Echo", q, r); err != nil || !proto.Equal(q, r) {
					t.Errorf("%v: %v", q.TypeUrl, err)
				}
			}
		})
	}
	group.Wait()
}

// TestConnectionEnds cancels what runs for a client that is gone, and nobody else's.
func TestConnectionEnds(t *testing.T) {
	e, path := serve(t)
	gone, stays := dial(t, path), dial(t, path)
	var group sync.WaitGroup
	for i := range 6 {
		group.Go(func() {
			c := []*theirs.Client{gone, stays}[i%2]
			if err := call(context.Background(), c, "Wait", &anypb.Any{}, &emptypb.Empty{}); err == nil {
				t.Error("a Wait ended well")
			}
		})
	}
	e.until(6)
	must(t, gone.Close())
	e.until(3)
	must(t, call(context.Background(), stays, "Echo", &anypb.Any{}, &anypb.Any{}))
	// A limit of the caller's ends it too, at both ends.
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := call(ctx, stays, "Wait", &anypb.Any{}, &emptypb.Empty{}); !errors.Is(err, context.DeadlineExceeded) && status.Code(err) != codes.Canceled {
		t.Errorf("a Wait of 50 ms: %v", err)
	}
	e.until(3)
	must(t, stays.Close())
	group.Wait()
}

// TestSlowPeer asks for much and does not read: others are served meanwhile, and it gets all when it reads.
func TestSlowPeer(t *testing.T) {
	const calls, size = 30, 100 << 10 // more than a socket holds
	_, path := serve(t)
	slow, err := net.Dial("unix", path)
	must(t, err)
	defer slow.Close()
	go func() {
		for i := range calls {
			if _, err := slow.Write(requestFrame(t, uint32(2*i+1), 0, "Echo", &wire.Any{TypeUrl: fmt.Sprint(i), Value: make([]byte, size)})); err != nil {
				t.Error(err)
			}
		}
	}()
	c := dial(t, path)
	for range 100 {
		must(t, call(context.Background(), c, "Echo", &anypb.Any{}, &anypb.Any{}))
	}
	seen := map[uint32]bool{}
	for range calls {
		time.Sleep(time.Millisecond)
		stream, r := readAnswer(t, slow)
		if len(r.Payload) < size || seen[stream] {
			t.Errorf("stream %d: %d bytes, seen before: %t", stream, len(r.Payload), seen[stream])
		}
		seen[stream] = true
	}
}

// frame is one as it is on the wire.
func frame(stream uint32, kind, flags byte, data []byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(data)))
	b = binary.BigEndian.AppendUint32(b, stream)
	return append(append(b, kind, flags), data...)
}

func requestFrame(t *testing.T, stream uint32, flags byte, method string, q wire.Message) []byte {
	payload, err := wire.Marshal(q)
	if err != nil {
		t.Error(err)
	}
	data, err := wire.Marshal(&wire.Request{Service: "test.Echo", Method: method, Payload: payload})
	if err != nil {
		t.Error(err)
	}
	return frame(stream, 1, flags, data)
}

func readAnswer(t *testing.T, conn io.Reader) (stream uint32, r *wire.Response) {
	t.Helper()
	head := make([]byte, 10)
	_, err := io.ReadFull(conn, head)
	must(t, err)
	data := make([]byte, binary.BigEndian.Uint32(head))
	_, err = io.ReadFull(conn, data)
	must(t, err)
	if head[8] != 2 || head[9] != 0 {
		t.Errorf("an answer of type %d with flags %d", head[8], head[9])
	}
	r = &wire.Response{}
	must(t, wire.Unmarshal(data, r))
	return binary.BigEndian.Uint32(head[4:]), r
}

func codeOf(r *wire.Response) codes.Code {
	if r.Status == nil {
		return codes.OK
	}
	return codes.Code(r.Status.Code)
}

// TestFrames has frames that are wrong, at our server and at containerd's: both answer with the same code, or none, and take the next request.
func TestFrames(t *testing.T) {
	ok := func(stream uint32) []byte { return requestFrame(t, stream, 0, "Echo", &wire.Any{}) }
	long := make([]byte, 4<<20+1)
	cases := []struct {
		name   string
		send   []byte
		stream uint32
		code   codes.Code // of the answer for stream
	}{
		{"a good one", ok(1), 1, codes.OK},
		{"an even stream", ok(2), 2, codes.InvalidArgument},
		{"stream 0", ok(0), 0, codes.InvalidArgument},
		{"a stream of before", append(ok(5), ok(3)...), 3, codes.InvalidArgument},
		{"data for no stream", frame(7, 3, 0, []byte("x")), 7, codes.InvalidArgument},
		{"no request", frame(1, 1, 0, []byte("\xff\xff")), 1, codes.InvalidArgument},
		{"nothing at all", frame(1, 1, 0, nil), 1, codes.Unimplemented},
		{"no message in the request", frame(1, 1, 0, []byte("\x0a\x09test.Echo\x12\x04Echo\x1a\x01\xff")), 1, codes.Internal},
		{"too long", frame(1, 1, 0, long), 1, codes.ResourceExhausted},
		{"an answer", append(frame(9, 2, 0, nil), ok(11)...), 11, codes.OK},
		{"a type that is not known", append(frame(9, 77, 3, []byte("abc")), ok(11)...), 11, codes.OK},
	}
	_, ours := serve(t)
	for name, path := range map[string]string{"ours": ours, "theirs": serveTheirs(t)} {
		for _, k := range cases {
			conn, err := net.Dial("unix", path)
			must(t, err)
			must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
			_, err = conn.Write(k.send)
			must(t, err)
			for answered := false; !answered; {
				stream, r := readAnswer(t, conn)
				if answered = stream == k.stream; answered && codeOf(r) != k.code {
					t.Errorf("%s, %s: %+v, want %v", name, k.name, r.Status, k.code)
				}
			}
			_, err = conn.Write(ok(101))
			must(t, err)
			for stream := uint32(0); stream != 101; { // what was sent with it may be answered behind it
				var r *wire.Response
				if stream, r = readAnswer(t, conn); stream == 101 && codeOf(r) != codes.OK {
					t.Errorf("%s, %s: the next request is answered with %+v", name, k.name, r.Status)
				}
			}
			must(t, conn.Close())
		}
	}
}

// TestCutFrames end in the middle: the connection ends, nothing runs, others go on.
func TestCutFrames(t *testing.T) {
	_, path := serve(t)
	whole := requestFrame(t, 1, 0, "Wait", &wire.Any{TypeUrl: strings.Repeat("x", 600)})
	for _, n := range []int{0, 1, 9, 10, 11, 500, len(whole) - 1} {
		conn, err := net.Dial("unix", path)
		must(t, err)
		_, err = conn.Write(whole[:n])
		must(t, err)
		must(t, conn.(*net.UnixConn).CloseWrite())
		if got, err := io.ReadAll(conn); len(got) > 0 || err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%d bytes are answered with %x (%v)", n, got, err)
		}
		must(t, conn.Close())
	}
	must(t, call(context.Background(), dial(t, path), "Echo", &anypb.Any{}, &anypb.Any{}))
}

// serveTheirs is containerd's server, with a method Echo and the events service.
func serveTheirs(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "t")
	l, err := net.Listen("unix", path)
	must(t, err)
	server, err := theirs.NewServer(theirs.WithServerHandshaker(theirs.UnixSocketRequireSameUser()))
	must(t, err)
	server.RegisterService("test.Echo", &theirs.ServiceDesc{Methods: map[string]theirs.Method{
		"Echo": func(_ context.Context, unmarshal func(any) error) (any, error) {
			q := &anypb.Any{}
			return q, unmarshal(q)
		},
		"Wait": func(ctx context.Context, _ func(any) error) (any, error) {
			<-ctx.Done()
			return nil, status.FromContextError(ctx.Err()).Err()
		},
		"Long": func(context.Context, func(any) error) (any, error) {
			return &anypb.Any{Value: make([]byte, 4<<20-30)}, nil
		},
	}})
	eventsttrpc.RegisterTTRPCEventsService(server, events{})
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), l) }()
	t.Cleanup(func() { _ = server.Close(); <-served })
	return path
}

// events takes those of the topic "/good".
type events struct{}

func (events) Forward(_ context.Context, r *eventsttrpc.ForwardRequest) (*emptypb.Empty, error) {
	want := &types.Envelope{Namespace: "default", Topic: "/good", Timestamp: &timestamppb.Timestamp{Seconds: 1, Nanos: 2}, Event: &anypb.Any{TypeUrl: "a.B", Value: []byte{1}}}
	if !proto.Equal(r.Envelope, want) {
		return nil, status.Errorf(codes.FailedPrecondition, "it is %v", r.Envelope)
	}
	return &emptypb.Empty{}, nil
}

// TestOurClient has our client at containerd's server.
func TestOurClient(t *testing.T) {
	c, err := ttrpc.Dial(serveTheirs(t))
	must(t, err)
	defer c.Close()
	ctx := context.Background()
	event := &wire.Envelope{Namespace: "default", Topic: "/good", Timestamp: &wire.Timestamp{Seconds: 1, Nanos: 2}, Event: &wire.Any{TypeUrl: "a.B", Value: []byte{1}}}
	forward := func() error {
		return c.Call(ctx, "containerd.services.events.ttrpc.v1.Events", "Forward", &wire.ForwardRequest{Envelope: event}, &wire.Empty{})
	}
	must(t, forward())
	event.Topic = "/bad"
	if err := forward(); ttrpc.CodeOf(err) != ttrpc.FailedPrecondition || !strings.Contains(err.Error(), "/bad") {
		t.Errorf("a refusal arrives as %v", err)
	}
	for _, n := range []int{0, 1, 512, 70000, 4<<20 - 100} {
		r := &wire.Any{}
		if err := c.Call(ctx, "test.Echo", "Echo", &wire.Any{Value: make([]byte, n)}, r); err != nil || len(r.Value) != n {
			t.Errorf("an echo of %d bytes: %v, %d bytes", n, err, len(r.Value))
		}
	}
	if err := c.Call(ctx, "test.Other", "Echo", &wire.Any{}, &wire.Any{}); ttrpc.CodeOf(err) != ttrpc.Unimplemented {
		t.Errorf("another service: %v", err)
	}
	// What cannot be sent is not, and the connection is as good as before.
	if err := c.Call(ctx, "test.Echo", "Echo", &wire.Any{Value: make([]byte, 4<<20)}, &wire.Any{}); ttrpc.CodeOf(err) != ttrpc.ResourceExhausted {
		t.Errorf("a request that is too long: %v", err)
	}
	if err := c.Call(ctx, "test.Echo", "Echo", &wire.Any{TypeUrl: "\xff"}, &wire.Any{}); err == nil {
		t.Error("no text was sent")
	}
	must(t, c.Call(ctx, "test.Echo", "Echo", &wire.Any{}, &wire.Any{}))
}

// TestOurClientGivesUp ends a call by its context: its answer may still come, so the connection is not used again.
func TestOurClientGivesUp(t *testing.T) {
	path := serveTheirs(t)
	for name, end := range map[string]func() (context.Context, context.CancelFunc){
		"a limit": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 20*time.Millisecond)
		},
		"the caller": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(20*time.Millisecond, cancel)
			return ctx, cancel
		},
	} {
		c, err := ttrpc.Dial(path)
		must(t, err)
		ctx, cancel := end()
		err = c.Call(ctx, "test.Echo", "Wait", &wire.Any{}, &wire.Empty{})
		<-ctx.Done()                                                                   // the connection's own timer may be the quicker one: ctx knows of no end yet then
		if !errors.Is(err, ctx.Err()) && ttrpc.CodeOf(err) != ttrpc.DeadlineExceeded { // the server may be the quicker one
			t.Errorf("%s: %v", name, err)
		}
		cancel()
		must(t, c.Close())
	}
}
