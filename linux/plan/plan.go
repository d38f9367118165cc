// Package plan is the form of a compiled container: a flat list of steps, each one system call (or one check of what a
// system call returned) with its arguments already marshalled, for two actors who run their own steps in order: the
// parent, a thread of the runtime, and the child, a process without a Go runtime that ends in execve. A plan is data:
// it can be printed before anything runs, verified (Verify), compared with a golden file, and any of its steps can be
// made to fail (WithFault).
//
// Both actors share one set of 64-bit registers and one data area. File descriptors flow through registers.
package plan

import (
	"fmt"
	"strings"

	"example.io/shim/linux/abi"
)

// Actor runs a step.
type Actor uint8

// The actors.
const (
	Parent Actor = iota
	Child
)

// Op is what a step does.
type Op uint8

// The operations. All are for both actors unless said otherwise.
const (
	OpSyscall  Op = iota // Sys(Args...)
	OpCheck              // Args[0] & Mask == Equal, else the step fails with Errno
	OpMove               // store Args[0] as 64 bits at Args[1], a place in the data
	OpClone              // parent: clone3 with the flags Args[0], into the cgroup Args[1] if there is one; in the child its own steps begin
	OpCloseAll           // child: close every descriptor but those in the registers Keep
	OpCall               // parent: Call, a function of package run, with Args
	OpGate               // parent: a create ends here, and a start goes on from here
	OpAsk                // child: let the parent carry out Call with the arguments Ask, by a message of its own at Args[0], the child's socket, from Args[1]
	OpExit               // child: end with the status Args[0] | Equal, of which the kernel takes 8 bits
)

// Phase groups steps for people.
type Phase string

// The phases in their usual order.
const (
	Cgroup    Phase = "cgroup"   // parent: make and fill the cgroups
	Rootfs    Phase = "rootfs"   // parent: mount the root file system
	Prepare   Phase = "prepare"  // parent: open what the child needs from the host
	Launch    Phase = "launch"   // parent: join, clone, leave
	Isolate   Phase = "isolate"  // child: cut off from the runtime; namespaces
	Mounts    Phase = "mounts"   // child: the mount table and devices
	Root      Phase = "root"     // child: pivot, mask, read-only
	Identity  Phase = "identity" // child: terminal, limits, ids, capabilities
	Ready     Phase = "ready"    // both: the child is at the gate
	Start     Phase = "start"    // both: behind the gate, up to execve
	MaxErrnos       = 4          // tolerated errnos a step can have: the width of the lowered field
)

// Reg names a register; 0 is no register.
type Reg uint16

// Ref names an item of the plan's data; 0 is no item.
type Ref uint16

// Kind is where an argument's value comes from.
type Kind uint8

// The kinds of arguments.
const (
	Imm     Kind = iota // Value
	FromReg             // the content of Reg
	Addr                // the address of Data plus Value
	Mem                 // the 64-bit word at Data plus Value (OpCheck and OpExit only)
)

// Arg is one argument of a step. Text is its symbolic form for people ("O_PATH|O_CLOEXEC"), "" for none.
type Arg struct {
	Value uint64
	Text  string
	Reg   Reg
	Data  Ref
	Kind  Kind
}

// Item is a piece of the data area: a string, a structure that is passed by address, or a buffer to be filled.
type Item struct {
	Name  string // for people; strings are named by their content
	Bytes []byte // initial content
	Str   bool   // a NUL-terminated string
	// Words are 64-bit pointers within Bytes to other items (argv, envp).
	Words []Word
}

// Word puts the address of item To at offset Off.
type Word struct {
	Off int
	To  Ref
}

// Undo is the parent's system call, or its Call, that takes a step back. The ones of the steps that were done run in reverse order when a
// later step fails.
type Undo struct {
	Label string
	Sys   abi.Sys
	Call  string // a function of package run, instead of Sys
	Args  []Arg
	Path  string
}

