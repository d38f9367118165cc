package children

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/internal/leak"
)

// The signal handler and the goroutine of the subreaper stay for good.
func TestMain(m *testing.M) { leak.Main(m, Subreaper) }

// limit bounds a wait for something that must come: far above what it takes.
const limit = 10 * time.Second

// shell makes what Fork runs: a shell with a script, and its pidfd.
func shell(script string, files ...uintptr) func() (int, int, error) {
	return func() (int, int, error) {
		pidfd := -1
		attr := &syscall.ProcAttr{Env: os.Environ(), Files: append([]uintptr{0, 1, 2}, files...), Sys: &syscall.SysProcAttr{PidFD: &pidfd}}
		pid, _, err := syscall.StartProcess("/bin/sh", []string{"sh", "-c", script}, attr)
		return pid, pidfd, err
	}
}

func fork(t *testing.T, script string, files ...uintptr) *Child {
	t.Helper()
	c, err := Fork(shell(script, files...))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// exit waits for the child's end.
func exit(t *testing.T, c *Child) uint32 {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(limit):
		t.Fatalf("no exit of %d", c.Pid())
	}
	status, _ := c.Exit()
	return status
}

// gate is a pipe whose read end children inherit as 3: they go on when it is opened. close is for our own end.
type gate struct{ read, write int }

func newGate(t *testing.T) gate {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	return gate{p[0], p[1]}
}

func (g gate) open()  { unix.Close(g.write) }
func (g gate) close() { unix.Close(g.read) }

// none waits until this process has no child, dead or alive.
func none(t *testing.T) {
	t.Helper()
	var left []string
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if left = childPids(t); len(left) == 0 {
			return
		}
	}
	t.Errorf("children are left: %v", left)
}

func childPids(t *testing.T) []string {
	t.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, task := range tasks {
		data, _ := os.ReadFile("/proc/self/task/" + task.Name() + "/children") // the thread may be gone
		list = append(list, strings.Fields(string(data))...)
	}
	return list
}

// TestExit tells how processes end.
func TestExit(t *testing.T) {
	for script, want := range map[string]uint32{
		"exit 0": 0, "exit 1": 1, "exit 255": 255, "kill -KILL $$": 137, "kill -TERM $$": 143, "kill -SEGV $$": 139, "kill -HUP $$": 129,
		"kill -STOP $$ & wait; exit 3": 3, // stopped and gone on is no exit: see below
	} {
		before := time.Now()
		c := fork(t, script)
		if strings.Contains(script, "STOP") {
			waitStopped(t, c.Pid())
			if err := c.Signal(unix.SIGCONT); err != nil {
				t.Error(err)
			}
		}
		if got := exit(t, c); got != want {
			t.Errorf("%s: status %d, want %d", script, got, want)
		}
		if _, at := c.Exit(); at.Before(before) || at.After(time.Now()) {
			t.Errorf("%s: it ended at %v", script, at)
		}
		if err := c.Signal(unix.SIGKILL); !errors.Is(err, ErrFinished) {
			t.Errorf("%s: signal after the end: %v", script, err)
		}
		if err := c.Do(func(int) error { t.Error("Do after the end runs"); return nil }); !errors.Is(err, ErrFinished) {
			t.Errorf("%s: Do after the end: %v", script, err)
		}
	}
}

// waitStopped waits until a process is in state T.
func waitStopped(t *testing.T, pid int) {
	t.Helper()
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(time.Millisecond) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(stat), ") T ") {
			return
		}
	}
	t.Fatalf("%d does not stop", pid)
}

// TestAllAtOnce lets 500 children wait at one gate and end together: each has its own exit code, and nothing is left of any.
func TestAllAtOnce(t *testing.T) {
	const n = 500
	before := leak.Take()
	g := newGate(t)
	list := make([]*Child, n)
	var group sync.WaitGroup
	for part := range 4 { // forks race with one another, too
		group.Go(func() {
			for i := part; i < n; i += 4 {
				c, err := Fork(shell(fmt.Sprintf("read x <&3; exit %d", i%256), uintptr(g.read)))
				if err != nil {
					t.Error(err)
					continue
				}
				list[i] = c
			}
		})
	}
	group.Wait()
	g.open()
	g.close()
	for i, c := range list {
		if c == nil {
			continue
		}
		if got := exit(t, c); got != uint32(i%256) {
			t.Errorf("child %d: status %d, want %d", i, got, i%256)
		}
	}
	if left := before.Left(); left != "" {
		t.Error(left)
	}
	registry.mu.Lock()
	defer registry.mu.Unlock()
	if len(registry.known) != 0 {
		t.Errorf("still registered: %v", registry.known)
	}
}

