// Package children knows every child process of ours. It takes each one's exit by its pidfd, so that no pid is ever mistaken for another,
// and reaps the orphans that come to a subreaper without touching the exits of the others.
package children

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/slack"
)

// registry holds the pids that somebody waits for.
var registry = struct {
	// fork is held for reading from before a child exists until it is registered, and for writing while orphans are looked for: an exit
	// is never taken for an orphan's.
	fork  sync.RWMutex
	mu    sync.Mutex
	known map[int]bool
}{known: map[int]bool{}}

// Child is a child process that was registered.
type Child struct {
	pid  int
	file *os.File // the pidfd, in the runtime's poller
	fd   int
	done chan struct{}
	// status and at are written before done is closed.
	status uint32
	at     time.Time
	mu     sync.Mutex // guards file against Close while a signal is sent
	gone   bool
	left   bool // its exit is the next parent's to take
	reap   sync.Once
}

// Fork runs f, which makes a child process and returns its pid and a pidfd, and registers the child. The pidfd is the registry's from then
// on. f runs while no orphan is reaped.
func Fork(f func() (pid, pidfd int, err error)) (*Child, error) { return watch(f, false) }

// ForkLeft is Fork for a child that is to live on without us. When it ends while we are its parent still, it stays a zombie: who becomes its
// parent after us, a subreaper such as Podman's conmon, finds its exit status. It does not go together with Subreaper.
func ForkLeft(f func() (pid, pidfd int, err error)) (*Child, error) { return watch(f, true) }

func watch(f func() (pid, pidfd int, err error), left bool) (*Child, error) {
	registry.fork.RLock()
	defer registry.fork.RUnlock()
	pid, pidfd, err := f()
	if err != nil {
		return nil, err
	}
	register(pid)
	// Non-blocking, the runtime's poller takes it: waiting for the exit costs no thread.
	if err := unix.SetNonblock(pidfd, true); err != nil {
		return nil, abandon(pid, pidfd, fmt.Errorf("make the pidfd of %d non-blocking: %w", pid, err))
	}
	c := &Child{pid: pid, fd: pidfd, file: os.NewFile(uintptr(pidfd), "pidfd"), done: make(chan struct{}), left: left}
	raw, err := c.file.SyscallConn()
	if err != nil {
		return nil, abandon(pid, pidfd, fmt.Errorf("wait for %d: %w", pid, err))
	}
	go c.wait(raw)
	return c, nil
}

// abandon kills and reaps a child that cannot be watched.
func abandon(pid, pidfd int, err error) error {
	_ = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	_, _ = unix.Wait4(pid, nil, 0, nil)
	_ = unix.Close(pidfd)
	forget(pid)
	return err
}

func register(pid int) {
	registry.mu.Lock()
	registry.known[pid] = true
	registry.mu.Unlock()
}

func forget(pid int) {
	registry.mu.Lock()
	delete(registry.known, pid)
	registry.mu.Unlock()
	LookAgain()
}

// siginfo is the start of siginfo_t as waitid(2) fills it.
type siginfo struct {
	signo, errno, code int32
	_                  int32
	pid                int32
	uid                uint32
	status             int32
	_                  [100]byte
}

// Values of si_code for SIGCHLD (sigaction(2)).
const (
	cldKilled = 2
	cldDumped = 3
)

// waitid is waitid(2); it retries EINTR and returns a zero pid when WNOHANG found nothing.
func waitid(idType, id, options int) (siginfo, error) {
	var info siginfo
	for {
		_, _, e := unix.Syscall6(unix.SYS_WAITID, uintptr(idType), uintptr(id), uintptr(unsafe.Pointer(&info)), uintptr(options), 0, 0)
		if e == unix.EINTR {
			continue
		}
		if e != 0 {
			return info, e
		}
		return info, nil
	}
}

// exitStatus is the exit code, or 128 + the signal's number.
func (i *siginfo) exitStatus() uint32 {
	if i.code == cldKilled || i.code == cldDumped {
		return 128 + uint32(i.status)
	}
	return uint32(i.status)
}

// unknownStatus is told of a process whose exit somebody else has taken: containerd's own word for it.
const unknownStatus = 255

func (c *Child) wait(raw syscall.RawConn) {
	c.status = unknownStatus
	options := unix.WEXITED | unix.WNOHANG
	if c.left {
		options |= unix.WNOWAIT
	}
	_ = raw.Read(func(fd uintptr) bool {
		info, err := waitid(unix.P_PIDFD, int(fd), options)
		if err == nil && info.pid == 0 {
			return false // not yet: the poller waits
		}
		if err == nil {
			c.status = info.exitStatus()
		}
		return true
	})
	c.at = time.Now()
	if !c.left {
		c.over()
	}
	close(c.done)
}

// over gives up what there is of a child that was reaped.
func (c *Child) over() {
	forget(c.pid)
	c.mu.Lock()
	c.gone = true
	_ = c.file.Close()
	c.mu.Unlock()
}

// Reap waits for a child's end and, if it was to be left to another parent, takes its exit after all.
func (c *Child) Reap() {
	<-c.done
	c.reap.Do(func() {
		if !c.left {
			return
		}
		_ = c.Do(func(pidfd int) error {
			_, err := waitid(unix.P_PIDFD, pidfd, unix.WEXITED|unix.WNOHANG)
			return err
		})
		c.over()
	})
}

// Pid returns the pid in our pid namespace. After the exit it can be another process's.
func (c *Child) Pid() int { return c.pid }

// ErrFinished says that the process has ended.
var ErrFinished = fmt.Errorf("process already finished: %w", errdefs.ErrNotFound)

// Signal sends a signal by pidfd (pidfd_send_signal(2)); ErrFinished when the process has ended.
func (c *Child) Signal(sig syscall.Signal) error {
	return c.Do(func(pidfd int) error {
		err := unix.PidfdSendSignal(pidfd, sig, nil, 0)
		if errors.Is(err, unix.ESRCH) {
			return ErrFinished
		}
		if err != nil {
			return fmt.Errorf("send signal %d to %d: %w", int(sig), c.pid, err)
		}
		return nil
	})
}

// Do runs f with the pidfd, which stays open meanwhile; ErrFinished when the process was reaped.
func (c *Child) Do(f func(pidfd int) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return ErrFinished
	}
	return f(c.fd)
}

// Done is closed when the process has ended and, unless it is left to another parent, was reaped.
func (c *Child) Done() <-chan struct{} { return c.done }

// Exit returns the exit code, or 128 + signal, and when it was taken. It is valid once Done is closed.
func (c *Child) Exit() (status uint32, at time.Time) { return c.status, c.at }

// StartCommand starts cmd like its own Start and registers it. It must be waited for by WaitCommand.
func StartCommand(cmd *exec.Cmd) error {
	registry.fork.RLock()
	defer registry.fork.RUnlock()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	slack.Restore() // the program inherits it
	if err := cmd.Start(); err != nil {
		return err
	}
	register(cmd.Process.Pid)
	return nil
}

// WaitCommand waits for a command that StartCommand started.
func WaitCommand(cmd *exec.Cmd) error {
	err := cmd.Wait()
	forget(cmd.Process.Pid)
	return err
}
