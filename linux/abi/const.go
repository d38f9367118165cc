package abi

// The values are those of both amd64 and arm64; the few that differ stand in const_GOARCH.go. Names are the
// kernel's, so that manual pages can be searched for them.

// Values of open(2), openat2(2).
const (
	O_RDONLY   = 0x0
	O_WRONLY   = 0x1
	O_RDWR     = 0x2
	O_CREAT    = 0x40
	O_EXCL     = 0x80
	O_NOCTTY   = 0x100
	O_TRUNC    = 0x200
	O_APPEND   = 0x400
	O_NONBLOCK = 0x800
	O_CLOEXEC  = 0x80000
	O_PATH     = 0x200000
)

// Values of openat2(2) resolve.
const (
	RESOLVE_NO_XDEV       = 0x1
	RESOLVE_NO_MAGICLINKS = 0x2
	RESOLVE_NO_SYMLINKS   = 0x4
	RESOLVE_BENEATH       = 0x8
	RESOLVE_IN_ROOT       = 0x10
)

// Values of at flags.
const (
	AT_SYMLINK_NOFOLLOW = 0x100
	AT_SYMLINK_FOLLOW   = 0x400
	AT_EMPTY_PATH       = 0x1000
	AT_RECURSIVE        = 0x8000
	AT_EACCESS          = 0x200
	AT_REMOVEDIR        = 0x200
	AT_NO_AUTOMOUNT     = 0x800
)

// Values of clone(2), setns(2), unshare(2).
const (
	CLONE_NEWNS         = 0x20000
	CLONE_NEWCGROUP     = 0x2000000
	CLONE_NEWUTS        = 0x4000000
	CLONE_NEWIPC        = 0x8000000
	CLONE_NEWUSER       = 0x10000000
	CLONE_NEWPID        = 0x20000000
	CLONE_NEWNET        = 0x40000000
	CLONE_NEWTIME       = 0x80
	CLONE_PIDFD         = 0x1000
	CLONE_PARENT        = 0x8000
	CLONE_FS            = 0x200
	CLONE_CLEAR_SIGHAND = 0x100000000
	CLONE_INTO_CGROUP   = 0x200000000
)

// Values of mount(2).
const (
	MS_RDONLY      = 0x1
	MS_NOSUID      = 0x2
	MS_NODEV       = 0x4
	MS_NOEXEC      = 0x8
	MS_SYNCHRONOUS = 0x10
	MS_REMOUNT     = 0x20
	MS_MANDLOCK    = 0x40
	MS_DIRSYNC     = 0x80
	MS_NOSYMFOLLOW = 0x100
	MS_NOATIME     = 0x400
	MS_NODIRATIME  = 0x800
	MS_BIND        = 0x1000
	MS_MOVE        = 0x2000
	MS_REC         = 0x4000
	MS_SILENT      = 0x8000
	MS_POSIXACL    = 0x10000
	MS_UNBINDABLE  = 0x20000
	MS_PRIVATE     = 0x40000
	MS_SLAVE       = 0x80000
	MS_SHARED      = 0x100000
	MS_RELATIME    = 0x200000
	MS_I_VERSION   = 0x800000
	MS_STRICTATIME = 0x1000000
	MS_LAZYTIME    = 0x2000000
	MNT_FORCE      = 0x1
	MNT_DETACH     = 0x2
)

// Values of mount_setattr(2), fsmount(2).
const (
	MOUNT_ATTR_RDONLY      = 0x1
	MOUNT_ATTR_NOSUID      = 0x2
	MOUNT_ATTR_NODEV       = 0x4
	MOUNT_ATTR_NOEXEC      = 0x8
	MOUNT_ATTR__ATIME      = 0x70
	MOUNT_ATTR_RELATIME    = 0x0
	MOUNT_ATTR_NOATIME     = 0x10
	MOUNT_ATTR_STRICTATIME = 0x20
	MOUNT_ATTR_NODIRATIME  = 0x80
	MOUNT_ATTR_IDMAP       = 0x100000
	MOUNT_ATTR_NOSYMFOLLOW = 0x200000

	ST_RDONLY     = 0x1
	ST_NOSUID     = 0x2
	ST_NODEV      = 0x4
	ST_NOEXEC     = 0x8
	ST_NOATIME    = 0x400
	ST_NODIRATIME = 0x800
	ST_RELATIME   = 0x1000
)

