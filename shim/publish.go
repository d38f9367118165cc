package shim

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"time"

	eventsttrpc "github.com/containerd/containerd/api/services/ttrpc/events/v1"
	"github.com/containerd/containerd/api/types"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
)

// forwardLimit bounds one delivery: containerd gives a Forward 5 s.
const forwardLimit = 5 * time.Second

// ttrpcForwarder delivers over containerd's ttrpc socket.
type ttrpcForwarder struct {
	address string
	mu      sync.Mutex
	client  *ttrpc.Client
}

func (f *ttrpcForwarder) forward(ctx context.Context, e *types.Envelope) error {
	ctx, cancel := context.WithTimeout(ctx, forwardLimit)
	defer cancel()
	client, err := f.connect(ctx)
	if err != nil {
		return err
	}
	if _, err := eventsttrpc.NewTTRPCEventsClient(client).Forward(ctx, &eventsttrpc.ForwardRequest{Envelope: e}); err != nil {
		f.close() // a new connection next time: this one may be to a containerd that is gone
		return fmt.Errorf("forward: %w", err)
	}
	return nil
}

func (f *ttrpcForwarder) connect(ctx context.Context) (*ttrpc.Client, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.client != nil {
		return f.client, nil
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", pathOf(f.address))
	if err != nil {
		return nil, fmt.Errorf("connect to containerd: %w", err)
	}
	f.client = ttrpc.NewClient(conn)
	return f.client, nil
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

func (f *binaryForwarder) forward(ctx context.Context, e *types.Envelope) error {
	data, err := proto.Marshal(e.GetEvent())
	if err != nil {
		return fmt.Errorf("encode: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, forwardLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, f.program, "--address", f.address, "publish", "--topic", e.GetTopic(), "--namespace", e.GetNamespace())
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
