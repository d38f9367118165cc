package shim

import (
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/containerd/errdefs"

	"example.io/shim/process"
	"example.io/shim/shim/wire"
)

// timestamp is nil for the zero time.
func timestamp(t time.Time) *wire.Timestamp {
	if t.IsZero() {
		return nil
	}
	return &wire.Timestamp{Seconds: t.Unix(), Nanos: int32(t.Nanosecond())}
}

func taskStatus(s process.Status) wire.TaskStatus {
	switch s.Public() {
	case process.Created:
		return wire.StatusCreated
	case process.Running:
		return wire.StatusRunning
	case process.Pausing:
		return wire.StatusPausing
	case process.Paused:
		return wire.StatusPaused
	case process.Stopped:
		return wire.StatusStopped
	}
	return wire.StatusUnknown
}

func pidsResponse(list []process.PidInfo) (*wire.PidsResponse, error) {
	r := &wire.PidsResponse{}
	for _, p := range list {
		info := &wire.ProcessInfo{Pid: uint32(p.Pid)}
		if p.ExecID != "" {
			a, err := wire.Pack(&wire.ProcessDetails{ExecID: p.ExecID})
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
func jsonOf(a *wire.Any, kind string) ([]byte, error) {
	if a == nil || len(a.Value) == 0 {
		return nil, fmt.Errorf("there is no %s in the request: %w", kind, errdefs.ErrInvalidArgument)
	}
	url := a.TypeUrl
	if !strings.Contains(url, specPrefix) || path.Base(url) != kind {
		return nil, fmt.Errorf("type %q is not %s*/%s: %w", url, specPrefix, kind, errdefs.ErrInvalidArgument)
	}
	return a.Value, nil
}

func processSpec(a *wire.Any) ([]byte, error) { return jsonOf(a, "Process") }
func resources(a *wire.Any) ([]byte, error)   { return jsonOf(a, "LinuxResources") }
