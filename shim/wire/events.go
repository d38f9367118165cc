package wire

// ForwardRequest is containerd.services.events.ttrpc.v1.ForwardRequest.
type ForwardRequest struct {
	Envelope *Envelope
}

func (m *ForwardRequest) fields(c *coder) {
	one(c, 1, &m.Envelope)
}

// Envelope is containerd.types.Envelope.
type Envelope struct {
	Timestamp        *Timestamp
	Namespace, Topic string
	Event            *Any
}

func (m *Envelope) fields(c *coder) {
	one(c, 1, &m.Timestamp)
	c.text(2, &m.Namespace)
	c.text(3, &m.Topic)
	one(c, 4, &m.Event)
}

// TaskCreate is containerd.events.TaskCreate.
type TaskCreate struct {
	ContainerID, Bundle string
	Rootfs              []*Mount
	IO                  *TaskIO
	Checkpoint          string
	Pid                 uint32
}

func (m *TaskCreate) fields(c *coder) {
	c.text(1, &m.ContainerID)
	c.text(2, &m.Bundle)
	many(c, 3, &m.Rootfs)
	one(c, 4, &m.IO)
	c.text(5, &m.Checkpoint)
	c.uint32(6, &m.Pid)
}

// TaskIO is containerd.events.TaskIO.
type TaskIO struct {
	Stdin, Stdout, Stderr string
	Terminal              bool
}

func (m *TaskIO) fields(c *coder) {
	c.text(1, &m.Stdin)
	c.text(2, &m.Stdout)
	c.text(3, &m.Stderr)
	c.flag(4, &m.Terminal)
}

// TaskStart is containerd.events.TaskStart.
type TaskStart struct {
	ContainerID string
	Pid         uint32
}

func (m *TaskStart) fields(c *coder) {
	c.text(1, &m.ContainerID)
	c.uint32(2, &m.Pid)
}

// TaskExit is containerd.events.TaskExit.
type TaskExit struct {
	ContainerID, ID string
	Pid, ExitStatus uint32
	ExitedAt        *Timestamp
}

func (m *TaskExit) fields(c *coder) {
	c.text(1, &m.ContainerID)
	c.text(2, &m.ID)
	c.uint32(3, &m.Pid)
	c.uint32(4, &m.ExitStatus)
	one(c, 5, &m.ExitedAt)
}

// TaskDelete is containerd.events.TaskDelete.
type TaskDelete struct {
	ContainerID     string
	Pid, ExitStatus uint32
	ExitedAt        *Timestamp
	ID              string
}

func (m *TaskDelete) fields(c *coder) {
	c.text(1, &m.ContainerID)
	c.uint32(2, &m.Pid)
	c.uint32(3, &m.ExitStatus)
	one(c, 4, &m.ExitedAt)
	c.text(5, &m.ID)
}

// TaskOOM is containerd.events.TaskOOM.
type TaskOOM struct {
	ContainerID string
}

func (m *TaskOOM) fields(c *coder) {
	c.text(1, &m.ContainerID)
}

// TaskExecAdded is containerd.events.TaskExecAdded.
type TaskExecAdded struct {
	ContainerID, ExecID string
}

func (m *TaskExecAdded) fields(c *coder) {
	c.text(1, &m.ContainerID)
	c.text(2, &m.ExecID)
}

// TaskExecStarted is containerd.events.TaskExecStarted.
type TaskExecStarted struct {
	ContainerID, ExecID string
	Pid                 uint32
}

func (m *TaskExecStarted) fields(c *coder) {
	c.text(1, &m.ContainerID)
	c.text(2, &m.ExecID)
	c.uint32(3, &m.Pid)
}

// TaskPaused is containerd.events.TaskPaused.
type TaskPaused struct {
	ContainerID string
}

func (m *TaskPaused) fields(c *coder) {
	c.text(1, &m.ContainerID)
}

// TaskResumed is containerd.events.TaskResumed.
type TaskResumed struct {
	ContainerID string
}

func (m *TaskResumed) fields(c *coder) {
	c.text(1, &m.ContainerID)
}

// TaskCheckpointed is containerd.events.TaskCheckpointed.
type TaskCheckpointed struct {
	ContainerID, Checkpoint string
}

func (m *TaskCheckpointed) fields(c *coder) {
	c.text(1, &m.ContainerID)
	c.text(2, &m.Checkpoint)
}
