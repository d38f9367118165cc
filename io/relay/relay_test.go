package relay

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"example.io/shim/io/internal/iotest"
	"example.io/shim/io/internal/nonblock"
)

func TestMain(m *testing.M) { iotest.Main(m) }

// nbPipe is a pipe with both ends in the poller.
func nbPipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	r, w = os.NewFile(uintptr(p[0]), "r"), os.NewFile(uintptr(p[1]), "w")
	t.Cleanup(func() {
		if err := nonblock.Close(r, w); err != nil {
			t.Error(err)
		}
	})
	return r, w
}

type mover func(dst, src *os.File) error

func movers(t *testing.T, f func(t *testing.T, move mover)) {
	t.Run("splice", func(t *testing.T) { f(t, Splice) })
	t.Run("copy", func(t *testing.T) { f(t, Copy) })
	t.Run("run", func(t *testing.T) { f(t, Run) })
}

func TestAllBytesInOrder(t *testing.T) {
	const size = 100 << 20
	movers(t, func(t *testing.T, move mover) {
		inR, inW := nbPipe(t)
		outR, outW := nbPipe(t)
		sent := make(chan []byte, 1)
		go func() { // in pieces of odd sizes, so that slots of both pipes are partly filled
			rnd := rand.New(rand.NewPCG(1, 2))
			block := make([]byte, 200_000)
			for i := range block {
				block[i] = byte(rnd.Uint32())
			}
			h := sha256.New()
			for left := size; left > 0; {
				n := min(left, 1+rnd.IntN(len(block)))
				h.Write(block[:n])
				if _, err := inW.Write(block[:n]); err != nil {
					t.Error(err)
				}
				left -= n
			}
			sent <- h.Sum(nil)
			if err := inW.Close(); err != nil {
				t.Error(err)
			}
		}()
		done := make(chan error, 1)
		go func() { done <- errors.Join(move(outW, inR), outW.Close()) }()
		h := sha256.New()
		n, err := io.Copy(h, outR)
		if n != size || err != nil || !bytes.Equal(h.Sum(nil), <-sent) {
			t.Errorf("got %d bytes of %d, %v", n, size, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestBackPressure: a reader that is stuck stops the writer after what two pipes hold, and nothing is lost when it reads on.
func TestBackPressure(t *testing.T) {
	movers(t, func(t *testing.T, move mover) {
		inR, inW := nbPipe(t)
		outR, outW := nbPipe(t)
		done := make(chan error, 1)
		go func() { done <- errors.Join(move(outW, inR), outW.Close()) }()
		var total int
		line := []byte("a short line\n")
		// The writer is stopped when the pipes are full and the relay waits; more than this would mean that somebody buffers.
		const most = 1 << 20
		for total < most {
			if err := inW.SetWriteDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			n, err := inW.Write(line)
			total += n
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if total >= most {
			t.Errorf("the writer could write %d bytes though nobody reads", total)
		}
		if err := inW.Close(); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(outR); len(got) != total || err != nil {
			t.Errorf("read %d bytes of %d: %v", len(got), total, err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestClosingEndsARelay(t *testing.T) {
	movers(t, func(t *testing.T, move mover) {
		for _, stuck := range []bool{false, true} {
			inR, inW := nbPipe(t)
			_, outW := nbPipe(t)
			if stuck {
				fill(t, outW)
				if _, err := inW.WriteString("x"); err != nil {
					t.Fatal(err)
				}
			}
			done := make(chan error, 1)
			go func() { done <- move(outW, inR) }()
			if err := nonblock.Close(inR, outW); err != nil {
				t.Fatal(err)
			}
			var e *Error
			if err := <-done; !errors.As(err, &e) {
				t.Errorf("stuck %t: got %v", stuck, err)
			}
		}
	})
}

func fill(t *testing.T, w *os.File) {
	t.Helper()
	err := nonblock.Control(w, func(fd int) error {
		for {
			if _, err := unix.Write(fd, make([]byte, 4096)); err != nil {
				return err
			}
		}
	})
	if !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
}

func TestDestinationWithoutReader(t *testing.T) {
	movers(t, func(t *testing.T, move mover) {
		inR, inW := nbPipe(t)
		outR, outW := nbPipe(t)
		if err := outR.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := inW.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		var e *Error
		if err := move(outW, inR); !errors.As(err, &e) || e.Side != Destination || !errors.Is(err, unix.EPIPE) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAppendToFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for _, text := range []string{"one\n", "two\n"} {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		r, w := nbPipe(t)
		_, err = w.WriteString(text)
		if err := errors.Join(err, w.Close(), Run(f, r), f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := os.ReadFile(path); string(got) != "one\ntwo\n" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestDiscard(t *testing.T) {
	r, w := nbPipe(t)
	done := make(chan error, 1)
	go func() { done <- Discard(r) }()
	if _, err := w.Write(make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), <-done); err != nil {
		t.Error(err)
	}
}

// TestIdleHoldsNoThread: far fewer threads than waiting relays, of both kinds, waiting at either end.
func TestIdleHoldsNoThread(t *testing.T) {
	const relays = 200
	done := make(chan error, relays)
	files := make([]*os.File, 0, 2*relays)
	for i := range relays {
		inR, inW := nbPipe(t)
		_, outW := nbPipe(t)
		move := Splice
		if i%2 == 0 {
			move = Copy
		}
		if i%3 == 0 {
			fill(t, outW)
		}
		if _, err := inW.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		files = append(files, inR, outW)
		go func() { done <- move(outW, inR) }()
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil || len(tasks) > relays/2 {
		t.Errorf("%d threads for %d idle relays, %v", len(tasks), relays, err)
	}
	if err := nonblock.Close(files...); err != nil {
		t.Error(err)
	}
	for range relays {
		if err := <-done; err == nil {
			t.Error("a relay ended without an error though its source has not ended")
		}
	}
}

// TestLargePipes: a stream that fills its pipes gets larger ones, one of lines keeps what it has.
func TestLargePipes(t *testing.T) {
	size := func(f *os.File) (n int) {
		if err := nonblock.Control(f, func(fd int) (err error) {
			n, err = unix.FcntlInt(uintptr(fd), unix.F_GETPIPE_SZ, 0)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		return n
	}
	for name, c := range map[string]struct{ block, want int }{"lines": {100, usualPipe}, "bulk": {usualPipe, largePipe}} {
		inR, inW := nbPipe(t)
		outR, outW := nbPipe(t)
		done := make(chan error, 1)
		if _, err := inW.Write(make([]byte, c.block)); err != nil { // before the relay looks: it finds the pipe full
			t.Fatal(err)
		}
		go func() { done <- Splice(outW, inR) }()
		if _, err := io.ReadFull(outR, make([]byte, c.block)); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(inW.Close(), <-done); err != nil {
			t.Fatal(err)
		}
		if in, out := size(inR), size(outW); in != c.want || out != c.want {
			t.Errorf("%s: the pipes hold %d and %d bytes, want %d", name, in, out, c.want)
		}
	}
}

// BenchmarkRun has one chunk under way at a time, which is what a chatty program costs.
func BenchmarkRun(b *testing.B) {
	for name, move := range map[string]mover{"splice": Splice, "copy": Copy} {
		b.Run(name, func(b *testing.B) {
			inR, inW := nbPipe(b)
			outR, outW := nbPipe(b)
			done := make(chan error, 1)
			go func() { done <- move(outW, inR) }()
			buf := make([]byte, 4096)
			b.SetBytes(int64(len(buf)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := inW.Write(buf); err != nil {
					b.Fatal(err)
				}
				if _, err := io.ReadFull(outR, buf); err != nil {
					b.Fatal(err)
				}
			}
			if err := errors.Join(inW.Close(), <-done); err != nil {
				b.Fatal(err)
			}
		})
	}
}
