// Package abi holds what the compiler needs of Linux's system call interface as plain data: the names and numbers of the
// calls, flags, errnos and the layouts of structures. It makes no calls, so that the pure packages can import it.
package abi

// Sys is a system call that a plan can hold. The number differs by architecture; see Number.
type Sys uint8

// AllSys is as many as there can be: the length of a table by system call.
const AllSys = 1 << 8

// The system calls. See each one's page in section 2 of the manual.
const (
	SysNone Sys = iota
	SysRead
	SysWrite
	SysClose
	SysLseek
	SysIoctl
	SysPipe2
	SysDup3
	SysFcntl
	SysSocket
	SysSendmsg
	SysGetpid
	SysExitGroup
	SysKill
	SysFchdir
	SysChdir
	SysMkdirat
	SysMknodat
	SysSymlinkat
	SysUnlinkat
	SysRenameat2
	SysReadlinkat
	SysFchmodat
	SysFchmod
	SysFchownat
	SysFchown
	SysOpenat
	SysOpenat2
	SysOpenTree
	SysMoveMount
	SysFsopen
	SysFsconfig
	SysFsmount
	SysFspick
	SysMountSetattr
	SysMount
	SysUmount2
	SysPivotRoot
	SysChroot
	SysUnshare
	SysSetns
	SysClone3
	SysExecve
	SysExecveat
	SysPrctl
	SysCapget
	SysCapset
	SysSetgroups
	SysSetresuid
	SysSetresgid
	SysSetsid
	SysSetpgid
	SysUmask
	SysSethostname
	SysSetdomainname
	SysPrlimit64
	SysKeyctl
	SysAddKey
	SysCloseRange
	SysRtSigprocmask
	SysRtSigaction
	SysStatx
	SysFstatfs
	SysStatfs
	SysFaccessat
	SysFaccessat2
	SysPidfdOpen
	SysPidfdGetfd
	SysPidfdSendSignal
	SysWaitid
	SysPersonality
	SysSeccomp
	SysIoprioSet
	SysSchedSetattr
	SysSchedSetaffinity
	SysSetMempolicy
	SysGetdents64
	SysFtruncate
	SysFallocate
	SysEventfd2
	SysMemfdCreate
	SysBpf
	SysDup
	SysGetppid
	SysLandlockRestrictSelf
	SysSyncFileRange
	SysQuotactlFd
	SysFsetxattr
	SysSignalfd4
	SysPpoll
)

// String returns the call's name.
func (s Sys) String() string { return sysTable[s].name }

// Number returns the call's number on arch (a GOARCH: amd64 or arm64) and whether that is known.
func (s Sys) Number(arch string) (uint64, bool) {
	switch {
	case s == SysNone || int(s) >= len(sysTable):
		return 0, false
	case arch == "amd64":
		return uint64(sysTable[s].amd64), true
	case arch == "arm64":
		return uint64(sysTable[s].arm64), true
	}
	return 0, false
}

