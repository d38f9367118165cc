package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/pkg/cio"
	"github.com/containerd/containerd/v2/pkg/oci"

	"example.io/shim/integration/daemon"
)

// What goes through the streams: enough that the container's start does not count.
const (
	streamBytes = 512 << 20
	ttyBytes    = 64 << 20 // a terminal is slow
)

const drainArg = "drain-of-the-bench"

// drain is the logger of binary://: it reads until the end.
func drain() int {
	if f := os.NewFile(5, "ready"); f != nil {
		_ = f.Close()
	}
	_, err := io.Copy(io.Discard, os.NewFile(3, "stdout"))
	if err != nil {
		return 1
	}
	return 0
}

// stream is one way of standard output or input.
type stream struct {
	name  string
	bytes int
	more  []oci.SpecOpts
	args  []string
	io    func(b *bench) (cio.Creator, func() error)
}

func (b *bench) allStreams(in *zeros) []stream {
	produce := func(n int) []string {
		return []string{"dd", "if=/dev/zero", "bs=65536", fmt.Sprintf("count=%d", n>>16)}
	}
	tty := []oci.SpecOpts{oci.WithTTY}
	none := func() error { return nil }
	return []stream{
		{"stdout, fifo", streamBytes, nil, produce(streamBytes), func(*bench) (cio.Creator, func() error) {
			return cio.NewCreator(cio.WithStreams(nil, io.Discard, io.Discard)), none
		}},
		{"stdout, terminal", ttyBytes, tty, produce(ttyBytes), func(*bench) (cio.Creator, func() error) {
			return cio.NewCreator(cio.WithStreams(nil, io.Discard, nil), cio.WithTerminal), none
		}},
		{"stdout, file", streamBytes, nil, produce(streamBytes), func(b *bench) (cio.Creator, func() error) {
			path := filepath.Join(b.d.Dir, "stdout")
			return cio.LogFile(path), func() error { return os.Remove(path) }
		}},
		{"stdout, binary", streamBytes, nil, produce(streamBytes), func(*bench) (cio.Creator, func() error) {
			self, _ := os.Executable()
			return cio.BinaryIO(self, map[string]string{drainArg: ""}), none
		}},
		{"stdin, fifo", streamBytes, nil, []string{"sh", "-c", "cat >/dev/null"}, func(*bench) (cio.Creator, func() error) {
			return cio.NewCreator(cio.WithStreams(in, io.Discard, io.Discard)), none
		}},
	}
}

// zeros is an input of so many bytes; ended is closed when they were read.
type zeros struct {
	left  int
	ended chan struct{}
}

func (z *zeros) Read(p []byte) (int, error) {
	if z.left == 0 {
		if z.ended != nil {
			close(z.ended)
			z.ended = nil
		}
		return 0, io.EOF
	}
	n := min(len(p), z.left)
	z.left -= n
	return n, nil
}

// streams measures throughput and the shim's CPU.
func (b *bench) streams() error {
	for range b.pairs {
		for i := range b.allStreams(nil) {
			for _, p := range b.real() {
				in := &zeros{left: streamBytes, ended: make(chan struct{})}
				s := b.allStreams(in)[i]
				if err := b.stream(p, s, in.ended); err != nil {
					return fmt.Errorf("%s: %s: %w", p.name, s.name, err)
				}
			}
		}
	}
	return nil
}

func (b *bench) stream(p peer, s stream, inEnded chan struct{}) error {
	ctx, cancel := context.WithTimeout(daemon.Context(), 2*lifeLimit)
	defer cancel()
	c, err := b.containerWith(ctx, p, s.more, s.args...)
	if err != nil {
		return err
	}
	defer c.Delete(daemon.Context(), client.WithSnapshotCleanup)
	creator, end := s.io(b)
	task, err := c.NewTask(ctx, creator)
	if err != nil {
		return err
	}
	ch, err := task.Wait(ctx)
	if err != nil {
		return err
	}
	shim := shimOf(int(task.Pid()))
	cpu := processCPU(shim)
	begin := time.Now()
	if err := task.Start(ctx); err != nil {
		return err
	}
	if s.name == "stdin, fifo" {
		go func() { // the client closes its end when it has copied all, and tells the shim to close its own
			<-inEnded
			_ = task.CloseIO(ctx, client.WithStdinCloser)
		}()
	}
	if st := <-ch; st.Error() != nil || st.ExitCode() != 0 {
		return fmt.Errorf("exit code %d, %w", st.ExitCode(), st.Error())
	}
	task.IO().Wait()
	took := time.Since(begin).Seconds()
	b.add(s.name+", MB/s", p.name, float64(s.bytes)/1e6/took)
	b.add(s.name+", CPU s of the shim per GB", p.name, (processCPU(shim)-cpu)/float64(s.bytes)*1e9)
	if _, err := task.Delete(ctx); err != nil {
		return err
	}
	return end()
}
