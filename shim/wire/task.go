package wire

// CreateTaskRequest is containerd.task.v2.CreateTaskRequest.
type CreateTaskRequest struct {
	ID, Bundle                                          string
	Rootfs                                              []*Mount
	Terminal                                            bool
	Stdin, Stdout, Stderr, Checkpoint, ParentCheckpoint string
	Options                                             *Any
}

func (m *CreateTaskRequest) fields(c *coder) {
	c.text(1, &m.ID)
	c.text(2, &m.Bundle)
	many(c, 3, &m.Rootfs)
	c.flag(4, &m.Terminal)
	c.text(5, &m.Stdin)
	c.text(6, &m.Stdout)
	c.text(7, &m.Stderr)
	c.text(8, &m.Checkpoint)
	c.text(9, &m.ParentCheckpoint)
	one(c, 10, &m.Options)
}

// Mount is containerd.types.Mount.
type Mount struct {
	Type, Source, Target string
	Options              []string
}

func (m *Mount) fields(c *coder) {
	c.text(1, &m.Type)
	c.text(2, &m.Source)
	c.text(3, &m.Target)
	c.texts(4, &m.Options)
}

// CreateTaskResponse is containerd.task.v2.CreateTaskResponse.
type CreateTaskResponse struct {
	Pid uint32
}

func (m *CreateTaskResponse) fields(c *coder) {
	c.uint32(1, &m.Pid)
}

// StartRequest is containerd.task.v2.StartRequest.
type StartRequest struct {
	ID, ExecID string
}

func (m *StartRequest) fields(c *coder) {
	c.text(1, &m.ID)
	c.text(2, &m.ExecID)
}

// StartResponse is containerd.task.v2.StartResponse.
type StartResponse struct {
	Pid uint32
}

func (m *StartResponse) fields(c *coder) {
	c.uint32(1, &m.Pid)
}

// DeleteRequest is containerd.task.v2.DeleteRequest.
type DeleteRequest struct {
	ID, ExecID string
}

func (m *DeleteRequest) fields(c *coder) {
	c.text(1, &m.ID)
	c.text(2, &m.ExecID)
}

// DeleteResponse is containerd.task.v2.DeleteResponse.
type DeleteResponse struct {
	Pid, ExitStatus uint32
	ExitedAt        *Timestamp
}

func (m *DeleteResponse) fields(c *coder) {
	c.uint32(1, &m.Pid)
	c.uint32(2, &m.ExitStatus)
	one(c, 3, &m.ExitedAt)
}

// ExecProcessRequest is containerd.task.v2.ExecProcessRequest.
type ExecProcessRequest struct {
	ID, ExecID            string
	Terminal              bool
	Stdin, Stdout, Stderr string
	Spec                  *Any
}

func (m *ExecProcessRequest) fields(c *coder) {
	c.text(1, &m.ID)
	c.text(2, &m.ExecID)
	c.flag(3, &m.Terminal)
	c.text(4, &m.Stdin)
	c.text(5, &m.Stdout)
	c.text(6, &m.Stderr)
	one(c, 7, &m.Spec)
}

// ResizePtyRequest is containerd.task.v2.ResizePtyRequest.
type ResizePtyRequest struct {
	ID, ExecID    string
	Width, Height uint32
}

func (m *ResizePtyRequest) fields(c *coder) {
	c.text(1, &m.ID)
	c.text(2, &m.ExecID)
	c.uint32(3, &m.Width)
	c.uint32(4, &m.Height)
}

// StateRequest is containerd.task.v2.StateRequest.
type StateRequest struct {
	ID, ExecID string
}

func (m *StateRequest) fields(c *coder) {
	c.text(1, &m.ID)
	c.text(2, &m.ExecID)
}

// StateResponse is containerd.task.v2.StateResponse.
type StateResponse struct {
	ID, Bundle            string
	Pid                   uint32
	Status                TaskStatus
	Stdin, Stdout, Stderr string
	Terminal              bool
	ExitStatus            uint32
	ExitedAt              *Timestamp
	ExecID                string
}

func (m *StateResponse) fields(c *coder) {
	c.text(1, &m.ID)
	c.text(2, &m.Bundle)
	c.uint32(3, &m.Pid)
	c.int32(4, (*int32)(&m.Status))
	c.text(5, &m.Stdin)
	c.text(6, &m.Stdout)
	c.text(7, &m.Stderr)
	c.flag(8, &m.Terminal)
	c.uint32(9, &m.ExitStatus)
	one(c, 10, &m.ExitedAt)
	c.text(11, &m.ExecID)
}

// KillRequest is containerd.task.v2.KillRequest.
type KillRequest struct {
	ID, ExecID string
	Signal     uint32
	All        bool
}

