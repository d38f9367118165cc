package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"

	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/run"
	"example.io/shim/linux/spec"
)

// execFailed is the exit code when the process could not be run: its own codes are below.
const execFailed = 255

var execCommand = command{
	name: "exec", args: idArg + " COMMAND [ARGUMENTS]", min: 1, max: -1, stops: true,
	short: "run a further process in a container",
	long:  "The process is like the container's first, changed by the options, or is what a file says (--process). The exit code is the process's, 255 if it was not run.",
	setup: func(a *app, fs *pflag.FlagSet) func([]string) error {
		o := &execOptions{}
		fs.StringVar(&o.consoleSocket, "console-socket", "", "send the terminal's master by the Unix socket `PATH`")
		fs.StringVar(&o.pidfdSocket, "pidfd-socket", "", "send a pidfd of the process by the Unix socket `PATH`")
		fs.StringVar(&o.cwd, "cwd", "", "working directory")
		fs.StringArrayVarP(&o.env, "env", "e", nil, "set `NAME=VALUE` in the environment")
		fs.BoolVarP(&o.tty, "tty", "t", false, "give the process a terminal")
		fs.StringVarP(&o.user, "user", "u", "", "run as `UID[:GID]`")
		fs.IntSliceVarP(&o.gids, "additional-gids", "g", nil, "additional groups")
		fs.StringVarP(&o.process, "process", "p", "", "`FILE` with the process as JSON")
		fs.BoolVarP(&o.detach, "detach", "d", false, "do not wait for the process")
		fs.StringVar(&o.pidFile, "pid-file", "", "write the process's pid to `FILE`")
		fs.StringVar(&o.label, "process-label", "", "SELinux label of the process")
		fs.StringVar(&o.apparmor, "apparmor", "", "AppArmor profile of the process")
		fs.BoolVar(&o.noNewPrivs, "no-new-privs", false, "let the process gain no privileges")
		fs.StringArrayVarP(&o.caps, "cap", "c", nil, "add a capability to the process's")
		fs.IntVar(&o.preserveFDs, "preserve-fds", 0, "hand `N` descriptors from 3 on to the process")
		fs.StringArrayVar(&o.cgroups, "cgroup", nil, "run in the cgroup `[CONTROLLERS:]PATH` below the container's")
		fs.BoolVar(&o.ignorePaused, "ignore-paused", false, "run in a paused container too")
		return func(args []string) error {
			err := a.exec(args[0], args[1:], o)
			var code exitCode
			if err == nil || errors.As(err, &code) {
				return err
			}
			return &failure{execFailed, startFailure("exec", err)}
		}
	},
}

type execOptions struct {
	consoleSocket, pidfdSocket, cwd, user, process, pidFile, label, apparmor string
	env, caps, cgroups                                                       []string
	gids                                                                     []int
	tty, detach, noNewPrivs, ignorePaused                                    bool
	preserveFDs                                                              int
}

