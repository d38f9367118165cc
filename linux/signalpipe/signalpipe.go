// Package signalpipe takes signals by a handler of its own, which writes a signal's number into a pipe. Taking one costs a system call. By os/signal it costs
// some 50 µs, changes to a thread that is kept for it and back: a command that stands for a short process would spend more on that than on the process.
//
// A program that is executed has the default actions again, as those that Go's runtime has taken (execve(2)).
package signalpipe

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// writeEnd is the pipe's descriptor, for the handler.
var writeEnd int32 //nolint:unused // by assembly it is

// open takes the signals. Reading the file gives a byte for each one, the signal's number.
func open(signals []syscall.Signal) (*os.File, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil { // a full pipe must not hold up the thread that gets a signal
		return nil, fmt.Errorf("make a pipe for signals: %w", err)
	}
	writeEnd = int32(fds[1])
	for _, s := range signals {
		var action [4]uint64
		if errno := take(int64(s), &action); errno != 0 {
			return nil, fmt.Errorf("take the signal %s: sigaction: %w", unix.SignalName(s), syscall.Errno(errno))
		}
	}
	return os.NewFile(uintptr(fds[0]), "signals"), nil
}

// Take takes the signals and calls f for each, one after the other, for the rest of the process's life. It is called once. Signals that an instruction can cause,
// and those that Go's runtime uses, are not for it.
func Take(signals []syscall.Signal, f func(syscall.Signal)) error {
	in, err := open(signals)
	if err != nil {
		return err
	}
	go func() {
		for {
			var b [16]byte
			n, err := in.Read(b[:])
			if err != nil { // nobody closes either end
				panic(fmt.Sprintf("read the pipe of the signals: %v", err))
			}
			for _, s := range b[:n] {
				f(syscall.Signal(s))
			}
		}
	}()
	return nil
}

// take makes the handler that of the signal (rt_sigaction(2)). It fills in action, a struct sigaction of the kernel's. It returns the errno.
//
//go:noescape
func take(signal int64, action *[4]uint64) int64