func (m *KillRequest) fields(c *coder) {
	c.text(1, &m.ID)
	c.text(2, &m.ExecID)
	c.uint32(3, &m.Signal)
	c.flag(4, &m.All)
}

// CloseIORequest is containerd.task.v2.CloseIORequest.
type CloseIORequest struct {
	ID, ExecID string
	Stdin      bool
}

func (m *CloseIORequest) fields(c *coder) {
	c.text(1, &m.ID)
	c.text(2, &m.ExecID)
	c.flag(3, &m.Stdin)
}

// PidsRequest is containerd.task.v2.PidsRequest.
type PidsRequest struct {
	ID string
}

func (m *PidsRequest) fields(c *coder) {
	c.text(1, &m.ID)
}

// PidsResponse is containerd.task.v2.PidsResponse.
type PidsResponse struct {
	Processes []*ProcessInfo
}

func (m *PidsResponse) fields(c *coder) {
	many(c, 1, &m.Processes)
}

// ProcessInfo is containerd.v1.types.ProcessInfo.
type ProcessInfo struct {
	Pid  uint32
	Info *Any
}

func (m *ProcessInfo) fields(c *coder) {
	c.uint32(1, &m.Pid)
	one(c, 2, &m.Info)
}

// CheckpointTaskRequest is containerd.task.v2.CheckpointTaskRequest.
type CheckpointTaskRequest struct {
	ID, Path string
	Options  *Any
}

func (m *CheckpointTaskRequest) fields(c *coder) {
	c.text(1, &m.ID)
	c.text(2, &m.Path)
	one(c, 3, &m.Options)
}

// UpdateTaskRequest is containerd.task.v2.UpdateTaskRequest.
type UpdateTaskRequest struct {
	ID          string
	Resources   *Any
	Annotations map[string]string
}

func (m *UpdateTaskRequest) fields(c *coder) {
	c.text(1, &m.ID)
	one(c, 2, &m.Resources)
	c.pairs(3, &m.Annotations)
}

// WaitRequest is containerd.task.v2.WaitRequest.
type WaitRequest struct {
	ID, ExecID string
}

func (m *WaitRequest) fields(c *coder) {
	c.text(1, &m.ID)
	c.text(2, &m.ExecID)
}

// WaitResponse is containerd.task.v2.WaitResponse.
type WaitResponse struct {
	ExitStatus uint32
	ExitedAt   *Timestamp
}

func (m *WaitResponse) fields(c *coder) {
	c.uint32(1, &m.ExitStatus)
	one(c, 2, &m.ExitedAt)
}

// StatsRequest is containerd.task.v2.StatsRequest.
type StatsRequest struct {
	ID string
}

func (m *StatsRequest) fields(c *coder) {
	c.text(1, &m.ID)
}

// StatsResponse is containerd.task.v2.StatsResponse.
type StatsResponse struct {
	Stats *Any
}

func (m *StatsResponse) fields(c *coder) {
	one(c, 1, &m.Stats)
}

// ConnectRequest is containerd.task.v2.ConnectRequest.
type ConnectRequest struct {
	ID string
}

func (m *ConnectRequest) fields(c *coder) {
	c.text(1, &m.ID)
}

// ConnectResponse is containerd.task.v2.ConnectResponse.
type ConnectResponse struct {
	ShimPid, TaskPid uint32
	Version          string
}

func (m *ConnectResponse) fields(c *coder) {
	c.uint32(1, &m.ShimPid)
	c.uint32(2, &m.TaskPid)
	c.text(3, &m.Version)
}

// ShutdownRequest is containerd.task.v2.ShutdownRequest.
type ShutdownRequest struct {
	ID  string
	Now bool
}

func (m *ShutdownRequest) fields(c *coder) {
	c.text(1, &m.ID)
	c.flag(2, &m.Now)
}

// PauseRequest is containerd.task.v2.PauseRequest.
type PauseRequest struct {
	ID string
}

func (m *PauseRequest) fields(c *coder) {
	c.text(1, &m.ID)
}

// ResumeRequest is containerd.task.v2.ResumeRequest.
type ResumeRequest struct {
	ID string
}

func (m *ResumeRequest) fields(c *coder) {
	c.text(1, &m.ID)
}

// TaskStatus is containerd.v1.types.Status.
type TaskStatus int32

// The states of a task.
const (
	StatusUnknown TaskStatus = 0
	StatusCreated TaskStatus = 1
	StatusRunning TaskStatus = 2
	StatusStopped TaskStatus = 3
	StatusPaused  TaskStatus = 4
	StatusPausing TaskStatus = 5
)
