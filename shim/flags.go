// Package shim is what containerd sees: the commands start, delete and -info, and the Task service. It is the only package that knows
// containerd's messages; what happens to containers is decided by package process.
package shim

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/containerd/errdefs"
)

// Flags are the command line that containerd gives a shim.
type Flags struct {
	Namespace     string
	Address       string // containerd's gRPC socket
	PublishBinary string
	ID            string
	Bundle        string
	Socket        string
	Debug         bool
	Version, Info bool
	Action        string // "start", "delete", or "" for the daemon
	Args          []string
}

// ParseFlags parses the arguments behind the program's name.
func ParseFlags(args []string) (Flags, error) {
	var f Flags
	fs := flag.NewFlagSet("containerd-shim-shim-v2", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&f.Namespace, "namespace", "", "namespace that owns the container")
	fs.StringVar(&f.Address, "address", "", "socket of containerd")
	fs.StringVar(&f.PublishBinary, "publish-binary", "containerd", "program that publishes events")
	fs.StringVar(&f.ID, "id", "", "id of the container")
	fs.StringVar(&f.Bundle, "bundle", "", "folder of the bundle")
	fs.StringVar(&f.Socket, "socket", "", "socket of this shim")
	fs.BoolVar(&f.Debug, "debug", false, "containerd's; there is no more to log")
	fs.BoolVar(&f.Version, "v", false, "print the version")
	fs.BoolVar(&f.Version, "version", false, "print the version")
	fs.BoolVar(&f.Info, "info", false, "print what this runtime can do")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return f, fmt.Errorf("usage: %s [-namespace NS -address SOCKET -publish-binary FILE -id ID -bundle DIR -debug] start|delete, or -info, -v, features, or explain --bundle DIR", fs.Name())
		}
		return f, fmt.Errorf("command line: %w: %w", err, errdefs.ErrInvalidArgument)
	}
	f.Args = fs.Args()
	if len(f.Args) > 0 {
		f.Action = f.Args[0]
	}
	return f, nil
}

// require checks the flag -id and names the first flag of the others that an action needs and the command line lacks.
func (f Flags) require(action string, others ...string) error {
	if err := CheckID("id of the container", f.ID); err != nil {
		return fmt.Errorf("%s: the flag -id: %w", action, err)
	}
	values := map[string]string{"namespace": f.Namespace, "address": f.Address}
	for _, name := range others {
		if values[name] == "" {
			return fmt.Errorf("%s: the flag -%s is missing: %w", action, name, errdefs.ErrInvalidArgument)
		}
	}
	return nil
}

// CheckID refuses ids that cannot be a name in a folder: they become paths of bundles, cgroups and sockets.
func CheckID(what, id string) error {
	if id == "" {
		return fmt.Errorf("the %s is empty: %w", what, errdefs.ErrInvalidArgument)
	}
	if id == "." || strings.ContainsAny(id, "/\x00") || strings.Contains(id, "..") {
		return fmt.Errorf("the %s %q is a dot, or holds a slash or two dots: %w", what, id, errdefs.ErrInvalidArgument)
	}
	return nil
}
