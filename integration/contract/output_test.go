package contract

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/containerd/containerd/v2/pkg/cio"
	"golang.org/x/sys/unix"

	"example.io/shim/integration/daemon"
)

// lateReader is a client that reads a while after the output is there, and closes its end as soon as it is told to, as containerd's Go library does when it
// hears of an exit: what it has not read by then is lost.
type lateReader struct {
	namedIO
	fifo *os.File
	got  chan []byte
}

// readsLate is far above what an exit takes, and below what the shim waits for a reader (100 ms).
const readsLate = 50 * time.Millisecond

func newLateReader(t *testing.T) *lateReader {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stdout")
	mkfifo(t, path)
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := &lateReader{namedIO: namedIO{cio.Config{Stdout: path}}, fifo: f, got: make(chan []byte, 1)}
	go r.read()
	return r
}

func (r *lateReader) read() {
	conn, err := r.fifo.SyscallConn()
	if err == nil {
		err = conn.Read(func(fd uintptr) bool {
			n, err := unix.IoctlGetInt(int(fd), unix.TIOCINQ)
			return err != nil || n > 0
		})
	}
	if err == nil {
		time.Sleep(readsLate)
	}
	data, _ := io.ReadAll(r.fifo) // closed before its end is what this is about
	r.got <- data
}

// hangUp closes the end, and returns what was read before.
func (r *lateReader) hangUp() string {
	_ = r.fifo.Close()
	return string(<-r.got)
}

// TestOutputBeforeExit: a process's output is with its client when its exit is told, of init and of an exec; though the client reads late.
func TestOutputBeforeExit(t *testing.T) {
	each(t, func(t *testing.T, d *daemon.Daemon) {
		r := newLateReader(t)
		b := newBox(t, d, config{args: []string{"sh", "-c", "echo of init; exit 3"}, io: func(string) (cio.IO, error) { return r, nil }})
		b.ok(b.task.Start(b.ctx))
		code := b.wait(b.task)
		if got := r.hangUp(); got != "of init\n" || code != 3 {
			t.Errorf("init wrote %q, code %d", got, code)
		}
		b.remove()

		b = sleeper(t, d)
		spec, err := b.c.Spec(b.ctx)
		b.ok(err)
		ps := *spec.Process
		ps.Args = []string{"echo", "of an exec"}
		r = newLateReader(t)
		p, err := b.task.Exec(b.ctx, "e", &ps, func(string) (cio.IO, error) { return r, nil })
		b.ok(err)
		b.ok(p.Start(b.ctx))
		code = b.wait(p)
		if got := r.hangUp(); got != "of an exec\n" || code != 0 {
			t.Errorf("the exec wrote %q, code %d", got, code)
		}
		_, err = p.Delete(b.ctx)
		b.ok(err)
		b.kill()
	})
}
