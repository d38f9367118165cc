// Package run is the parent's side of a container: it opens what a plan needs, carries the plan out (engine), keeps what was built, and
// takes everything back. It has no life cycle: package process decides what happens when.
package run

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/cgroup"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/children"
	"example.io/shim/linux/compile"
	"example.io/shim/linux/criu"
	"example.io/shim/linux/facts"
	"example.io/shim/linux/plainfile"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// OOM tells of OOM kills; see process.OOMWatcher.
type OOM interface {
	C() <-chan struct{}
	Pending() int
	Close() error
}

// Deps are what the caller puts behind this package.
type Deps struct {
	Facts facts.Facts
	// ArmOOM starts to watch the memory cgroup at that path.
	ArmOOM func(memoryCgroup string) (OOM, error)
	// Log takes what is not an error of a request, such as a poststop hook that failed. nil: nobody.
	Log func(format string, args ...any)
	// Times hears, when a plan was carried out, when each of its steps began. nil: no time is taken.
	Times func(plan.Times)
	// Fault, for tests, may replace a plan before it runs. nil in production.
	Fault func(p *plan.Plan) *plan.Plan
}

// Request says which container to build.
type Request struct {
	ID, Namespace, Bundle string
	Rootfs                []compile.Mount
	Terminal              bool
	NoPivot, NoNewKeyring bool
	SystemdCgroup         bool
	// Home is the folder of the container's state, which is made; "" keeps it in the bundle. With a Home, config.json is kept there too.
	Home string
	// Gate makes the start one by another process: the created container waits at a fifo in Home, and does not end with this process (Detach).
	Gate bool
	// Detach says that the container is to live on without this process, whose parent finds its exit then.
	Detach bool
	// NoCgroup leaves the container in our own cgroup.
	NoCgroup bool
	// PreserveFDs is how many of our own descriptors from 3 on the process gets.
	PreserveFDs int
	// Config is the content of config.json when the caller has it, changed perhaps, and Spec what ParseSpec made of it; nil: it is read.
	Config []byte
	Spec   *specs.Spec
	// Stdio opens the process's streams, nil entries mean /dev/null; it is called when the plan is compiled. nil: all are /dev/null.
	Stdio func() ([3]*os.File, error)
	// Restore, if not nil, has the processes of a checkpoint restored by the start. Until then there is no init.
	Restore *criu.Options
}

// ExecRequest says which process to add.
type ExecRequest struct {
	ExecID   string
	Spec     []byte         // JSON of specs.Process
	Process  *specs.Process // instead of Spec; it may be changed
	Usual    bool           // of Process: see spec.Options
	Terminal bool
	Stdio    [3]*os.File
	// CgroupDirs replaces the container's when it is not nil. The process is in these then, or not made.
	CgroupDirs  []files.Dir
	PreserveFDs int
	Detach      bool // as in Request
}

// ConfigFile is the name of a bundle's configuration.
const ConfigFile = "config.json"

