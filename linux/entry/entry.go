// Package entry is the first code of the program on amd64: what it does for `start` and `delete` comes before Go's runtime is there.
//
// containerd executes `start`, reads an address and waits for the end of what it executed, so the daemon must be another process. Go's runtime cannot
// fork, and a second start of it costs as much as a whole container. Here the process forks first, with nothing in it yet: the child executes this
// program again, from a view of it that nobody can write to (see package self), with the last argument `serve` in place of `start`; the parent waits
// for the child's word at the other end of a pipe and ends with the exit status that it names. So Go's runtime starts once for both.
//
// containerd executes `delete` after each shim's end, and nearly always there is nothing left. Two files in the bundle tell, the container's state and
// the socket's address: without both, the answer is written here.
//
// The linker is told of it (-E in the Makefile). A program without it, such as a test's, works too: `start` and `delete` are then commands like any other. So it is
// when pipe2(2) or clone(2) fail here, and on other architectures.
package entry

import _ "example.io/shim/linux/slack" // where it goes on

// WordFD is the descriptor at which a daemon that was started so tells its exit status, one byte, to the process that containerd waits for.
const WordFD = 3