// Step is one thing that one actor does.
type Step struct {
	// What is small stands together: a plan has hundreds of steps, and each start of a container touches new memory for them.
	Actor   Actor
	Op      Op
	Sys     abi.Sys
	FD      bool // the saved result is a descriptor of the actor
	HasWant bool // see Want
	// ExitParent makes the process that called clone3 in the child leave: the new process goes on with the list.
	ExitParent bool
	Retry      uint8 // how often RetryOn is answered by another try before it counts as the result
	RetryOn    abi.Errno
	Save       Reg       // the result goes here, also a tolerated -errno
	Errno      abi.Errno // OpCheck: what the step fails with; also replaces any errno of a system call when not 0
	Fault      abi.Errno // when not 0, makes the step fail with it instead of being carried out

	Phase  Phase
	Label  string // "mount proc on /proc"
	Source string // JSON pointer into config.json, "" when it comes from no field
	Why    string // man page, specification section, CVE or kernel commit
	Path   string // what it works on, for the error text
	Args   []Arg  // at most 6
	// Tolerate lists errnos after which the plan goes on (at OnErr). At most MaxErrnos.
	Tolerate []abi.Errno
	// OnOK and OnErr are the indexes of the step to go on with after a success and after a tolerated error; 0 is the
	// next one. Forward only, and of the same actor. Set them by a Label of the Builder.
	OnOK, OnErr int
	Want        int64  // with HasWant, the only good result: another one fails the step with EPROTO
	Mask        uint64 // OpCheck
	Equal       uint64 // OpCheck, OpExit
	Keep        []Reg  // OpCloseAll
	Call        string // OpCall, OpAsk
	Ask         []Arg  // OpAsk: Call's arguments
	Undo        *Undo
	// Stays says why what the parent's step makes is not taken back: others use it too.
	Stays string
	// Command is the command as the user wrote it, on the steps that look it up or execute it: their errors carry the words from
	// which clients derive 126 and 127 (see StepError).
	Command string
	// Warning says what the step leaves out of what was asked for, where the specification wants a warning and no error. Package run logs it.
	Warning string
}

// Plan is a compiled container or process.
type Plan struct {
	Name  string // "create web1"
	Steps []Step
	Regs  []string // Regs[0] is unused
	Data  []Item   // Data[0] is unused
}

// Reg returns the register of that name, 0 when the plan has none.
func (p *Plan) Reg(name string) Reg {
	for i := 1; i < len(p.Regs); i++ {
		if p.Regs[i] == name {
			return Reg(i)
		}
	}
	return 0
}

// Item returns the data item of that name, 0 when the plan has none.
func (p *Plan) Item(name string) Ref {
	for i := 1; i < len(p.Data); i++ {
		if !p.Data[i].Str && p.Data[i].Name == name {
			return Ref(i)
		}
	}
	return 0
}

// WithFault returns a copy of the plan whose step i fails with errno instead of being carried out.
func (p *Plan) WithFault(i int, errno abi.Errno) *Plan {
	c := *p
	c.Steps = append([]Step(nil), p.Steps...)
	c.Steps[i].Fault = errno
	return &c
}

// Asks is the content of the messages of OpAsk, and of the answers: no other message has it.
const Asks = '?'

// Names of the registers that package run fills in or reads.
const (
	RegStdin   = "stdin"          // in: descriptor for fd 0
	RegStdout  = "stdout"         // in: descriptor for fd 1
	RegStderr  = "stderr"         // in: descriptor for fd 2
	RegSyncP   = "sync.p"         // in: the parent's end of the socket pair
	RegSyncC   = "sync.c"         // in: the child's end
	RegPid     = "pid"            // out of OpClone: the child's pid in the runtime's pid namespace
	RegPidfd   = "pidfd"          // out of OpClone
	RegGate    = "gate"           // in: the fifo at which the child waits for its start, when that is to come from another process
	RegMaster  = "master"         // out: the parent's descriptor of the pty master
	RegInit    = "init"           // in, exec: a pidfd of the container's init
	RegInitPid = "init.pid"       // in, exec: the pid of the container's init in the runtime's pid namespace
	ItemEnv    = "envp"           // its last but one word is free for HOME, see CallHome
	ItemFilter = "seccomp filter" // instructions of the container's filter
	ItemHome   = "home"           // buffer of "HOME=..." in the data, HomeSize bytes
	HomeSize   = 256              // bytes with "HOME=" and NUL; longer homes are an error
)

// Preserved is the register of the n-th descriptor that the runtime was started with and the process gets, 3 and up.
func Preserved(n int) string { return fmt.Sprintf("%s%d", preservedPrefix, n) }

const preservedPrefix = "preserved."

func isPreserved(reg string) bool { return strings.HasPrefix(reg, preservedPrefix) }

