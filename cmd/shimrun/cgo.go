//go:build cgo

package main

import "errors"

// errWithLibc says that libc is in the program: its threads have an area that the kernel writes to when a process returns from a system call (rseq(2)), and a
// container's child, which has nothing of the program's memory, would die of that at its birth.
func errWithLibc() error {
	return errors.New("this program was built with cgo and could make no container: build it with CGO_ENABLED=0 (make build)")
}
