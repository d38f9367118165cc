package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

//go:embed floor/floor.c
var floorSource string

// bare is the C program's name in figures.
const bare = "bare C"

// floor times a C program that makes the same namespaces and mounts and executes /bin/true: what the kernel costs.
func (b *bench) floor() error {
	dir, err := b.bundle()
	if err != nil {
		return err
	}
	source, program := filepath.Join(b.d.Dir, "floor.c"), filepath.Join(b.d.Dir, "floor")
	if err := os.WriteFile(source, []byte(floorSource), 0o644); err != nil {
		return err
	}
	if out, err := exec.Command("gcc", "-O2", "-static", "-o", program, source).CombinedOutput(); err != nil {
		return fmt.Errorf("gcc: %w\n%s", err, out)
	}
	for round := -2; round < b.rounds; round++ {
		m, err := bareRun(program, filepath.Join(dir, "rootfs"))
		if err != nil {
			return err
		}
		charged, err := b.bareMemory(program, filepath.Join(dir, "rootfs"))
		if err != nil {
			return err
		}
		if round < 0 {
			continue
		}
		for name, ms := range m {
			b.add("floor, "+name, bare, ms)
		}
		for name, bytes := range charged {
			figure := "memory charged, " + name
			if name == "pages" {
				figure = "memory of its pages"
			}
			b.add(figure, bare, bytes/1024)
		}
	}
	return nil
}

// bareMemory is what a memory cgroup is charged for the C program's container.
func (b *bench) bareMemory(program, root string) (map[string]float64, error) {
	memory := b.group.path("memory", "bare")
	if err := os.Mkdir(memory, 0o755); err != nil {
		return nil, err
	}
	m, err := bareRun(program, root, memory)
	for try := 0; os.Remove(memory) != nil && try < 50; try++ { // the process has just ended
		time.Sleep(20 * time.Millisecond)
	}
	return m, err
}

// bareRun runs the C program and returns what it prints.
func bareRun(program string, args ...string) (map[string]float64, error) {
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("floor: %w: %s", err, out)
	}
	m := map[string]float64{}
	for _, word := range strings.Fields(string(out)) {
		name, value, _ := strings.Cut(word, "=")
		if m[name], err = strconv.ParseFloat(value, 64); err != nil {
			return nil, fmt.Errorf("floor: %q", out)
		}
	}
	return m, nil
}
