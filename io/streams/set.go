package streams

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/io/console"
	"example.io/shim/io/fifo"
	"example.io/shim/io/internal/nonblock"
	"example.io/shim/io/logger"
	"example.io/shim/io/relay"
)

// openFlags: a file that turns out to be something one can wait for must not hold a thread.
const openFlags = unix.O_NONBLOCK | unix.O_NOCTTY

// stopLimit is how long Close waits for relays to end. They end as soon as their files are closed, except where a
// write to a file hangs in the kernel (a disk or NFS server that is gone); that write then outlives its container.
const stopLimit = time.Second

// Set is the streams of one process. Its methods may be called from any goroutine.
type Set struct {
	terminal bool
	report   func(error)
	files    [3]*os.File // the process's ends

	stdin     *fifo.Reader // nil: none
	stdinPipe *os.File     // our end of the process's stdin
	out       [2]output    // stdout and stderr
	logger    *logger.Logger

	mu      sync.Mutex
	started bool
	closed  bool
	console *console.Console
	outputs group // relays that Drain waits for
	relays  group // all relays
	closing atomic.Bool
	once    sync.Once
	cerr    error // of Close
}

// output is one stream of output.
type output struct {
	src  *os.File     // our end of the process's pipe; nil for a terminal and for none
	dst  *os.File     // nil: nowhere
	fifo *fifo.Writer // owns dst if that is a fifo
	err  error        // the first failure; valid when the relay has ended
}

func (o *output) close() error {
	if o.fifo != nil {
		return errors.Join(nonblock.Close(o.src), o.fifo.Close())
	}
	return nonblock.Close(o.src, o.dst)
}

// end is close for a relay that has passed everything on: the client gets its EOF, and Flush can still see whether it has read what comes before that.
func (o *output) end() error {
	if o.fifo != nil {
		return errors.Join(nonblock.Close(o.src), o.fifo.End())
	}
	return o.close()
}

// unread says that bytes are on their way to a fifo's reader, or wait for a relay. A splice takes them from the one pipe and puts them into the other
// in one step, so that none is overlooked when the source is asked first.
func (o *output) unread() bool {
	return nonblock.Pending(o.src) > 0 || o.fifo != nil && o.fifo.Unread() > 0
}

// group counts relays down.
type group struct {
	n    atomic.Int32
	done chan struct{}
}

func (g *group) begin(n int) {
	g.done = make(chan struct{})
	if g.n.Store(int32(n)); n == 0 {
		close(g.done)
	}
}

func (g *group) leave() {
	if g.n.Add(-1) == 0 {
		close(g.done)
	}
}

// Files are the process's fds 0 to 2, blocking and close-on-exec; all nil with a terminal, nil entries mean /dev/null. They belong
// to the Set and are open until Started or Close.
func (s *Set) Files() [3]*os.File { return s.files }

// Started closes our copies of Files, without which no stream would ever end, and starts the relays. With a terminal, master is the
// pty's master end, which the Set takes over and closes, also after an error; without one it is nil. It is called once, when
// the process has its stdio: errdefs.ErrFailedPrecondition the second time and after Close.
func (s *Set) Started(master *os.File) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.startable(master); err != nil {
		return errors.Join(err, nonblock.Close(master))
	}
	var jobs, outputs []func()
	if s.terminal {
		c, err := console.New(master)
		if err != nil {
			return err
		}
		s.console = c
		outputs = append(outputs, s.relayConsole)
		if s.stdin != nil {
			jobs = append(jobs, s.relayTyping)
		}
	} else {
		for i := range s.out {
			if s.out[i].src != nil {
				outputs = append(outputs, func() { s.relayOutput(i) })
			}
		}
		if s.stdin != nil {
			jobs = append(jobs, s.relayInput)
		}
	}
	s.started = true
	s.outputs.begin(len(outputs))
	s.relays.begin(len(outputs) + len(jobs))
	for _, run := range outputs {
		go func() { defer s.relays.leave(); defer s.outputs.leave(); run() }()
	}
	for _, run := range jobs {
		go func() { defer s.relays.leave(); run() }()
	}
	if err := nonblock.Close(s.files[:]...); err != nil {
		return fmt.Errorf("close our copies of the process's stdio: %w", err)
	}
	return nil
}

func (s *Set) startable(master *os.File) error {
	switch {
	case s.closed:
		return fmt.Errorf("start streams: they were closed: %w", errdefs.ErrFailedPrecondition)
	case s.started:
		return fmt.Errorf("start streams: they were started already: %w", errdefs.ErrFailedPrecondition)
	case s.terminal != (master != nil):
		return fmt.Errorf("start streams: terminal is %t, but the console is there: %t: %w", s.terminal, master != nil, errdefs.ErrInvalidArgument)
	}
	return nil
}

// relayOutput ends at the pipe's EOF, and then the client's fifo ends too.
func (s *Set) relayOutput(i int) {
	o := &s.out[i]
	s.outlive(names[1+i], o, func() error { return relay.Run(o.dst, o.src) }, func() error { return relay.Discard(o.src) })
	s.note(&o.err, names[1+i], o.end())
}

// relayConsole ends when the last process has closed the terminal; the console stays open for Resize.
func (s *Set) relayConsole() {
	o := &s.out[0]
	s.outlive("console", o, func() error { return s.console.Output(o.dst) }, func() error { return s.console.Output(nil) })
	s.note(&o.err, "console", o.end())
}

