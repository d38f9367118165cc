package wire

import "fmt"

// Named is a message that goes into an Any.
type Named interface {
	Message
	// Name is the message's full name.
	Name() string
}

// Pack puts m into an Any, as containerd does: the type URL is the bare name.
func Pack(m Named) (*Any, error) {
	data, err := Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.Name(), err)
	}
	return &Any{TypeUrl: m.Name(), Value: data}, nil
}

// The names of options, which are looked at before their messages are read.
const (
	OptionsName              = "containerd.runc.v1.Options"
	OldCreateOptionsName     = "containerd.linux.runc.CreateOptions"
	CheckpointOptionsName    = "containerd.runc.v1.CheckpointOptions"
	OldCheckpointOptionsName = "containerd.linux.runc.CheckpointOptions"
)

func (*TaskCreate) Name() string       { return "containerd.events.TaskCreate" }
func (*TaskStart) Name() string        { return "containerd.events.TaskStart" }
func (*TaskExit) Name() string         { return "containerd.events.TaskExit" }
func (*TaskDelete) Name() string       { return "containerd.events.TaskDelete" }
func (*TaskOOM) Name() string          { return "containerd.events.TaskOOM" }
func (*TaskExecAdded) Name() string    { return "containerd.events.TaskExecAdded" }
func (*TaskExecStarted) Name() string  { return "containerd.events.TaskExecStarted" }
func (*TaskPaused) Name() string       { return "containerd.events.TaskPaused" }
func (*TaskResumed) Name() string      { return "containerd.events.TaskResumed" }
func (*TaskCheckpointed) Name() string { return "containerd.events.TaskCheckpointed" }

func (*Options) Name() string           { return OptionsName }
func (*CheckpointOptions) Name() string { return CheckpointOptionsName }
func (*ProcessDetails) Name() string    { return "containerd.runc.v1.ProcessDetails" }

func (*MetricsV1) Name() string { return "io.containerd.cgroups.v1.Metrics" }
func (*MetricsV2) Name() string { return "io.containerd.cgroups.v2.Metrics" }
