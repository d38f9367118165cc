package run

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/criu"
)

// descriptorsFile, in the folder of the images, has the names that the streams 0 to 2 have there, as a JSON list. runc writes and reads the same.
const descriptorsFile = "descriptors.json"

// configAnnotation names a configuration file of CRIU's for the container. runc and crun know it too.
const configAnnotation = "org.criu.config"

// terminalName stands there for a stream that is the container's terminal, and ptsDir before what runc has for it.
const (
	ptsDir       = "/dev/pts/"
	terminalName = ptsDir + "0"
)

// Checkpoint dumps the container. paused says that its cgroup is frozen, and is to stay so. After an error it is as it was before; without LeaveRunning and
// PreDump its processes have been killed when it succeeds.
func (c *Container) Checkpoint(ctx context.Context, o criu.Options, paused bool) error {
	fail := func(err error) error { return fmt.Errorf("checkpoint %s: %w", c.state.ID, err) }
	init, err := c.dumpable()
	if err != nil {
		return fail(err)
	}
	if _, err := c.Spec(); err != nil { // of a container that was loaded
		return fail(err)
	}
	pid := init.Pid()
	if o.WorkPath == "" {
		o.WorkPath = c.state.workDir()
	}
	o.ConfigFile = c.spec.Annotations[configAnnotation]
	d := criu.Dump{Options: o, Pid: pid, Root: c.state.Rootfs, FreezeCgroup: c.freezer()}
	if err := d.Check(); err != nil {
		return fail(err)
	}
	if d.External, err = c.externalNamespaces(); err != nil {
		return fail(err)
	}
	if !o.PreDump {
		mounts, err := c.dumpMounts(pid)
		if err != nil {
			return fail(err)
		}
		names, null, err := c.streamNames()
		if err != nil {
			return fail(err)
		}
		d.External = append(append(d.External, mounts...), null)
		if err := writeAbout(o.ImagePath, names, &o); err != nil {
			return fail(err)
		}
	}
	err = d.Run()
	if err != nil && !paused {
		// CRIU stops the processes by the freezer, and may have failed in between.
		err = errors.Join(err, c.cg.Thaw(ctx))
	}
	if err != nil {
		return fail(err)
	}
	return c.state.removeWorkDir()
}

// dumpable returns init when its program has been executed.
func (c *Container) dumpable() (target, error) {
	waits := c.gate != nil
	if c.other != nil {
		var err error
		if waits, err = c.waits(); err != nil {
			return nil, err
		}
	}
	if waits {
		return nil, fmt.Errorf("it has not been started: %w", errdefs.ErrFailedPrecondition)
	}
	return c.target()
}

// workDir is where CRIU's logs are when nobody says where. After a failure they stay until the container goes.
func (s *State) workDir() string { return s.path("criu-work") }

func (s *State) removeWorkDir() error {
	if err := os.RemoveAll(s.workDir()); err != nil {
		return fmt.Errorf("remove criu's logs: %w", err)
	}
	return nil
}

// freezer is the cgroup by which CRIU stops the processes, "" without one.
func (c *Container) freezer() string {
	if c.state.Cgroup.Version == 2 {
		return c.state.CgroupDirs[0].Path
	}
	d, _ := files.Find(c.state.CgroupDirs, "freezer")
	return d.Path
}

// joined are CRIU's words for the namespaces with a path in config.json that it takes as they are: their content is not the container's.
var joined = map[specs.LinuxNamespaceType]struct{ word, key string }{
	specs.NetworkNamespace: {"net", "extRootNetNS"}, specs.PIDNamespace: {"pid", "extRootPidNS"},
}

func (c *Container) externalNamespaces() ([]string, error) {
	var list []string
	for i, ns := range c.spec.Linux.Namespaces {
		w, ok := joined[ns.Type]
		if !ok || ns.Path == "" {
			continue
		}
		var st unix.Stat_t
		if err := unix.Stat(ns.Path, &st); err != nil {
			return nil, fmt.Errorf("/linux/namespaces/%d/path: stat %s: %w", i, ns.Path, err)
		}
		list = append(list, fmt.Sprintf("%s[%d]:%s", w.word, st.Ino, w.key))
	}
	return list, nil
}

// streamNames returns CRIU's names for the streams, and the one of the host's /dev/null, which any process can have: it is in no mount of the container's.
func (c *Container) streamNames() (names [3]string, null string, err error) {
	if null, err = nullName(); err != nil {
		return names, "", err
	}
	for i := range names {
		switch s := c.state.Streams[i]; s {
		case os.DevNull:
			names[i] = null
		case "":
			names[i] = terminalName
		default:
			names[i] = s
		}
	}
	return names, null, nil
}

