// Package ttrpc is containerd's small RPC protocol over a Unix socket, as far as a shim needs it: a server of unary methods and a client that makes one call
// at a time. It behaves as github.com/containerd/ttrpc does, whose packages (protobuf, gRPC's status, net) are not worth their memory in each
// container's shim (docs/decisions/0021-wire.md); integration/wire has each talk to the other.
package ttrpc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"example.io/shim/shim/wire"
)

// Method answers one request.
type Method func(ctx context.Context, payload []byte) (wire.Message, error)

// Unary makes a Method of a function with messages.
func Unary[Q any, P interface {
	*Q
	wire.Message
}, R wire.Message](f func(context.Context, P) (R, error)) Method {
	return func(ctx context.Context, payload []byte) (wire.Message, error) {
		q := P(new(Q))
		if err := wire.Unmarshal(payload, q); err != nil {
			return nil, &Error{Internal, "unmarshal the request: " + err.Error()}
		}
		r, err := f(ctx, q)
		if err != nil {
			return nil, err
		}
		return r, nil
	}
}

// Service returns the method of a name, nil if there is none.
type Service func(method string) Method

// Server serves connections of its own user.
type Server struct {
	services map[string]Service
	log      func(format string, args ...any)

	mu     sync.Mutex
	closed bool
	l      *Listener
	conns  map[*conn]struct{}
	fewer  chan struct{} // told when a connection has ended
}

// NewServer makes a server of services by their names.
func NewServer(services map[string]Service, log func(format string, args ...any)) *Server {
	return &Server{services: services, log: log, conns: map[*conn]struct{}{}, fewer: make(chan struct{}, 1)}
}

// ErrClosed is what Serve returns after Close, and a Client's calls after its own.
var ErrClosed = errors.New("ttrpc: closed")

// When the process or the machine has no descriptor left, accepting is tried again, the pause growing from the first to the last.
const (
	firstPause = time.Millisecond
	lastPause  = time.Second
)

// Serve accepts connections until Close, or an error.
func (s *Server) Serve(l *Listener) error {
	if !s.listenOn(l) {
		return errors.Join(ErrClosed, l.Close())
	}
	pause := firstPause
	for {
		f, err := l.accept()
		switch {
		case err == nil:
			pause = firstPause
			s.admit(f)
		case s.isClosed():
			return ErrClosed
		case temporary(err):
			s.log("accept a connection: %v", err)
			time.Sleep(pause)
			pause = min(2*pause, lastPause)
		default:
			return err
		}
	}
}

func (s *Server) listenOn(l *Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.l = l
	return !s.closed
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// admit lets our own user in.
func (s *Server) admit(f *os.File) {
	uid, err := peer(f)
	if err == nil && uid != uint32(os.Geteuid()) {
		err = fmt.Errorf("user %d is not ours", uid)
	}
	if err != nil {
		s.log("a connection is refused: %v", err)
		_ = f.Close()
		return
	}
	c := &conn{s: s, file: f}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		_ = f.Close()
		return
	}
	s.conns[c] = struct{}{}
	go c.serve()
}

// HangUp waits until nobody is connected any more, or ctx ends.
func (s *Server) HangUp(ctx context.Context) {
	for s.connections() > 0 {
		select {
		case <-s.fewer:
		case <-ctx.Done():
			return
		}
	}
}

func (s *Server) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Close ends the server: nobody is let in any more, connections are closed, what runs for them is cancelled.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	var err error
	if s.l != nil {
		err = s.l.Close()
	}
	for c := range s.conns {
		_ = c.file.Close() // its reader notices
	}
	return err
}

// conn is a connection. One goroutine reads from it; each request has one more, while it runs.
type conn struct {
	s      *Server
	file   *os.File
	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	writing sync.Mutex
}

