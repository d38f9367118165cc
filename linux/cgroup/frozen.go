package cgroup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/plainfile"
)

// Frozen says whether the cgroup at s is frozen, by whomever. One that is not there is not.
func Frozen(s State) (bool, error) {
	for _, d := range s.Dirs {
		file, frozen := "freezer.state", "FROZEN"
		switch {
		case d.Unified && s.Version == 1: // hybrid: the freezer of v1 is the one that is asked
			continue
		case d.Unified:
			file, frozen = "cgroup.freeze", "1"
		case !d.Has("freezer"):
			continue
		}
		data, err := plainfile.Read(filepath.Join(d.Path, file))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("is the container paused: %w", err)
		}
		return string(bytes.TrimSpace(data)) == frozen, nil
	}
	return false, nil
}

// Exists says whether any directory of the cgroup at s is there.
func Exists(s State) bool {
	for _, d := range s.Dirs {
		if _, err := os.Stat(d.Path); err == nil {
			return true
		}
	}
	return false
}

// Below returns the directories of the cgroup sub below those in dirs.
func Below(dirs []files.Dir, sub string) []files.Dir {
	list := make([]files.Dir, len(dirs))
	for i, d := range dirs {
		d.Path = filepath.Join(d.Path, filepath.Clean("/"+sub))
		list[i] = d
	}
	return list
}
