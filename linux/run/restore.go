package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/children"
	"example.io/shim/linux/criu"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/spec"
)

// restoring is what a container has that is to be restored, until its start.
type restoring struct {
	opts  criu.Options
	names [3]string  // of the streams in the images
	files []*os.File // the streams, when there is no terminal
}

// checkRestore finds out before anything is made what cannot work.
func checkRestore(r Request, s *State) (*restoring, error) {
	fail := func(format string, args ...any) (*restoring, error) {
		return nil, fmt.Errorf("create %s: checkpoint %s: "+format, append([]any{r.ID, r.Restore.ImagePath}, args...)...)
	}
	o := *r.Restore
	if o.WorkPath == "" {
		o.WorkPath = s.workDir()
	}
	if err := addDumped(&o); err != nil {
		return fail("%w", err)
	}
	if err := o.Check(); err != nil {
		return fail("%w", err)
	}
	if o.ManageCgroups == strictCgroups {
		return fail("cgroups mode %q: the container's cgroup is there before CRIU restores into it: %w", strictCgroups, errdefs.ErrInvalidArgument)
	}
	names, err := readDescriptors(r.Restore.ImagePath)
	if err != nil {
		return fail("%w", err)
	}
	if has := strings.HasPrefix(names[0], ptsDir); has != r.Terminal {
		return fail("its process has a terminal: %v, and this container: %v: %w", has, r.Terminal, errdefs.ErrInvalidArgument)
	}
	if err := criu.Found(); err != nil {
		return fail("%w", err)
	}
	return &restoring{opts: o, names: names}, nil
}

// prepare makes what is on the host, and keeps the streams.
func (c *Container) prepare(ctx context.Context, p *plan.Plan) error {
	var stdio [3]*os.File
	if c.keep.Stdio != nil {
		var err error
		if stdio, err = c.keep.Stdio(); err != nil {
			return err
		}
	}
	fail := func(err error) error {
		c.restore.close()
		return err
	}
	if !c.keep.Terminal {
		var fds [3]int
		for i, f := range stdio {
			fd, err := streamFD(f)
			if err != nil {
				return fail(fmt.Errorf("create %s: %w", c.state.ID, err))
			}
			fds[i] = fd
			c.restore.files = append(c.restore.files, os.NewFile(uintptr(fd), "stream "+strconv.Itoa(i)))
		}
		var err error
		if c.state.Streams, err = streamLinks(fds); err != nil {
			return fail(fmt.Errorf("create %s: %w", c.state.ID, err))
		}
	}
	e, err := newEngine(c.state.ID, "create", p, c.deps, nil, "")
	if err != nil {
		return fail(err)
	}
	if err := e.run(ctx); err != nil {
		return fail(err)
	}
	e.trim()
	c.gate, c.oom, e.oom = e, c.watcher(e.oom, nil), nil
	if err := c.state.save(); err != nil {
		if c.oom != nil {
			_ = c.oom.Close()
		}
		return fail(errors.Join(err, e.abort()))
	}
	return nil
}

func (r *restoring) close() {
	for _, f := range r.files {
		_ = f.Close()
	}
	r.files = nil
}

// startRestored has CRIU make the processes. After an error none is left; cgroups and the root file system stay for Delete to remove.
func (c *Container) startRestored(ctx context.Context) error {
	e := c.gate
	c.gate = nil
	e.action, e.undo = "start", nil
	defer e.release()
	defer c.restore.close()
	fail := func(err error) error { return fmt.Errorf("start %s: restore: %w", c.state.ID, err) }
	if err := c.makeTargets(); err != nil {
		return fail(err)
	}
	r, closeFiles, err := c.restoreRequest(e)
	if err != nil {
		return fail(err)
	}
	defer closeFiles()
	var res criu.Restored
	err = onThread(func() error {
		if err := c.privateRoot(); err != nil {
			return err
		}
		if r.Images, err = c.openImages(); err != nil {
			return err
		}
		if r.Images != nil {
			defer func() { _ = r.Images.Close() }()
		}
		res, err = r.Run(ctx)
		return err
	})
	if err != nil {
		_ = c.cg.Kill(unix.SIGKILL) // a CRIU that was killed may have left processes that wait for it; Delete kills too, and tells what it cannot
		return fail(err)
	}
	err = c.restored(ctx, res)
	if err == nil {
		err = c.state.removeWorkDir()
	}
	if err != nil {
		_ = res.Init.Signal(unix.SIGKILL) // it may have ended
		<-res.Init.Done()
		return fail(err)
	}
	return nil
}

