package run

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/abi"
	"example.io/shim/linux/child"
	"example.io/shim/linux/children"
	"example.io/shim/linux/compile"
	"example.io/shim/linux/plan"
)

// engine carries out one plan: the parent's steps itself, the child's by a fork.
type engine struct {
	id, action string
	plan       *plan.Plan
	im         *plan.Image
	arena      *child.Arena
	deps       *Deps
	proc       *children.Child // nil before OpClone
	fds        map[plan.Reg]bool
	undo       []*plan.Undo
	oom        OOM
	holder     *holder         // of the container's systemd unit, until the container's process is in it
	moved      []*moved        // network devices, until the container is created
	next       int             // the parent goes on here
	times      []byte          // in the arena, a struct timespec for each step; nil: nobody asked
	done       int64           // when the last of the parent's steps was done, in ns
	ctx        context.Context // of run
	leave      bool            // the process is to live on without us: its exit is the next parent's
	refused    error           // of the child's step that asked for what could not be done
	// hook runs a hook of the container that is being made or started.
	hook func(ctx context.Context, kind string, i int) error
	// agent sends the listener of a process's seccomp filter to the agent at a socket.
	agent  func(listener int, path string, pid int) error
	rootfs string // the container's root by its path on the host, for a plain user, who cannot get at the child's
	// arenaFile is where another process can look after the child, "" for none.
	arenaFile string
}

// newEngine lowers p. The engine owns the descriptors in inputs from here on, whatever comes.
func newEngine(id, action string, p *plan.Plan, deps *Deps, inputs map[string]int, arenaFile string) (*engine, error) {
	e := &engine{id: id, action: action, plan: p, deps: deps, fds: map[plan.Reg]bool{}, arenaFile: arenaFile}
	for name, fd := range inputs {
		if p.Reg(name) == 0 {
			_ = unix.Close(fd) // the plan has no use for it
			delete(inputs, name)
		}
	}
	fail := func(err error) (*engine, error) {
		closeAll(inputs)
		return nil, fmt.Errorf("%s %s: %w", action, id, err)
	}
	if err := plan.Verify(p); err != nil {
		return fail(err)
	}
	if deps.Fault != nil {
		e.plan = deps.Fault(p)
	}
	if err := e.load(inputs); err != nil {
		return fail(err)
	}
	e.warn()
	return e, nil
}

// warn logs what the plan leaves out.
func (e *engine) warn() {
	for i := range e.plan.Steps {
		if s := &e.plan.Steps[i]; s.Warning != "" && e.deps.Log != nil {
			e.deps.Log("%s %s: %s (%s)", e.action, e.id, s.Warning, s.Source)
		}
	}
}

// load lowers the plan into a new arena and puts the inputs into their registers.
func (e *engine) load(inputs map[string]int) error {
	size := plan.Size(e.plan)
	arena, err := e.newArena(size + e.timesSize())
	if err != nil {
		return err
	}
	im, err := plan.Lower(e.plan, runtime.GOARCH, arena.Bytes(), arena.Base())
	if err != nil {
		arena.Free()
		return err
	}
	e.arena, e.im = arena, im
	e.keepTimes(size)
	for name, fd := range inputs {
		r := e.plan.Reg(name)
		im.SetReg(r, int64(fd))
		e.fds[r] = true
	}
	return nil
}

func (e *engine) newArena(size int) (*child.Arena, error) {
	if e.arenaFile == "" {
		return child.NewArena(size)
	}
	file, err := os.OpenFile(e.arenaFile, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the arena: %w", err)
	}
	defer func() { _ = file.Close() }() // the mapping stays
	return child.NewArenaIn(file, size)
}

// onThread runs f on an OS thread of its own, which ends with it: f may change what belongs to a thread (namespaces for
// children, cgroups, working directory).
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the runtime ends the thread with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end, it would be lost; and it is what /proc/self shows. While it is locked here, what is started runs on another one.
			done <- onThread(f)
			runtime.UnlockOSThread()
			return
		}
		done <- f()
	}()
	return <-done
}

// run carries out the parent's steps up to the gate or the end. When ctx ends, the child is killed, which ends every wait for it.
// After an error everything is taken back: the child is dead and reaped, descriptors are closed, the undos have run.
func (e *engine) run(ctx context.Context) error {
	err := onThread(func() error { return e.steps(ctx) })
	if err == nil && e.next == len(e.plan.Steps) {
		err = e.executed()
	}
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		}
		return errors.Join(err, e.abort())
	}
	return nil
}

