// Package oom tells of OOM kills in a container's memory cgroup.
//
// On cgroup v1 the kernel writes to an eventfd when the cgroup's limit cannot be met (Documentation/admin-guide/cgroup-v1/memory.rst, "OOM
// Control") and counts the kills in memory.oom_control. The eventfd wakes, the counter decides: an eventfd also fires when no process is killed
// (a task waits with the OOM killer off) and when the cgroup is removed. Kills in a cgroup that the container has made below its own are counted there alone.
//
// On cgroup v2 memory.events has the counter, and the kernel wakes a poll of that file when one of its counters has changed
// (Documentation/admin-guide/cgroup-v2.rst, "Memory Interface Files"), ten times in 100 ms at most. It is polled and not watched with inotify, which wakes at the
// same moment, as a user has 128 instances of inotify only (fs.inotify.max_user_instances), and each container needs one. oom_kill counts the
// killed processes that are in the cgroup, whosever limit it was; memory.events counts those of the cgroups below too, which a container may have made, and
// memory.events.local does not. Where the hierarchy is mounted with memory_localevents, both have the cgroup's own alone.
package oom

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Watcher watches one memory cgroup, with those below it.
type Watcher struct {
	control string   // path of memory.oom_control, or of memory.events
	event   *os.File // the eventfd, or memory.events
	unified bool
	c       chan struct{}
	done    chan struct{}
	ended   chan struct{}
	once    sync.Once

	mu   sync.Mutex
	told uint64 // kills that Pending has told of
}

// New arms a watcher for the memory cgroup dir, of v1 or v2. A kill after New has returned is told.
func New(dir string) (*Watcher, error) {
	control, err := os.Open(filepath.Join(dir, "memory.oom_control"))
	if errors.Is(err, os.ErrNotExist) {
		return newUnified(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("watch for OOM kills: %w", err)
	}
	defer control.Close() // the kernel holds the eventfd, not this
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("watch for OOM kills: eventfd: %w", err)
	}
	w := newWatcher(control.Name(), os.NewFile(uintptr(fd), "oom eventfd"), false)
	line := strconv.Itoa(fd) + " " + strconv.Itoa(int(control.Fd()))
	if err := os.WriteFile(filepath.Join(dir, "cgroup.event_control"), []byte(line), 0); err != nil {
		_ = w.event.Close()
		return nil, fmt.Errorf("watch for OOM kills: %w", err)
	}
	go w.watch()
	return w, nil
}

func newWatcher(control string, event *os.File, unified bool) *Watcher {
	w := &Watcher{control: control, event: event, unified: unified, c: make(chan struct{}, 1), done: make(chan struct{}), ended: make(chan struct{})}
	w.told, _ = w.count() // a cgroup that was there before may have had kills
	return w
}

// C carries a value when Pending has kills to tell of. It is closed after Close, and on v1 when the cgroup is gone.
func (w *Watcher) C() <-chan struct{} { return w.c }

// The eventfd fires before the victim is killed and counted. So long apart, and so often, the counter is looked at for the kill; one that is
// later still is told by the next event or by Pending.
const (
	countPause = 2 * time.Millisecond
	countTries = 25
)

func (w *Watcher) watch() {
	defer close(w.ended)
	defer close(w.c)
	var buf [8]byte
	for {
		if _, err := w.event.Read(buf[:]); err != nil {
			return // closed
		}
		for try := 0; ; try++ {
			n, there := w.look(false)
			if n > 0 {
				select {
				case w.c <- struct{}{}:
				default: // one that nobody has taken yet says the same
				}
			}
			if !there {
				return // the cgroup was removed: that fires too
			}
			if n > 0 || try == countTries {
				break
			}
			select {
			case <-time.After(countPause):
			case <-w.done:
				return
			}
		}
	}
}

// Pending returns the number of kills that were not told yet and takes them as told.
func (w *Watcher) Pending() int {
	n, _ := w.look(true)
	return n
}

// look returns the number of kills that nobody was told of, and whether the cgroup is there.
func (w *Watcher) look(take bool) (int, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	count, ok := w.count()
	if !ok || count <= w.told {
		return 0, ok
	}
	n := count - w.told
	if take {
		w.told = count
	}
	return int(n), true
}

// count reads the counter of kills (since Linux 4.13).
func (w *Watcher) count() (uint64, bool) {
	data, err := w.read()
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(data)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "oom_kill "); ok {
			n, err := strconv.ParseUint(value, 10, 64)
			return n, err == nil
		}
	}
	return 0, true
}

// Close ends the watching and waits for it. Idempotent.
func (w *Watcher) Close() error {
	var err error
	w.once.Do(func() {
		close(w.done)
		err = w.event.Close()
		<-w.ended
	})
	if err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("end watching for OOM kills: %w", err)
	}
	return nil
}
