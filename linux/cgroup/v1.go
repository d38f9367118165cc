package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/plainfile"
)

// v1 is a cgroup in every mounted v1 hierarchy.
type v1 struct {
	dirs []files.Dir
	unit bool // of systemd, which may take a process out of a hierarchy: all are looked into for them
}

const procsFile = "cgroup.procs"

// dir returns the directory with that controller, "" when it is not mounted.
func (c *v1) dir(controller string) string {
	d, _ := files.Find(c.dirs, controller)
	return d.Path
}

// main is the directory that is asked for processes: the devices hierarchy, which a container can hardly get out of, or else any.
func (c *v1) main() string {
	for _, name := range []string{"devices", "pids", "memory", "freezer"} {
		if d := c.dir(name); d != "" {
			return d
		}
	}
	return c.dirs[0].Path
}

// Pids implements Cgroup.
func (c *v1) Pids() ([]int, error) {
	if !c.unit {
		return pidsBelow(c.main())
	}
	var all []int
	for _, d := range c.dirs {
		pids, err := pidsBelow(d.Path)
		if err != nil {
			return nil, err
		}
		all = append(all, pids...)
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

// pidsBelow lists the processes of dir and the directories below.
func pidsBelow(dir string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // it went meanwhile
		}
		if err != nil || !d.IsDir() {
			return err
		}
		data, err := plainfile.Read(filepath.Join(path, procsFile))
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.ENODEV) {
			return err
		}
		for word := range strings.FieldsSeq(string(data)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return fmt.Errorf("%s/%s: %w", path, procsFile, err)
			}
			if pid > 0 { // 0 is a process of another pid namespace
				pids = append(pids, pid)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// The freezer answers FREEZING until every task stands, and a task that forks or sleeps uninterruptibly can hold it there. The state is written
// again at every look, which catches new tasks; now and then it is thawed for a moment, which lets a stuck one go on.
const (
	freezePause  = time.Millisecond
	freezeLooks  = 2000 // about 2 s with the pauses growing to 1 ms: under containerd's limits for a call
	freezeThawAt = 50   // a thaw after so many looks
)

// Freeze implements Cgroup.
func (c *v1) Freeze(ctx context.Context) error {
	dir := c.dir("freezer")
	if dir == "" {
		return fmt.Errorf("pause: the cgroup controller freezer is not mounted: %w", errdefs.ErrNotImplemented)
	}
	for look := 1; look <= freezeLooks; look++ {
		if look%freezeThawAt == 0 {
			if err := write(dir, "freezer.state", "THAWED"); err != nil {
				return err
			}
			time.Sleep(freezePause)
		}
		if err := write(dir, "freezer.state", "FROZEN"); err != nil {
			return err
		}
		state, err := plainfile.Read(filepath.Join(dir, "freezer.state"))
		if err != nil {
			return fmt.Errorf("pause: %w", err)
		}
		if strings.TrimSpace(string(state)) == "FROZEN" {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("pause: %w", context.Cause(ctx)), write(dir, "freezer.state", "THAWED"))
		case <-time.After(freezePause):
		}
	}
	return errors.Join(fmt.Errorf("pause: processes did not stop after %d tries: %w", freezeLooks, errdefs.ErrUnavailable), write(dir, "freezer.state", "THAWED"))
}

// Thaw implements Cgroup.
func (c *v1) Thaw(context.Context) error {
	dir := c.dir("freezer")
	if dir == "" {
		return fmt.Errorf("resume: the cgroup controller freezer is not mounted: %w", errdefs.ErrNotImplemented)
	}
	return write(dir, "freezer.state", "THAWED")
}

// write writes to a file of a cgroup. The file must exist.
func write(dir, file, value string) error {
	path := filepath.Join(dir, file)
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("write %q: %w", value, err)
	}
	_, err = f.WriteString(value)
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %q: %w", value, err)
	}
	return nil
}

// quotaOf is the file that a file with a period belongs to.
var quotaOf = map[string]string{"cpu.cfs_period_us": "cpu.cfs_quota_us", "cpu.rt_period_us": "cpu.rt_runtime_us"}

// Update implements Cgroup.
func (c *v1) Update(r *specs.LinuxResources) error {
	_, _, err := c.update(r)
	return err
}

// update implements updater.
func (c *v1) update(r *specs.LinuxResources) (written []files.Write, undo func() error, err error) {
	list, err := files.V1Update(r, c.dirs)
	if err != nil {
		return nil, nil, fmt.Errorf("update: %w", err)
	}
	list = c.memoryOrder(list)
	var done formers
	for i := 0; i < len(list); i++ { // not by range: see below
		w := list[i]
		dir := c.dir(w.Controller)
		old, err := plainfile.Read(filepath.Join(dir, w.File))
		if err == nil {
			err = write(dir, w.File, w.Value)
		}
		if errors.Is(err, unix.EINVAL) && i+1 < len(list) && list[i+1].File == quotaOf[w.File] {
			// Together they may be right where the period alone would give more than the parent allows: the quota goes first, and the period is tried once more.
			list[i], list[i+1] = list[i+1], list[i]
			i--
			continue
		}
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("update: %s (%s): %w", w.Label, w.Source, err), done.restore())
		}
		done = append(done, former{dir, w.File, strings.TrimSpace(string(old))})
	}
	return list, done.restore, nil
}

