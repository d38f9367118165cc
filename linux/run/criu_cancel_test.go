package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"

	"example.io/shim/internal/need"
	"example.io/shim/linux/criu"
)

// dumped returns the images of a container that counts.
func dumped(t *testing.T, deps *Deps) string {
	t.Helper()
	images := t.TempDir()
	b := openBox(t, deps, request(newBundle(t, counter)))
	b.out.number(1)
	checkpoint(t, b, criu.Options{ImagePath: images}, false)
	b.ended(t)
	return images
}

// waiting is a bundle whose createRuntime hook says that it runs, by a file, and goes on for ever.
func waiting(t *testing.T) (bundle, runs string) {
	bundle = newBundle(t, func(s *specs.Spec) {
		counter(s)
		s.Hooks = &specs.Hooks{CreateRuntime: []specs.Hook{{Path: "/bin/sh", Args: []string{"sh", "-c", "touch hook-runs; sleep 1000"}}}}
	})
	return bundle, filepath.Join(bundle, "hook-runs")
}

// startUntil starts a container, and has end called when a file is there. It returns what the start says.
func startUntil(ctx context.Context, t *testing.T, c *Container, file string, end func()) error {
	t.Helper()
	said := make(chan error, 1)
	go func() { said <- c.Start(ctx) }()
	for limit := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		if _, err := os.Stat(file); err == nil {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("no %s", file)
		}
	}
	end()
	select {
	case err := <-said:
		return err
	case <-time.After(patience):
		t.Fatal("the start does not come back")
	}
	return nil
}

// TestCriuCancelled: a client that goes away while a hook runs ends the restore, and so does one whose time is up, and a CRIU that dies; nothing is left.
func TestCriuCancelled(t *testing.T) {
	need.WorkingCriu(t)
	deps := newDeps(t)
	images := dumped(t, deps)
	late := errors.New("time is up")
	for name, c := range map[string]struct {
		want error
		end  func(t *testing.T, cancel context.CancelCauseFunc)
	}{
		"client": {context.Canceled, func(_ *testing.T, cancel context.CancelCauseFunc) { cancel(nil) }},
		"time":   {late, func(_ *testing.T, cancel context.CancelCauseFunc) { cancel(late) }},
		"CRIU":   {nil, func(t *testing.T, _ context.CancelCauseFunc) { killCriu(t) }},
	} {
		t.Run(name, func(t *testing.T) {
			bundle, runs := waiting(t)
			before, folders := takeTrace(t, bundle), criuFolders(bundle)
			r := request(bundle)
			r.Restore = &criu.Options{ImagePath: images}
			b, err := Create(t.Context(), deps, r)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			err = startUntil(ctx, t, b, runs, func() { c.end(t, cancel) })
			t.Log(err)
			if err == nil || c.want != nil && !errors.Is(err, c.want) || c.want == nil && !strings.Contains(err.Error(), "ended without an answer") {
				t.Errorf("start: %v", err)
			}
			if b.Init() != nil {
				t.Error("there is an init")
			}
			if err := b.Delete(t.Context()); err != nil {
				t.Error(err)
			}
			_ = os.Remove(runs)
			noTrace(t, before, bundle)
			if name == "CRIU" { // a killed one removes nothing
				for _, dir := range criuFolders(bundle) {
					_ = os.Remove(dir)
				}
			}
			noCriu(t, bundle, folders)
		})
	}
}

// killCriu kills the CRIU that is a child of ours.
func killCriu(t *testing.T) {
	t.Helper()
	for _, pid := range takeTrace(t, t.TempDir())["children"] {
		if name, _ := os.ReadFile("/proc/" + pid + "/cmdline"); strings.Contains(string(name), "criu") {
			n := 0
			fmt.Sscan(pid, &n)
			if err := unix.Kill(n, unix.SIGKILL); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Error("no CRIU")
}

// criuFolders lists those that CRIU makes on the host while it works.
func criuFolders(bundle string) (list []string) {
	for _, pattern := range []string{filepath.Join(bundle, "criu*"), "/tmp/.criu*", "/.criu*"} {
		found, _ := filepath.Glob(pattern)
		list = append(list, found...)
	}
	return list
}

// noCriu: no folder of CRIU's is left that was not there before.
func noCriu(t *testing.T, bundle string, before []string) {
	t.Helper()
	for _, dir := range criuFolders(bundle) {
		if !slices.Contains(before, dir) {
			t.Errorf("left: %s", dir)
		}
	}
}

// TestCriuCancelledAnywhere: the client goes away at many moments of a restore.
func TestCriuCancelledAnywhere(t *testing.T) {
	need.WorkingCriu(t)
	deps := newDeps(t)
	images := dumped(t, deps)
	bundle := newBundle(t, counter)
	before, folders := takeTrace(t, bundle), criuFolders(bundle)
	began := time.Now()
	restoreBox(t, deps, request(bundle), images).close(t)
	whole := time.Since(began)
	const moments = 20
	ended := 0
	for i := range moments {
		r := request(bundle)
		r.Restore = &criu.Options{ImagePath: images}
		c, err := Create(t.Context(), deps, r)
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), whole*time.Duration(i)/moments)
		said := make(chan error, 1)
		go func() { said <- c.Start(ctx) }()
		select {
		case err = <-said:
		case <-time.After(patience):
			t.Fatalf("moment %d: the start does not come back", i)
		}
		cancel()
		t.Logf("moment %d: %s: %v", i, time.Since(began), err)
		switch {
		case err == nil: // it was quicker this time
			_ = c.Init().Signal(unix.SIGKILL)
			<-c.Init().Done()
		case !errors.Is(err, context.DeadlineExceeded):
			t.Errorf("moment %d: %v", i, err)
		default:
			ended++
		}
		if err := c.Delete(t.Context()); err != nil {
			t.Errorf("moment %d: %v", i, err)
		}
		noTrace(t, before, bundle)
		noCriu(t, bundle, folders)
		if t.Failed() {
			t.Fatalf("after moment %d of %d in %s", i, moments, whole)
		}
	}
	t.Logf("%d of %d restores were ended within %s", ended, moments, whole)
}
