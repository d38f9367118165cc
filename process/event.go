package process

// Publisher takes events, in order, without blocking: the owner of a container calls it.
type Publisher interface {
	Publish(e Event)
}

// Event is one of the Task structs of this file.
type Event interface{ taskEvent() }

// TaskCreate says that a container was created.
type TaskCreate struct {
	ID, Bundle string
	Rootfs     []Mount
	Stdio      StdioConfig
	Pid        int
}

// TaskStart says that init runs.
type TaskStart struct {
	ID  string
	Pid int
}

// TaskExit says that a process ended. ID is the exec's id, or the container's for init.
type TaskExit struct {
	ID, ContainerID string
	Pid             int
	Exit            Exit
}

// TaskDelete says that a container was deleted. Execs have none, as with containerd's own shim.
type TaskDelete struct {
	ContainerID string
	Pid         int
	Exit        Exit
}

// TaskOOM says that the kernel killed a process of the container for want of memory.
type TaskOOM struct{ ContainerID string }

// TaskExecAdded says that an exec was added.
type TaskExecAdded struct{ ContainerID, ExecID string }

// TaskExecStarted says that an exec runs.
type TaskExecStarted struct {
	ContainerID, ExecID string
	Pid                 int
}

// TaskCheckpointed says that a checkpoint was written into the folder Path.
type TaskCheckpointed struct{ ContainerID, Path string }

// TaskPaused says that the container's processes stand still.
type TaskPaused struct{ ContainerID string }

// TaskResumed says that they run again.
type TaskResumed struct{ ContainerID string }

func (TaskCreate) taskEvent()       {}
func (TaskStart) taskEvent()        {}
func (TaskExit) taskEvent()         {}
func (TaskDelete) taskEvent()       {}
func (TaskOOM) taskEvent()          {}
func (TaskExecAdded) taskEvent()    {}
func (TaskExecStarted) taskEvent()  {}
func (TaskCheckpointed) taskEvent() {}
func (TaskPaused) taskEvent()       {}
func (TaskResumed) taskEvent()      {}