// TestReapedElsewhere: somebody else takes the exit. Its waiter ends and says that the status is not known.
func TestReapedElsewhere(t *testing.T) {
	c, err := Fork(func() (int, int, error) {
		pid, pidfd, err := shell("exit 7")()
		if err == nil {
			_, err = unix.Wait4(pid, nil, 0, nil)
		}
		return pid, pidfd, err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := exit(t, c); got != unknownStatus {
		t.Errorf("status %d, want %d", got, unknownStatus)
	}
}

// TestForkFails passes the error on, and keeps nothing.
func TestForkFails(t *testing.T) {
	want := errors.New("no")
	if _, err := Fork(func() (int, int, error) { return 0, -1, want }); !errors.Is(err, want) {
		t.Error(err)
	}
	// A descriptor that is no pidfd: the child is killed and reaped.
	_, err := Fork(func() (int, int, error) {
		pid, pidfd, err := shell("exec sleep 1000")()
		if err == nil {
			err = errors.Join(unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0), unix.Close(pidfd))
		}
		return pid, -1, err
	})
	if !errors.Is(err, unix.EBADF) {
		t.Errorf("a bad pidfd: %v", err)
	}
	none(t)
}

// TestSignalsRace sends signals while the process ends: each is delivered or says that it has ended, and none goes to another process.
func TestSignalsRace(t *testing.T) {
	for range 50 {
		c := fork(t, "exit 0")
		var group sync.WaitGroup
		for range 4 {
			group.Go(func() {
				for {
					if err := c.Signal(0); err != nil {
						if !errors.Is(err, ErrFinished) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		exit(t, c)
		group.Wait()
	}
}

// TestOrphans lets many shells die before their own children: those come to us, are reaped, and no exit of a registered child is lost to that.
func TestOrphans(t *testing.T) {
	const (
		parents = 60
		each    = 5
	)
	before := leak.Take()
	g := newGate(t)
	orphans := strings.Repeat("{ read x <&3; exit 9; } & ", each)
	var group sync.WaitGroup
	for i := range parents {
		group.Go(func() {
			c, err := Fork(shell(fmt.Sprintf("%s exit %d", orphans, i), uintptr(g.read)))
			if err != nil {
				t.Error(err)
				return
			}
			if got := exit(t, c); got != uint32(i) {
				t.Errorf("status %d, want %d", got, i)
			}
		})
	}
	group.Wait()
	if got := len(childPids(t)); got != parents*each {
		t.Errorf("%d orphans came, want %d", got, parents*each)
	}
	// Now orphans and registered children end together.
	for i := range parents {
		group.Go(func() {
			c, err := Fork(shell(fmt.Sprintf("read x <&3; exit %d", i), uintptr(g.read)))
			if err != nil {
				t.Error(err)
				return
			}
			if i == parents-1 {
				g.open()
			}
			if got := exit(t, c); got != uint32(i) {
				t.Errorf("status %d, want %d", got, i)
			}
		})
	}
	group.Wait()
	g.close()
	none(t)
	if left := before.Left(); left != "" {
		t.Error(left)
	}
}

// TestCommands: a command's exit is its waiter's, whatever orphans end meanwhile.
func TestCommands(t *testing.T) {
	var group sync.WaitGroup
	for i := range 40 {
		group.Go(func() {
			cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("{ exit 8; } & { sleep 0.01; } & exit %d", i))
			if err := StartCommand(cmd); err != nil {
				t.Error(err)
				return
			}
			var status *exec.ExitError
			err := WaitCommand(cmd)
			if i == 0 && err != nil || i != 0 && (!errors.As(err, &status) || status.ExitCode() != i) {
				t.Errorf("exit %d: %v", i, err)
			}
		})
	}
	group.Wait()
	if err := StartCommand(exec.Command("/nonexistent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a command that is not there: %v", err)
	}
	none(t)
}

// TestLooksAgain: what stands dead behind a registered child is reaped as soon as that one is gone, though no signal tells of it.
func TestLooksAgain(t *testing.T) {
	var pid int
	c, err := Fork(func() (int, int, error) { // the lock of Fork: nobody takes the second child before it is registered
		var pidfd int
		var err error
		if pid, pidfd, err = shell("exit 5")(); err != nil {
			return 0, -1, err
		}
		register(pid)
		unix.Close(pidfd)
		return shell("exit 6")()
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := exit(t, c); got != 6 {
		t.Errorf("status %d, want 6", got)
	}
	if _, err := waitid(unix.P_PID, pid, unix.WEXITED|unix.WNOWAIT); err != nil {
		t.Fatal(err)
	}
	reapOrphans()
	if got := childPids(t); !slices.Equal(got, []string{strconv.Itoa(pid)}) {
		t.Errorf("the children are %v, want the registered one, %d", got, pid)
	}
	time.Sleep(50 * time.Millisecond) // the signals of both are worked off: from here on only forget tells
	forget(pid)
	none(t)
}

// TestLeft: the exit of a child that is to be left stays to be found by its next parent, for which this test stands.
func TestLeft(t *testing.T) {
	c, err := ForkLeft(shell("exit 7"))
	if err != nil {
		t.Fatal(err)
	}
	if status := exit(t, c); status != 7 {
		t.Errorf("exit status %d, want 7", status)
	}
	if err := c.Do(func(int) error { return nil }); err != nil {
		t.Errorf("its pidfd is not to be had: %v", err)
	}
	var status unix.WaitStatus
	if pid, err := unix.Wait4(c.Pid(), &status, 0, nil); err != nil || pid != c.Pid() || status.ExitStatus() != 7 {
		t.Errorf("the next parent finds pid %d, status %d, %v", pid, status.ExitStatus(), err)
	}
	c.Reap()
	if c, err = ForkLeft(shell("exit 8")); err != nil {
		t.Fatal(err)
	}
	c.Reap()
	c.Reap()
	if status, _ := c.Exit(); status != 8 {
		t.Errorf("reaped after all: exit status %d, want 8", status)
	}
	none(t)
}
