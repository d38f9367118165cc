package shim

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"time"

	"example.io/shim/shim/ttrpc"
	"example.io/shim/shim/wire"
)

// eventsService takes events at containerd.
const eventsService = "containerd.services.events.ttrpc.v1.Events"

// forwardLimit bounds one delivery: containerd gives a Forward 5 s.
const forwardLimit = 5 * time.Second

// ttrpcForwarder delivers over containerd's ttrpc socket.
type ttrpcForwarder struct {
	address string
	mu      sync.Mutex
	client  *ttrpc.Client
}

func (f *ttrpcForwarder) forward(ctx context.Context, e *wire.Envelope) error {
	ctx, cancel := context.WithTimeout(ctx, forwardLimit)
	defer cancel()
	client, err := f.connect()
	if err != nil {
		return err
	}
	if err := client.Call(ctx, eventsService, "Forward", &wire.ForwardRequest{Envelope: e}, &wire.Empty{}); err != nil {
		f.close() // a new connection next time: this one may be to a containerd that is gone
		return fmt.Errorf("forward: %w", err)
	}
	return nil
}

func (f *ttrpcForwarder) connect() (*ttrpc.Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.client != nil {
		return f.client, nil
	}
	client, err := ttrpc.Dial(pathOf(f.address))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	f.client = client
	return client, nil
}

func (f *ttrpcForwarder) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.client != nil {
		_ = f.client.Close()
		f.client = nil
	}
}

// binaryForwarder delivers by containerd's program: `containerd publish`, the event on its standard input.
type binaryForwarder struct {
	program, address string
	// run executes a command that the subreaper must know of.
	run func(*exec.Cmd) error
}

func (f *binaryForwarder) forward(ctx context.Context, e *wire.Envelope) error {
	data, err := wire.Marshal(e.Event)
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, forwardLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.program, "--address", f.address, "publish", "--topic", e.Topic, "--namespace", e.Namespace)
	cmd.Stdin = bytes.NewReader(data)
	if err := f.run(cmd); err != nil {
		return fmt.Errorf("execute %s publish: %w", f.program, err)
	}
	return nil
}

func (f *binaryForwarder) close() {}

// newForwarder chooses the way to containerd.
func newForwarder(f Flags, run func(*exec.Cmd) error) forwarder {
	if address := os.Getenv(envTTRPC); address != "" {
		return &ttrpcForwarder{address: address}
	}
	return &binaryForwarder{program: f.PublishBinary, address: f.Address, run: run}
}