// Values of open_tree(2), fsopen(2), fsmount(2), fspick(2), move_mount(2).
const (
	OPEN_TREE_CLONE          = 0x1
	OPEN_TREE_CLOEXEC        = 0x80000
	FSOPEN_CLOEXEC           = 0x1
	FSMOUNT_CLOEXEC          = 0x1
	FSPICK_CLOEXEC           = 0x1
	FSPICK_EMPTY_PATH        = 0x8
	MOVE_MOUNT_F_EMPTY_PATH  = 0x4
	MOVE_MOUNT_T_EMPTY_PATH  = 0x40
	MOVE_MOUNT_F_SYMLINKS    = 0x1
	MOVE_MOUNT_T_SYMLINKS    = 0x10
	FSCONFIG_SET_FLAG        = 0x0
	FSCONFIG_SET_STRING      = 0x1
	FSCONFIG_SET_PATH        = 0x3
	FSCONFIG_SET_FD          = 0x5
	FSCONFIG_CMD_CREATE      = 0x6
	FSCONFIG_CMD_RECONFIGURE = 0x7
)

// Values of prctl(2).
const (
	PR_SET_DUMPABLE          = 0x4
	PR_SET_KEEPCAPS          = 0x8
	PR_CAPBSET_READ          = 0x17
	PR_CAPBSET_DROP          = 0x18
	PR_SET_NO_NEW_PRIVS      = 0x26
	PR_CAP_AMBIENT           = 0x2f
	PR_CAP_AMBIENT_RAISE     = 0x2
	PR_CAP_AMBIENT_CLEAR_ALL = 0x4
	PR_SET_PDEATHSIG         = 0x1
	PR_SET_SECUREBITS        = 0x1c
	PR_SET_NAME              = 0xf
)

// Values of seccomp(2).
const (
	SECCOMP_SET_MODE_FILTER                = 0x1
	SECCOMP_FILTER_FLAG_TSYNC              = 0x1
	SECCOMP_FILTER_FLAG_LOG                = 0x2
	SECCOMP_FILTER_FLAG_SPEC_ALLOW         = 0x4
	SECCOMP_FILTER_FLAG_NEW_LISTENER       = 0x8
	SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV = 0x20
)

// Values of ioctl_tty(2), keyctl(2), statx(2), close_range(2), access(2), file types.
const (
	TIOCSCTTY                   = 0x540e
	TIOCSPTLCK                  = 0x40045431
	TIOCGPTPEER                 = 0x5441
	TIOCGPTN                    = 0x80045430
	TIOCSWINSZ                  = 0x5414
	KEYCTL_JOIN_SESSION_KEYRING = 0x1
	KEYCTL_SETPERM              = 0x5
	STATX_TYPE                  = 0x1
	STATX_MODE                  = 0x2
	STATX_INO                   = 0x100
	STATX_BASIC_STATS           = 0x7ff
	STATX_MNT_ID                = 0x1000
	CLOSE_RANGE_CLOEXEC         = 0x4
	X_OK                        = 0x1
	S_IFMT                      = 0xf000
	S_IFDIR                     = 0x4000
	S_IFCHR                     = 0x2000
	S_IFBLK                     = 0x6000
	S_IFREG                     = 0x8000
	S_IFIFO                     = 0x1000
	S_IFLNK                     = 0xa000
	S_IFSOCK                    = 0xc000
	F_SETFD                     = 0x2
	F_DUPFD_CLOEXEC             = 0x406
	SIG_SETMASK                 = 0x2
	POLLIN                      = 0x1
)

// Signals whose default action does not end a process (signal(7)).
const (
	SIGCHLD  = 0x11
	SIGCONT  = 0x12
	SIGSTOP  = 0x13
	SIGTSTP  = 0x14
	SIGTTIN  = 0x15
	SIGTTOU  = 0x16
	SIGURG   = 0x17
	SIGWINCH = 0x1c
)

// Values of statfs(2) f_type.
const (
	PROC_SUPER_MAGIC      = 0x9fa0
	SYSFS_MAGIC           = 0x62656572
	TMPFS_MAGIC           = 0x1021994
	DEVPTS_SUPER_MAGIC    = 0x1cd1
	CGROUP_SUPER_MAGIC    = 0x27e0eb
	CGROUP2_SUPER_MAGIC   = 0x63677270
	OVERLAYFS_SUPER_MAGIC = 0x794c7630
)

// Values beyond C's limits or with another number on each architecture.
const (
	AT_FDCWD = 0xffffffffffffff9c // -100 as a 64-bit argument

	BPF_PROG_LOAD               = 0x5
	BPF_PROG_ATTACH             = 0x8
	BPF_PROG_TYPE_CGROUP_DEVICE = 0xf
	BPF_CGROUP_DEVICE           = 0x6
	BPF_F_ALLOW_MULTI           = 0x2
)
