package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containerd/errdefs"

	"example.io/shim/linux/host"
	"example.io/shim/linux/run"
)

// isID says whether a container may be called that: it is a file's name.
func isID(id string) bool {
	for _, c := range []byte(id) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && strings.IndexByte("_+.-", c) < 0 {
			return false
		}
	}
	return id != "" && id != "." && id != ".."
}

func (a *app) home(id string) (string, error) {
	if !isID(id) {
		return "", fmt.Errorf("invalid container ID format: %q", id)
	}
	return filepath.Join(a.root, id), nil
}

// load returns the container of that id. The caller closes it.
func (a *app) load(id string) (*run.Container, error) {
	dir, err := a.home(id)
	if err != nil {
		return nil, err
	}
	c, err := run.Load(dir)
	if errors.Is(err, errdefs.ErrNotFound) {
		return nil, &noContainer{id, err}
	}
	return c, err
}

// noContainer says that there is none of that id.
type noContainer struct {
	id  string
	err error
}

func (e *noContainer) Error() string { return fmt.Sprintf("container %q does not exist", e.id) }
func (e *noContainer) Unwrap() error { return e.err }

// deps probes the machine, which only commands need that make a process.
func (a *app) deps() (*run.Deps, error) {
	f, err := host.Probe()
	if err != nil {
		return nil, err
	}
	d := &run.Deps{Facts: f, Log: a.log.warn}
	if a.debug {
		d.Fault = a.tellPlan
	}
	return d, nil
}

// use loads a container in which something is to be run.
func (a *app) use(id string) (*run.Container, error) {
	c, err := a.load(id)
	if err != nil {
		return nil, err
	}
	deps, err := a.deps()
	if err == nil {
		err = c.Use(deps)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// containers returns what is in the root folder, by id. One that another command removes meanwhile is left out.
func (a *app) containers() ([]*run.Container, error) {
	entries, err := os.ReadDir(a.root)
	if errors.Is(err, os.ErrNotExist) && !a.rootGiven {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []*run.Container
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		c, err := run.Load(filepath.Join(a.root, e.Name()))
		switch {
		case errors.Is(err, errdefs.ErrNotFound):
		case err != nil:
			a.log.warn("%s: %v", e.Name(), err)
		default:
			list = append(list, c)
		}
	}
	return list, nil
}
