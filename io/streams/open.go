// Package streams ties a process's stdio to what its client asked for: fifos, files, loggers, a terminal.
//
// A process has pipes (or a pty), never the client's fifo itself, which would give it EPIPE and permission errors that are none
// of its business. A relay for each stream moves the bytes; a reader that is stuck stops its own stream only.
package streams

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/errdefs"

	"example.io/shim/io/fifo"
	"example.io/shim/io/internal/nonblock"
	"example.io/shim/io/logger"
	"example.io/shim/io/pipe"
	"example.io/shim/io/target"
)

// Owner says whose streams they are; loggers get ID and Namespace in their environment and Bundle as working directory.
type Owner struct {
	ID, Namespace, Bundle string
	UID, GID              uint32 // owner of the pipes
}

// Config is what the client asks for, as it gave it; see target.Parse. The scheme of Stdout says what kind of output it is.
//
//   - Stdin is a fifo, or empty.
//   - With a logger on Stdout, Stderr is the same URI or empty; the logger gets both streams in either case.
//   - Otherwise each stream follows its own string, and an empty one is /dev/null.
//   - With Terminal, Stderr means nothing and is not looked at.
type Config struct {
	Stdin, Stdout, Stderr string
	Terminal              bool
}

// Opener opens streams. The zero value is ready for use.
type Opener struct {
	// Launch starts loggers.
	Launch logger.Launch
	// Report, if not nil, hears of the first failure of each stream as it happens, from any goroutine; Drain returns it too.
	Report func(error)
}

// Modes of what is made for file://, as containerd's shim makes it; the umask applies.
const (
	logFileMode = 0o644
	logDirMode  = 0o755
)

// Open is Opener's method with the zero value.
func Open(ctx context.Context, owner Owner, cfg Config) (*Set, error) {
	return Opener{}.Open(ctx, owner, cfg)
}

// Open opens what cfg names. It waits for readers of fifos (fifo.OpenLimit, for both outputs together, in any order) and
// for a logger to be ready (logger.ReadyLimit). After an error nothing is left open. Errors name the stream and what the
// client gave for it: errdefs.ErrInvalidArgument for what cannot be meant, and those of packages fifo and logger.
func (o Opener) Open(ctx context.Context, owner Owner, cfg Config) (_ *Set, err error) {
	t, err := parse(cfg)
	if err != nil {
		return nil, err
	}
	s := &Set{terminal: cfg.Terminal, report: o.Report}
	defer func() {
		if err != nil {
			if cerr := s.Close(); cerr != nil {
				err = fmt.Errorf("%w; and cleaning up: %w", err, cerr)
			}
		}
	}()
	if err := s.openStdin(t[0], owner); err != nil {
		return nil, fmt.Errorf("stdin: %w", err)
	}
	if t[1].Kind == target.Binary {
		if err := s.startLogger(ctx, o.Launch, t[1], owner); err != nil {
			return nil, fmt.Errorf("stdout: %w", err)
		}
		return s, nil
	}
	if err := s.openOutputs(ctx, t, owner); err != nil {
		return nil, err
	}
	return s, nil
}

// names are the streams' names by descriptor.
var names = [3]string{"stdin", "stdout", "stderr"}

func parse(cfg Config) (t [3]target.Target, err error) {
	if cfg.Terminal {
		cfg.Stderr = ""
	}
	for i, s := range []string{cfg.Stdin, cfg.Stdout, cfg.Stderr} {
		if t[i], err = target.Parse(s); err != nil {
			return t, fmt.Errorf("%s %q: %w", names[i], s, err)
		}
	}
	switch {
	case t[0].Kind == target.File || t[0].Kind == target.Binary:
		return t, fmt.Errorf("stdin %q: only a fifo can be read from: %w", cfg.Stdin, errdefs.ErrInvalidArgument)
	case t[1].Kind == target.Binary && cfg.Stderr != "" && cfg.Stderr != cfg.Stdout,
		t[1].Kind != target.Binary && t[2].Kind == target.Binary:
		return t, fmt.Errorf("stderr %q: a logger takes both streams, and stdout is %q: %w", cfg.Stderr, cfg.Stdout, errdefs.ErrInvalidArgument)
	}
	return t, nil
}

func (s *Set) openStdin(t target.Target, owner Owner) error {
	if t.Kind == target.None {
		return nil
	}
	r, err := fifo.OpenReader(t.Path)
	if err != nil {
		return err
	}
	s.stdin = r
	if s.terminal {
		return nil
	}
	p, err := pipe.New(pipe.Write, owner.UID, owner.GID)
	if err != nil {
		return err
	}
	s.files[0], s.stdinPipe = p.R, p.W
	return nil
}

// openOutputs waits for the readers of both fifos side by side: a client may open them in either order, one after the other.
func (s *Set) openOutputs(ctx context.Context, t [3]target.Target, owner Owner) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for i := range s.out {
		wg.Go(func() {
			if err := s.out[i].open(ctx, t[1+i]); err != nil {
				once.Do(func() { first = fmt.Errorf("%s: %w", names[1+i], err) })
				cancel() // the other one need not wait any more
			}
		})
	}
	wg.Wait()
	if first != nil {
		return first
	}
	for i := range s.out {
		if s.terminal || t[1+i].Kind == target.None {
			continue
		}
		p, err := pipe.New(pipe.Read, owner.UID, owner.GID)
		if err != nil {
			return fmt.Errorf("%s: %w", names[1+i], err)
		}
		s.out[i].src, s.files[1+i] = p.R, p.W
	}
	return nil
}

func (o *output) open(ctx context.Context, t target.Target) error {
	switch t.Kind {
	case target.FIFO:
		w, err := fifo.OpenWriter(ctx, t.Path)
		if err != nil {
			return err
		}
		o.fifo, o.dst = w, w.File
	case target.File:
		f, err := openLog(t.Path)
		if err != nil {
			return fmt.Errorf("open log file %q: %w", t.Path, nonblock.Explain(err))
		}
		o.dst = f
	}
	return nil
}

// openLog opens without waiting: what lies at the path may be a fifo after all.
func openLog(path string) (*os.File, error) {
	if err := os.MkdirAll(filepath.Dir(path), logDirMode); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|openFlags, logFileMode)
}

// startLogger gives the process the logger's pipes themselves, so that nothing has to be relayed. A terminal is relayed into the one
// for stdout, and the other one ends at once.
func (s *Set) startLogger(ctx context.Context, l logger.Launch, t target.Target, owner Owner) error {
	ours := pipe.Neither
	if s.terminal {
		ours = pipe.Write
	}
	out, err := pipe.New(ours, owner.UID, owner.GID)
	if err != nil {
		return err
	}
	errs, err := pipe.New(pipe.Neither, owner.UID, owner.GID)
	if err != nil {
		return errors.Join(err, nonblock.Close(out.R, out.W))
	}
	if s.terminal {
		s.out[0].dst = out.W
		if err := errs.W.Close(); err != nil {
			return errors.Join(err, nonblock.Close(out.R, errs.R))
		}
	} else {
		s.files[1], s.files[2] = out.W, errs.W
	}
	s.logger, err = logger.Start(ctx, logger.Spec{
		Path: t.Path, Args: t.Args, ID: owner.ID, Namespace: owner.Namespace, Dir: owner.Bundle,
		ReadyByte: t.ReadyByte, Stdout: out.R, Stderr: errs.R,
	}, l)
	return err
}