// Functions that OpCall can name.
const (
	// CallHome looks HOME up in the container's /etc/passwd for the uid Args[0] and puts it into the environment. Args[1]
	// is the register of a pid whose /proc/PID/root is the container's root.
	CallHome = "home"
	// CallIDMap fills uid_map and gid_map of the process whose pid is in Args[0]'s register with the texts Args[1] and Args[2].
	CallIDMap = "idmap"
	// CallUserns makes a user namespace for idmapped mounts: Args[0] and Args[1] are the contents of uid_map and gid_map; the
	// result is a descriptor of it.
	CallUserns = "userns"
	// CallArmOOM starts to watch for OOM kills in the memory cgroup at path Args[0].
	CallArmOOM = "oom"
	// CallOOMScore writes the number Args[1] to oom_score_adj of the process whose pid is in Args[0]'s register (proc_pid_oom_score_adj(5)).
	CallOOMScore = "oom_score"
	// CallTimeOffsets writes Args[0] to timens_offsets of the process whose pid is Args[1], with 0 of the calling thread, which has made a time namespace for its
	// children.
	CallTimeOffsets = "time_offsets"
	// CallMoveNetDevice moves the network device Args[1] to the network namespace of the process whose pid is in Args[0]'s register, with the name Args[2].
	CallMoveNetDevice = "move_net_device"
	// CallAdopt takes over the process that the child made by clone3 (CLONE_PARENT): Args[0] is the register of its pid.
	CallAdopt = "adopt"
	// CallAgent sends the listener Args[0] of a seccomp filter to the agent at the socket Args[1]; Args[2] is the register of the pid that has the filter.
	CallAgent = "agent"
	// CallReceive receives the message that the child sends with a descriptor: Args[0] is the register of the parent's end of the socket pair, the result the
	// descriptor.
	CallReceive = "receive"
	// CallHook runs hook number Args[1] of the kind Args[0] ("createRuntime") of the container's config.json.
	CallHook = "hook"
	// CallCopyUp copies the tree at path Args[1] below the root Args[0] into the detached mount whose descriptor, of the child, is in Args[2]. Args[3]: 1
	// leaves owner and mode of the mount's own folder; Args[4] and Args[5] are the container's uid_map and gid_map, "" for none.
	CallCopyUp = "copy_up"
	// CallTarget makes the mount target Args[1] below the root Args[0], and the folders above it, where links that lead nowhere yet say that they are. Args[2]
	// is 1 for a folder and 0 for a file, or the place of a struct statx of what will be mounted there. It is made as the process whose pid is in Args[3]'s register would make it.
	CallTarget = "target"
	// CallMapMount gives the detached mount whose descriptor, of the child, is in Args[0] the maps of the user namespace Args[1]; with those below it if
	// Args[2] is 1.
	CallMapMount = "map_mount"
	// CallMountIn does a classic mount(2) with the working directory Args[0] on this thread only, for options that would be longer than a
	// page with absolute paths: Args[1:] are mount's five arguments.
	CallMountIn = "mount_in"
	// CallCgroup opens the cgroup v2 directory Args[1] of a container for a further process, or the one below it that its init, whose pid is in Args[2]'s
	// register, is in. Args[0] is the hierarchy's mount point.
	CallCgroup = "cgroup"
	// CallMountMapped mounts an overlay whose lower layers get the maps of the user namespace Args[0]: Args[1:] are mount's five arguments.
	CallMountMapped = "mount_mapped"
	// CallMountLoop mounts the file system in a file, through a loop device that goes with the mount: Args are mount's five arguments.
	CallMountLoop = "mount_loop"
	// CallStartUnit starts the systemd unit Args[0], of the user's manager if Args[1] is 1, with the properties in the list Args[2] (unit.ReadProperty). A
	// scope needs a process to be started: it gets one that does nothing, until CallLeaveUnit.
	CallStartUnit = "start_unit"
	// CallSetUnit sets the properties in the list Args[2] of that unit.
	CallSetUnit = "set_unit"
	// CallLeaveUnit ends the process that CallStartUnit has put into the unit: by now the container's own is in it.
	CallLeaveUnit = "leave_unit"
	// CallStopUnit stops the unit Args[0], of the user's manager if Args[1] is 1. It is an undo.
	CallStopUnit = "stop_unit"
	// CallSchemata writes the lines Args[2] to schemata of the resctrl group Args[1]; Args[0] is where resctrl is mounted.
	CallSchemata = "schemata"
	// CallHasSchemata fails when schemata of the resctrl group Args[0] does not say what the lines Args[1] say.
	CallHasSchemata = "has_schemata"
)
