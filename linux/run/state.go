package run

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/cgroup"
	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/cgroup/unit"
	"example.io/shim/linux/plainfile"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/quickjson"
)

// StateFile is the name of the state in the bundle: what another process needs to remove the container after the shim was killed.
const StateFile = "shim-state.json"

// stateVersion is the form of the file; a reader refuses a newer one. 1 had no second line.
const stateVersion = 2

// State is the content of StateFile. It is written before anything of the container is made; what is known later is written behind it.
type State struct {
	Version    int    `json:"version"`
	ID         string `json:"id"`
	Namespace  string `json:"namespace"`
	Bundle     string `json:"bundle"`
	Rootfs     string `json:"rootfs"`
	MountsMade bool   `json:"rootfsMounted"` // the shim mounts the root file system, and so unmounts it
	// OnHost is for a container without a mount namespace: how many mounts were at its root before the one that holds all of its own, and 1. 0 is any other.
	OnHost     int          `json:"onHost,omitempty"`
	CgroupDirs []files.Dir  `json:"cgroupDirs"`
	Cgroup     cgroup.State `json:"cgroup"`
	Resctrl    []string     `json:"resctrl,omitempty"`   // groups that go with the container, the inner one first
	Pid        int          `json:"pid,omitempty"`       // init, in the shim's pid namespace
	StartTime  uint64       `json:"startTime,omitempty"` // of init, field 22 of /proc/PID/stat: a pid alone can be another's by now
	Restored   bool         `json:"restored,omitempty"`  // from a checkpoint
	Streams    [3]string    `json:"streams,omitzero"`    // descriptors 0 to 2: "pipe:[INODE]" or a path; empty for a terminal
	Created    time.Time    `json:"created"`
	// Poststop are the hooks of the config.json at the create, which may have been changed since (runtime.md, "Lifecycle", 2), with what they are told.
	Poststop    []specs.Hook      `json:"poststop,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	// What follows is there only in a Home of its own, for later commands in other processes.
	UID          uint32           `json:"uid,omitempty"` // who made it
	NoNewKeyring bool             `json:"noNewKeyring,omitempty"`
	Config       json.RawMessage  `json:"config,omitempty"`     // config.json as it was at the create
	StartSteps   []plan.StepError `json:"startSteps,omitempty"` // the child's steps behind its fifo, for the errors of a start

	home string // folder of the file, "" for the bundle
}

func newState(r Request, s *specs.Spec, dirs []files.Dir, u *unit.Unit) State {
	root := s.Root.Path
	if !filepath.IsAbs(root) {
		root = filepath.Join(r.Bundle, root)
	}
	return State{
		Version: stateVersion, ID: r.ID, Namespace: r.Namespace, Bundle: r.Bundle, Rootfs: root,
		UID: uint32(os.Geteuid()), NoNewKeyring: r.NoNewKeyring, home: r.Home,
		MountsMade: len(r.Rootfs) > 0, CgroupDirs: dirs, Cgroup: cgroup.StateOf(dirs, u), Created: time.Now().UTC(),
	}
}

// file is where the state is.
func (s *State) file() string {
	if s.home != "" {
		return s.path(HomeFile)
	}
	return s.path(StateFile)
}

// create writes the state when there is nothing of the container yet. Who finds a part of it, because we are at it or were killed, has found nothing.
func (s *State) create() error {
	data, err := s.marshal()
	if err != nil {
		return fmt.Errorf("write %s: %w", StateFile, err)
	}
	return s.write(append(data, '\n'), unix.O_CREAT|unix.O_TRUNC)
}

// started notes init's pid, with what was not known before: behind the state, as another line, which counts when it is whole. A second file costs as much
// as a third of the container's cgroups.
func (s *State) started(pid int) error {
	t, err := startTime(pid)
	if err != nil {
		return err
	}
	s.Pid, s.StartTime = pid, t
	return s.write(append(s.marshalStarted(), '\n'), unix.O_APPEND)
}

func (s *State) write(data []byte, flags int) error {
	fd, err := unix.Open(s.file(), unix.O_WRONLY|unix.O_NOFOLLOW|unix.O_CLOEXEC|flags, 0o600)
	if err == nil {
		_, err = unix.Write(fd, data)
		err = errors.Join(err, unix.Close(fd))
	}
	if err != nil {
		return fmt.Errorf("write the state %s: %w", s.file(), err)
	}
	return nil
}

// save writes the file aside and renames it, so that a reader sees the old or the new one whole.
func (s *State) save() error {
	data, err := s.marshal()
	if err != nil {
		return fmt.Errorf("write %s: %w", StateFile, err)
	}
	path := s.file()
	if err := os.WriteFile(path+".new", append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	return nil
}

func (s *State) remove() error {
	if s.home != "" {
		if unix.Unlink(s.file()) == nil && unix.Rmdir(s.home) == nil { // there is nothing more, mostly
			return nil
		}
		if err := os.RemoveAll(s.home); err != nil {
			return fmt.Errorf("remove the state: %w", err)
		}
		return nil
	}
	err := os.Remove(filepath.Join(s.Bundle, StateFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove the state: %w", err)
	}
	return nil
}

// LoadState reads the state of the container in bundle; errdefs.ErrNotFound when there is none.
func LoadState(bundle string) (*State, error) {
	return readState(filepath.Join(bundle, StateFile))
}

func readState(path string) (*State, error) {
	data, err := plainfile.Read(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", path, errdefs.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	s, err := parseState(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if s.Version > stateVersion {
		return nil, fmt.Errorf("%s has version %d, this program knows %d: %w", path, s.Version, stateVersion, errdefs.ErrNotImplemented)
	}
	return s, nil
}

// parseState parses a state, and what was noted behind it. One that was cut short while it was written for the first time is errdefs.ErrNotFound: nothing else
// was made then.
func parseState(data []byte) (*State, error) {
	if n := bytes.LastIndexByte(data, '\n'); n >= 0 {
		data = data[:n+1] // a line that is not whole does not count
	}
	s := &State{}
	if quickjson.Read(data, s, readStateOf) {
		return s, nil
	}
	s = &State{}
	d := json.NewDecoder(bytes.NewReader(data))
	err := d.Decode(s)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("it is not whole: %w", errdefs.ErrNotFound)
	}
	if err == nil {
		if err = d.Decode(s); errors.Is(err, io.EOF) {
			err = nil
		}
	}
	return s, err
}

// Cleanup removes what a container left whose shim is gone: processes, cgroups, mounts, the state. A bundle without a state has
// nothing of ours but perhaps the rootfs mount. log, which may be nil, hears of poststop hooks that fail. It returns the pid of init, 0 when there was none. Idempotent.
func Cleanup(ctx context.Context, bundle string, log func(format string, args ...any)) (pid int, err error) {
	s, err := LoadState(bundle)
	if errors.Is(err, errdefs.ErrNotFound) {
		return 0, unmountAll(filepath.Join(bundle, "rootfs"))
	}
	if err != nil {
		return 0, err
	}
	if t, err := startTime(s.Pid); err == nil && s.Pid > 0 && t == s.StartTime {
		_ = unix.Kill(s.Pid, unix.SIGKILL) // it may die on its own meanwhile
	}
	cg, err := cgroup.Load(s.Cgroup)
	if err != nil {
		return s.Pid, err
	}
	if s.Pid == 0 {
		s.waitForCriu(ctx, cg)
	}
	if err := s.cleanup(ctx, cg); err != nil {
		return s.Pid, err
	}
	s.poststop(context.WithoutCancel(ctx), poststopLimit, &specs.Spec{Hooks: &specs.Hooks{Poststop: s.Poststop}, Annotations: s.Annotations}, log)
	return s.Pid, nil
}

// criuGrace is how long a CRIU whose shim has died may take to give up: who waits for a clean-up waits 5 s at most.
const criuGrace = time.Second

// waitForCriu lets a CRIU that was restoring the container take back what it did: a killed one leaves folders in /tmp.
func (s *State) waitForCriu(ctx context.Context, cg cgroup.Cgroup) {
	const pause = 5 * time.Millisecond
	for end := time.Now().Add(criuGrace); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(pause) {
		if pids, err := cg.Pids(); err != nil || len(pids) == 0 {
			return
		}
	}
}

func (s *State) cleanup(ctx context.Context, cg cgroup.Cgroup) error {
	var errs []error
	vanished := cg.Vanish()
	if !vanished {
		if err := cg.Kill(unix.SIGKILL); err != nil {
			errs = append(errs, fmt.Errorf("kill what is left of %s: %w", s.ID, err))
		}
	}
	if s.OnHost > 0 {
		errs = append(errs, unmountTo(s.Rootfs, s.OnHost-1))
	}
	if s.MountsMade {
		errs = append(errs, unmountAll(s.Rootfs))
	}
	if !vanished {
		if err := cg.Delete(ctx); err != nil {
			errs = append(errs, fmt.Errorf("remove the cgroup of %s: %w", s.ID, err))
		}
	}
	errs = append(errs, s.removeGroups(), s.removeWorkDir())
	if err := errors.Join(errs...); err != nil {
		return err // the state stays: another try needs it
	}
	return s.remove()
}

// maxStacked bounds how many mounts on one point are taken away: containerd sends one to a few; a loop that never ends would be ours.
const maxStacked = 64

// unmountAll takes every mount off path. Lazily (MNT_DETACH): what still uses it must not hold up the removal.
func unmountAll(path string) error {
	for range maxStacked {
		err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
		switch {
		case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
			return nil // not a mount point (any more)
		case err != nil:
			return fmt.Errorf("unmount %s: %w", path, err)
		}
	}
	return fmt.Errorf("unmount %s: more than %d mounts there", path, maxStacked)
}
