package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	runcopts "github.com/containerd/containerd/api/types/runc/options"
	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"

	"example.io/shim/integration/daemon"
)

// peer is a runtime with its options.
type peer struct {
	name, runtime string
	options       any
	shim          string // the shim's program
}

// Names of the peers in figures.
const (
	ours = "ours"
	null = "null shim"
	// before is another build of ours.
	before = "before"
	runc   = "runc"
	crun   = "crun"
)

// peers in the order of every round.
func peers(s settings) ([]peer, error) {
	nullshim := cached("containerd-shim-null-v2")
	// The null shim is built like ours: only then it is the floor.
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "no_grpc", "-ldflags", "-s -w", "-o", nullshim, "./bench/nullshim")
	cmd.Dir = filepath.Join(daemon.Top(), "integration")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the null shim: %w\n%s", err, out)
	}
	shim := filepath.Join(daemon.Top(), "bin", "containerd-shim-shim-v2")
	all := []peer{
		{ours, shim, nil, shim},
		{runc, s.runcShim, &runcopts.Options{BinaryName: s.runc}, s.runcShim},
		{crun, s.runcShim, &runcopts.Options{BinaryName: s.crun}, s.runcShim},
		{null, nullshim, nil, nullshim},
	}
	if s.before != "" {
		s.names += "," + before
		all = slices.Insert(all, 1, peer{before, s.before, nil, s.before})
	}
	return slices.DeleteFunc(all, func(p peer) bool { return !slices.Contains(strings.Split(s.names, ","), p.name) }), nil
}

// real are the peers that run something.
func (b *bench) real() []peer {
	return slices.DeleteFunc(slices.Clone(b.peers), func(p peer) bool { return p.name == null })
}

// oldVersion is for Debian's crun, which refuses a newer one.
func oldVersion(_ context.Context, _ oci.Client, _ *containers.Container, s *oci.Spec) error {
	s.Version = "1.0.2"
	return nil
}

// container makes containerd's object of a container, with its snapshot.
func (b *bench) container(ctx context.Context, p peer, args ...string) (client.Container, error) {
	return b.containerWith(ctx, p, nil, args...)
}

func (b *bench) containerWith(ctx context.Context, p peer, more []oci.SpecOpts, args ...string) (client.Container, error) {
	b.seq++
	id := fmt.Sprintf("b%d", b.seq)
	opts := append([]oci.SpecOpts{oci.WithImageConfig(b.img), oci.WithProcessArgs(args...), oci.WithCgroup(b.group.child(id)), oldVersion}, more...)
	return b.d.Client.NewContainer(ctx, id, client.WithImage(b.img), client.WithNewSnapshot(id, b.img), client.WithRuntime(p.runtime, p.options), client.WithNewSpec(opts...))
}

// describe notes the machine and the versions.
func (r *results) describe(b *bench) {
	version := func(args ...string) string {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
		if err != nil {
			line = err.Error()
		}
		return line
	}
	r.Versions = map[string]string{
		ours: field(version(b.peers[0].shim, "-v"), b.peers[0].shim), runc: version(b.runc, "--version"), crun: version(b.crun, "--version"),
		"containerd": version(b.d.Program, "--version"), "containerd's shim": field("", b.runcShim), "Go of the bench": runtime.Version(),
	}
	r.Machine = map[string]string{"kernel": version("uname", "-r"), "CPUs": fmt.Sprint(runtime.NumCPU())}
	if data, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(data)) {
			if _, v, ok := strings.Cut(line, ": "); ok && strings.HasPrefix(line, "model name") {
				r.Machine["CPU"] = strings.TrimSpace(v)
			}
		}
	}
	if data, err := os.ReadFile("/proc/loadavg"); err == nil {
		r.Machine["load at the start"] = strings.Fields(string(data))[0]
	}
	r.Settings = fmt.Sprintf("%d rounds, of command lines too; %d of bursts and streams; up to %d idle containers; probes for %v; starts beside %d and %d containers", b.rounds, b.pairs, b.idle, b.probe, few, b.many)
}

// field reads the line "Version:" of what a shim prints with -v.
func field(_, program string) string {
	out, _ := exec.Command(program, "-v").CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "Version:"); ok {
			return strings.TrimSpace(v)
		}
	}
	return strings.TrimSpace(string(out))
}
