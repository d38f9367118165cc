package ttrpc

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"example.io/shim/shim/wire"
)

// Client makes calls over one connection, one after the other. Between calls it has no goroutine.
type Client struct {
	file *os.File
	mu   sync.Mutex // a call is under way
	in   *bufio.Reader
	last uint32 // stream
	err  error  // of a call that was not answered: nothing more can be asked
}

// Dial connects to the server at path.
func Dial(path string) (*Client, error) {
	f, err := connect(path)
	if err != nil {
		return nil, err
	}
	return &Client{file: f, in: bufio.NewReaderSize(f, readBuffer)}, nil
}

// Close ends the connection, and a call that is under way.
func (c *Client) Close() error { return c.file.Close() }

// Call asks q of a method, and reads the answer into r. An *Error is the server's; after any other, the connection is of no use any more. What ctx knows
// besides its end (metadata) is not sent: an event's envelope names its namespace.
func (c *Client) Call(ctx context.Context, service, method string, q, r wire.Message) error {
	payload, err := wire.Marshal(q)
	if err != nil {
		return fmt.Errorf("marshal the request: %w", err)
	}
	request := &wire.Request{Service: service, Method: method, Payload: payload}
	deadline, _ := ctx.Deadline()
	if !deadline.IsZero() {
		request.TimeoutNano = max(int64(time.Until(deadline)), 1) // 0 is none
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return c.err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := c.file.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.file.SetDeadline(time.Unix(1, 0)) })
	answer, err := c.exchange(request)
	if !stop() { // its time-out may come into the next call
		c.err = ctx.Err()
	}
	_ = c.file.SetDeadline(time.Time{}) // no timer is left between calls
	if err != nil {
		var answered *Error // a message was too long: the connection is as it was
		if !errors.As(err, &answered) {
			if errors.Is(err, os.ErrDeadlineExceeded) { // the file's and ctx's end at about the same time
				err = context.DeadlineExceeded
			}
			c.err = cmp.Or(ctx.Err(), err)
			return c.err
		}
		return err
	}
	if s := answer.Status; s != nil && s.Code != int32(OK) {
		return &Error{Code(s.Code), s.Message}
	}
	return wire.Unmarshal(answer.Payload, r)
}

// requestRoom is what a request takes beside its payload, names and a time limit.
const requestRoom = 32

// exchange sends a request and waits for its answer.
func (c *Client) exchange(q *wire.Request) (*wire.Response, error) {
	c.last++
	if c.last%2 == 0 { // a client's streams are odd
		c.last++
	}
	if err := writeFrame(c.file, c.last, typeRequest, q, requestRoom+len(q.Service)+len(q.Method)+len(q.Payload)); err != nil {
		return nil, err
	}
	h, data, err := readFrame(c.in)
	if err != nil {
		return nil, err
	}
	if h.kind != typeResponse || h.stream != c.last {
		return nil, fmt.Errorf("a frame of type %d for stream %d is no answer to stream %d", h.kind, h.stream, c.last)
	}
	var r wire.Response
	if err := wire.Unmarshal(data, &r); err != nil {
		return nil, fmt.Errorf("unmarshal the answer: %w", err)
	}
	return &r, nil
}
