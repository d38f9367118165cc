package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	bootapi "github.com/containerd/containerd/api/runtime/bootstrap/v1"
	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	"github.com/containerd/ttrpc"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/emptypb"

	"example.io/shim/integration/daemon"
)

// helpers measures the command `start` alone: from its execution to its answer and end, without a containerd.
func (b *bench) helpers() error {
	for round := -2; round < b.rounds; round++ {
		for _, p := range b.peers {
			ms, err := b.helper(p)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if round >= 0 {
				b.add("start helper", p.name, ms)
			}
		}
	}
	return nil
}

// helper executes `start` as containerd 2.3 does, and ends the shim that it left.
func (b *bench) helper(p peer) (float64, error) {
	b.seq++
	id := fmt.Sprintf("h%d", b.seq)
	dir := filepath.Join(b.d.Dir, id)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	config := `{"ociVersion":"1.0.2","process":{"args":["true"]},"root":{"path":"rootfs"},"linux":{}}` // runc's shim looks for annotations
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(config), 0o600); err != nil {
		return 0, err
	}
	cmd := exec.Command(p.shim, "-namespace", daemon.Namespace, "-address", b.d.Address(), "-publish-binary", b.d.Program, "-id", id, "-bundle", dir, "start")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "MAX_SHIM_VERSION=2", "GOMAXPROCS=2", "NAMESPACE="+daemon.Namespace, "GRPC_ADDRESS="+b.d.Address(), "TTRPC_ADDRESS="+b.d.Address()+".ttrpc")
	params, err := proto.Marshal(&bootapi.BootstrapParams{
		InstanceID: id, Namespace: daemon.Namespace, ContainerdVersion: "2.4.2", ContainerdGrpcAddress: b.d.Address(),
		ContainerdTtrpcAddress: b.d.Address() + ".ttrpc", ContainerdBinary: b.d.Program,
	})
	if err != nil {
		return 0, err
	}
	cmd.Stdin = bytes.NewReader(params)
	begin := time.Now()
	out, err := cmd.CombinedOutput()
	ms := since(begin)
	if err != nil {
		return 0, fmt.Errorf("start: %w: %s", err, out)
	}
	address, err := addressIn(out)
	if err != nil {
		return 0, err
	}
	if err := endShim(address); err != nil && p.name == ours {
		return 0, err
	}
	// containerd's own shim may have ended meanwhile, since nobody gave it a container; its socket stays then, for a command `delete` that nobody gives.
	if err := os.Remove(address); err != nil && !errors.Is(err, os.ErrNotExist) {
		return 0, err
	}
	return ms, nil
}

// addressIn returns the socket's path from an answer of `start`.
func addressIn(answer []byte) (string, error) {
	a := &bootapi.BootstrapResult{}
	if json.Unmarshal(answer, a) != nil {
		if err := proto.Unmarshal(answer, a); err != nil {
			return "", fmt.Errorf("answer %q: %w", answer, err)
		}
	}
	return strings.TrimPrefix(a.GetAddress(), "unix://"), nil
}

// endShim asks the shim at that socket to end.
func endShim(address string) error {
	conn, err := net.DialTimeout("unix", address, lifeLimit)
	if err != nil {
		return fmt.Errorf("connect to the shim at %q: %w", address, err)
	}
	client := ttrpc.NewClient(conn)
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), lifeLimit)
	defer cancel()
	for _, service := range []string{"containerd.task.v3.Task", "containerd.task.v2.Task"} { // the end of the connection may come before the answer
		if err = client.Call(ctx, service, "Shutdown", &taskapi.ShutdownRequest{}, &emptypb.Empty{}); err == nil || errors.Is(err, ttrpc.ErrClosed) {
			return nil
		}
	}
	return err
}
