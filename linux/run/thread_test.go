package run

import (
	"errors"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOnThread: each has a thread of its own, and none has the main thread, whose end would be the process's.
func TestOnThread(t *testing.T) {
	const rounds, atOnce = 300, 8
	for range rounds {
		var group sync.WaitGroup
		var mu sync.Mutex
		seen := map[int]bool{}
		all := make(chan struct{})
		for range atOnce {
			group.Go(func() {
				err := onThread(func() error {
					mu.Lock()
					tid := unix.Gettid()
					if seen[tid] || tid == unix.Getpid() {
						t.Errorf("thread %d of process %d: used before in this round: %t", tid, unix.Getpid(), seen[tid])
					}
					if seen[tid] = true; len(seen) == atOnce {
						close(all)
					}
					mu.Unlock()
					<-all
					return unix.EAGAIN
				})
				if !errors.Is(err, unix.EAGAIN) {
					t.Errorf("the error is %v", err)
				}
			})
		}
		group.Wait()
	}
}
