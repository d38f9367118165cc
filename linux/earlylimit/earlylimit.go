// Package earlylimit remembers the open-file limits that this process was started with.
//
// Package syscall raises the soft RLIMIT_NOFILE to the hard one when it is initialised, and keeps the former value to itself. A container without
// a limit in its config.json is to get what containerd had, not what Go made of it. Since Go 1.21 packages are initialised in the order of
// their import paths as far as their imports allow (go.dev/ref/spec, "Program initialization"), so a package that imports nothing and whose
// path sorts before "syscall" comes first: this one. TestBeforeSyscall keeps that true.
package earlylimit

// rlimit is struct rlimit64.
type rlimit struct{ soft, hard uint64 }

var nofile rlimit

// prlimit reads RLIMIT_NOFILE of this process into l (prlimit(2)) and returns 0 or -errno.
//
//go:noescape
func prlimit(l *rlimit) int64

func init() { prlimit(&nofile) }

// Nofile returns the limits on open files as they were inherited, in descriptors.
func Nofile() (soft, hard uint64) { return nofile.soft, nofile.hard }
