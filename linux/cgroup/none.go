package cgroup

import (
	"context"
	"fmt"
	"syscall"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/cgroup/stats"
)

// none is the cgroup of a container that has none of its own: a plain user's, where nothing is delegated.
type none struct{}

func (none) missing(what string) error {
	return fmt.Errorf("%s: the container has no cgroup of its own: %w", what, errdefs.ErrFailedPrecondition)
}

func (n none) Pids() ([]int, error)               { return nil, n.missing("list processes") }
func (n none) Freeze(context.Context) error       { return n.missing("pause") }
func (n none) Thaw(context.Context) error         { return n.missing("resume") }
func (n none) Update(*specs.LinuxResources) error { return n.missing("update") }
func (n none) Stats() (*stats.Metrics, error)     { return nil, n.missing("statistics") }
func (none) Kill(syscall.Signal) error            { return nil } // its pid namespace ends with init
func (none) Vanish() bool                         { return true }
func (none) Delete(context.Context) error         { return nil }
