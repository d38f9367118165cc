package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
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

// v2 is a cgroup in the unified hierarchy (cgroups(7), Documentation/admin-guide/cgroup-v2.rst).
type v2 struct{ dir files.Dir }

// Pids implements Cgroup.
func (c *v2) Pids() ([]int, error) {
	pids, err := c.below(c.dir.Path, nil)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	slices.Sort(pids)
	return slices.Compact(pids), nil
}

// below appends the processes of dir and the directories in it.
func (c *v2) below(dir string, pids []int) ([]int, error) {
	pids, err := c.in(dir, pids)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil && !gone(err) {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() {
			if pids, err = c.below(filepath.Join(dir, e.Name()), pids); err != nil {
				return nil, err
			}
		}
	}
	return pids, nil
}

// gone says whether a cgroup was removed meanwhile.
func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) }

// in appends the processes of one directory. A threaded cgroup does not list processes: those below the container's directory are listed by the
// first one above that is not threaded, and where the container's own directory is threaded, its threads tell.
func (c *v2) in(dir string, pids []int) ([]int, error) {
	file := procsFile
	data, err := plainfile.Read(filepath.Join(dir, file))
	threads := errors.Is(err, unix.EOPNOTSUPP)
	if threads {
		file = "cgroup.threads"
		data, err = plainfile.Read(filepath.Join(dir, file))
	}
	if gone(err) {
		return pids, nil
	}
	if err != nil {
		return nil, err
	}
	for word := range strings.FieldsSeq(string(data)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			return nil, fmt.Errorf("%s/%s: %w", dir, file, err)
		}
		if threads {
			pid = processOf(pid)
		}
		if pid > 0 { // 0 is a process of another pid namespace
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// processOf is the process of a thread (proc_pid_status(5), Tgid), 0 when it ended.
func processOf(tid int) int {
	data, _ := plainfile.Read(fmt.Sprintf("/proc/%d/status", tid))
	_, after, _ := strings.Cut(string(data), "\nTgid:")
	line, _, _ := strings.Cut(after, "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(line))
	return pid
}

// freezeLimit bounds a pause, as the looks at the freezer of v1 do. What holds it is a task that sleeps uninterruptibly.
const freezeLimit = 2 * time.Second

// Freeze implements Cgroup.
func (c *v2) Freeze(ctx context.Context) error {
	if err := write(c.dir.Path, "cgroup.freeze", "1"); err != nil {
		return fmt.Errorf("pause: %w", err)
	}
	if err := c.await(ctx, "frozen 1", freezeLimit); err != nil {
		return errors.Join(fmt.Errorf("pause: %w", err), c.Thaw(ctx))
	}
	return nil
}

// Thaw implements Cgroup.
func (c *v2) Thaw(context.Context) error {
	if err := write(c.dir.Path, "cgroup.freeze", "0"); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return nil
}

// await waits until cgroup.events has that line. The kernel wakes a poll of the file at every change, and Go's poller is told so.
func (c *v2) await(ctx context.Context, line string, limit time.Duration) error {
	name := filepath.Join(c.dir.Path, "cgroup.events")
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0) // O_NONBLOCK is what makes Go poll it
	if err != nil {
		return &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	defer f.Close()
	if err := f.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var readErr error
	waitErr := conn.Read(func(fd uintptr) bool {
		var buf [256]byte // two short lines, with room for later kernels'
		var n int
		n, readErr = unix.Pread(int(fd), buf[:], 0)
		return readErr != nil || slices.Contains(strings.Split(string(buf[:max(n, 0)]), "\n"), line)
	})
	switch {
	case readErr != nil:
		return &fs.PathError{Op: "read", Path: name, Err: readErr}
	case waitErr != nil && ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(waitErr, os.ErrDeadlineExceeded):
		return fmt.Errorf("no %q in %s after %v: %w", line, name, limit, errdefs.ErrUnavailable)
	}
	return waitErr
}

// Kill implements Cgroup.
func (c *v2) Kill(sig syscall.Signal) error {
	if sig != unix.SIGKILL {
		return c.signalAll(sig)
	}
	// Since Linux 5.14 the kernel kills them all, also those that fork meanwhile. Not where we would be killed with them.
	own := c.dir.Own == c.dir.Path || strings.HasPrefix(c.dir.Own, c.dir.Path+"/")
	if !own {
		err := write(c.dir.Path, "cgroup.kill", "1")
		if err == nil || errors.Is(err, unix.ENODEV) {
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, unix.EOPNOTSUPP) { // an older kernel, or a threaded cgroup
			return err
		}
	}
	for range killRounds {
		pids, err := c.Pids()
		pids = slices.DeleteFunc(pids, func(pid int) bool { return pid == os.Getpid() })
		if err != nil || len(pids) == 0 {
			return err
		}
		// Frozen processes do not fork, and die frozen.
		frozen := !own && write(c.dir.Path, "cgroup.freeze", "1") == nil
		err = c.signalAll(sig)
		if frozen {
			err = errors.Join(err, c.Thaw(context.Background()))
		}
		if err != nil && !gone(err) {
			return err
		}
		time.Sleep(time.Millisecond) // they die on their own time
	}
	return nil // what is left has got its SIGKILL and cannot die now; Delete will say so
}

func (c *v2) signalAll(sig syscall.Signal) error {
	pids, err := c.Pids()
	if err != nil {
		return err
	}
	self := os.Getpid()
	for _, pid := range pids {
		if pid == self {
			continue
		}
		if err := unix.Kill(pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signal %d to process %d: %w", int(sig), pid, err)
		}
	}
	return nil
}

// Delete implements Cgroup.
func (c *v2) Delete(ctx context.Context) error {
	return remove(ctx, c.dir.Path, time.Now().Add(removeLimit))
}

// Vanish implements Cgroup.
func (c *v2) Vanish() bool { return vanish(c.dir.Path) }

// Update implements Cgroup.
func (c *v2) Update(r *specs.LinuxResources) error {
	_, _, err := c.update(r)
	return err
}

// update implements updater.
func (c *v2) update(r *specs.LinuxResources) (written []files.Write, undo func() error, err error) {
	list, err := files.V2Update(r, c.dir)
	if err == nil {
		list, err = c.prepare(list)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("update: %w", err)
	}
	var done formers
	for _, w := range list {
		old, readErr := plainfile.Read(filepath.Join(c.dir.Path, w.File)) // some files can only be written: there is nothing to take back
		if err := write(c.dir.Path, w.File, w.Complete(string(old))); err != nil {
			return nil, nil, errors.Join(fmt.Errorf("update: %s (%s): %w", w.Label, w.Source, err), done.restore())
		}
		if readErr == nil {
			done = append(done, former{c.dir.Path, w.File, w.Former(string(old))})
		}
	}
	return list, done.restore, nil
}

// prepare makes the writes complete by what the cgroup has now, and checks them. Nothing is written yet.
func (c *v2) prepare(list []files.Write) ([]files.Write, error) {
	var out []files.Write
	list = c.outOfIdle(list)
	for _, w := range list {
		if _, err := os.Stat(filepath.Join(c.dir.Path, w.File)); errors.Is(err, fs.ErrNotExist) {
			if w.Optional {
				continue
			}
			if w.Else != nil {
				w = *w.Else
			}
		}
		if err := c.lessMemory(&w); err != nil {
			return nil, err
		}
		if err := c.inUse(w); err != nil {
			return nil, err
		}
		out = append(out, w)
	}
	return c.burstOrder(out), nil
}

// outOfIdle puts the end of being idle before a weight, which the kernel would refuse. systemd does the same when it is told a weight.
func (c *v2) outOfIdle(list []files.Write) []files.Write {
	weight := slices.IndexFunc(list, func(w files.Write) bool { return w.File == "cpu.weight" })
	if now, ok := readUint(filepath.Join(c.dir.Path, "cpu.idle")); weight < 0 || !ok || now == 0 || slices.ContainsFunc(list, func(w files.Write) bool { return w.File == "cpu.idle" }) {
		return list
	}
	return slices.Insert(slices.Clone(list), weight, files.Write{Controller: "cpu", File: "cpu.idle", Value: "0", Source: list[weight].Source, Label: "schedule as idle: false"})
}

// inUse refuses a limit below what is in use.
func (c *v2) inUse(w files.Write) error {
	var sum uint64
	for _, file := range w.InUse.Files {
		if n, ok := readUint(filepath.Join(c.dir.Path, file)); ok { // without swap there is no such file, and none in use
			sum += n
		}
	}
	if w.InUse.Limit > 0 && uint64(w.InUse.Limit) < sum {
		return fmt.Errorf("%s: %d is less than the %d bytes that are in use (%s): %w", w.Source, w.InUse.Limit, sum, strings.Join(w.InUse.Files, " + "),
			errdefs.ErrFailedPrecondition)
	}
	return nil
}

// lessMemory turns a limit of memory and swap together into one of swap.
func (c *v2) lessMemory(w *files.Write) error {
	if w.Live != files.LessMemoryMax {
		return nil
	}
	together, err := strconv.ParseInt(w.Value, 10, 64)
	if err != nil {
		return err
	}
	memory, ok := readUint(filepath.Join(c.dir.Path, "memory.max"))
	switch {
	case !ok || memory > math.MaxInt64:
		return fmt.Errorf("%s: is memory and swap together: it needs a limit of memory: %w", w.Source, errdefs.ErrInvalidArgument)
	case uint64(together) < memory:
		return fmt.Errorf("%s: memory and swap together (%d) are less than memory (%d): %w", w.Source, together, memory, errdefs.ErrInvalidArgument)
	}
	w.Value = strconv.FormatUint(uint64(together)-memory, 10)
	return nil
}

// burstOrder puts a burst that becomes less before the quota: the kernel keeps burst <= quota at every write.
func (c *v2) burstOrder(list []files.Write) []files.Write {
	quota := slices.IndexFunc(list, func(w files.Write) bool { return w.File == "cpu.max" })
	burst := slices.IndexFunc(list, func(w files.Write) bool { return w.File == "cpu.max.burst" })
	if quota < 0 || burst < quota {
		return list
	}
	now, ok := readUint(filepath.Join(c.dir.Path, "cpu.max.burst"))
	to, err := strconv.ParseUint(list[burst].Value, 10, 64)
	if ok && err == nil && to < now {
		list[quota], list[burst] = list[burst], list[quota]
	}
	return list
}
