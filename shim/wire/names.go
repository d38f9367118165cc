package wire

import "fmt"

// Named is a message that goes into an Any.
type Named interface {
	Message
	name() string
}

// NameOf is the full name of m's type.
func NameOf(m Named) string { return m.name() }

// Pack puts m into an Any, as containerd does: the type URL is the bare name.
func Pack(m Named) (*Any, error) {
	data, err := Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.name(), err)
	}
	return &Any{TypeUrl: m.name(), Value: data}, nil
}

// The names of options, which are looked at before their messages are read.
const (
	OptionsName              = "containerd.runc.v1.Options"
	OldCreateOptionsName     = "containerd.linux.runc.CreateOptions"
	CheckpointOptionsName    = "containerd.runc.v1.CheckpointOptions"
	OldCheckpointOptionsName = "containerd.linux.runc.CheckpointOptions"
)

func (*TaskCreate) name() string       { return "containerd.events.TaskCreate" }
func (*TaskStart) name() string        { return "containerd.events.TaskStart" }
func (*TaskExit) name() string         { return "containerd.events.TaskExit" }
func (*TaskDelete) name() string       { return "containerd.events.TaskDelete" }
func (*TaskOOM) name() string          { return "containerd.events.TaskOOM" }
func (*TaskExecAdded) name() string    { return "containerd.events.TaskExecAdded" }
func (*TaskExecStarted) name() string  { return "containerd.events.TaskExecStarted" }
func (*TaskPaused) name() string       { return "containerd.events.TaskPaused" }
func (*TaskResumed) name() string      { return "containerd.events.TaskResumed" }
func (*TaskCheckpointed) name() string { return "containerd.events.TaskCheckpointed" }

func (*Options) name() string           { return OptionsName }
func (*CheckpointOptions) name() string { return CheckpointOptionsName }
func (*ProcessDetails) name() string    { return "containerd.runc.v1.ProcessDetails" }

func (*MetricsV1) name() string { return "io.containerd.cgroups.v1.Metrics" }
func (*MetricsV2) name() string { return "io.containerd.cgroups.v2.Metrics" }
