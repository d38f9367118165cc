package shim

import (
	"fmt"
	"path"
	"path/filepath"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"example.io/shim/process"
)

const (
	checkpointType = "containerd.runc.v1.CheckpointOptions"
	// oldCheckpointType is what clients of containerd 1.x send to a runtime whose name they do not know. It is the same message, but for two
	// fields that have each other's numbers, and one that it lacks.
	oldCheckpointType = "containerd.linux.runc.CheckpointOptions"
)

// checkpointRequest reads a request. The folder of the images is the request's; containerd puts the option's there when that is set.
func checkpointRequest(r *taskapi.CheckpointTaskRequest) (process.CheckpointRequest, error) {
	o, err := checkpointOptions(r.GetOptions())
	if err != nil {
		return process.CheckpointRequest{}, err
	}
	c := process.CheckpointRequest{
		ImagePath: r.GetPath(), WorkPath: o.GetWorkPath(), ParentPath: o.GetParentPath(), Exit: o.GetExit(), OpenTCP: o.GetOpenTcp(),
		ExternalUnixSockets: o.GetExternalUnixSockets(), Terminal: o.GetTerminal(), FileLocks: o.GetFileLocks(), EmptyNamespaces: o.GetEmptyNamespaces(),
		CgroupsMode: o.GetCgroupsMode(),
	}
	if c.ImagePath == "" {
		c.ImagePath = o.GetImagePath()
	}
	if !filepath.IsAbs(c.ImagePath) {
		return c, fmt.Errorf("path %q: it is not absolute: %w", c.ImagePath, errdefs.ErrInvalidArgument)
	}
	if c.WorkPath != "" && !filepath.IsAbs(c.WorkPath) {
		return c, fmt.Errorf("options: work_path %q: it is not absolute: %w", c.WorkPath, errdefs.ErrInvalidArgument)
	}
	return c, nil
}

func checkpointOptions(a *anypb.Any) (*runcopts.CheckpointOptions, error) {
	o := &runcopts.CheckpointOptions{}
	if a == nil || a.GetTypeUrl() == "" && len(a.GetValue()) == 0 {
		return o, nil
	}
	name := path.Base(a.GetTypeUrl())
	if name != checkpointType && name != oldCheckpointType {
		return nil, fmt.Errorf("options: type %q is not %s: %w", a.GetTypeUrl(), checkpointType, errdefs.ErrInvalidArgument)
	}
	if err := proto.Unmarshal(a.GetValue(), o); err != nil {
		return nil, fmt.Errorf("options: not a message of type %s: %w: %w", name, err, errdefs.ErrInvalidArgument)
	}
	unknown := o.ProtoReflect().GetUnknown()
	if name == oldCheckpointType {
		if o.GetParentPath() != "" {
			unknown = protowire.AppendTag(nil, parentPathField, protowire.BytesType)
		}
		o.ImagePath, o.WorkPath = o.WorkPath, o.ImagePath
	}
	if len(unknown) > 0 {
		num, _, _ := protowire.ConsumeTag(unknown)
		return nil, fmt.Errorf("options: field %d of %s is not known: %w", num, name, errdefs.ErrInvalidArgument)
	}
	return o, nil
}

// parentPathField is the field that the old message does not have.
const parentPathField = 10
