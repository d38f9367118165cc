package streams

import (
	"context"
	"io"
	"testing"
	"time"

	"example.io/shim/io/internal/iotest"
)

// flushing runs Flush and says when it has returned.
func flushing(ctx context.Context, s *Set) chan struct{} {
	done := make(chan struct{})
	go func() { defer close(done); s.Flush(ctx) }()
	return done
}

// still says whether Flush waits, a while later.
func still(done chan struct{}) bool {
	select {
	case <-done:
		return false
	case <-time.After(20 * time.Millisecond):
		return true
	}
}

// TestFlush: it waits until the client has read both streams, which it may do after the process's end, and no longer than that. The client gets its
// EOF though we still hold a read end.
func TestFlush(t *testing.T) {
	out, errs := iotest.Fifo(t), iotest.Fifo(t)
	o, e := iotest.Reader(t, out), iotest.Reader(t, errs)
	s := opened(t, Opener{}, Config{Stdout: out, Stderr: errs})
	s.Flush(t.Context()) // before the start there is nothing
	c := run(t, s, "noise", "30000")
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	done := flushing(t.Context(), s)
	if _, err := io.ReadFull(o, make([]byte, 29_999)); err != nil {
		t.Fatal(err)
	}
	if !still(done) {
		t.Error("Flush returned though a byte was not read")
	}
	drained(t, s)
	if !still(done) {
		t.Error("Flush returned after the relays' end though a byte was not read")
	}
	for _, f := range []io.Reader{o, e} {
		if _, err := io.ReadAll(f); err != nil {
			t.Error(err)
		}
	}
	<-done
	s.Flush(t.Context())
}

// TestFlushEnds with its context, with the Set, and at once for a grandchild that holds the streams and is silent.
func TestFlushEnds(t *testing.T) {
	in, out := iotest.Fifo(t), iotest.Fifo(t)
	r := iotest.Reader(t, out)
	s := opened(t, Opener{}, Config{Stdin: in, Stdout: out})
	c := run(t, s, "cat")
	s.Flush(t.Context())
	w := iotest.Writer(t, in)
	if _, err := w.WriteString("unread"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); err != nil { // it has come through
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	s.Flush(ctx)
	if ctx.Err() == nil {
		t.Error("Flush returned though bytes were not read")
	}
	done := flushing(t.Context(), s)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	<-done
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	_ = c.Wait() // how it ends without its streams is its own affair
}
