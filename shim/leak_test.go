package shim

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/internal/leak"
)

// envDaemon makes the test binary be the daemon: `start` executes a program, and the one whose Serve is under test is this one. Its value is the pid of
// the tests: a daemon does not outlive them, however they end.
const envDaemon = "SHIM_TEST_DAEMON_OF"

func setDaemon(t *testing.T) { t.Setenv(envDaemon, strconv.Itoa(os.Getpid())) }

func TestMain(m *testing.M) {
	if tests := os.Getenv(envDaemon); tests != "" {
		if err := playDaemon(tests); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	leak.Main(m, privateRun)
}

// privateRun puts the usual place of sockets into the tests' own mount namespace.
func privateRun() error { return unix.Mount("tmpfs", "/run", "tmpfs", 0, "") }

// playDaemon is what cmd does for a daemon, with a runtime that makes nothing.
func playDaemon(tests string) error {
	go func() {
		for strconv.Itoa(os.Getppid()) == tests {
			time.Sleep(100 * time.Millisecond)
		}
		os.Exit(1)
	}()
	f, err := ParseFlags(os.Args[1:])
	if err != nil {
		return err
	}
	return Serve(f, Daemon{Runtime: &fakeRuntime{}, IO: fakeIO{}, Prepare: func() error { return nil }, Signals: takeSignals, Trim: func() {}, Run: (*exec.Cmd).Run})
}

// takeSignals is Daemon.Signals as it is usual.
func takeSignals(f func(syscall.Signal)) error {
	ch := make(chan os.Signal, 1)
	signal.Notify(ch, unix.SIGUSR1, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGPIPE)
	go func() {
		for sig := range ch {
			f(sig.(syscall.Signal))
		}
	}()
	return nil
}

// must ends a test whose preparation failed.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// holds compares an error's text with words that it must have; without words there must be no error.
func holds(t *testing.T, what string, err error, words ...string) {
	t.Helper()
	if len(words) == 0 {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return
	}
	if err == nil {
		t.Errorf("%s: no error, want one with %q", what, words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s: error %q does not hold %q", what, err, w)
		}
	}
}