func (e *engine) steps(ctx context.Context) error {
	e.ctx = ctx
	defer e.stampEnd()
	if e.proc != nil { // behind the gate
		defer e.killOn(ctx)()
	}
	for e.next < len(e.plan.Steps) {
		s := &e.plan.Steps[e.next]
		i := e.next
		e.next++
		if s.Actor != plan.Parent {
			continue
		}
		if s.Op == plan.OpGate {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return e.stepError(i, 0, err.Error())
		}
		e.stamp(i)
		to, err := e.step(i, s)
		if err != nil {
			return err
		}
		if s.Op == plan.OpClone {
			defer e.killOn(ctx)()
		}
		if to != 0 {
			e.next = to
		}
	}
	return nil
}

// executed makes sure that the end of file came from execve: a child that failed or died closes its socket too.
func (e *engine) executed() error {
	if e.proc == nil {
		return nil
	}
	at := &e.plan.Steps[e.im.Header(plan.HdrStep)]
	if e.im.Header(plan.HdrState) == plan.StateRunning && (at.Sys == abi.SysExecve || at.Sys == abi.SysExecveat || e.atFifo()) {
		return nil
	}
	if err := e.childError(); err != nil {
		return err
	}
	return e.stepError(int(e.im.Header(plan.HdrStep)), abi.EPROTO, "the child closed its socket here")
}

// atFifo says that the child waits at its fifo, or is about to: it has closed the socket by then.
func (e *engine) atFifo() bool {
	alone := slices.IndexFunc(e.plan.Steps, func(s plan.Step) bool { return s.Label == compile.AloneLabel })
	return alone > 0 && int(e.im.Header(plan.HdrStep)) >= alone-1
}

// killOn kills the child when ctx ends; the function it returns stops that.
func (e *engine) killOn(ctx context.Context) func() {
	proc := e.proc
	stop := context.AfterFunc(ctx, func() { _ = proc.Signal(unix.SIGKILL) })
	return func() { stop() }
}

// step carries out one step of the parent and returns the index to go on with, 0 for the next.
func (e *engine) step(i int, s *plan.Step) (int, error) {
	for try := uint8(0); ; try++ {
		res, detail := e.do(s)
		if res < 0 && res >= -4095 {
			errno := abi.Errno(-res)
			if try < s.Retry && errno == s.RetryOn {
				continue
			}
			if slices.Contains(s.Tolerate, errno) {
				e.save(s, res, false)
				return s.OnErr, nil
			}
			if errno == abi.EPIPE || errno == abi.ECONNRESET { // a message that found nobody
				if err := e.childError(); err != nil {
					return 0, err
				}
			}
			if e.refused != nil {
				return 0, e.refused
			}
			if s.Op == plan.OpCall && errno == abi.EIO && detail != "" {
				errno = 0 // no errno of the kernel's: the words say it
			}
			return 0, e.stepError(i, errno, detail)
		}
		if s.HasWant && res != s.Want {
			e.save(s, res, true) // it may be a descriptor: it is closed with the others
			if res == 0 {        // end of file instead of a message
				if err := e.childError(); err != nil {
					return 0, err
				}
			}
			if s.Errno != 0 {
				return 0, e.stepError(i, s.Errno, "")
			}
			return 0, e.stepError(i, abi.EPROTO, fmt.Sprintf("result %d instead of %d", res, s.Want))
		}
		e.save(s, res, true)
		if s.Undo != nil {
			e.undo = append(e.undo, s.Undo)
		}
		return s.OnOK, nil
	}
}

func (e *engine) save(s *plan.Step, res int64, ok bool) {
	if s.Save == 0 {
		return
	}
	e.im.SetReg(s.Save, res)
	if s.FD && ok {
		e.fds[s.Save] = true
	}
}

// do returns the result of the step, -errno for a failure, perhaps with words about it.
func (e *engine) do(s *plan.Step) (int64, string) {
	if s.Fault != 0 {
		return -int64(s.Fault), ""
	}
	var a [6]uint64
	for n, arg := range s.Args {
		a[n] = e.im.Value(arg)
	}
	switch s.Op {
	case plan.OpSyscall:
		if s.Sys == abi.SysClose && len(s.Args) == 1 {
			delete(e.fds, s.Args[0].Reg)
		}
		nr, ok := s.Sys.Number(runtime.GOARCH)
		if !ok {
			return -int64(abi.ENOSYS), ""
		}
		for {
			r, _, errno := syscall.Syscall6(uintptr(nr), uintptr(a[0]), uintptr(a[1]), uintptr(a[2]), uintptr(a[3]), uintptr(a[4]), uintptr(a[5]))
			if errno != 0 {
				return -int64(errno), ""
			}
			if r != 1 || !e.asked(s) {
				return int64(r), ""
			}
			if err := e.answer(); err != nil {
				return errnoOf(err)
			}
		}
	case plan.OpCheck:
		if a[0]&s.Mask != s.Equal {
			return -int64(s.Errno), ""
		}
		return 0, ""
	case plan.OpMove:
		e.im.Store(a[1], a[0])
		return 0, ""
	case plan.OpClone:
		into := -1
		if len(s.Args) > 1 {
			into = int(a[1])
		}
		return errnoOf(e.clone(a[0], into))
	case plan.OpCall:
		return e.call(s)
	}
	return -int64(abi.ENOSYS), fmt.Sprintf("operation %d is not for the parent", s.Op)
}

