package fifo

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"example.io/shim/io/internal/iotest"
)

func TestMain(m *testing.M) { iotest.Main(m) }

func closing(t *testing.T, c io.Closer) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if err := c.Close(); err != nil {
		t.Error("again: ", err)
	}
}

func TestNobodyOpens(t *testing.T) {
	path := iotest.Fifo(t)
	_, err := openWriter(t.Context(), path, time.Millisecond)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want a deadline that names %s", err, path)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = OpenWriter(ctx, path)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v, want cancelled, naming %s", err, path)
	}
}

func TestPathsThatAreNoFifos(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "missing")
	sock := filepath.Join(dir, "sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd) //nolint:errcheck // a test's socket
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: sock}); err != nil {
		t.Fatal(err)
	}
	for path, is := range map[string]func(error) bool{
		missing: errdefs.IsFailedPrecondition, dir: errdefs.IsInvalidArgument, sock: errdefs.IsInvalidArgument,
	} {
		_, rerr := OpenReader(path)
		_, werr := OpenWriter(t.Context(), path)
		for _, err := range []error{rerr, werr} {
			if !is(err) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "no such file") {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
}

func TestFilesAndDevicesAreTakenAsTheyAre(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path, []byte("old "), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := OpenWriter(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, w)
	if _, err := w.File.WriteString("new"); err != nil {
		t.Fatal(err)
	}
	r, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, r)
	if got, err := io.ReadAll(r.File); string(got) != "old new" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	null, err := OpenReader(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, null)
	if got, err := io.ReadAll(null.File); len(got) != 0 || err != nil {
		t.Errorf("/dev/null: got %q, %v", got, err)
	}
}

// A client may wait in a blocking open(2), as Go's os.Open does, and may come before us or after.
func TestReaderThatWaitsInOpen(t *testing.T) {
	path := iotest.Fifo(t)
	got := make(chan string, 1)
	go func() {
		f, err := os.Open(path)
		if err != nil {
			got <- err.Error()
			return
		}
		b, err := io.ReadAll(f)
		got <- string(b)
		if err := errors.Join(err, f.Close()); err != nil {
			t.Error(err)
		}
	}()
	w, err := OpenWriter(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.File.WriteString("hello"); err != nil {
		t.Error(err)
	}
	closing(t, w)
	if s := <-got; s != "hello" {
		t.Errorf("got %q", s)
	}
}

func TestReaderGoesAwayAndComesBack(t *testing.T) {
	path := iotest.Fifo(t)
	first := iotest.Reader(t, path)
	w, err := OpenWriter(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.File.WriteString("while nobody reads"); err != nil {
		t.Fatal(err)
	}
	second := iotest.Reader(t, path)
	closing(t, w)
	if got, err := io.ReadAll(second); string(got) != "while nobody reads" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestNoEOFBeforeRelease: clients come and go without an EOF; after Release it comes when the client's end is closed, and after
// everything that was written.
func TestNoEOFBeforeRelease(t *testing.T) {
	path := iotest.Fifo(t)
	r, err := OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer closing(t, r)
	for range 2 {
		c := iotest.Writer(t, path)
		if _, err := c.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		var b [8]byte
		if n, err := r.File.Read(b[:]); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := r.File.SetReadDeadline(time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	if n, err := r.File.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("with nobody there: %d, %v", n, err)
	}
	if err := r.File.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	c := iotest.Writer(t, path)
	for range 2 {
		if err := r.Release(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.WriteString("last"); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r.File); string(got) != "last" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}
