package plainfile

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	for _, n := range []int{0, 1, firstRead - 1, firstRead, firstRead + 1, 100_000} {
		want := bytes.Repeat([]byte("x"), n)
		if err := os.WriteFile(path, want, 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := Read(path); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes: got %d, %v", n, len(got), err)
		}
	}
	want, err := os.ReadFile("/proc/kallsyms") // longer than a page, of which seq_file gives one at a time
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Read("/proc/kallsyms"); err != nil || len(got) != len(want) {
		t.Errorf("/proc/kallsyms: got %d of %d bytes, %v", len(got), len(want), err)
	}
	var pe *os.PathError
	if _, err := Read(path + ".none"); !errors.Is(err, os.ErrNotExist) || !errors.As(err, &pe) || pe.Path != path+".none" {
		t.Errorf("no file: %v", err)
	}
	if _, err := Read(filepath.Dir(path)); !errors.As(err, &pe) || pe.Op != "read" {
		t.Errorf("a folder: %v", err)
	}
}
