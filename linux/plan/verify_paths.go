package plan

import (
	"path"
	"strings"

	"example.io/shim/linux/abi"
)

// findInside returns the index of the child's step that makes the container's root its own: pivot_root, else chroot, else (an exec) setns
// into the mount namespace. Without one it is behind the last step.
func (v *verifier) findInside() int {
	first := func(f func(*Step) bool) int {
		return v.child(func(s *Step) bool { return s.Op == OpSyscall && f(s) })
	}
	for _, f := range []func(*Step) bool{
		func(s *Step) bool { return s.Sys == abi.SysPivotRoot },
		func(s *Step) bool { return s.Sys == abi.SysChroot },
		func(s *Step) bool {
			flags, _ := imm(s, 1)
			return s.Sys == abi.SysSetns && flags&abi.CLONE_NEWNS != 0
		},
	} {
		if i := first(f); i >= 0 {
			return i
		}
	}
	return len(v.p.Steps)
}

// findPrivate marks the registers that hold a descriptor in a file system which the plan itself has made and nobody else can reach: what
// fsmount returned, and what was opened below it. One that other steps fill with something else is not private.
func (v *verifier) findPrivate() []bool {
	private, other := make([]bool, len(v.p.Regs)), make([]bool, len(v.p.Regs))
	for i := range v.p.Steps {
		s := &v.p.Steps[i]
		if s.Save == 0 {
			continue
		}
		below := func() bool {
			a := arg(s, 0)
			return (s.Sys == abi.SysOpenat || s.Sys == abi.SysOpenat2) && a.Kind == FromReg && private[a.Reg] && !other[a.Reg]
		}
		if s.Op == OpSyscall && (s.Sys == abi.SysFsmount || below()) {
			private[s.Save] = true
		} else {
			other[s.Save] = true
		}
	}
	for r := range private {
		private[r] = private[r] && !other[r]
	}
	return private
}

func (v *verifier) isPrivate(a Arg) bool { return a.Kind == FromReg && v.private[a.Reg] }

// paths checks every path that the child names.
func (v *verifier) paths() {
	for _, i := range v.steps[Child] {
		s := &v.p.Steps[i]
		if s.Op != OpSyscall {
			continue
		}
		for _, u := range pathUses[s.Sys] {
			a := arg(s, u.path)
			if s.Sys == abi.SysMount && u.path == 0 {
				if flags, ok := imm(s, 3); ok && flags&abi.MS_BIND == 0 {
					continue // "proc": a name, not a path
				}
			}
			if n, ok := imm(s, u.path); ok && n == 0 {
				continue // no path
			}
			name, ok := v.p.str(a)
			if !ok {
				v.fail("host-path", i, "argument %d is no constant path", u.path)
				continue
			}
			v.path(i, s, u, name)
		}
	}
}

func (v *verifier) path(i int, s *Step, u pathUse, name string) {
	held := u.dir >= 0 && arg(s, u.dir).Kind == FromReg
	if v.isPrivate(arg(s, u.dir)) {
		if strings.HasPrefix(name, "/") || hasDotDot(name) {
			v.fail("one-name", i, "%q leads out of the file system that is held", name)
		}
		return
	}
	if magic(name) {
		v.fail("magic-link", i, "%q", name)
	}
	scoped := v.scoped(s)
	if name == "." || name == "" || name == "/" && !held {
		return // what is held, the working directory, or the root
	}
	if !held || strings.HasPrefix(name, "/") && !scoped {
		switch {
		case i < v.inside && s.Phase == Prepare && s.Sys == abi.SysOpenTree:
			// A plain user's child copies the trees that it mounts, as the parent does elsewhere: before anything of the container's is in reach.
		case i < v.inside && s.Sys == abi.SysUmount2 && (name == "/proc" || name == "/sys"):
			// Where there is no pivot_root: out of the child's own mount namespace.
		case i < v.inside:
			v.fail("host-path", i, "%q is not below a descriptor", name)
		case u.makes || s.Sys == abi.SysOpenat && creates(s):
			v.fail("container-path", i, "%s of %q by name", sysName(s.Sys), name)
		}
		return
	}
	if scoped || v.linkless(s, name) || s.Sys == abi.SysFaccessat || s.Sys == abi.SysFaccessat2 || isExec(s) {
		return
	}
	if strings.Contains(name, "/") || hasDotDot(name) {
		v.fail("one-name", i, "%q below a folder of the container", name)
	} else if follows(s) {
		v.fail("one-name", i, "%s follows %q when it is a link", sysName(s.Sys), name)
	}
}

// scoped says that the kernel keeps a lookup below its descriptor (openat2(2)).
func (v *verifier) scoped(s *Step) bool {
	if s.Sys != abi.SysOpenat2 {
		return false
	}
	_, resolve, ok := v.p.openHow(s)
	return ok && resolve&(abi.RESOLVE_IN_ROOT|abi.RESOLVE_BENEATH) != 0
}

// linkless says that the call fails at any link, and that the name does not climb.
func (v *verifier) linkless(s *Step, name string) bool {
	if s.Sys != abi.SysOpenat2 || hasDotDot(name) {
		return false
	}
	_, resolve, ok := v.p.openHow(s)
	return ok && resolve&abi.RESOLVE_NO_SYMLINKS != 0
}

func creates(s *Step) bool {
	flags, ok := imm(s, 2)
	return !ok || flags&abi.O_CREAT != 0
}

// follows says that the call follows a symbolic link at the path's end. O_NOFOLLOW differs by architecture and O_EXCL with O_CREAT follows none.
func follows(s *Step) bool {
	switch s.Sys {
	case abi.SysOpenat2:
		return true // it would be scoped or linkless else
	case abi.SysOpenat:
		flags, ok := imm(s, 2)
		return !ok || flags&abi.O_NOFOLLOW == 0 && flags&(abi.O_CREAT|abi.O_EXCL) != abi.O_CREAT|abi.O_EXCL
	case abi.SysStatx, abi.SysOpenTree, abi.SysMountSetattr, abi.SysFchownat:
		return atFlags(s)&abi.AT_SYMLINK_NOFOLLOW == 0
	case abi.SysFchmodat:
		return true // it has no flags
	}
	return false
}

func hasDotDot(name string) bool {
	for p := range strings.SplitSeq(name, "/") {
		if p == ".." {
			return true
		}
	}
	return false
}

// magicLinks are the entries of /proc/PID that lead anywhere.
var magicLinks = map[string]bool{"exe": true, "cwd": true, "root": true, "fd": true, "fdinfo": true, "map_files": true, "ns": true, "task": true}

// magic says that name leads through a link of procfs, written out or by its usual names in /dev.
func magic(name string) bool {
	parts := strings.Split(strings.TrimPrefix(path.Clean("/"+name), "/"), "/")
	switch {
	case parts[0] == "dev" && len(parts) > 1:
		return parts[1] == "fd" || parts[1] == "stdin" || parts[1] == "stdout" || parts[1] == "stderr"
	case parts[0] != "proc" || len(parts) < 3:
		return false
	}
	pid := parts[1] == "self" || parts[1] == "thread-self" || strings.Trim(parts[1], "0123456789") == ""
	return pid && magicLinks[parts[2]]
}
