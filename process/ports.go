package process

import (
	"context"
	"os"
	"time"
)

// The ports are what the life cycle needs from the outside. cmd/ puts linux/run, io and oom behind them;
// this package knows neither containerd's types nor a system call.

// Runtime builds containers.
type Runtime interface {
	// Create builds a container up to its start gate: everything is made except that the program has not
	// been executed. After an error nothing of it is left on the machine.
	Create(ctx context.Context, r CreateRequest) (Handle, error)
}

// Mount is one entry of the root file system's mounts, as containerd sends it.
type Mount struct {
	Type, Source, Target string
	Options              []string
}

// Options are the runtime options of one container (containerd.runc.v1.Options, as far as they mean something here).
type Options struct {
	NoPivotRoot   bool
	NoNewKeyring  bool
	SystemdCgroup bool
	ShimCgroup    string
	IOUID, IOGID  uint32
	Root          string
	CriuImagePath string
	CriuWorkPath  string
}

// CreateRequest says which container to build.
type CreateRequest struct {
	ID, Namespace, Bundle string
	Rootfs                []Mount
	Options               Options
	Terminal              bool // overrules config.json's process.terminal
	// Stdio opens the process's fds 0 to 2: nil with Terminal, and nil entries mean /dev/null. It is called once, when the configuration is
	// known to be good: a fifo that was opened and closed again is used up for its client (containerd 2 creates a second time after Unimplemented).
	Stdio func() ([3]*os.File, error)
	// Checkpoint, if not empty, is the folder of a checkpoint whose processes Start restores.
	Checkpoint string
}

// CheckpointRequest says how to write a checkpoint.
type CheckpointRequest struct {
	ImagePath, WorkPath string
	ParentPath          string // of an earlier dump, relative to ImagePath
	Exit                bool   // the processes end with it; else they go on
	OpenTCP             bool   // connections are dumped too
	ExternalUnixSockets bool
	Terminal            bool // sessions and terminals from outside are left to the restore ("shell job")
	FileLocks           bool
	EmptyNamespaces     []string
	CgroupsMode         string
	Paused              bool // the container is, and stays so
}

// ExecRequest says which process to add to a container.
type ExecRequest struct {
	ExecID   string
	Spec     []byte // JSON of specs.Process
	Terminal bool
	Stdio    [3]*os.File
}

// Handle is a container that was built.
type Handle interface {
	// Init is nil until Start for a container that is made from a checkpoint.
	Init() Child
	// Start opens the gate; it returns when init's program has been executed or could not be.
	Start(ctx context.Context) error
	// Exec adds a process; it returns when its program has been executed or could not be.
	Exec(ctx context.Context, r ExecRequest) (Child, error)
	// Pids lists every process of the container's cgroup, in the shim's pid namespace.
	Pids() ([]int, error)
	Pause(ctx context.Context) error
	Resume(ctx context.Context) error
	// Update applies resources, the JSON of specs.LinuxResources.
	Update(ctx context.Context, resources []byte) error
	// Checkpoint writes the processes to disk. After an error they are as they were.
	Checkpoint(ctx context.Context, r CheckpointRequest) error
	// Stats returns a *stats.Metrics of linux/cgroup/stats, which this package passes on unread.
	Stats() (any, error)
	// KillAll signals every process of the cgroup.
	KillAll(sig int) error
	// OOM returns the watcher that was armed before the container's first instruction.
	OOM() OOMWatcher
	// PrivatePidNamespace says that the kernel itself kills the rest when init exits.
	PrivatePidNamespace() bool
	// Delete kills what is left and removes cgroups and mounts. Idempotent.
	Delete(ctx context.Context) error
}

// OOMWatcher tells of OOM kills in one container.
type OOMWatcher interface {
	// C carries a value when Pending has something to tell; it is closed by Close.
	C() <-chan struct{}
	// Pending returns the number of kills since it was last asked, by reading the kernel's counter now. It is also
	// asked when a process has exited, so that the OOM event is published before the exit event.
	Pending() int
	Close() error
}

// Exit is how a process ended.
type Exit struct {
	Status uint32 // exit code, or 128 + signal
	At     time.Time
}

// Child is a process of a container, init or exec.
type Child interface {
	Pid() int
	// Signal sends by pidfd; errdefs.ErrNotFound when the process has ended.
	Signal(sig int) error
	// Done is closed when the process has ended and was reaped; Exit is valid after that.
	Done() <-chan struct{}
	Exit() Exit
	// Console is the pty master, owned by the caller; nil without a terminal.
	Console() *os.File
}

// StdioConfig is what a client asks for: paths or URIs, as given.
type StdioConfig struct {
	Stdin, Stdout, Stderr string
	Terminal              bool
}

// IO opens the streams of processes.
type IO interface {
	// Open opens what c names; it waits a bounded time for the other end.
	Open(ctx context.Context, c IOOwner, s StdioConfig) (Streams, error)
}

// IOOwner says whose streams they are (loggers get it in their environment).
type IOOwner struct {
	ID, Namespace, Bundle string
	UID, GID              uint32 // owner of the pipes
}

// Streams are the open streams of one process.
type Streams interface {
	// Files are the process's fds 0 to 2; all nil with a terminal, nil entries mean /dev/null.
	Files() [3]*os.File
	// Started closes our copies of Files and starts the relays. console is the pty master or nil.
	Started(console *os.File) error
	// CloseStdin closes our write end of stdin once what the client wrote before has been passed on.
	CloseStdin() error
	// Resize sets the console's size; without a console it does nothing.
	Resize(width, height uint32) error
	// Flush waits until the client has read what was written so far, or ctx ends.
	Flush(ctx context.Context)
	// Drain waits until all output was passed on, or ctx ends.
	Drain(ctx context.Context) error
	// Close gives everything up at once. Idempotent.
	Close() error
}
