package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"example.io/shim/linux/criu"
	"example.io/shim/linux/run"
)

var checkpointCommand = command{
	name: "checkpoint", args: idArg, min: 1, max: 1,
	short: "write a running container to files, by CRIU",
	long:  "The container's processes end when they are written, unless --leave-running or --pre-dump is given.",
	setup: func(a *app, fs *pflag.FlagSet) func([]string) error {
		o := &criu.Options{}
		status := criuFlags(fs, o)
		fs.StringVar(&o.ParentPath, "parent-path", "", "folder of an earlier dump, relative to the image path: only what was written since is dumped")
		fs.BoolVar(&o.LeaveRunning, "leave-running", false, "leave the container running")
		fs.BoolVar(&o.PreDump, "pre-dump", false, "write memory only, and leave the container running")
		fs.StringVar(&o.PageServer, "page-server", "", "send memory to the page server at `HOST:PORT`")
		return func(args []string) error {
			if err := settleImages(o, *status); err != nil {
				return err
			}
			if err := o.CheckParent(); err != nil {
				return fmt.Errorf("--parent-path: %w", err)
			}
			c, err := a.use(args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			s, err := c.Status()
			switch {
			case err != nil:
				return err
			case c.Supervised():
				return supervised("checkpoint")
			case s != run.Running && s != run.Paused:
				return fmt.Errorf("Container cannot be checkpointed in %s state", s) //nolint:staticcheck // runc's text
			}
			if err := c.Checkpoint(context.Background(), *o, s == run.Paused); err != nil {
				return fmt.Errorf("%s failed: %w", verb("checkpoint"), err)
			}
			if o.LeaveRunning || o.PreDump {
				return nil
			}
			return c.Remove(context.Background())
		}
	},
}

var restoreCommand = command{
	name: "restore", args: idArg, min: 1, max: 1,
	short: "make a container of a checkpoint, by CRIU",
	setup: func(a *app, fs *pflag.FlagSet) func([]string) error {
		l := launchFlags(fs)
		o := &criu.Options{}
		status := criuFlags(fs, o)
		fs.BoolVarP(&l.detach, "detach", "d", false, "do not wait: leave the container running")
		noSubreaper := fs.Bool("no-subreaper", false, "do not become the parent of orphaned processes of the container")
		fs.StringVar(&o.LSMProfile, "lsm-profile", "", "`TYPE:NAME` of the security profile instead of the dumped one")
		fs.StringVar(&o.LSMMountContext, "lsm-mount-context", "", "context of mounts instead of the dumped one")
		return func(args []string) error {
			if err := settleImages(o, *status); err != nil {
				return err
			}
			l.restore = o
			return a.runContainer("restore", args[0], l, false, *noSubreaper)
		}
	},
}

// criuFlags are the options that both have. It returns the descriptor of --status-fd.
func criuFlags(fs *pflag.FlagSet, o *criu.Options) *int {
	fs.StringVar(&o.ImagePath, "image-path", "checkpoint", "folder of the images, `DIR`")
	fs.StringVar(&o.WorkPath, "work-path", "", "folder of logs and statistics, `DIR`")
	fs.BoolVar(&o.TCPEstablished, "tcp-established", false, "take open TCP connections along")
	fs.BoolVar(&o.TCPSkipInFlight, "tcp-skip-in-flight", false, "leave out TCP connections that are being made")
	fs.BoolVar(&o.LinkRemap, "link-remap", false, "give unlinked files a name meanwhile")
	fs.BoolVar(&o.ExtUnixSk, "ext-unix-sk", false, "allow Unix sockets whose other end is outside")
	fs.BoolVar(&o.ShellJob, "shell-job", false, "allow processes of a session outside")
	fs.BoolVar(&o.FileLocks, "file-locks", false, "take file locks along")
	fs.BoolVar(&o.LazyPages, "lazy-pages", false, "move memory page by page, when it is needed")
	fs.BoolVar(&o.AutoDedup, "auto-dedup", false, "free what of earlier images is not needed any more")
	fs.StringVar(&o.ManageCgroups, "manage-cgroups-mode", "", "soft, full, strict, props, none or ignore")
	fs.StringSliceVar(&o.EmptyNS, "empty-ns", nil, "do not restore what is in that namespace: network")
	return fs.Int("status-fd", -1, "write a NUL byte to the descriptor `FD` when the page server is ready")
}

func settleImages(o *criu.Options, status int) error {
	for _, p := range []*string{&o.ImagePath, &o.WorkPath} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	if status >= 0 {
		if o.StatusFD = os.NewFile(uintptr(status), "status"); o.StatusFD == nil {
			return errors.New("--status-fd: no such descriptor")
		}
	}
	return nil
}
