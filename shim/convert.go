package shim

import (
	"fmt"
	"path"
	"strings"
	"time"

	taskapi "github.com/containerd/containerd/api/runtime/task/v2"
	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/errdefs"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"example.io/shim/process"
)

// timestamp is nil for the zero time.
func timestamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

func taskStatus(s process.Status) task.Status {
	switch s.Public() {
	case process.Created:
		return task.Status_CREATED
	case process.Running:
		return task.Status_RUNNING
	case process.Pausing:
		return task.Status_PAUSING
	case process.Paused:
		return task.Status_PAUSED
	case process.Stopped:
		return task.Status_STOPPED
	}
	return task.Status_UNKNOWN
}

// message packs m as containerd does: the type URL is the bare name.
func message(m proto.Message) (*anypb.Any, error) {
	data, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return &anypb.Any{TypeUrl: string(m.ProtoReflect().Descriptor().FullName()), Value: data}, nil
}

func pidsResponse(list []process.PidInfo) (*taskapi.PidsResponse, error) {
	r := &taskapi.PidsResponse{}
	for _, p := range list {
		info := &task.ProcessInfo{Pid: uint32(p.Pid)}
		if p.ExecID != "" {
			a, err := message(&runcopts.ProcessDetails{ExecID: p.ExecID})
			if err != nil {
				return nil, err
			}
			info.Info = a
		}
		r.Processes = append(r.Processes, info)
	}
	return r, nil
}

// The names of the specification's JSON documents in an Any: types.containerd.io/opencontainers/runtime-spec/1/Process.
const specPrefix = "opencontainers/runtime-spec/"

// jsonOf returns the JSON document of that kind in an Any.
func jsonOf(a *anypb.Any, kind string) ([]byte, error) {
	if a == nil || len(a.GetValue()) == 0 {
		return nil, fmt.Errorf("there is no %s in the request: %w", kind, errdefs.ErrInvalidArgument)
	}
	url := a.GetTypeUrl()
	if !strings.Contains(url, specPrefix) || path.Base(url) != kind {
		return nil, fmt.Errorf("type %q is not %s*/%s: %w", url, specPrefix, kind, errdefs.ErrInvalidArgument)
	}
	return a.GetValue(), nil
}

func processSpec(a *anypb.Any) ([]byte, error) { return jsonOf(a, "Process") }
func resources(a *anypb.Any) ([]byte, error)   { return jsonOf(a, "LinuxResources") }
