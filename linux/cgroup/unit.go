package cgroup

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/cgroup/systemd"
	"example.io/shim/linux/cgroup/unit"
	"example.io/shim/linux/plainfile"
)

// updater is a Cgroup whose updates can be taken back.
type updater interface {
	Cgroup
	// update is Update. It returns what was written, and what takes it back.
	update(r *specs.LinuxResources) (written []files.Write, undo func() error, err error)
	// path is where a file of the controller is.
	path(controller, file string) string
}

func (c *v1) path(controller, file string) string { return filepath.Join(c.dir(controller), file) }
func (c *v2) path(_, file string) string          { return filepath.Join(c.dir.Path, file) }

// ofUnit is the cgroup of a systemd unit. Pausing, killing and accounting are done in its directory, as everywhere: systemd does the same there
// (cgroup.freeze, cgroup.kill), but answers later, and would have to be asked once more when the runtime is in a hurry. What it must know are the limits,
// which it writes anew at times, and the end.
type ofUnit struct {
	updater
	unit    unit.Unit
	version int
}

// Update implements Cgroup. systemd is told what the files have now, so that both say the same, also of what was there before.
func (c *ofUnit) Update(r *specs.LinuxResources) error {
	written, undo, err := c.update(r)
	if err != nil {
		return err
	}
	fail := func(err error) error { return errors.Join(fmt.Errorf("update: %w", err), undo()) }
	names, where := []string{}, map[string]string{}
	for _, w := range written {
		for at := &w; at != nil; at = at.Else {
			names, where[at.File] = append(names, at.File), at.Controller
		}
	}
	props, err := unit.Limits(c.version, names, func(file string) (string, bool) {
		controller := where[file]
		if controller == "" { // one that goes with a file that was written
			controller, _, _ = strings.Cut(file, ".")
		}
		data, err := plainfile.Read(c.path(controller, file))
		return string(data), err == nil
	})
	if err != nil {
		return fail(err)
	}
	if len(props) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), setLimit)
	defer cancel()
	conn, err := systemd.Dial(ctx, c.unit.User)
	if err != nil {
		return fail(err)
	}
	defer conn.Close()
	group, err := plainfile.Read(c.path("memory", oomGroup))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // v1 has none
		return fail(err)
	}
	if err := conn.Set(c.unit.Name, props); err != nil {
		return fail(err)
	}
	// It has written the files, some of them rounded (CPUQuotaPerSecUSec), and one that it has no property for.
	if group != nil {
		if err := os.WriteFile(c.path("memory", oomGroup), group, 0); err != nil {
			return fmt.Errorf("update: %w", err)
		}
	}
	_, _, err = c.update(r)
	return err
}

// oomGroup is a file that systemd writes with what it has for services, also in a scope.
const oomGroup = "memory.oom.group"

// setLimit is how long an update waits for systemd: less than clients wait for an answer (the CRI 2 minutes, ctr 10 s).
const setLimit = 9 * time.Second

// Vanish implements Cgroup. The unit is systemd's to remove.
func (c *ofUnit) Vanish() bool { return false }

// Delete implements Cgroup. systemd has removed the unit by itself when its last process ended, in most cases.
func (c *ofUnit) Delete(ctx context.Context) error {
	// Half of what containerd gives a clean-up.
	sctx, cancel := context.WithTimeout(ctx, stopLimit)
	defer cancel()
	conn, err := systemd.Dial(sctx, c.unit.User)
	if err == nil {
		err = conn.Stop(c.unit.Name)
		conn.Close()
	}
	if err != nil {
		err = fmt.Errorf("stop the unit %s: %w", c.unit.Name, err)
	}
	return errors.Join(err, c.updater.Delete(ctx)) // what systemd does not know: controllers of v1, a process that was slow to die
}

const stopLimit = 2500 * time.Millisecond
