// Package logger starts and stops the programs to which a container's output is handed (binary:// and binary-v2://).
//
// The protocol is containerd's: fd 3 is the container's stdout, fd 4 its stderr, and fd 5 is where the logger says that it is ready;
// CONTAINER_ID and CONTAINER_NAMESPACE are all of its environment. SIGTERM asks it to end.
package logger

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/io/internal/nonblock"
	"example.io/shim/io/pipe"
)

// ReadyLimit is how long a logger may take to say that it is ready. containerd's shim sets no limit and hangs for ever; loggers
// connect to journald or over the network first, and about as long is what that shim gives them to end.
const ReadyLimit = 10 * time.Second

// How long Stop waits, in all less than the 5 s that containerd gives a shim's clean-up.
const (
	eofGrace  = 2 * time.Second // for the logger to end by itself, having read everything up to EOF
	termGrace = time.Second     // for what it does on SIGTERM
	killLimit = time.Second     // for the kernel to end it after SIGKILL
)

// Launch starts programs and waits for them. A subreaper that reaps orphans has to know its own children, so it comes between
// here; nil functions mean exec.Cmd's methods.
type Launch struct {
	Start func(*exec.Cmd) error
	// Wait is called once for each command that was started, as a rule when it has ended. It may have been reaped by then, as
	// long as Wait returns how it ended.
	Wait func(*exec.Cmd) error
}

// Spec says which logger to start.
type Spec struct {
	Path          string // absolute
	Args          []string
	ID, Namespace string
	Dir           string // working directory; empty: the shim's
	ReadyByte     bool   // EOF on fd 5 without a byte is a failure (binary-v2)
	// Stdout and Stderr are the pipes' blocking read ends. Start closes them in any case.
	Stdout, Stderr *os.File
}

// Logger is a program that runs.
type Logger struct {
	cmd  *exec.Cmd
	path string
	done chan struct{}
	exit error // how it ended; after done
}

// Start starts a logger and waits up to ReadyLimit until it is ready. After an error nothing of it is left. Errors name the
// path; errdefs.ErrFailedPrecondition when it does not exist or may not be executed, context.DeadlineExceeded when it was not
// ready in time, the context's error when that ended.
func Start(ctx context.Context, s Spec, l Launch) (*Logger, error) {
	return start(ctx, s, l, ReadyLimit)
}

func start(ctx context.Context, s Spec, l Launch, limit time.Duration) (_ *Logger, err error) {
	ready, err := pipe.New(pipe.Read, 0, 0)
	if err != nil {
		return nil, errors.Join(err, nonblock.Close(s.Stdout, s.Stderr))
	}
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Env = []string{"CONTAINER_ID=" + s.ID, "CONTAINER_NAMESPACE=" + s.Namespace}
	cmd.Dir = s.Dir
	cmd.ExtraFiles = []*os.File{s.Stdout, s.Stderr, ready.W}
	if l.Start == nil {
		l.Start = (*exec.Cmd).Start
	}
	if l.Wait == nil {
		l.Wait = (*exec.Cmd).Wait
	}
	err = l.Start(cmd)
	cerr := nonblock.Close(s.Stdout, s.Stderr, ready.W)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start logger %q: %w", s.Path, nonblock.Explain(err)), cerr, nonblock.Close(ready.R))
	}
	lg := &Logger{cmd: cmd, path: s.Path, done: make(chan struct{})}
	go lg.reap(l.Wait)
	if err := errors.Join(lg.awaitReady(ctx, ready.R, s.ReadyByte, limit), cerr); err != nil {
		return nil, errors.Join(fmt.Errorf("start logger %q: %w", s.Path, err), lg.kill())
	}
	return lg, nil
}

// reap waits for the end in the runtime's poller, because exec.Cmd.Wait would hold a thread for all of the logger's life.
func (l *Logger) reap(wait func(*exec.Cmd) error) {
	defer close(l.done)
	_ = awaitEnd(l.cmd.Process.Pid) // where this fails (no descriptor is left, say) wait still does it, at the price of a thread
	l.exit = wait(l.cmd)
}

// awaitEnd returns when process pid, a child, has ended; pidfd_open(2).
func awaitEnd(pid int) error {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return fmt.Errorf("pidfd_open: %w", err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	conn, err := f.SyscallConn()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	var perr error
	err = conn.Read(func(fd uintptr) bool {
		var ended bool
		ended, perr = nonblock.Ready(fd, unix.POLLIN)
		return ended || perr != nil
	})
	return errors.Join(err, perr, f.Close())
}

// awaitReady closes ready.
func (l *Logger) awaitReady(ctx context.Context, ready *os.File, needByte bool, limit time.Duration) (err error) {
	defer func() { err = errors.Join(err, nonblock.Close(ready)) }()
	if err := ready.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return fmt.Errorf("limit the wait for readiness: %w", err)
	}
	stop := context.AfterFunc(ctx, func() {
		_ = ready.SetReadDeadline(time.Unix(1, 0)) // fails only once ready is closed, when nobody waits
	})
	defer stop()
	var b [1]byte
	_, err = ready.Read(b[:])
	switch {
	case err == nil, errors.Is(err, io.EOF) && !needByte:
		return nil
	case errors.Is(err, io.EOF):
		return errors.New("it closed fd 5 without writing the byte that says it is ready" + l.howEnded())
	case ctx.Err() != nil:
		return fmt.Errorf("it was not ready yet: %w", context.Cause(ctx))
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("it was not ready within %v: %w", limit, context.DeadlineExceeded)
	}
	return fmt.Errorf("wait until it is ready: %w", err)
}

// howEnded is the end of an error's text. A program that dies has its files closed a moment before it can be reaped.
func (l *Logger) howEnded() string {
	if !l.ended(killLimit) || l.exit == nil {
		return ""
	}
	return "; it ended: " + l.exit.Error()
}

// Wait waits until the logger has ended, or ctx. A logger that failed is an error.
func (l *Logger) Wait(ctx context.Context) error {
	if !nonblock.Await(ctx, l.done) {
		return fmt.Errorf("logger %q still runs: %w", l.path, context.Cause(ctx))
	}
	if l.exit != nil {
		return fmt.Errorf("logger %q: %w", l.path, l.exit)
	}
	return nil
}

// Stop ends the logger, whose pipes the caller has closed: it gets 2 s to read up to EOF, which somebody else who holds the
// pipe can keep from it, then SIGTERM and 1 s, then SIGKILL. How it ended is no error, for Wait says that; that it
// could not be ended is.
func (l *Logger) Stop() error {
	if l.ended(eofGrace) {
		return nil
	}
	if err := l.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if l.ended(termGrace) {
		return nil
	}
	return l.kill()
}

func (l *Logger) kill() error {
	if err := l.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if !l.ended(killLimit) {
		return fmt.Errorf("logger %q (pid %d) did not end within %v of SIGKILL: %w", l.path, l.cmd.Process.Pid, killLimit, context.DeadlineExceeded)
	}
	return nil
}

func (l *Logger) signal(sig syscall.Signal) error {
	if err := l.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("send %v to logger %q: %w", sig, l.path, err)
	}
	return nil
}

func (l *Logger) ended(within time.Duration) bool {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case <-l.done:
		return true
	case <-t.C:
		return false
	}
}
