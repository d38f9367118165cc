package shim

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"

	"github.com/containerd/errdefs"

	"example.io/shim/shim/wire"
)

// bootstrap is what containerd says on the standard input of `start`, whichever way it says it.
type bootstrap struct {
	options   *wire.Any // the task's options; nil without
	socketDir string    // "" for the usual one
	ttrpc     string    // containerd's ttrpc socket, "" when only the environment has it
	params    bool      // it came as BootstrapParams (containerd 2.3): the answer is a BootstrapResult
}

// inputLimit bounds the standard input of `start`: it is a few hundred bytes of options.
const inputLimit = 1 << 20

// readBootstrap reads what containerd sends: nothing, an Any of the task's options (to 2.2), or BootstrapParams (from 2.3). Each parses as
// the other without an error, so what tells them apart is that the fields of BootstrapParams are those of the command line.
func readBootstrap(r io.Reader, f Flags) (bootstrap, error) {
	data, err := io.ReadAll(io.LimitReader(r, inputLimit+1))
	if err != nil {
		return bootstrap{}, fmt.Errorf("read the options on standard input: %w", err)
	}
	if len(data) > inputLimit {
		return bootstrap{}, fmt.Errorf("the options on standard input are longer than %d bytes: %w", inputLimit, errdefs.ErrInvalidArgument)
	}
	if len(data) == 0 {
		return bootstrap{}, nil
	}
	params := &wire.BootstrapParams{}
	if wire.Unmarshal(data, params) == nil && params.InstanceID == f.ID && params.Namespace == f.Namespace {
		b := bootstrap{params: true, ttrpc: params.ContainerdTtrpcAddress}
		if params.SocketDir != nil {
			b.socketDir = *params.SocketDir
		}
		for _, e := range params.Extensions {
			if v := e.Value; v != nil && isOptions(v.TypeUrl) {
				b.options = v
			}
		}
		return b, nil
	}
	options := &wire.Any{}
	if err := wire.Unmarshal(data, options); err != nil {
		return bootstrap{}, fmt.Errorf("standard input is neither options nor bootstrap parameters: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	return bootstrap{options: options}, nil
}

// The version of the task service that is answered, and the environment that says which answers containerd takes.
const (
	protocolVersion = 3
	envMaxVersion   = "MAX_SHIM_VERSION" // not set by containerd 1.6, which takes a plain address only; "2" in all later releases
	// jsonVersion2 is what a daemon that names 2 takes as JSON: 1.7 refuses 3, and all later ones speak version 2 too.
	jsonVersion2 = 2
)

// answer writes the address of the shim's socket in the form that this containerd takes.
func (b bootstrap) answer(w io.Writer, address string) error {
	var data []byte
	var err error
	limit, hasLimit := os.LookupEnv(envMaxVersion)
	switch {
	case b.params:
		data, err = wire.Marshal(&wire.BootstrapResult{Version: protocolVersion, Address: address, Protocol: "ttrpc"})
	case !hasLimit:
		data = []byte(address)
	default:
		version := jsonVersion2
		if n, convErr := strconv.Atoi(limit); convErr == nil && n > jsonVersion2 {
			version = protocolVersion
		}
		data, err = json.Marshal(struct {
			Version  int    `json:"version"`
			Address  string `json:"address"`
			Protocol string `json:"protocol"`
		}{version, address, "ttrpc"})
	}
	if err == nil {
		_, err = w.Write(data)
	}
	if err != nil {
		return fmt.Errorf("answer the socket's address: %w", err)
	}
	return nil
}
