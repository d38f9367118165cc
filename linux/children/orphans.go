package children

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// Subreaper makes this process the parent of its orphaned descendants (prctl(2), PR_SET_CHILD_SUBREAPER) and reaps them when they end, for the rest
// of its life.
func Subreaper() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	ch := make(chan os.Signal, 1) // one is enough: a reaping takes all there are
	signal.Notify(ch, unix.SIGCHLD)
	go func() {
		for range ch {
			reapOrphans()
		}
	}()
	return nil
}

// A registered child that is dead but not reaped yet stands before the orphans behind it: its waiter is about to take it. So long
// apart, and so often, it is looked again.
const (
	hiddenPause = time.Millisecond
	hiddenTries = 1000
)

// reapOrphans reaps every dead child that nobody registered.
func reapOrphans() {
	for range hiddenTries {
		if !reapSome() {
			return
		}
		time.Sleep(hiddenPause)
	}
}

// reapSome reaps orphans until there is none, or a registered child is in the way (then it returns true).
func reapSome() (hidden bool) {
	registry.fork.Lock()
	defer registry.fork.Unlock()
	for {
		info, err := waitid(unix.P_ALL, 0, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT)
		if errors.Is(err, unix.ECHILD) || info.pid == 0 {
			return false
		}
		registry.mu.Lock()
		known := registry.known[int(info.pid)]
		registry.mu.Unlock()
		if known {
			return true
		}
		_, _ = waitid(unix.P_PID, int(info.pid), unix.WEXITED|unix.WNOHANG)
	}
}