// nullName is "file[MOUNT:INODE]" in hex (criu(8), --external).
func nullName() (string, error) {
	fd, err := devNull()
	if err != nil {
		return "", err
	}
	defer func() { _ = unix.Close(fd) }()
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return "", fmt.Errorf("stat %s: %w", os.DevNull, err)
	}
	info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", fd))
	if err != nil {
		return "", fmt.Errorf("find the mount of %s: %w", os.DevNull, err)
	}
	for line := range strings.Lines(string(info)) {
		var id int
		if n, _ := fmt.Sscanf(line, "mnt_id: %d", &id); n == 1 {
			return fmt.Sprintf("file[%x:%x]", id, st.Ino), nil
		}
	}
	return "", fmt.Errorf("find the mount of %s: %q: %w", os.DevNull, info, unix.EPROTO)
}

// streamLinks are the names of descriptors, without a call to procfs: "pipe:[INODE]" as readlink(2) has it there, a path else.
func streamLinks(fds [3]int) (links [3]string, err error) {
	for i, fd := range fds {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return links, fmt.Errorf("stat stream %d: %w", i, err)
		}
		switch {
		case st.Mode&unix.S_IFMT == unix.S_IFIFO:
			links[i] = fmt.Sprintf("pipe:[%d]", st.Ino)
		case st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(1, 3):
			links[i] = os.DevNull
		default:
			if links[i], err = os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); err != nil {
				return links, fmt.Errorf("name of stream %d: %w", i, err)
			}
		}
	}
	return links, nil
}

// optionsFile, in the folder of the images, has what the checkpoint was made with and a restore needs too: nobody has to say it twice.
const optionsFile = "shim-options.json"

// strictCgroups has CRIU refuse a cgroup that exists. A restore's does: the limits and the OOM watcher are there before the first process. "full" restores
// what a strict dump holds.
const strictCgroups = "strict"

// dumpOptions is the content of optionsFile.
type dumpOptions struct {
	TCPEstablished bool     `json:"tcpEstablished,omitempty"`
	ExtUnixSk      bool     `json:"extUnixSk,omitempty"`
	ShellJob       bool     `json:"shellJob,omitempty"`
	FileLocks      bool     `json:"fileLocks,omitempty"`
	LinkRemap      bool     `json:"linkRemap,omitempty"`
	ManageCgroups  string   `json:"manageCgroups,omitempty"`
	EmptyNS        []string `json:"emptyNS,omitempty"`
}

// writeAbout writes what a restore has to know and CRIU's images do not tell.
func writeAbout(dir string, names [3]string, o *criu.Options) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the folder of the images: %w", err)
	}
	for name, content := range map[string]any{
		descriptorsFile: names,
		optionsFile:     dumpOptions{o.TCPEstablished, o.ExtUnixSk, o.ShellJob, o.FileLocks, o.LinkRemap, o.ManageCgroups, o.EmptyNS},
	} {
		data, err := json.Marshal(content)
		if err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return fmt.Errorf("write beside the images: %w", err)
		}
	}
	return nil
}

// addDumped adds to o what the checkpoint was made with. runc's has no such file.
func addDumped(o *criu.Options) error {
	path := filepath.Join(o.ImagePath, optionsFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	d := dumpOptions{}
	if err == nil {
		err = json.Unmarshal(data, &d)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", path, err, errdefs.ErrInvalidArgument)
	}
	o.TCPEstablished = o.TCPEstablished || d.TCPEstablished
	o.ExtUnixSk = o.ExtUnixSk || d.ExtUnixSk
	o.ShellJob = o.ShellJob || d.ShellJob
	o.FileLocks = o.FileLocks || d.FileLocks
	o.LinkRemap = o.LinkRemap || d.LinkRemap
	if o.ManageCgroups == "" {
		if o.ManageCgroups = d.ManageCgroups; d.ManageCgroups == strictCgroups {
			o.ManageCgroups = "full"
		}
	}
	if o.EmptyNS == nil {
		o.EmptyNS = d.EmptyNS
	}
	return nil
}

// readDescriptors returns the names of the streams in the images.
func readDescriptors(dir string) (names [3]string, err error) {
	path := filepath.Join(dir, descriptorsFile)
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist): // not in its own words, which clients take for a missing command
		err = fmt.Errorf("%s does not exist: these are not the images of a container", path)
	case err == nil:
		err = json.Unmarshal(data, &names)
	}
	if err != nil {
		return names, fmt.Errorf("%w: %w", err, errdefs.ErrInvalidArgument)
	}
	return names, nil
}
