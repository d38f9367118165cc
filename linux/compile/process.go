package compile

import (
	"fmt"
	"path"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/plan"
)

// makeWorkingDir makes the working directory when it is not there, while the root can still be written to.
func (c *compiler) makeWorkingDir() error {
	if badCommand(c.proc.Cwd) {
		return invalid("/process/cwd", "%s leads out of the container", c.proc.Cwd)
	}
	if path.Clean(c.proc.Cwd) == "/" {
		return nil
	}
	c.b.In(plan.Child, plan.Mounts)
	r := c.target(plan.Step{Label: "make the working directory", Source: "/process/cwd", Path: c.proc.Cwd}, c.proc.Cwd, dirTarget)
	c.close(r, "the working directory")
	return nil
}

// workingDir goes to the working directory, which is looked up within the root and without magic links (CVE-2024-21626). It returns what is to be done when
// the process has its ids: in a user namespace root may enter nothing of others whose ids are not all mapped, and the user itself may be one of them.
func (c *compiler) workingDir() (asUser func()) {
	asUser = func() {}
	s := plan.Step{Label: "go to the working directory", Source: "/process/cwd", Path: c.proc.Cwd, Why: "CVE-2024-21626"}
	if path.Clean(c.proc.Cwd) == "/" {
		s.Sys, s.Args = abi.SysChdir, []plan.Arg{c.b.Str("/")}
		c.b.Add(s)
		return asUser
	}
	held := s
	held.Label = "hold the working directory"
	r := c.lookup(held, c.proc.Cwd, abi.O_PATH|abi.O_DIRECTORY, inRoot, "O_PATH|O_DIRECTORY, "+inRootText)
	s.Sys, s.Args = abi.SysFchdir, []plan.Arg{plan.R(r)}
	again := s
	if c.proc.User.UID != 0 && c.hasNamespace(specs.UserNamespace) {
		s.Tolerate = []abi.Errno{abi.EACCES}
		late, is := c.b.Label(), c.b.Buf("is there", 8)
		c.b.OnErr(c.b.Add(s), late)
		c.b.Add(plan.Step{Label: "it is there", Source: s.Source, Op: plan.OpMove, Args: []plan.Arg{plan.V(1), plan.A(is)}})
		c.b.Place(late)
		return func() {
			done := c.b.Label()
			c.b.OnOK(c.b.Add(plan.Step{Label: "is it there", Source: s.Source, Op: plan.OpCheck, Args: []plan.Arg{plan.M(is, 0)}, Mask: ^uint64(0), Equal: 1,
				Errno: abi.EACCES, Tolerate: []abi.Errno{abi.EACCES}}), done)
			again.Label += " as the user"
			c.b.Add(again)
			c.b.Place(done)
			c.close(r, "the working directory")
		}
	}
	c.b.Add(s)
	c.close(r, "the working directory")
	return asUser
}

// environment returns the environment with each name once, the last value of it, and whether HOME is missing or empty.
func environment(env []string) (list []string, noHome bool) {
	at := map[string]int{}
	for _, e := range env {
		name, _, _ := strings.Cut(e, "=")
		if i, ok := at[name]; ok {
			list[i] = e
			continue
		}
		at[name] = len(list)
		list = append(list, e)
	}
	i, home := at["HOME"]
	if home && list[i] == "HOME=" { // as good as none
		list, home = append(list[:i], list[i+1:]...), false
	}
	return list, !home
}

// candidates are the paths that the command can be at: itself, or in the folders of PATH.
func (c *compiler) candidates() []string {
	if c.program != "" {
		return []string{c.program}
	}
	cmd := c.proc.Args[0]
	if strings.Contains(cmd, "/") {
		return []string{cmd}
	}
	env, _ := environment(c.proc.Env)
	var list []string
	for _, e := range env {
		if dirs, ok := strings.CutPrefix(e, "PATH="); ok {
			for dir := range strings.SplitSeq(dirs, ":") {
				if path.IsAbs(dir) { // an empty or relative one would be the working directory: whoever can write there would choose the program
					list = append(list, path.Join(dir, cmd))
				}
			}
		}
	}
	return list
}

// command is what errors call the command, "" for a hook: the words from which clients derive 126 and 127 are the container's own.
func (c *compiler) command() string {
	if c.program != "" {
		return ""
	}
	return c.proc.Args[0]
}

