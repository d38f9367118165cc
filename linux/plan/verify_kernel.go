package plan

import "example.io/shim/linux/abi"

// What the rules know of the system calls, from section 2 of the manual. Tables by number are made by the compiler; maps would be made at each start of the program.

// buffer is memory that a call reads or writes by address.
type buffer struct {
	arg    int
	size   int // bytes, or bytes for each unit of argument lenArg
	lenArg int // -1: size is all
	// The buffer counts only when the immediate argument ifArg is ifValue; -1: always.
	ifArg   int
	ifValue uint64
}

func fixed(arg, size int) buffer           { return buffer{arg, size, -1, -1, 0} }
func counted(arg, lenArg, unit int) buffer { return buffer{arg, unit, lenArg, -1, 0} }
func onCmd(arg, size int, v uint64) buffer { return buffer{arg, size, -1, 1, v} }

var buffers = [abi.AllSys][]buffer{
	abi.SysRead:             {counted(1, 2, 1)},
	abi.SysWrite:            {counted(1, 2, 1)},
	abi.SysReadlinkat:       {counted(2, 3, 1)},
	abi.SysGetdents64:       {counted(1, 2, 1)},
	abi.SysOpenat2:          {counted(2, 3, 1), fixed(2, abi.OpenHowSize)},
	abi.SysMountSetattr:     {counted(3, 4, 1), fixed(3, abi.MountAttrSize)},
	abi.SysClone3:           {counted(0, 1, 1)},
	abi.SysStatx:            {fixed(4, abi.StatxSize)},
	abi.SysFstatfs:          {fixed(1, abi.StatfsSize)},
	abi.SysStatfs:           {fixed(1, abi.StatfsSize)},
	abi.SysPrlimit64:        {fixed(2, 16), fixed(3, 16)},
	abi.SysRtSigprocmask:    {counted(1, 3, 1), counted(2, 3, 1)},
	abi.SysRtSigaction:      {fixed(1, 32), fixed(2, 32)},
	abi.SysCapset:           {fixed(0, 8), fixed(1, 24)},
	abi.SysCapget:           {fixed(0, 8), fixed(1, 24)},
	abi.SysPipe2:            {fixed(0, 8)},
	abi.SysSetgroups:        {counted(1, 0, 4)},
	abi.SysSchedSetaffinity: {counted(2, 1, 1)},
	abi.SysFsetxattr:        {counted(2, 3, 1)},
	abi.SysSchedSetattr:     {fixed(1, abi.SchedAttrSize)},
	abi.SysWaitid:           {fixed(2, 128)},
	abi.SysSethostname:      {counted(0, 1, 1)},
	abi.SysSetdomainname:    {counted(0, 1, 1)},
	abi.SysSeccomp:          {fixed(2, abi.SockFprogSize)},
	abi.SysSendmsg:          {fixed(1, 56)},
	abi.SysBpf:              {counted(1, 2, 1)},
	abi.SysSignalfd4:        {counted(1, 2, 1)},
	abi.SysPpoll:            {counted(0, 1, 8)},
	abi.SysIoctl:            {onCmd(2, 4, abi.TIOCGPTN), onCmd(2, 4, abi.TIOCSPTLCK), onCmd(2, 8, abi.TIOCSWINSZ)},
}

// vectors names the argument that is argv; the next one is envp.
var vectors = [abi.AllSys]int{abi.SysExecve: 1, abi.SysExecveat: 2}

// pathUse is a path that a call takes.
type pathUse struct {
	dir, path int  // arguments; dir -1: the working directory
	makes     bool // changes something by that name, rather than looking it up
}

var pathUses = [abi.AllSys][]pathUse{
	abi.SysChdir:        {{-1, 0, false}},
	abi.SysChroot:       {{-1, 0, true}},
	abi.SysPivotRoot:    {{-1, 0, true}, {-1, 1, true}},
	abi.SysMkdirat:      {{0, 1, true}},
	abi.SysMknodat:      {{0, 1, true}},
	abi.SysSymlinkat:    {{1, 2, true}}, // argument 0 is content, not looked up
	abi.SysUnlinkat:     {{0, 1, true}},
	abi.SysRenameat2:    {{0, 1, true}, {2, 3, true}},
	abi.SysFchmodat:     {{0, 1, true}},
	abi.SysFchownat:     {{0, 1, true}},
	abi.SysReadlinkat:   {{0, 1, false}},
	abi.SysOpenat:       {{0, 1, false}},
	abi.SysOpenat2:      {{0, 1, false}},
	abi.SysOpenTree:     {{0, 1, false}},
	abi.SysMoveMount:    {{0, 1, true}, {2, 3, true}},
	abi.SysFspick:       {{0, 1, true}},
	abi.SysMountSetattr: {{0, 1, true}},
	abi.SysMount:        {{-1, 0, false}, {-1, 1, true}},
	abi.SysUmount2:      {{-1, 0, true}},
	abi.SysExecve:       {{-1, 0, false}},
	abi.SysExecveat:     {{0, 1, false}},
	abi.SysStatx:        {{0, 1, false}},
	abi.SysStatfs:       {{-1, 0, false}},
	abi.SysFaccessat:    {{0, 1, false}},
	abi.SysFaccessat2:   {{0, 1, false}},
}

// cloexecAt says in which argument a call that makes a descriptor takes close-on-exec, and as which flag.
var cloexecAt = [abi.AllSys]struct {
	arg  int
	flag uint64
}{
	abi.SysOpenat:      {2, abi.O_CLOEXEC},
	abi.SysSocket:      {1, abi.O_CLOEXEC}, // SOCK_CLOEXEC is the same bit
	abi.SysPipe2:       {1, abi.O_CLOEXEC},
	abi.SysOpenTree:    {2, abi.OPEN_TREE_CLOEXEC},
	abi.SysFsopen:      {1, abi.FSOPEN_CLOEXEC},
	abi.SysFsmount:     {1, abi.FSMOUNT_CLOEXEC},
	abi.SysFspick:      {2, abi.FSPICK_CLOEXEC},
	abi.SysEventfd2:    {1, abi.O_CLOEXEC},
	abi.SysSignalfd4:   {3, abi.O_CLOEXEC}, // SFD_CLOEXEC is the same bit
	abi.SysMemfdCreate: {1, 1},             // MFD_CLOEXEC
}

// lastStdio is the highest descriptor that a program is given: dup3 onto it makes one without close-on-exec.
const lastStdio = 2

// openHow returns flags and resolve of openat2's struct open_how.
func (p *Plan) openHow(s *Step) (flags, resolve uint64, ok bool) {
	b, ok := p.bytes(arg(s, 2), abi.OpenHowSize)
	if !ok {
		return 0, 0, false
	}
	return le64(b), le64(b[16:]), true
}

// atFlags returns the AT_ flags of a call that looks a path up, 0 for one that has none.
func atFlags(s *Step) uint64 {
	n := -1
	switch s.Sys {
	case abi.SysStatx, abi.SysOpenTree, abi.SysMountSetattr:
		n = 2
	case abi.SysFaccessat2:
		n = 3
	case abi.SysFchownat, abi.SysExecveat:
		n = 4
	}
	v, _ := imm(s, n)
	return v
}

// mountsNothing says that a mount(2) with these flags changes a mount instead of making one.
func mountsNothing(flags uint64) bool {
	return flags&(abi.MS_REMOUNT|abi.MS_SHARED|abi.MS_SLAVE|abi.MS_PRIVATE|abi.MS_UNBINDABLE) != 0
}
