package shimrun

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/integration/trace"
)

// screen is a terminal with somebody who reads it.
type screen struct {
	master, slave *os.File
	mu            sync.Mutex
	shown         bytes.Buffer
}

func newScreen(t *testing.T) *screen {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetUint32(int(master.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{master: master, slave: slave}
	t.Cleanup(func() { _ = slave.Close(); _ = master.Close() })
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			s.mu.Lock()
			s.shown.Write(buf[:n])
			s.mu.Unlock()
		}
	}()
	return s
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.shown.String()
}

func (s *screen) mode(t *testing.T) unix.Termios {
	t.Helper()
	m, err := unix.IoctlGetTermios(int(s.slave.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return *m
}

func (s *screen) size(t *testing.T, rows, cols uint16) {
	t.Helper()
	if err := unix.IoctlSetWinsize(int(s.master.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: cols}); err != nil {
		t.Fatal(err)
	}
}

func (s *screen) start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.slave, s.slave, s.slave
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (s *screen) wait(t *testing.T, text string) {
	t.Helper()
	for end := time.Now().Add(limit); !strings.Contains(s.text(), text); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%q is not shown, but %q", text, s.text())
		}
	}
}

// ask types until the answer is there: what it depends on comes some time.
func (s *screen) ask(t *testing.T, typed, text string) {
	t.Helper()
	for end := time.Now().Add(limit); !strings.Contains(s.text(), text); time.Sleep(trace.Limit(50 * time.Millisecond)) {
		if time.Now().After(end) {
			t.Fatalf("%q is not the answer, but %q", text, s.text())
		}
		if _, err := s.master.WriteString(typed); err != nil {
			t.Fatal(err)
		}
	}
}

// shellBundle has a shell that the tests type into.
func shellBundle(t *testing.T, dir string) string {
	t.Helper()
	bundle := newBundle(t, dir, "1000")
	for _, name := range []string{"sh", "stty", "kill"} {
		if err := os.Symlink("sleep", filepath.Join(bundle, "rootfs", "bin", name)); err != nil {
			t.Fatal(err)
		}
	}
	return bundle
}

// TestTerminal: `run` and `exec -t` make our terminal raw, follow its size, pass on what is typed, and give the mode back however the process ends.
func TestTerminal(t *testing.T) {
	dir := newPlace(t)
	bundle, box := shellBundle(t, dir), fmt.Sprintf("terminal-%d", os.Getpid())
	if err := command(dir, "run", "--detach", "--bundle", bundle, box).Run(); err != nil {
		t.Fatal(err)
	}
	defer shimrun(t, dir, "delete", "--force", box)
	for name, end := range map[string]struct {
		do   func(s *screen, cmd *exec.Cmd)
		code int
	}{
		"exit":   {func(s *screen, _ *exec.Cmd) { _, _ = s.master.WriteString("exit 7\r") }, 7},
		"killed": {func(s *screen, _ *exec.Cmd) { _, _ = s.master.WriteString("kill -9 $$\r") }, 137},
		"signal": {func(_ *screen, cmd *exec.Cmd) { _ = cmd.Process.Signal(unix.SIGHUP) }, 129},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScreen(t)
			s.size(t, 33, 101)
			before := s.mode(t)
			cmd := command(dir, "exec", "--tty", "--env", "PS1=ready> ", box, "/bin/sh")
			s.start(t, cmd)
			s.wait(t, "ready> ")
			if raw := s.mode(t); raw.Lflag&(unix.ICANON|unix.ECHO|unix.ISIG) != 0 {
				t.Errorf("the terminal is not raw: %#x", raw.Lflag)
			}
			if _, err := s.master.WriteString("stty size\r"); err != nil {
				t.Fatal(err)
			}
			s.wait(t, "33 101")
			s.size(t, 44, 99) // our terminal's foreground process, shimrun, gets SIGWINCH
			s.ask(t, "stty size\r", "44 99")
			end.do(s, cmd)
			_ = cmd.Wait()
			if got := cmd.ProcessState.ExitCode(); got != end.code {
				t.Errorf("exit code %d, want %d", got, end.code)
			}
			if after := s.mode(t); after != before {
				t.Errorf("the terminal's mode is %+v, and was %+v", after, before)
			}
		})
	}
}
