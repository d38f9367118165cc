package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/containerd/errdefs"

	"example.io/shim/shim/wire"
)

const (
	// deleteLimit bounds `delete`; containerd gives it 5 s with all the rest of a clean-up.
	deleteLimit = 4 * time.Second
	// killedStatus is the exit status of a container whose shim was killed: nobody has seen its own.
	killedStatus = 128 + 9
)

// Delete is the command `delete`: it removes what a shim left that is gone, and writes a DeleteResponse. Nothing to remove is no error.
// cleanup gets the bundle and returns the pid of init, 0 when it is not known.
func Delete(f Flags, w io.Writer, cleanup func(ctx context.Context, bundle string) (pid int, err error)) error {
	if err := f.require("delete", "namespace"); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), deleteLimit)
	defer cancel()
	bundle := f.Bundle
	if bundle == "" {
		dir, err := os.Getwd()
		if err != nil {
			return fmt.Errorf("delete %s: find the bundle: %w", f.ID, err)
		}
		bundle = dir
	}
	pid, err := cleanup(ctx, bundle)
	if err != nil {
		return fmt.Errorf("delete %s: %w", f.ID, err)
	}
	if err := removeSocket(f, bundle); err != nil {
		return fmt.Errorf("delete %s: %w", f.ID, err)
	}
	data, err := wire.Marshal(&wire.DeleteResponse{Pid: uint32(pid), ExitStatus: killedStatus, ExitedAt: timestamp(time.Now())})
	if err == nil {
		_, err = w.Write(data)
	}
	if err != nil {
		return fmt.Errorf("delete %s: answer: %w", f.ID, err)
	}
	return nil
}

// removeSocket removes the socket of the killed shim: the one that the bundle names, or the one at the usual place.
func removeSocket(f Flags, bundle string) error {
	path, err := socketPath("", f)
	if data, readErr := os.ReadFile(bundle + "/" + addressFile); readErr == nil {
		path, err = pathOf(string(data)), nil
	}
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the socket: %w", err)
	}
	return nil
}

// Name is the runtime's name.
const Name = "io.example.shim.v2"

// mountsAnnotation lists the types of mounts that the shim makes itself (containerd 2).
const mountsAnnotation = "containerd.io/runtime-allow-mounts"

// Info is the command -info: options on standard input, a RuntimeInfo on standard output. features is the JSON of the OCI features document.
func Info(r io.Reader, w io.Writer, version, revision string, features []byte) error {
	data, err := io.ReadAll(io.LimitReader(r, inputLimit))
	if err != nil {
		return fmt.Errorf("info: read the options: %w", err)
	}
	var options *wire.Any
	if len(data) > 0 {
		options = &wire.Any{}
		if err := wire.Unmarshal(data, options); err != nil {
			return fmt.Errorf("info: standard input is not an Any: %w: %w", err, errdefs.ErrInvalidArgument)
		}
		if _, err := parseOptions(options); err != nil {
			return fmt.Errorf("info: %w", err)
		}
	}
	info := &wire.RuntimeInfo{
		Name: Name, Version: &wire.RuntimeVersion{Version: version, Revision: revision}, Options: options,
		Features:    &wire.Any{TypeUrl: "types.containerd.io/opencontainers/runtime-spec/1/features/Features", Value: features},
		Annotations: map[string]string{mountsAnnotation: "bind,overlay"},
	}
	out, err := wire.Marshal(info)
	if err == nil {
		_, err = w.Write(out)
	}
	if err != nil {
		return fmt.Errorf("info: answer: %w", err)
	}
	return nil
}