// findCommand looks for the command while a failure can still be told as one of the create. It runs with the process's ids.
func (c *compiler) findCommand() error {
	c.b.In(plan.Child, plan.Identity)
	found := c.b.Label()
	var results []plan.Reg
	s := plan.Step{Source: "/process/args/0", Command: c.command(), Why: "the PATH of the process"}
	for _, file := range c.candidates() {
		if badCommand(file) {
			return invalid("/process/args/0", "%s leads out of the container", file)
		}
		next := c.b.Label()
		res := c.b.Temp("command")
		results = append(results, res)
		t := s
		t.Label, t.Path, t.Sys, t.Save = "look for "+file, file, abi.SysFaccessat2, res
		t.Tolerate = []abi.Errno{abi.ENOENT, abi.ENOTDIR, abi.EACCES, abi.ELOOP}
		t.Args = []plan.Arg{plan.AtCwd(), c.b.Str(file), plan.T(abi.X_OK, "X_OK"), plan.T(abi.AT_EACCESS, "AT_EACCESS")}
		c.b.OnErr(c.b.Add(t), next)
		buf := c.b.Buf("statx "+file, abi.StatxSize)
		c.b.Add(plan.Step{Label: "look at " + file, Source: s.Source, Command: s.Command, Path: file, Sys: abi.SysStatx,
			Args: []plan.Arg{plan.AtCwd(), c.b.Str(file), plan.V(0), plan.T(abi.STATX_BASIC_STATS, "STATX_BASIC_STATS"), plan.A(buf)}})
		i := c.checkMode(plan.Step{Label: file + " is a folder"}, buf, abi.S_IFDIR)
		c.b.OnErr(i, found) // it is none
		c.b.Place(next)
	}
	c.commandMissing(s, results)
	c.b.Place(found)
	return nil
}

// commandMissing fails: with "permission denied" when there was a file that may not be executed, else with "not found".
func (c *compiler) commandMissing(s plan.Step, results []plan.Reg) {
	fail := func(errno abi.Errno) {
		t := s
		t.Label, t.Op, t.Args, t.Mask, t.Equal, t.Errno = "find the command", plan.OpCheck, []plan.Arg{plan.V(0)}, 1, 1, errno
		c.b.Add(t)
	}
	for _, r := range results {
		next := c.b.Label()
		i := c.b.Add(plan.Step{Label: "was it the right to execute", Op: plan.OpCheck, Args: []plan.Arg{plan.R(r)}, Mask: ^uint64(0), Equal: ^uint64(abi.EACCES) + 1,
			Errno: abi.ENOENT, Tolerate: []abi.Errno{abi.ENOENT}})
		c.b.OnErr(i, next)
		fail(abi.EACCES)
		c.b.Place(next)
	}
	if len(results) == 1 && strings.Contains(s.Command, "/") {
		// One candidate: a folder gives EACCES like execve, the rest is "no such file or directory".
		next := c.b.Label()
		i := c.b.Add(plan.Step{Label: "was it a folder", Op: plan.OpCheck, Args: []plan.Arg{plan.R(results[0])}, Mask: ^uint64(0), Equal: 0,
			Errno: abi.ENOENT, Tolerate: []abi.Errno{abi.ENOENT}})
		c.b.OnErr(i, next)
		fail(abi.EACCES)
		c.b.Place(next)
	}
	fail(abi.ENOENT)
}

// badCommand says that a path names an open file of a process: the runtime's own program, for instance (CVE-2019-5736, CVE-2024-21626).
func badCommand(file string) bool {
	p := path.Clean("/" + file)
	return strings.HasPrefix(p, "/proc/self/") || strings.HasPrefix(p, "/proc/thread-self/") || strings.HasPrefix(p, "/dev/fd/")
}

func (c *compiler) oomScore() {
	if c.proc.OOMScoreAdj == nil {
		return
	}
	c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallOOMScore, Label: "set oom_score_adj", Source: "/process/oomScoreAdj", Why: "proc_pid_oom_score_adj(5)",
		Args: []plan.Arg{plan.R(c.b.Reg(plan.RegPid)), plan.N(int64(*c.proc.OOMScoreAdj))}})
}

// home makes the parent look HOME up, by the container's own /etc/passwd, when the environment has none.
func (c *compiler) home(pidReg string) {
	if _, noHome := environment(c.proc.Env); !noHome {
		return
	}
	c.b.Buf(plan.ItemHome, plan.HomeSize)
	c.b.Add(plan.Step{Op: plan.OpCall, Call: plan.CallHome, Label: "find the user's home", Source: "/process/env", Why: "programs expect HOME; /etc/passwd in the container has it",
		Args: []plan.Arg{plan.V(uint64(c.proc.User.UID)), plan.R(c.b.Reg(pidReg))}})
}

