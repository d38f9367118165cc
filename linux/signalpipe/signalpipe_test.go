package signalpipe

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestOpen: each signal comes as its number, none kills, many at once do no harm, and a program that is executed has the default actions.
func TestOpen(t *testing.T) {
	list := []syscall.Signal{unix.SIGTERM, unix.SIGHUP, unix.SIGUSR1, unix.SIGWINCH, 40, 64}
	f, err := open(list)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for _, s := range list {
		if err := unix.Kill(os.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		var b [8]byte
		if n, err := f.Read(b[:]); err != nil || n != 1 || syscall.Signal(b[0]) != s {
			t.Errorf("%v: read %v, %v", s, b[:n], err)
		}
	}
	// The handler meets every kind of code: garbage collection, growing stacks, system calls.
	done := make(chan int)
	for range 4 {
		go func() {
			n := 0
			for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); n++ {
				words := strings.Fields(strings.Repeat("a b ", 1000))
				slices.Sort(words)
			}
			done <- n
		}()
	}
	const many = 5000
	for range many {
		if err := unix.Kill(os.Getpid(), 40); err != nil { // a real-time signal is queued
			t.Fatal(err)
		}
	}
	for range 4 {
		<-done
	}
	got, b := 0, make([]byte, many)
	for got < many {
		n, err := f.Read(b)
		if err != nil {
			t.Fatalf("%d of %d signals: %v", got, many, err)
		}
		if i := slices.IndexFunc(b[:n], func(c byte) bool { return c != 40 }); i >= 0 {
			t.Fatalf("signal %d", b[i])
		}
		got += n
	}
	out, err := exec.Command("/bin/sh", "-c", "kill -TERM $$; echo lives").CombinedOutput()
	if err == nil || len(out) > 0 {
		t.Errorf("a program's SIGTERM: %v %q", err, out)
	}
}
