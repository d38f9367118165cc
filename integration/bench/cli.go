package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/containerd/containerd/v2/core/containers"
	"github.com/containerd/containerd/v2/pkg/oci"

	"example.io/shim/integration/daemon"
)

// commandLines compares the runtimes' own commands, without a containerd.
func (b *bench) commandLines() error {
	var list []string
	for _, program := range []string{filepath.Join(daemon.Top(), "bin", "shimrun"), b.runc, b.crun} {
		if _, err := exec.LookPath(program); err == nil {
			list = append(list, program)
		}
	}
	dir, err := b.bundle()
	if err != nil {
		return err
	}
	// As /run is: a file system in memory. On another one, making the files of a state costs as much as making the container.
	if b.states, err = os.MkdirTemp("/dev/shm", "shim-bench-"); err != nil {
		return err
	}
	defer os.RemoveAll(b.states)
	for round := -2; round < b.rounds; round++ {
		for _, program := range list {
			run, exec, err := b.commands(program, dir)
			if err != nil {
				return fmt.Errorf("%s: %w", program, err)
			}
			if round >= 0 {
				name := map[string]string{"shimrun": ours}[filepath.Base(program)]
				if name == "" {
					name = filepath.Base(program)
				}
				b.add("command line: run", name, run)
				b.add("command line: exec", name, exec)
			}
		}
	}
	return nil
}

// bundle makes one with busybox.
func (b *bench) bundle() (string, error) {
	dir := filepath.Join(b.d.Dir, "bundle")
	root := filepath.Join(dir, "rootfs")
	for _, name := range []string{"bin", "proc", "dev", "sys", "run", "tmp", "etc"} {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			return "", err
		}
	}
	program, err := os.ReadFile("/bin/busybox")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"busybox", "true", "sleep"} {
		if err := os.WriteFile(filepath.Join(root, "bin", name), program, 0o755); err != nil {
			return "", err
		}
	}
	for name, args := range map[string][]string{"run": {"/bin/true"}, "sleep": {"/bin/sleep", "1000"}} {
		s, err := oci.GenerateSpec(daemon.Context(), nil, &containers.Container{ID: "bench"}, oci.WithProcessArgs(args...), oci.WithRootFSPath(root), oldVersion)
		if err != nil {
			return "", err
		}
		s.Linux.CgroupsPath = b.group.child("cli-" + name)
		data, err := json.Marshal(s)
		if err != nil {
			return "", err
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(to, "config.json"), data, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
}

// commands times `run` of /bin/true and `exec` of it into a container that sleeps.
func (b *bench) commands(program, dir string) (run, in float64, err error) {
	state := filepath.Join(b.states, filepath.Base(program))
	command := func(args ...string) (float64, error) {
		cmd := exec.Command(program, append([]string{"--root", state}, args...)...)
		begin := time.Now()
		out, err := cmd.CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%v: %w: %s", args, err, out)
		}
		return since(begin), err
	}
	if run, err = command("run", "--bundle", filepath.Join(dir, "run"), "bench-run"); err != nil {
		return 0, 0, err
	}
	detached := exec.Command(program, "--root", state, "run", "--detach", "--bundle", filepath.Join(dir, "sleep"), "bench-sleep")
	if err = detached.Run(); err != nil { // no pipes: the container would hold them
		return 0, 0, fmt.Errorf("run --detach: %w", err)
	}
	defer func() {
		if _, e := command("delete", "--force", "bench-sleep"); err == nil {
			err = e
		}
	}()
	in, err = command("exec", "bench-sleep", "/bin/true")
	return run, in, err
}
