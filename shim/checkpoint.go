package shim

import (
	"fmt"
	"path"
	"path/filepath"

	"github.com/containerd/errdefs"

	"example.io/shim/process"
	"example.io/shim/shim/wire"
)

// checkpointRequest reads a request. The folder of the images is the request's; containerd puts the option's there when that is set.
func checkpointRequest(r *wire.CheckpointTaskRequest) (process.CheckpointRequest, error) {
	o, err := checkpointOptions(r.Options)
	if err != nil {
		return process.CheckpointRequest{}, err
	}
	c := process.CheckpointRequest{
		ImagePath: r.Path, WorkPath: o.WorkPath, ParentPath: o.ParentPath, Exit: o.Exit, OpenTCP: o.OpenTcp,
		ExternalUnixSockets: o.ExternalUnixSockets, Terminal: o.Terminal, FileLocks: o.FileLocks, EmptyNamespaces: o.EmptyNamespaces,
		CgroupsMode: o.CgroupsMode,
	}
	if c.ImagePath == "" {
		c.ImagePath = o.ImagePath
	}
	if !filepath.IsAbs(c.ImagePath) {
		return c, fmt.Errorf("path %q: it is not absolute: %w", c.ImagePath, errdefs.ErrInvalidArgument)
	}
	if c.WorkPath != "" && !filepath.IsAbs(c.WorkPath) {
		return c, fmt.Errorf("options: work_path %q: it is not absolute: %w", c.WorkPath, errdefs.ErrInvalidArgument)
	}
	return c, nil
}

// checkpointOptions reads the options of a checkpoint. Clients of containerd 1.x send the old message to a runtime whose name they do not know.
func checkpointOptions(a *wire.Any) (*wire.CheckpointOptions, error) {
	o := &wire.CheckpointOptions{}
	if a == nil || a.TypeUrl == "" && len(a.Value) == 0 {
		return o, nil
	}
	var m wire.Message = o
	name := path.Base(a.TypeUrl)
	switch name {
	case wire.CheckpointOptionsName:
	case wire.OldCheckpointOptionsName:
		m = (*wire.OldCheckpointOptions)(o)
	default:
		return nil, fmt.Errorf("options: type %q is not %s: %w", a.TypeUrl, wire.CheckpointOptionsName, errdefs.ErrInvalidArgument)
	}
	if err := wire.UnmarshalKnown(a.Value, m); err != nil {
		return nil, fmt.Errorf("options: not a message of type %s: %w: %w", name, err, errdefs.ErrInvalidArgument)
	}
	return o, nil
}
