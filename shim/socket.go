package shim

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"

	"example.io/shim/shim/ttrpc"
)

const (
	// socketDir is where containerd looks for sockets (and cleans up).
	socketDir = "/run/containerd/s"
	// maxSocketPath is sun_path with its NUL (unix(7)).
	maxSocketPath = 107
)

// socketPath is the path of the shim's socket: fixed by containerd's address, the namespace and the id, so that a second start finds it.
func socketPath(dir string, f Flags) (string, error) {
	if dir == "" {
		dir = socketDir
	}
	sum := sha256.Sum256([]byte(filepath.Join(f.Address, f.Namespace, f.ID)))
	p := filepath.Join(dir, fmt.Sprintf("%x", sum))
	if len(p) > maxSocketPath {
		return "", fmt.Errorf("the socket's path %s is longer than %d bytes: %w", p, maxSocketPath, errdefs.ErrInvalidArgument)
	}
	return p, nil
}

// listen makes the socket. reused says that a living shim has it already.
func listen(path string) (l *ttrpc.Listener, reused bool, err error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, false, fmt.Errorf("make the folder of the socket: %w", err)
	}
	for try := 0; ; try++ {
		l, err = ttrpc.Listen(path)
		if err == nil {
			return l, false, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) || try > 0 {
			return nil, false, fmt.Errorf("listen on %s: %w", path, err)
		}
		if ttrpc.Listens(path) {
			return nil, true, nil
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, false, fmt.Errorf("remove the dead socket: %w", err)
		}
	}
}

// address is the URI of a socket's path, pathOf the reverse.
func address(path string) string   { return "unix://" + path }
func pathOf(address string) string { return strings.TrimPrefix(address, "unix://") }