// restored takes the processes over.
func (c *Container) restored(ctx context.Context, res criu.Restored) error {
	proc := &Process{Child: res.Init}
	switch {
	case c.keep.Terminal && res.Console == nil:
		return fmt.Errorf("criu gave no terminal: %w", unix.ENODEV)
	case res.Console != nil && !c.keep.Terminal:
		_ = res.Console.Close()
	case res.Console != nil:
		if err := unix.SetNonblock(int(res.Console.Fd()), true); err != nil { // for the runtime's poller
			_ = res.Console.Close()
			return fmt.Errorf("make the terminal non-blocking: %w", err)
		}
		fd, err := unix.FcntlInt(res.Console.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		_ = res.Console.Close()
		if err != nil {
			return fmt.Errorf("duplicate the terminal: %w", err)
		}
		proc.console = os.NewFile(uintptr(fd), "pty master")
	}
	fail := func(err error) error {
		if proc.console != nil {
			_ = proc.console.Close()
		}
		return err
	}
	// A container that was paused when it was dumped is restored frozen.
	if err := c.cg.Thaw(ctx); err != nil {
		return fail(err)
	}
	c.state.Restored = true
	if err := c.state.started(res.Init.Pid()); err != nil && !ended(res.Init) {
		return fail(err)
	}
	c.init = proc
	if w, ok := c.oom.(*unitOOM); ok {
		w.restored(proc)
	}
	if err := c.hooks(ctx, res.Init, "poststart"); err != nil {
		c.init = nil
		return fail(err)
	}
	return nil
}

// restoredSpec is the configuration that a further process is made by. CRIU gives a container a time namespace, in which its clocks go on, whether config.json
// has one or not. A process beside it would see other clocks, and a dump would refuse one that it left ("Can't restore sub-task in NS").
func (c *Container) restoredSpec(init int) *specs.Spec {
	if !c.state.Restored || hasNamespace(c.spec, specs.TimeNamespace) {
		return c.spec
	}
	var ours, theirs unix.Stat_t
	if unix.Stat("/proc/self/ns/time", &ours) != nil || unix.Stat(fmt.Sprintf("/proc/%d/ns/time", init), &theirs) != nil || ours.Ino == theirs.Ino {
		return c.spec // a kernel without them, an init that has ended, or a CRIU that makes none
	}
	s, l := *c.spec, *c.spec.Linux
	l.Namespaces = append(slices.Clone(l.Namespaces), specs.LinuxNamespace{Type: specs.TimeNamespace})
	s.Linux = &l
	return &s
}

func ended(p *children.Child) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// hooks runs the hooks of these kinds.
func (c *Container) hooks(ctx context.Context, init *children.Child, kinds ...string) error {
	for _, kind := range kinds {
		for i, h := range hooksOf(c.spec.Hooks, kind) {
			if err := c.runHook(ctx, init, kind, i); err != nil {
				return fmt.Errorf("%s hook %s (/hooks/%s/%d): %w", kind, h.Path, kind, i, err)
			}
		}
	}
	return nil
}

// privateRoot gives the calling thread, and CRIU that it is going to start, a mount namespace in which the root file system is a mount point, as
// pivot_root(2) wants it. It goes with them: nothing of it can be left on the host.
func (c *Container) privateRoot() error {
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("unshare the mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("keep mounts to ourselves: %w", err)
	}
	if err := unix.Mount(c.state.Rootfs, c.state.Rootfs, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("bind %s to itself: %w", c.state.Rootfs, err)
	}
	return nil
}

// restoreRequest says what CRIU is to make; the files that it opened are closed by the function it returns.
func (c *Container) restoreRequest(e *engine) (*criu.Restore, func(), error) {
	r := &criu.Restore{Options: c.restore.opts, Root: c.state.Rootfs, Worker: c.enterWorker}
	r.ConfigFile = c.spec.Annotations[configAnnotation]
	var opened []*os.File
	closeFiles := func() {
		for _, f := range opened {
			_ = f.Close()
		}
	}
	var err error
	if r.External, err = c.restoreMounts(); err != nil {
		closeFiles()
		return nil, nil, err
	}
	for i, ns := range c.spec.Linux.Namespaces {
		if ns.Path == "" {
			continue
		}
		if w, ok := joined[ns.Type]; ok {
			f, err := os.Open(ns.Path)
			if err != nil {
				closeFiles()
				return nil, nil, fmt.Errorf("/linux/namespaces/%d/path: %w", i, err)
			}
			opened = append(opened, f)
			if err := c.findDevices(ns.Type, int(f.Fd())); err != nil {
				closeFiles()
				return nil, nil, err
			}
			r.Inherit = append(r.Inherit, criu.Inherit{Key: w.key, File: f})
			continue
		}
		kind, ok := joinKinds[ns.Type]
		if !ok {
			closeFiles()
			return nil, nil, fmt.Errorf("/linux/namespaces/%d/path: criu cannot join a %s namespace: %w", i, ns.Type, errdefs.ErrNotImplemented)
		}
		r.Join = append(r.Join, criu.Namespace{Kind: kind, Path: ns.Path})
	}
	for i, f := range c.restore.files {
		// A name that is a path inside the container is CRIU's to open.
		if name := c.restore.names[i]; strings.HasPrefix(name, "pipe:") || strings.HasPrefix(name, "file[") {
			r.Inherit = append(r.Inherit, criu.Inherit{Key: name, File: f})
		}
	}
	r.Namespaces = func(ctx context.Context, init *children.Child) error {
		return c.hooks(ctx, init, "prestart", "createRuntime")
	}
	r.Restored = func(ctx context.Context, _ *children.Child) error { return e.run(ctx) }
	return r, closeFiles, nil
}

// findDevices looks for the network devices that the dumped container had in its namespace, which has stayed.
func (c *Container) findDevices(kind specs.LinuxNamespaceType, ns int) error {
	if kind != specs.NetworkNamespace || len(c.spec.Linux.NetDevices) == 0 {
		return nil
	}
	n, err := newNetlink(ns)
	if err != nil {
		return fmt.Errorf("/linux/netDevices: %w", err)
	}
	defer n.close()
	for host, d := range c.spec.Linux.NetDevices {
		name := spec.NetDeviceName(host, d)
		if _, err := n.find(func(l link) bool { return l.name == name }); err != nil {
			return fmt.Errorf("/linux/netDevices/%s: look for %s in the network namespace: %w", host, name, err)
		}
	}
	return nil
}

// joinKinds are CRIU's words for the namespaces that it joins by a path (criu(8), --join-ns).
var joinKinds = map[specs.LinuxNamespaceType]string{specs.IPCNamespace: "ipc", specs.UTSNamespace: "uts", specs.UserNamespace: "user", specs.TimeNamespace: "time"}

// enterWorker puts CRIU into the container's cgroups, where the processes are then born, and tells the paths of the cgroups.
func (c *Container) enterWorker(pid int) ([]criu.CgroupRoot, error) {
	text := strconv.Itoa(pid)
	for _, d := range c.state.CgroupDirs {
		if err := writeOnce(filepath.Join(d.Path, "cgroup.procs"), text); err != nil {
			return nil, fmt.Errorf("move criu into the cgroup: %w", err)
		}
	}
	data, err := os.ReadFile("/proc/" + text + "/cgroup")
	if err != nil {
		return nil, fmt.Errorf("find the cgroups of criu: %w", err)
	}
	var roots []criu.CgroupRoot
	for line := range strings.Lines(string(data)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3) // ID:CONTROLLERS:PATH (cgroups(7))
		if len(f) < 3 {
			continue
		}
		for ctl := range strings.SplitSeq(f[1], ",") {
			roots = append(roots, criu.CgroupRoot{Controller: ctl, Path: f[2]})
		}
	}
	return roots, nil
}
