package run

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func TestKillRecord(t *testing.T) {
	const record = "3,1234,98765432,-;Memory cgroup out of memory: Killed process 4711 (tail) total-vm:12kB, anon-rss:8kB\n"
	at := 98765432 * time.Microsecond
	for _, c := range []struct {
		record string
		pid    int
		since  time.Duration
		want   bool
	}{
		{record, 4711, at, true},
		{record, 4711, at - time.Hour, true},
		{record, 4711, at + time.Microsecond, false},
		{record, 471, at, false},
		{record, 47110, at, false},
		{"3,1234,x,-;a: Killed process 1 (a)", 1, 0, false},
		{"3;a: Killed process 1 (a)", 1, 0, false},
		{"", 1, 0, false},
	} {
		if got := killRecord(c.record, c.pid, c.since); got != c.want {
			t.Errorf("%q, %d, %v: %v", c.record, c.pid, c.since, got)
		}
	}
}

// TestUnitOOMLate asks for the kill of a container's init when the count is gone with the cgroup: the kernel's log has it, and it is told once.
func TestUnitOOMLate(t *testing.T) {
	if f, err := os.Open("/dev/kmsg"); err != nil {
		t.Fatal(err)
	} else if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for name, killed := range map[string]bool{"for want of memory": true, "by a signal": false} {
		t.Run(name, func(t *testing.T) {
			deps := newDeps(t)
			c, err := Create(t.Context(), deps, request(newBundle(t, func(s *specs.Spec) {
				s.Process.Args = []string{"sleep", "1000"}
				if killed {
					s.Process.Args = []string{"tail", "/dev/zero"}
					s.Linux.Resources.Memory = &specs.LinuxMemory{Limit: new(int64(8 << 20))}
				}
			})))
			if err != nil {
				t.Fatal(err)
			}
			w := ofUnit(none{}, "/no/such/cgroup", c.Init())
			if n := w.Pending(); n != 0 {
				t.Errorf("%d kills of a living process", n)
			}
			if err := c.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if !killed {
				if err := c.Init().Signal(unix.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			<-c.Init().Done()
			want := 0
			if killed {
				want = 1
			}
			if n := w.Pending(); n != want {
				t.Errorf("%d kills, want %d", n, want)
			}
			if n := w.Pending(); n != 0 {
				t.Errorf("%d kills more", n)
			}
			if err := c.Delete(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// none is a watcher whose cgroup is gone.
type none struct{}

func (none) C() <-chan struct{} { return nil }
func (none) Pending() int       { return 0 }
func (none) Close() error       { return nil }