// ReadConfig reads the bundle's config.json.
func ReadConfig(bundle string) ([]byte, error) {
	path := filepath.Join(bundle, ConfigFile)
	data, err := plainfile.Read(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s does not exist: %w", path, errdefs.ErrInvalidArgument)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}

// LoadSpec reads and validates the bundle's config.json.
func LoadSpec(bundle string) (*specs.Spec, error) {
	data, err := ReadConfig(bundle)
	if err != nil {
		return nil, err
	}
	return ParseSpec(filepath.Join(bundle, ConfigFile), data)
}

// ParseSpec validates the content of the config.json at path.
func ParseSpec(path string, data []byte) (*specs.Spec, error) {
	s, usual, err := spec.ParseUsual(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, ValidateSpec(path, s, usual)
}

// ValidateSpec validates what was read from the config.json at path; usual is of spec.ParseUsual.
func ValidateSpec(path string, s *specs.Spec, usual bool) error {
	if err := spec.Validate(s, spec.Options{Usual: usual}); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Compile makes the plan that Create would carry out. With r.SystemdCgroup f comes from SystemdFacts.
func Compile(r Request, s *specs.Spec, f facts.Facts) (*plan.Plan, error) {
	if r.Restore != nil {
		return compile.Restore(input(r, s, f))
	}
	return compile.Create(input(r, s, f))
}

func input(r Request, s *specs.Spec, f facts.Facts) compile.CreateInput {
	root := s.Root.Path
	if !filepath.IsAbs(root) {
		root = filepath.Join(r.Bundle, root)
	}
	return compile.CreateInput{
		ID: r.ID, Namespace: r.Namespace, Bundle: r.Bundle, Rootfs: root, Spec: s, Facts: f,
		RootfsMounts: r.Rootfs, Terminal: r.Terminal, NoPivot: r.NoPivot, NoNewKeyring: r.NoNewKeyring, SystemdCgroup: r.SystemdCgroup,
		Gate: r.Gate, Unwatched: r.Home != "", NoCgroup: r.NoCgroup, PreserveFDs: r.PreserveFDs,
	}
}

// Container is a container that was built.
type Container struct {
	deps  *Deps
	state State
	spec  *specs.Spec
	init  *Process // nil when the container was loaded
	other *other   // init of a container that was loaded
	gate  *engine  // the rest of the create plan, until Start
	// restore is of a container that is made from a checkpoint: its init is nil until Start.
	restore *restoring
	cg      cgroup.Cgroup
	oom     OOM
	keep    Request
	// filter is plan.ItemFilter of the create plan, nil without.
	filter []byte
	traced atomic.Bool // a further process has got CAP_SYS_PTRACE: compile.Traces

	stopped sync.Once // the poststop hooks
}

// Process is a process of a container.
type Process struct {
	*children.Child
	console *os.File
}

// Console returns the pty master, nil without a terminal. It is the caller's to close.
func (p *Process) Console() *os.File { return p.console }

// Create builds a container up to its start gate. After an error nothing is left of it.
func Create(ctx context.Context, deps *Deps, r Request) (*Container, error) {
	s, err := r.Spec, error(nil)
	if s == nil {
		s, err = LoadSpec(r.Bundle)
	}
	if err != nil {
		return nil, err
	}
	if err := refuse(deps, r); err != nil {
		return nil, err
	}
	f := deps.Facts
	if r.SystemdCgroup {
		if f, err = SystemdFacts(ctx, f); err != nil {
			return nil, fmt.Errorf("create %s: %w", r.ID, err)
		}
	}
	p, err := Compile(r, s, f)
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", r.ID, err)
	}
	dirs, u, err := compile.Cgroups(input(r, s, f))
	if err != nil {
		return nil, fmt.Errorf("create %s: %w", r.ID, err)
	}
	c := &Container{deps: deps, spec: s, keep: r, state: newState(r, s, dirs, u)}
	if hooks := hooksOf(s.Hooks, "poststop"); len(hooks) > 0 {
		c.state.Poststop, c.state.Annotations = hooks, s.Annotations
	}
	if err := c.state.noteMounts(s); err != nil {
		return nil, err
	}
	if r.Restore != nil {
		if c.restore, err = checkRestore(r, &c.state); err != nil {
			return nil, err
		}
	}
	if c.cg, err = cgroup.Load(c.state.Cgroup); err != nil {
		return nil, fmt.Errorf("create %s: %w", r.ID, err)
	}
	if err := c.state.claimGroups(compile.ClassOf(deps.Facts.Resctrl, r.ID, s)); err != nil {
		return nil, err
	}
	// Before anything is made: a killed shim must be able to be cleaned up after.
	if err := c.state.first(p, r); err != nil {
		return nil, err
	}
	build := c.build
	if c.restore != nil {
		build = c.prepare
	}
	if err := build(ctx, p); err != nil {
		err = errors.Join(err, c.state.remove())
		c.state.poststop(context.WithoutCancel(ctx), poststopLimit, s, deps.Log)
		return nil, err
	}
	return c, nil
}

// refuse names what this version cannot do on this machine.
func refuse(deps *Deps, r Request) error {
	if deps.Facts.Cgroup.Version == 0 && !r.NoCgroup {
		return fmt.Errorf("create %s: no cgroup hierarchy is mounted below /sys/fs/cgroup: %w", r.ID, errdefs.ErrFailedPrecondition)
	}
	return nil
}

func (c *Container) build(ctx context.Context, p *plan.Plan) error {
	var stdio [3]*os.File
	if c.keep.Stdio != nil {
		var err error
		if stdio, err = c.keep.Stdio(); err != nil {
			return err
		}
	}
	inputs, err := standardInputs(c.keep.Terminal, stdio)
	if err != nil {
		return fmt.Errorf("create %s: %w", c.state.ID, err)
	}
	if err := c.ownInputs(inputs); err != nil {
		closeAll(inputs)
		return fmt.Errorf("create %s: %w", c.state.ID, err)
	}
	arena := ""
	if c.keep.Gate {
		arena = c.state.path(arenaName)
	}
	if !c.keep.Terminal {
		if c.state.Streams, err = streamLinks([3]int{inputs[plan.RegStdin], inputs[plan.RegStdout], inputs[plan.RegStderr]}); err != nil {
			closeAll(inputs)
			return fmt.Errorf("create %s: %w", c.state.ID, err)
		}
	}
	e, err := newEngine(c.state.ID, "create", p, c.deps, inputs, arena)
	if err != nil {
		return err
	}
	e.agent = c.sendListener
	e.rootfs, e.leave = c.state.Rootfs, c.keep.Detach
	e.hook = func(ctx context.Context, kind string, i int) error { return c.runHook(ctx, e.proc, kind, i) }
	if err := e.run(ctx); err != nil {
		return err
	}
	fail := func(err error) error { return errors.Join(err, e.abort()) }
	if c.init, err = e.process(c.keep.Terminal); err != nil {
		return fail(err)
	}
	e.trim()
	c.keepFilter(p)
	c.gate, c.oom = e, c.watcher(e.oom, c.init)
	if err := c.state.started(c.init.Pid()); err != nil {
		// A child that has failed at the gate already says why itself.
		return fail(cmp.Or(e.childError(), err))
	}
	e.oom = nil
	return nil
}

// watcher makes of the watcher that was armed the container's.
func (c *Container) watcher(w OOM, init *Process) OOM {
	if d, ok := files.Find(c.state.CgroupDirs, "memory"); ok && w != nil && c.state.Cgroup.Unit != nil {
		return ofUnit(w, d.Path, init)
	}
	return w
}

// standardInputs are the descriptors every plan gets: the process's streams and the socket pair. They are the engine's.
func standardInputs(terminal bool, stdio [3]*os.File) (map[string]int, error) {
	in := map[string]int{}
	fail := func(err error) (map[string]int, error) {
		closeAll(in)
		return nil, err
	}
	if !terminal {
		for i, name := range []string{plan.RegStdin, plan.RegStdout, plan.RegStderr} {
			fd, err := streamFD(stdio[i])
			if err != nil {
				return fail(err)
			}
			in[name] = fd
		}
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return fail(err)
	}
	in[plan.RegSyncP], in[plan.RegSyncC] = ours, theirs
	return in, nil
}

func closeAll(fds map[string]int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}

// streamFD duplicates a stream's descriptor to one above 2, which the child's own 0 to 2 cannot overwrite.
func streamFD(f *os.File) (int, error) {
	if f == nil {
		return devNull()
	}
	fd := -1
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, fmt.Errorf("stream %s: %w", f.Name(), err)
	}
	var dupErr error
	if err := raw.Control(func(p uintptr) { fd, dupErr = unix.FcntlInt(p, unix.F_DUPFD_CLOEXEC, 3) }); err != nil || dupErr != nil {
		return -1, fmt.Errorf("duplicate stream %s: %w", f.Name(), errors.Join(err, dupErr))
	}
	return fd, nil
}

// process takes the process and its terminal out of an engine whose child is at the gate or behind execve.
func (e *engine) process(terminal bool) (*Process, error) {
	p := &Process{Child: e.proc}
	if !terminal {
		return p, nil
	}
	fd, ok := e.take(plan.RegMaster)
	if !ok {
		return nil, fmt.Errorf("%s %s: the plan gave no terminal", e.action, e.id)
	}
	if err := unix.SetNonblock(fd, true); err != nil { // for the runtime's poller
		_ = unix.Close(fd)
		return nil, fmt.Errorf("%s %s: make the terminal non-blocking: %w", e.action, e.id, err)
	}
	p.console = os.NewFile(uintptr(fd), "pty master")
	return p, nil
}

// Init returns the first process, nil for one that is restored until it was started.
func (c *Container) Init() *Process { return c.init }

// OOM returns the watcher that was armed before the container's first instruction.
func (c *Container) OOM() OOM { return c.oom }

// Start opens the gate and returns when the program has been executed or could not be.
func (c *Container) Start(ctx context.Context) error {
	e := c.gate
	if e == nil && c.other != nil {
		return c.startLoaded(ctx)
	}
	if e == nil || c.keep.Gate {
		return fmt.Errorf("start %s: it has been started: %w", c.state.ID, errdefs.ErrFailedPrecondition)
	}
	if c.restore != nil {
		return c.startRestored(ctx)
	}
	c.gate = nil
	e.action = "start"
	e.undo = nil // a start that fails leaves a stopped container, which Delete removes
	err := e.run(ctx)
	e.release()
	return err
}

// Delete kills what is left and removes cgroups and mounts. Idempotent.
func (c *Container) Delete(ctx context.Context) error {
	if c.init != nil {
		_ = c.init.Signal(unix.SIGKILL) // it may have gone to another cgroup than ours, and it may have ended
	}
	if c.gate != nil {
		if c.init != nil {
			c.init.Reap()
		} else {
			c.restore.close()
		}
		c.gate.release()
		c.gate = nil
	}
	if c.oom != nil {
		_ = c.oom.Close()
	}
	if err := c.state.cleanup(ctx, c.cg); err != nil {
		return err
	}
	// A hook without a timeout runs to its end: the limit of ctx is for removing.
	c.stopped.Do(func() { c.state.poststop(context.WithoutCancel(ctx), 0, c.spec, c.deps.Log) })
	return nil
}

// PrivatePidNamespace says whether the kernel itself kills the rest when init exits: it does when init is the first process of its
// pid namespace.
func (c *Container) PrivatePidNamespace() bool { return spec.OwnPidNamespace(c.spec) }

// Cgroup returns the container's cgroup.
func (c *Container) Cgroup() cgroup.Cgroup { return c.cg }

// Created returns when the container was built.
func (c *Container) Created() time.Time { return c.state.Created }
