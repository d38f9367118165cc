package main

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
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
		out, err := exec.Command(program, filepath.Join(dir, "rootfs")).CombinedOutput()
		if err != nil {
			return fmt.Errorf("floor: %w: %s", err, out)
		}
		for _, word := range strings.Fields(string(out)) {
			name, value, _ := strings.Cut(word, "=")
			ms, err := strconv.ParseFloat(value, 64)
			if err != nil {
				return fmt.Errorf("floor: %q", out)
			}
			if round >= 0 {
				b.add("floor, "+name, bare, ms)
			}
		}
	}
	return nil
}