// unignore gives the signals that the runtime ignores their default action: clone3 has reset handlers only, and what is ignored stays so over
// execve (signal(7)).
func (c *compiler) unignore() {
	action := c.b.Buf("sigaction SIG_DFL", sigactionSize)
	for n := range 64 {
		if c.in.Facts.Ignored&(1<<n) != 0 {
			c.b.Add(plan.Step{Label: fmt.Sprintf("do not ignore signal %d", n+1), Why: "sigaction(2), signal(7)", Sys: abi.SysRtSigaction,
				Args: []plan.Arg{plan.V(uint64(n + 1)), plan.A(action), plan.V(0), plan.V(8)}})
		}
	}
}

// firstPreserved is the first descriptor behind the standard ones.
const firstPreserved = 3

// sigactionSize is the kernel's struct sigaction on amd64; arm64's is shorter.
const sigactionSize = 32

// execute ends the child's plan, and the parent's: its last message is the end of file that execve's close-on-exec makes.
func (c *compiler) execute() error {
	c.b.In(plan.Child, plan.Start)
	c.unignore()
	c.b.Add(plan.Step{Label: "let signals in", Why: "sigprocmask(2): the child was born with all blocked", Sys: abi.SysRtSigprocmask,
		Args: []plan.Arg{plan.T(abi.SIG_SETMASK, "SIG_SETMASK"), plan.A(c.b.Buf("empty set", 8)), plan.V(0), plan.V(8)}})
	for n := range c.in.PreserveFDs {
		c.b.Add(plan.Step{Label: fmt.Sprintf("hand descriptor %d on", firstPreserved+n), Why: "fcntl(2)", Sys: abi.SysFcntl,
			Args: []plan.Arg{plan.R(c.b.Reg(plan.Preserved(n))), plan.T(abi.F_SETFD, "F_SETFD"), plan.V(0)}})
	}
	first := firstPreserved + c.in.PreserveFDs
	c.b.Add(plan.Step{Label: fmt.Sprintf("leave no descriptor open but 0 to %d", first-1), Why: "CVE-2024-21626", Sys: abi.SysCloseRange,
		Args: []plan.Arg{plan.V(uint64(first)), plan.T(1<<32-1, "max"), plan.T(abi.CLOSE_RANGE_CLOEXEC, "CLOSE_RANGE_CLOEXEC")}})
	if !c.filterAtGate() {
		c.loadFilter()
	}
	c.b.In(plan.Child, plan.Start)
	env, noHome := environment(c.proc.Env)
	spare := 0
	if noHome {
		spare = 1
	}
	argv, envp := c.b.Vec("argv", c.proc.Args, 0), c.b.Vec(plan.ItemEnv, env, spare)
	list := c.candidates()
	for i, file := range list {
		s := plan.Step{Label: "execute " + file, Source: "/process/args", Command: c.command(), Path: file, Why: "execve(2)", Sys: abi.SysExecve,
			Args: []plan.Arg{c.b.Str(file), plan.A(argv), plan.A(envp)}}
		if i < len(list)-1 {
			s.Tolerate = []abi.Errno{abi.ENOENT, abi.ENOTDIR, abi.EACCES, abi.ELOOP} // as findCommand does
		}
		c.b.Add(s)
	}
	if len(list) == 0 { // findCommand has failed before; the plan still ends in an execve
		c.b.Add(plan.Step{Label: "execute nothing", Command: c.command(), Sys: abi.SysExecve, Args: []plan.Arg{c.b.Str(c.proc.Args[0]), plan.A(argv), plan.A(envp)}})
	}
	c.b.In(plan.Parent, plan.Start)
	end := plan.Step{Label: "wait until the program is executed", Why: "end of file by close-on-exec"}
	if c.in.Gate {
		end.Label, end.Why = "wait until the child is on its own", "end of file: it has closed the socket"
	}
	end.Sys, end.HasWant, end.Save = abi.SysRead, true, c.b.Temp("end")
	end.Args = []plan.Arg{plan.R(c.b.Reg(plan.RegSyncP)), plan.A(c.b.Buf("message", 8)), plan.V(1)}
	c.b.Add(end)
	if c.program == "" && c.create && !c.in.Gate {
		c.hooks(hookPoststart)
	}
	return nil
}