// sysTable is made from the kernel's tables (arch/x86/entry/syscalls/syscall_64.tbl, scripts/syscall.tbl).
var sysTable = [...]struct {
	name         string
	amd64, arm64 uint16
}{
	SysNone:                 {"none", 0, 0},
	SysRead:                 {"read", 0, 63},
	SysWrite:                {"write", 1, 64},
	SysClose:                {"close", 3, 57},
	SysLseek:                {"lseek", 8, 62},
	SysIoctl:                {"ioctl", 16, 29},
	SysPipe2:                {"pipe2", 293, 59},
	SysDup3:                 {"dup3", 292, 24},
	SysFcntl:                {"fcntl", 72, 25},
	SysSocket:               {"socket", 41, 198},
	SysSendmsg:              {"sendmsg", 46, 211},
	SysGetpid:               {"getpid", 39, 172},
	SysExitGroup:            {"exit_group", 231, 94},
	SysKill:                 {"kill", 62, 129},
	SysFchdir:               {"fchdir", 81, 50},
	SysChdir:                {"chdir", 80, 49},
	SysMkdirat:              {"mkdirat", 258, 34},
	SysMknodat:              {"mknodat", 259, 33},
	SysSymlinkat:            {"symlinkat", 266, 36},
	SysUnlinkat:             {"unlinkat", 263, 35},
	SysRenameat2:            {"renameat2", 316, 276},
	SysReadlinkat:           {"readlinkat", 267, 78},
	SysFchmodat:             {"fchmodat", 268, 53},
	SysFchmod:               {"fchmod", 91, 52},
	SysFchownat:             {"fchownat", 260, 54},
	SysFchown:               {"fchown", 93, 55},
	SysOpenat:               {"openat", 257, 56},
	SysOpenat2:              {"openat2", 437, 437},
	SysOpenTree:             {"open_tree", 428, 428},
	SysMoveMount:            {"move_mount", 429, 429},
	SysFsopen:               {"fsopen", 430, 430},
	SysFsconfig:             {"fsconfig", 431, 431},
	SysFsmount:              {"fsmount", 432, 432},
	SysFspick:               {"fspick", 433, 433},
	SysMountSetattr:         {"mount_setattr", 442, 442},
	SysMount:                {"mount", 165, 40},
	SysUmount2:              {"umount2", 166, 39},
	SysPivotRoot:            {"pivot_root", 155, 41},
	SysChroot:               {"chroot", 161, 51},
	SysUnshare:              {"unshare", 272, 97},
	SysSetns:                {"setns", 308, 268},
	SysClone3:               {"clone3", 435, 435},
	SysExecve:               {"execve", 59, 221},
	SysExecveat:             {"execveat", 322, 281},
	SysPrctl:                {"prctl", 157, 167},
	SysCapget:               {"capget", 125, 90},
	SysCapset:               {"capset", 126, 91},
	SysSetgroups:            {"setgroups", 116, 159},
	SysSetresuid:            {"setresuid", 117, 147},
	SysSetresgid:            {"setresgid", 119, 149},
	SysSetsid:               {"setsid", 112, 157},
	SysSetpgid:              {"setpgid", 109, 154},
	SysUmask:                {"umask", 95, 166},
	SysSethostname:          {"sethostname", 170, 161},
	SysSetdomainname:        {"setdomainname", 171, 162},
	SysPrlimit64:            {"prlimit64", 302, 261},
	SysKeyctl:               {"keyctl", 250, 219},
	SysAddKey:               {"add_key", 248, 217},
	SysCloseRange:           {"close_range", 436, 436},
	SysRtSigprocmask:        {"rt_sigprocmask", 14, 135},
	SysRtSigaction:          {"rt_sigaction", 13, 134},
	SysStatx:                {"statx", 332, 291},
	SysFstatfs:              {"fstatfs", 138, 44},
	SysStatfs:               {"statfs", 137, 43},
	SysFaccessat:            {"faccessat", 269, 48},
	SysFaccessat2:           {"faccessat2", 439, 439},
	SysPidfdOpen:            {"pidfd_open", 434, 434},
	SysPidfdGetfd:           {"pidfd_getfd", 438, 438},
	SysPidfdSendSignal:      {"pidfd_send_signal", 424, 424},
	SysWaitid:               {"waitid", 247, 95},
	SysPersonality:          {"personality", 135, 92},
	SysSeccomp:              {"seccomp", 317, 277},
	SysIoprioSet:            {"ioprio_set", 251, 30},
	SysSchedSetattr:         {"sched_setattr", 314, 274},
	SysSchedSetaffinity:     {"sched_setaffinity", 203, 122},
	SysSetMempolicy:         {"set_mempolicy", 238, 237},
	SysGetdents64:           {"getdents64", 217, 61},
	SysFtruncate:            {"ftruncate", 77, 46},
	SysFallocate:            {"fallocate", 285, 47},
	SysEventfd2:             {"eventfd2", 290, 19},
	SysMemfdCreate:          {"memfd_create", 319, 279},
	SysBpf:                  {"bpf", 321, 280},
	SysDup:                  {"dup", 32, 23},
	SysGetppid:              {"getppid", 110, 173},
	SysLandlockRestrictSelf: {"landlock_restrict_self", 446, 446},
	SysSyncFileRange:        {"sync_file_range", 277, 84},
	SysQuotactlFd:           {"quotactl_fd", 443, 443},
	SysFsetxattr:            {"fsetxattr", 190, 7},
	SysSignalfd4:            {"signalfd4", 289, 74},
	SysPpoll:                {"ppoll", 271, 73},
}
