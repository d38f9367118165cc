package run

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// unitOOM is the watcher of a container in a systemd scope. systemd removes a scope's cgroup as soon as its last process has ended, and with it the
// kernel's count of kills: when that is faster than we are, the kill of init is looked up in the kernel's log, which has each kill with its pid.
type unitOOM struct {
	OOM
	dir   string        // of the memory controller
	init  *Process      // nil until a restored one is there
	armed time.Duration // of the clock that the log has

	mu   sync.Mutex
	told time.Time // when the last kill was told
	over bool      // the log was asked
}

// killSpan is how long before init's end a kill that was told counts as the one that ended it. Between the kernel's count and the exit of the killed process
// lie milliseconds, seconds with gigabytes to free.
const killSpan = 5 * time.Second

// ofUnit makes w the watcher of a scope's container.
func ofUnit(w OOM, dir string, init *Process) OOM {
	return &unitOOM{OOM: w, dir: dir, init: init, armed: time.Duration(monotonic())}
}

// restored tells of the init that a restore has made.
func (w *unitOOM) restored(init *Process) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.init = init
}

// Pending implements OOM.
func (w *unitOOM) Pending() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.OOM.Pending()
	if n > 0 {
		w.told = time.Now()
		return n
	}
	if w.init == nil {
		return 0
	}
	select {
	case <-w.init.Done():
	default:
		return 0
	}
	status, at := w.init.Exit()
	if w.over || status != 128+uint32(unix.SIGKILL) || at.Sub(w.told) < killSpan {
		return 0
	}
	if _, err := os.Stat(w.dir); !errors.Is(err, os.ErrNotExist) {
		return 0 // the count can be read
	}
	w.over = true
	if killed, err := loggedKill(w.init.Pid(), w.armed); err == nil && killed {
		return 1
	}
	return 0
}

// logSlack is how much the log's clock (local_clock) may be behind the monotonic one, which is adjusted. Within it a pid is not used again.
const logSlack = 2 * time.Second

// maxRecord is more than a record of /dev/kmsg has (CONSOLE_EXT_LOG_MAX, 8 KiB).
const maxRecord = 8192

// loggedKill says whether the kernel's log has an OOM kill of the process since then (Documentation/ABI/testing/dev-kmsg).
func loggedKill(pid int, since time.Duration) (bool, error) {
	fd, err := unix.Open("/dev/kmsg", unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, fmt.Errorf("read the kernel's log: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	buf := make([]byte, maxRecord)
	for {
		n, err := unix.Read(fd, buf)
		switch {
		case errors.Is(err, unix.EPIPE), errors.Is(err, unix.EINTR): // overwritten: the next read goes on at the oldest that there is
			continue
		case errors.Is(err, unix.EAGAIN):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("read the kernel's log: %w", err)
		}
		if killRecord(string(buf[:n]), pid, since-logSlack) {
			return true, nil
		}
	}
}

// killRecord says whether a record, "PRIORITY,NUMBER,MICROSECONDS,FLAGS;TEXT", is of an OOM kill of the process since then. The text has been the same since
// cgroups have kills of their own (mm/oom_kill.c, __oom_kill_process).
func killRecord(record string, pid int, since time.Duration) bool {
	head, text, _ := strings.Cut(record, ";")
	f := strings.Split(head, ",")
	if len(f) < 3 || !strings.Contains(text, ": Killed process "+strconv.Itoa(pid)+" (") {
		return false
	}
	us, err := strconv.ParseInt(f[2], 10, 64)
	return err == nil && time.Duration(us)*time.Microsecond >= since
}