// former is what a file had before an update.
type former struct{ dir, file, value string }

type formers []former

// restore writes back what was there, the last first.
func (list formers) restore() error {
	var errs []error
	for _, f := range slices.Backward(list) {
		errs = append(errs, write(f.dir, f.file, f.value))
	}
	return errors.Join(errs...)
}

// memoryOrder puts the limit of memory and swap together before that of memory when memory's is raised above it: the kernel keeps memory
// <= memory and swap at every write.
func (c *v1) memoryOrder(list []files.Write) []files.Write {
	mem := slices.IndexFunc(list, func(w files.Write) bool { return w.File == "memory.limit_in_bytes" })
	swap := slices.IndexFunc(list, func(w files.Write) bool { return w.File == "memory.memsw.limit_in_bytes" })
	if mem < 0 || swap < 0 {
		return list
	}
	limit, err := strconv.ParseInt(list[mem].Value, 10, 64)
	together, ok := readUint(filepath.Join(c.dir("memory"), "memory.memsw.limit_in_bytes"))
	if err == nil && ok && (limit < 0 || uint64(limit) > together) {
		list[mem], list[swap] = list[swap], list[mem]
	}
	return list
}

// killRounds bounds how often the cgroup is swept: each round kills all that are there, so only a process that forks faster than a sweep of
// frozen siblings survives one.
const killRounds = 100

// Kill implements Cgroup.
func (c *v1) Kill(sig syscall.Signal) error {
	if sig != unix.SIGKILL {
		return c.signalAll(sig)
	}
	// Frozen processes do not fork, and die only when thawed.
	freezer := c.dir("freezer")
	for round := range killRounds {
		pids, err := c.Pids()
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(pids) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		all := round == 0 && c.killUnified()
		frozen := freezer != "" && (all || write(freezer, "freezer.state", "FROZEN") == nil)
		if !all {
			err = c.signalAll(sig)
		}
		if frozen {
			err = errors.Join(err, write(freezer, "freezer.state", "THAWED"))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		time.Sleep(time.Millisecond) // they die on their own time
	}
	return nil // what is left has got its SIGKILL and cannot die now (uninterruptible); Delete will say so
}

// killUnified has the kernel kill all that is in the container's cgroup of the v2 hierarchy, where a hybrid machine has one (Linux 5.14); those that have
// moved elsewhere are found by the others.
func (c *v1) killUnified() bool {
	i := slices.IndexFunc(c.dirs, func(d files.Dir) bool { return d.Unified })
	if i < 0 {
		return false
	}
	d := c.dirs[i]
	own := d.Own == d.Path || strings.HasPrefix(d.Own, d.Path+"/") // we would die with them
	return !own && write(d.Path, "cgroup.kill", "1") == nil
}

func (c *v1) signalAll(sig syscall.Signal) error {
	pids, err := c.Pids()
	if err != nil {
		return err
	}
	self := os.Getpid()
	for _, pid := range pids {
		if pid == self {
			continue // our launching thread is there for a moment
		}
		if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal %d to process %d: %w", int(sig), pid, err)
		}
	}
	return nil
}

// A killed process leaves its cgroup when the kernel is done with it. Removing is tried again for so long; containerd gives a clean-up 5 s.
const (
	removePause = 5 * time.Millisecond
	removeLimit = 4 * time.Second
)

// Delete implements Cgroup.
func (c *v1) Delete(ctx context.Context) error {
	var errs []error
	end := time.Now().Add(removeLimit)
	for _, d := range c.dirs {
		errs = append(errs, remove(ctx, d.Path, end))
	}
	return errors.Join(errs...)
}

// Vanish implements Cgroup.
func (c *v1) Vanish() bool {
	for _, d := range c.dirs {
		if !vanish(d.Path) {
			return false
		}
	}
	return true
}

func vanish(dir string) bool {
	err := unix.Rmdir(dir)
	return err == nil || errors.Is(err, unix.ENOENT)
}

// remove removes dir and the directories below, the deepest first.
func remove(ctx context.Context, dir string, end time.Time) error {
	for {
		err := removeTree(dir)
		if !errors.Is(err, unix.EBUSY) {
			return err
		}
		if time.Now().After(end) {
			pids, _ := pidsBelow(dir)
			return fmt.Errorf("%w (processes %v)", err, pids)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w (%w)", err, context.Cause(ctx))
		case <-time.After(removePause):
		}
	}
}

func removeTree(dir string) error {
	err := unix.Rmdir(dir)
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	entries, readErr := os.ReadDir(dir)
	if readErr != nil {
		return fmt.Errorf("remove cgroup: %w", readErr)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove cgroup %s: %w", dir, err)
	}
	return nil
}