// errnoOf makes a step's result of an error.
func errnoOf(err error) (int64, string) {
	if err == nil {
		return 0, ""
	}
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != 0 {
		return -int64(errno), err.Error()
	}
	return -int64(abi.EIO), err.Error()
}

// clone forks the child. From here on the parent does not hold the child's end of the socket pair: its end reads EOF when
// the child has executed its program or is dead. into is the cgroup v2 that it is born in, -1 for ours.
func (e *engine) clone(flags uint64, into int) error {
	var keep []int
	for _, r := range e.im.CloseAllKeeps() {
		if fd := e.im.Reg(r); fd >= 0 {
			keep = append(keep, int(fd))
		}
	}
	slices.Sort(keep)
	nr, _ := abi.SysCloseRange.Number(runtime.GOARCH)
	e.im.FillCloseAll(nr, slices.Compact(keep))
	pidfd := e.plan.Reg(plan.RegPidfd)
	proc, err := e.fork(func() (int, int, error) {
		pid, err := child.Fork(e.arena, e.im, flags, into, pidfd)
		return pid, int(int32(e.im.Reg(pidfd))), err
	})
	if err != nil {
		return err
	}
	e.proc = proc
	e.im.SetReg(e.plan.Reg(plan.RegPid), int64(proc.Pid()))
	e.closeReg(e.plan.Reg(plan.RegSyncC))
	return nil
}

// fork registers the process that f makes.
func (e *engine) fork(f func() (pid, pidfd int, err error)) (*children.Child, error) {
	if e.leave {
		return children.ForkLeft(f)
	}
	return children.Fork(f)
}

func (e *engine) closeReg(r plan.Reg) {
	if e.fds[r] {
		_ = unix.Close(int(e.im.Reg(r)))
		delete(e.fds, r)
	}
}

// take hands a descriptor out of the engine.
func (e *engine) take(name string) (int, bool) {
	r := e.plan.Reg(name)
	if r == 0 || !e.fds[r] {
		return -1, false
	}
	delete(e.fds, r)
	return int(e.im.Reg(r)), true
}

// trim closes what the parent does not need behind the gate: a created container must not hold its own streams open in the runtime.
func (e *engine) trim() {
	e.keepDevices()
	for _, r := range slices.Collect(maps.Keys(e.fds)) {
		if r != e.plan.Reg(plan.RegSyncP) {
			e.closeReg(r)
		}
	}
}

// release gives back what only the work needed: descriptors and the arena. Idempotent.
func (e *engine) release() {
	e.leaveUnit()
	e.keepDevices()
	for _, r := range slices.Collect(maps.Keys(e.fds)) {
		e.closeReg(r)
	}
	e.tellTimes()
	e.arena.Free()
}

// abort takes back what was done. The errors of undos are returned: what could not be taken back is not kept silent.
func (e *engine) abort() error {
	if e.proc != nil {
		_ = e.proc.Signal(unix.SIGKILL) // it may be dead already
		e.proc.Reap()
	}
	if e.oom != nil {
		_ = e.oom.Close()
	}
	e.leaveUnit()
	errs := []error{e.restoreDevices()}
	for _, u := range slices.Backward(e.undo) {
		if err := e.takeBack(u); err != nil {
			errs = append(errs, fmt.Errorf("undo: %s %s: %w", u.Label, u.Path, err))
		}
	}
	e.undo = nil
	e.release()
	return errors.Join(errs...)
}

// takeBack carries out an undo. EBUSY is tried again: a cgroup stays busy until the kernel is done with a dead process.
func (e *engine) takeBack(u *plan.Undo) error {
	if u.Call == plan.CallStopUnit {
		return e.stopUnit(e.text(u.Args[0]), e.im.Value(u.Args[1]) == 1)
	}
	var a [6]uintptr
	for n, arg := range u.Args {
		a[n] = uintptr(e.im.Value(arg))
	}
	nr, ok := u.Sys.Number(runtime.GOARCH)
	if !ok {
		return abi.ENOSYS
	}
	return retryBusy(func() error {
		if _, _, errno := syscall.Syscall6(uintptr(nr), a[0], a[1], a[2], a[3], a[4], a[5]); errno != 0 && errno != unix.ENOENT {
			return errno
		}
		return nil
	})
}