// outlive runs a relay so that a destination that fails does not stop the process that writes: a program must not die of SIGPIPE, or
// hang, because its log's disk is full. What cannot be written is lost, and reported; the next bytes are tried
// again, except on a pipe that nobody can read any more.
func (s *Set) outlive(name string, o *output, run, discard func() error) {
	for {
		err := run()
		s.note(&o.err, name, err)
		var e *relay.Error
		if s.closing.Load() || !errors.As(err, &e) || e.Side != relay.Destination {
			return
		}
		if errors.Is(err, unix.EPIPE) {
			run = discard
		}
	}
}

// relayInput ends at the client's EOF, or when the process has closed its stdin, which the client then gets as EPIPE.
func (s *Set) relayInput() {
	err := relay.Run(s.stdinPipe, s.stdin.File)
	if errors.Is(err, unix.EPIPE) {
		err = nil
	}
	var first error
	s.note(&first, names[0], err)
	s.note(&first, names[0], errors.Join(nonblock.Close(s.stdinPipe), s.stdin.Close()))
}

// relayTyping ends at the client's EOF, which does not close the terminal.
func (s *Set) relayTyping() {
	var first error
	s.note(&first, names[0], s.console.Input(s.stdin.File))
	s.note(&first, names[0], s.stdin.Close())
}

// note keeps and reports a stream's first failure. What fails because Close has closed it is none.
func (s *Set) note(first *error, name string, err error) {
	if err == nil || *first != nil || s.closing.Load() {
		return
	}
	*first = fmt.Errorf("relay %s: %w", name, err)
	if s.report != nil {
		s.report(*first)
	}
}

// CloseStdin closes our write end of stdin. It does not wait, for the process may never read: what the client wrote before is passed
// on, and EOF follows it once the client has closed its end too. Without stdin it does nothing. Idempotent.
func (s *Set) CloseStdin() error {
	if s.stdin == nil {
		return nil
	}
	if err := s.stdin.Release(); err != nil {
		return fmt.Errorf("close stdin: %w", err)
	}
	return nil
}

// Resize sets the console's size in characters; without a console it does nothing. Errors: console.Console.Resize.
func (s *Set) Resize(width, height uint32) error {
	s.mu.Lock()
	c := s.console
	s.mu.Unlock()
	if c == nil {
		return nil
	}
	return c.Resize(width, height)
}

// Drain waits until all output was passed on and a logger has ended, or ctx. Processes that outlive theirs and hold its stdio keep it
// waiting. It is to be called after the exit event was sent: loggers exist (nerdctl's) that wait for that. It returns the
// first failure of each output, too. Before Started there is nothing to wait for.
func (s *Set) Drain(ctx context.Context) error {
	s.mu.Lock()
	started := s.started
	s.mu.Unlock()
	if !started {
		return nil
	}
	if !nonblock.Await(ctx, s.outputs.done) {
		return fmt.Errorf("drain output: %w", context.Cause(ctx))
	}
	errs := []error{s.out[0].err, s.out[1].err}
	if s.logger != nil {
		errs = append(errs, s.logger.Wait(ctx))
	}
	return errors.Join(errs...)
}

// While Flush waits it looks again after flushFirst, then after twice as long each time up to flushMost: nothing in the kernel tells that a pipe has become
// empty. A reader that waits in read(2) takes its bytes within the first; a machine under load needs milliseconds to run it.
const (
	flushFirst = 50 * time.Microsecond
	flushMost  = 2 * time.Millisecond
)

// Flush waits until the client has read from its fifos what has been written so far, or ctx ends. A client that has seen an exit may close its end and
// lose what it has not read: containerd's Go library does that. Of a console it waits for the end. It is not for loggers, which read up to their EOF.
func (s *Set) Flush(ctx context.Context) {
	for pause := flushFirst; !s.flushed(); pause = min(2*pause, flushMost) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func (s *Set) flushed() bool {
	s.mu.Lock()
	idle := s.closed || !s.started
	s.mu.Unlock()
	if idle {
		return true
	}
	if s.terminal {
		select { // the bytes between the master's read and the fifo's write are in neither
		case <-s.outputs.done:
		default:
			return false
		}
	}
	return !s.out[0].unread() && !s.out[1].unread()
}

// Close gives everything up at once: what was not passed on is lost. Only a logger that has not ended yet gets a bounded time to read
// what is left; see logger.Logger.Stop. Idempotent; every call returns what the first did.
func (s *Set) Close() error {
	s.once.Do(func() { s.cerr = s.close() })
	return s.cerr
}

func (s *Set) close() error {
	s.mu.Lock()
	s.closed = true
	started := s.started
	s.closing.Store(true)
	s.mu.Unlock()

	errs := []error{nonblock.Close(s.files[:]...), nonblock.Close(s.stdinPipe), s.out[0].close(), s.out[1].close()}
	if s.stdin != nil {
		errs = append(errs, s.stdin.Close())
	}
	if s.console != nil {
		errs = append(errs, s.console.Close())
	}
	if started {
		errs = append(errs, s.awaitRelays())
	}
	if s.logger != nil {
		errs = append(errs, s.logger.Stop())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close streams: %w", err)
	}
	return nil
}

func (s *Set) awaitRelays() error {
	t := time.NewTimer(stopLimit)
	defer t.Stop()
	select {
	case <-s.relays.done:
		return nil
	case <-t.C:
		return fmt.Errorf("a write to a file has hung for %v: %w", stopLimit, context.DeadlineExceeded)
	}
}
