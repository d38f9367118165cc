package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/linux/children"
	"example.io/shim/linux/host"
	"example.io/shim/linux/plan"
	"example.io/shim/linux/run"
)

// timeLimit bounds a throw-away container: a mount or hook that hangs.
const timeLimit = time.Minute

// explainTime takes the bundle's container through its life once, its program killed as soon as it was executed, and prints where the time went. The
// clock of the steps is read by one more system call each, which all figures hold.
func explainTime(w io.Writer, r run.Request) (err error) {
	if _, err := os.Lstat(filepath.Join(r.Bundle, run.StateFile)); err == nil {
		return fmt.Errorf("explain: %s has a container, of which %s tells: %w", r.Bundle, run.StateFile, errdefs.ErrFailedPrecondition)
	}
	r.ID = fmt.Sprintf("%s-time-%d", r.ID, os.Getpid())
	if err := children.Subreaper(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeLimit)
	defer cancel()
	begin := time.Now()
	part := func(what string) {
		_, e := fmt.Fprintf(w, "%9.3f ms  %s\n", float64(time.Since(begin).Nanoseconds())/1e6, what)
		err = errors.Join(err, e)
		begin = time.Now()
	}
	facts, err := host.Probe()
	if err != nil {
		return err
	}
	part("probe the machine")
	s, err := run.LoadSpec(r.Bundle)
	if err != nil {
		return err
	}
	part("read and validate config.json")
	r.Terminal = s.Process.Terminal
	p, err := run.Compile(r, s, facts)
	if err != nil {
		return err
	}
	part("compile")
	if err := plan.Verify(p); err != nil {
		return err
	}
	part("verify")
	var times plan.Times
	begin = time.Now()
	c, err := run.Create(ctx, &run.Deps{Facts: facts, ArmOOM: armOOM, Log: logf, Times: func(t plan.Times) { times = t }}, r)
	if err != nil {
		return err
	}
	part("create, the above and the plan's steps up to the gate")
	started := c.Start(ctx)
	part("start, the steps behind the gate")
	killed := c.Init().Signal(unix.SIGKILL)
	<-c.Init().Done()
	part("kill to exit")
	deleted := c.Delete(ctx)
	part("delete")
	if w := c.OOM(); w != nil {
		deleted = errors.Join(deleted, w.Close())
	}
	if f := c.Init().Console(); f != nil {
		_ = f.Close()
	}
	if errors.Is(killed, children.ErrFinished) { // its program was quicker
		killed = nil
	}
	if err := errors.Join(err, started, killed, deleted); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(w); err != nil {
		return err
	}
	return plan.PrintTimes(w, times)
}
