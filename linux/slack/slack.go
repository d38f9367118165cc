// Package slack gives the monitor thread of Go's runtime a coarse timer. While the program works, that thread sleeps 20 µs at a time to see whether a goroutine holds up
// the others; each time costs two changes of threads, and a start or an exec of a container has some sixty of them: 0.4 ms and more of CPU. With a timer slack of
// Coarse (PR_SET_TIMERSLACK(2const)) it has some eight. A goroutine that is in a system call gives its place to others later, by as much at most.
//
// The runtime starts that thread before any code of Go's, from the first thread, whose slack it inherits: so the slack is set by the first code of the program
// (amd64; the linker is told by -E in the Makefile, linux/entry goes on here), and taken back when the first package is initialised. A thread that was started between the
// two keeps it: Restore is for threads that start a program, which inherits it too. A program without that entry works too.
package slack

import "golang.org/x/sys/unix"

// original is the slack that the program was started with, in nanoseconds; 0: the entry has changed nothing.
var original uint64

func init() { Restore() }

// Restore gives the calling thread the slack that the program was started with.
func Restore() {
	if original != 0 {
		_ = unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(original), 0, 0, 0) // it fails for no number
	}
}
