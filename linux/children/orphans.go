package children

import (
	"errors"
	"fmt"
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// ended holds one token when a child may have ended, or a registered one was reaped, since orphans were looked for. One is enough: a look takes
// all there are.
var ended = make(chan os.Signal, 1)

// Subreaper makes this process the parent of its orphaned descendants (prctl(2), PR_SET_CHILD_SUBREAPER) and reaps them when they end, for the rest
// of its life.
func Subreaper() error {
	if err := Adopt(); err != nil {
		return err
	}
	signal.Notify(ended, unix.SIGCHLD)
	return nil
}

// Adopt is Subreaper for a process that takes SIGCHLD in a way of its own, and calls LookAgain then.
func Adopt() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	go func() {
		for range ended {
			reapOrphans()
		}
	}()
	return nil
}

// LookAgain looks for dead orphans: a child may have ended, or a registered one was reaped that stood before others.
func LookAgain() {
	select {
	case ended <- unix.SIGCHLD:
	default:
	}
}

// reapOrphans reaps dead children until there is none, or one that is registered stands before the others: its waiter is about to take it, and
// looks again then.
func reapOrphans() {
	registry.fork.Lock()
	defer registry.fork.Unlock()
	for {
		info, err := waitid(unix.P_ALL, 0, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT)
		if errors.Is(err, unix.ECHILD) || info.pid == 0 {
			return
		}
		registry.mu.Lock()
		known := registry.known[int(info.pid)]
		registry.mu.Unlock()
		if known {
			return
		}
		_, _ = waitid(unix.P_PID, int(info.pid), unix.WEXITED|unix.WNOHANG)
	}
}
