package shim

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/process"
	"example.io/shim/shim/ttrpc"
)

// Daemon is what the daemon needs from outside.
type Daemon struct {
	Runtime process.Runtime
	IO      process.IO
	// Prepare makes the process a subreaper; it is called before anything else is started.
	Prepare func() error
	// Signals calls f for each signal that would end the process, or SIGUSR1, from now on.
	Signals func(f func(syscall.Signal)) error
	// Trim gives back what is no heap, once the start burst is over.
	Trim func()
	// Run executes a command that the subreaper must know of.
	Run func(*exec.Cmd) error
}

const (
	// endLimit bounds what a shim does between a Shutdown and its end; containerd gives a Shutdown 3 s.
	endLimit = 2 * time.Second
	// hangUpLimit bounds the wait for clients to close their connections, at the end. containerd does it within microseconds of an answer.
	hangUpLimit = 200 * time.Millisecond
	// trimAfter is when the memory of the start burst is given back: a container that lives longer than this is likely to live long.
	trimAfter = 3 * time.Second
	// burstMemory is how much the heap may hold before that: a start makes less garbage than a collection costs time.
	burstMemory = 32 << 20
	// memoryPercent is how much the heap may grow between collections (GOGC): the shim is small and idle, memory counts more than its time.
	memoryPercent = 40
	// dumpLimit bounds a dump of goroutines (SIGUSR1).
	dumpLimit = 1 << 20
)

// Serve is the daemon: it answers the Task service until a Shutdown.
func Serve(f Flags, d Daemon) error { return serve(f, d, inheritedListener) }

func serve(f Flags, d Daemon, listener func() (*ttrpc.Listener, error)) error {
	openLog()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(-1)
		debug.SetMemoryLimit(burstMemory)
	}
	if err := d.Prepare(); err != nil {
		return err
	}
	if err := d.Signals(handleSignal); err != nil {
		return err
	}
	l, err := listener()
	if err != nil {
		return err
	}
	events := newQueue(f.Namespace, newForwarder(f, d.Run), Logf)
	done := make(chan struct{})
	var once sync.Once
	s := &service{namespace: f.Namespace, events: events, shutdown: func() { once.Do(func() { disappear(f); close(done) }) }}
	s.m = process.New(process.Config{Runtime: d.Runtime, IO: d.IO, Events: events, Namespace: f.Namespace, Log: Logf})
	server := ttrpc.NewServer(s.services(), Logf)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	time.AfterFunc(trimAfter, func() { trim(d.Trim) })
	select {
	case err := <-served:
		_ = os.Remove(f.Socket)
		return fmt.Errorf("serve: %w", err)
	case <-done:
	}
	end(events, server)
	return nil
}

// trim gives back the memory of the start burst, and makes a quiet process of us.
func trim(more func()) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(memoryPercent)
	}
	debug.FreeOSMemory()
	more()
	// An exec is a chain of goroutines that wait for each other and for the kernel: a second processor is woken for each, finds nothing, and is a fifth of what
	// an exec costs. What a system call holds up goes on elsewhere as before. Done before memory is given back it would cost 0.35 MB.
	runtime.GOMAXPROCS(1)
}

// disappear takes the socket away before a Shutdown is answered: a new task of the same name starts a new shim, and the `delete` that containerd executes
// once it has the answer finds nothing to do. The file with the socket's address goes first: a new shim writes its own once the socket is free.
func disappear(f Flags) {
	for _, file := range []string{addressFile, f.Socket} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			Logf("remove the socket: %v", err)
		}
	}
}

// end delivers what is left, and waits for the clients to hang up: containerd closes its connection when its Shutdown is answered. To end sooner would cost
// a client that answer: a ttrpc client that reads an answer and the end at once may report the end.
func end(events *queue, server *ttrpc.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), endLimit)
	defer cancel()
	events.drain(ctx)
	ctx, cancel = context.WithTimeout(context.Background(), hangUpLimit)
	defer cancel()
	server.HangUp(ctx)
}

// inheritedListener is the socket that `start` made.
func inheritedListener() (*ttrpc.Listener, error) {
	l, err := ttrpc.Inherit(listenerFD)
	if err != nil {
		return nil, fmt.Errorf("descriptor %d is not the socket of `start`: %w", listenerFD, err)
	}
	return l, nil
}

// openLog puts containerd's log fifo, which the bundle has, on descriptor 2. It is opened for both ways and non-blocking: while nobody reads,
// writing neither blocks nor kills, and what does not fit is lost.
func openLog() {
	fd, err := unix.Open("log", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return // started by hand: the standard error that is there is fine
	}
	_ = unix.Dup3(fd, 2, 0)
	_ = unix.Close(fd)
}

// handleSignal takes what would end a shim by accident: it ends by a Shutdown. Signals are handled and not ignored, because what is ignored would be so in
// containers too. SIGUSR1 writes all goroutines to the log.
func handleSignal(sig syscall.Signal) {
	if sig != syscall.SIGUSR1 {
		return
	}
	buf := make([]byte, dumpLimit)
	toLog(fmt.Appendf(nil, "=== goroutines ===\n%s\n=== end ===\n", buf[:runtime.Stack(buf, true)]))
}
