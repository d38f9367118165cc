package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"

	"example.io/shim/io/console"
	"example.io/shim/linux/run"
	"example.io/shim/linux/signalpipe"
)

// terminal connects a process's terminal with ours. nil is a process without one.
type terminal struct {
	console *console.Console
	host    int           // our terminal's descriptor, -1 without one
	saved   *unix.Termios // its mode before
	shown   chan struct{} // closed when all output was written
	once    sync.Once
}

// attach connects the process's terminal with ours, which is raw from then on: what is typed, control characters too, is for the container.
func (a *app) attach(p *run.Process, ps *specs.Process, foreground bool) (*terminal, error) {
	master := p.Console()
	if master == nil || !foreground {
		return nil, nil
	}
	if err := oneNewline(master); err != nil {
		return nil, errors.Join(err, master.Close())
	}
	c, err := console.New(master)
	if err != nil {
		return nil, err
	}
	t := &terminal{console: c, host: -1, shown: make(chan struct{})}
	for fd := range 3 {
		if _, err := unix.IoctlGetTermios(fd, unix.TCGETS); err == nil {
			t.host = fd
			break
		}
	}
	if t.host >= 0 {
		if ps.ConsoleSize == nil {
			t.resize()
		}
		if err := t.raw(); err != nil {
			t.close()
			return nil, err
		}
	}
	go func() {
		defer close(t.shown)
		if err := c.Output(os.Stdout); err != nil {
			a.log.warn("the container's output: %v", err)
		}
	}()
	go func() { _ = c.Input(os.Stdin) }() // it ends with the terminal, or with us
	return t, nil
}

// oneNewline keeps the container's terminal from making CR LF of a newline: ours does that, and a pipe wants none (termios(3), ONLCR).
func oneNewline(master *os.File) error {
	raw, err := master.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		m, err := unix.IoctlGetTermios(int(fd), unix.TCGETS)
		if err == nil {
			m.Oflag &^= unix.ONLCR
			err = unix.IoctlSetTermios(int(fd), unix.TCSETS, m)
		}
		failed = err
	})
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("set the mode of the container's terminal: %w", err)
	}
	return nil
}

// raw is cfmakeraw(3), but output processing stays: see oneNewline.
func (t *terminal) raw() error {
	old, err := unix.IoctlGetTermios(t.host, unix.TCGETS)
	if err != nil {
		return fmt.Errorf("get the terminal's mode: %w", err)
	}
	m := *old
	m.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON
	m.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	m.Cflag = m.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	m.Cc[unix.VMIN], m.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(t.host, unix.TCSETS, &m); err != nil {
		return fmt.Errorf("set the terminal's mode: %w", err)
	}
	t.saved = old
	return nil
}

// resize gives the container's terminal the size of ours.
func (t *terminal) resize() {
	if t == nil || t.host < 0 {
		return
	}
	if ws, err := unix.IoctlGetWinsize(t.host, unix.TIOCGWINSZ); err == nil && ws.Row > 0 && ws.Col > 0 {
		_ = t.console.Resize(uint32(ws.Col), uint32(ws.Row)) // it may have ended
	}
}

// drainLimit is how long output is waited for that comes after the process's end: a process that it left behind may keep the terminal.
const drainLimit = time.Second

func (t *terminal) drain() {
	if t == nil {
		return
	}
	select {
	case <-t.shown:
	case <-time.After(drainLimit):
	}
}

// close gives our terminal its mode back. Idempotent.
func (t *terminal) close() {
	if t == nil {
		return
	}
	t.once.Do(func() {
		if t.saved != nil {
			_ = unix.IoctlSetTermios(t.host, unix.TCSETS, t.saved)
		}
		_ = t.console.Close()
	})
}

// signals takes the signals that are sent to us while we stand for the container's process.
type signals struct{ c chan os.Signal }

// signalQueue is as many signals as may come while one is passed on.
const signalQueue = 64

// rare are the signals that an instruction can cause, and those that Go's runtime uses itself: os/signal alone can take them, for some 50 µs each. They are taken after
// rareAfter: a process that has ended by then, as most do that are run in a container that is there already, does not pay for them.
var rare = []os.Signal{unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE, unix.SIGSEGV, unix.SIGSTKFLT, unix.SIGPROF, unix.SIGSYS}

// rareAfter is when a process is no short one.
const rareAfter = 50 * time.Millisecond

// common are the others, but those that cannot be taken and SIGCHLD and SIGURG, which mean ourselves: children, and goroutines to be interrupted. The first
// real-time signals are a C library's (nptl(7)).
var common = sync.OnceValue(func() (list []syscall.Signal) {
	const firstOfLibrary, lastOfLibrary, last = 32, 34, 64
	for s := unix.SIGHUP; s <= last; s++ {
		switch {
		case s == unix.SIGKILL, s == unix.SIGSTOP, s == unix.SIGCHLD, s == unix.SIGURG, s >= firstOfLibrary && s <= lastOfLibrary, slices.Contains(rare, os.Signal(s)):
		default:
			list = append(list, s)
		}
	}
	return list
})

// listen begins to take signals, before there is a process: one that comes early waits for it. They are taken up to our end: what is done after the
// process's, as removing its container, is not to be cut short.
func listen(foreground bool) (*signals, error) {
	s := &signals{c: make(chan os.Signal, signalQueue)}
	if !foreground {
		return s, nil
	}
	return s, signalpipe.Take(common(), func(sig syscall.Signal) { s.c <- sig })
}

// forward passes signals on until the process has ended, and returns its exit status.
func (s *signals) forward(p *run.Process, t *terminal) int {
	later := time.After(rareAfter)
	for {
		select {
		case <-later:
			signal.Notify(s.c, rare...)
		case <-p.Done():
			status, _ := p.Exit()
			return int(status)
		case sig := <-s.c:
			switch n, _ := sig.(unix.Signal); n {
			case unix.SIGPIPE: // of our own: a reader who left
			case unix.SIGWINCH:
				t.resize()
			default:
				_ = p.Signal(n) // it may have ended
			}
		}
	}
}