func (c *conn) serve() {
	err := c.read(bufio.NewReaderSize(c.file, readBuffer))
	if !hungUp(err) && !c.s.isClosed() {
		c.s.log("a connection ends: %v", err)
	}
	c.cancel()
	_ = c.file.Close()
	c.s.mu.Lock()
	delete(c.s.conns, c)
	c.s.mu.Unlock()
	select {
	case c.s.fewer <- struct{}{}:
	default:
	}
}

// read takes frames until the end of the connection. What is wrong with one frame is answered, and the next one is taken.
func (c *conn) read(r *bufio.Reader) error {
	var last uint32 // stream
	for {
		h, data, err := readFrame(r)
		if err == nil {
			err = check(h, last)
		}
		switch {
		case err == nil && h.kind == typeRequest:
			last = h.stream
			err = c.request(h, data)
		case err == nil:
			continue // of a type that is not known yet
		}
		var answer *Error
		if errors.As(err, &answer) {
			err = c.answer(h.stream, nil, answer)
		}
		if err != nil {
			return err
		}
	}
}

// check returns what is wrong with a header.
func check(h header, last uint32) error {
	switch {
	case h.stream%2 != 1:
		return &Error{InvalidArgument, "StreamID must be odd for client initiated streams"}
	case h.kind == typeData:
		return &Error{InvalidArgument, "StreamID is no longer active"} // nor was it ever: no method takes data
	case h.kind == typeRequest && h.stream <= last:
		return &Error{InvalidArgument, "StreamID cannot be re-used and must increment"}
	}
	return nil
}

// request starts what a request asks for.
func (c *conn) request(h header, data []byte) error {
	var q wire.Request
	if err := wire.Unmarshal(data, &q); err != nil {
		return &Error{InvalidArgument, "unmarshal request error: " + err.Error()}
	}
	service := c.s.services[q.Service]
	if service == nil {
		return &Error{Unimplemented, "service " + q.Service}
	}
	m := service(q.Method)
	switch {
	case m == nil:
		return &Error{Unimplemented, "method " + q.Method}
	case h.flags&flagRemoteOpen != 0:
		return &Error{Unimplemented, "method " + q.Method + " takes one message, no stream of them"}
	}
	go c.run(h.stream, m, &q)
	return nil
}

func (c *conn) run(stream uint32, m Method, q *wire.Request) {
	ctx := c.ctx
	if len(q.Metadata) > 0 {
		ctx = context.WithValue(ctx, metadataKey{}, q.Metadata)
	}
	if q.TimeoutNano != 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(q.TimeoutNano))
		defer cancel()
	}
	r, err := m(ctx, q.Payload)
	if err := c.answer(stream, r, err); err != nil {
		_ = c.file.Close() // nothing more can be answered: the reader notices
	}
}

// answer sends r, or the error. An error of it is the connection's end.
func (c *conn) answer(stream uint32, r wire.Message, err error) error {
	var payload []byte
	if err == nil {
		if payload, err = wire.Marshal(r); err != nil {
			err = &Error{Internal, "marshal the answer: " + err.Error()}
		}
	}
	if err != nil {
		return c.write(stream, &wire.Response{Status: statusOf(err)})
	}
	err = c.write(stream, &wire.Response{Payload: payload})
	var long *Error
	if errors.As(err, &long) { // it has not begun to be sent
		err = c.write(stream, &wire.Response{Status: statusOf(long)})
	}
	return err
}

func (c *conn) write(stream uint32, a *wire.Response) error {
	c.writing.Lock()
	defer c.writing.Unlock()
	return writeFrame(c.file, stream, typeResponse, a, answerRoom+len(a.Payload))
}

type metadataKey struct{}

// Metadata returns the first value of a request's metadata of that key, "" if there is none.
func Metadata(ctx context.Context, key string) string {
	list, _ := ctx.Value(metadataKey{}).([]*wire.KeyValue)
	for _, m := range list {
		if m.Key == key {
			return m.Value
		}
	}
	return ""
}