func (a *app) exec(id string, args []string, o *execOptions) error {
	ctx := context.Background()
	if o.process == "" && len(args) == 0 {
		return errors.New("process args cannot be empty")
	}
	c, err := a.use(id)
	if err != nil {
		return err
	}
	defer c.Close()
	status, err := c.Status()
	switch {
	case err != nil:
		return err
	case status == run.Stopped:
		return errors.New("cannot exec in a stopped container")
	case status == run.Creating:
		return errors.New("cannot exec in a container that is still being created")
	case status == run.Paused && !o.ignorePaused:
		return errors.New("cannot exec in a paused container (use --ignore-paused to override)")
	}
	s, err := c.Spec()
	if err != nil {
		return err
	}
	p, err := o.processOf(s, args)
	if err != nil {
		return err
	}
	if err := checkTerminal(p.Terminal, o.detach, o.consoleSocket); err != nil {
		return err
	}
	dirs, err := subCgroups(c.State().CgroupDirs, o.cgroups)
	if err != nil {
		return err
	}
	sigs, err := listen(!o.detach)
	if err != nil {
		return err
	}
	proc, err := c.Exec(ctx, run.ExecRequest{ExecID: "process", Process: p, Usual: o.process == "", Terminal: p.Terminal, CgroupDirs: dirs, PreserveFDs: o.preserveFDs,
		Detach: o.detach, Stdio: [3]*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		return err
	}
	if err := handOut(proc, o.consoleSocket, o.pidfdSocket, o.pidFile); err != nil {
		return errors.Join(err, proc.Signal(9))
	}
	if o.detach {
		return nil
	}
	t, err := a.attach(proc, p, true)
	if err != nil {
		return errors.Join(err, proc.Signal(9))
	}
	defer t.close()
	code := sigs.forward(proc, t)
	t.drain()
	if code != 0 {
		t.close()
		return exitCode(code)
	}
	return nil
}

// processOf returns the process that the options ask for.
func (o *execOptions) processOf(s *specs.Spec, args []string) (*specs.Process, error) {
	if o.process != "" {
		data, err := os.ReadFile(o.process)
		if err != nil {
			return nil, err
		}
		p, err := spec.ParseProcess(data)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.process, err)
		}
		return p, nil
	}
	p := *s.Process
	p.Args, p.Terminal, p.ConsoleSize = args, o.tty, nil
	p.Env = append(append([]string{}, p.Env...), o.env...)
	p.NoNewPrivileges = p.NoNewPrivileges || o.noNewPrivs
	if o.cwd != "" {
		p.Cwd = o.cwd
	}
	if o.apparmor != "" {
		p.ApparmorProfile = o.apparmor
	}
	if o.label != "" {
		p.SelinuxLabel = o.label
	}
	if len(o.caps) > 0 {
		p.Capabilities = addCaps(p.Capabilities, o.caps)
	}
	if o.user != "" {
		user, err := parseUser(o.user)
		if err != nil {
			return nil, err
		}
		user.Umask = p.User.Umask
		p.User = user
	}
	if len(o.gids) > 0 {
		p.User.AdditionalGids = nil
		for _, g := range o.gids {
			if g < 0 || int64(g) > maxID {
				return nil, fmt.Errorf("additional-gids: %d is no group", g)
			}
			p.User.AdditionalGids = append(p.User.AdditionalGids, uint32(g))
		}
	}
	return &p, nil
}

// addCaps adds to a copy of the sets. The inheritable one stays as it is (CVE-2022-29162): what is in it can be ambient.
func addCaps(c *specs.LinuxCapabilities, more []string) *specs.LinuxCapabilities {
	out := specs.LinuxCapabilities{}
	if c != nil {
		out = *c
	}
	add := func(list []string, names ...string) []string { return append(append([]string{}, list...), names...) }
	out.Bounding, out.Effective, out.Permitted = add(out.Bounding, more...), add(out.Effective, more...), add(out.Permitted, more...)
	for _, name := range more {
		if slices.Contains(out.Inheritable, name) {
			out.Ambient = add(out.Ambient, name)
		}
	}
	return &out
}

// maxID is the highest id: the one above means "no change" to the kernel.
const maxID = 1<<32 - 2

// parseUser parses UID[:GID], whole numbers and nothing else.
func parseUser(text string) (u specs.User, err error) {
	uid, gid, has := strings.Cut(text, ":")
	number := func(s string) (uint32, error) {
		n, err := strconv.ParseUint(s, 10, 32)
		if err != nil || n > maxID {
			return 0, fmt.Errorf("user %q: %q is no id", text, s)
		}
		return uint32(n), nil
	}
	if u.UID, err = number(uid); err != nil {
		return u, err
	}
	if has {
		u.GID, err = number(gid)
	}
	return u, err
}

// subCgroups returns the directories below the container's that --cgroup names: PATH for all, CONTROLLERS:PATH for some (cgroup v1).
func subCgroups(dirs []files.Dir, list []string) ([]files.Dir, error) {
	if len(list) == 0 {
		return nil, nil
	}
	out := append([]files.Dir{}, dirs...)
	for _, one := range list {
		controllers, sub, some := strings.Cut(one, ":")
		if !some {
			controllers, sub = "", one
		}
		if clean := path.Join("/", sub); sub != "" && strings.Contains("/"+sub+"/", "/../") {
			return nil, fmt.Errorf("bad sub cgroup path: %s (%s)", sub, clean)
		}
		if !some {
			for i := range out {
				out[i].Path = path.Join(dirs[i].Path, sub)
			}
			continue
		}
		for name := range strings.SplitSeq(controllers, ",") {
			found := false
			for i := range out {
				if dirs[i].Has(name) {
					out[i].Path, found = path.Join(dirs[i].Path, sub), true
				}
			}
			if !found {
				return nil, fmt.Errorf("unknown controller %s in --cgroup", name)
			}
		}
	}
	return out, nil
}
