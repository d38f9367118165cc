package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"example.io/shim/linux/run"
)

var psCommand = command{
	name: "ps", args: idArg + " [PS OPTIONS]", min: 1, max: -1, stops: true,
	short: "list the processes of a container",
	long:  "Lists what the host's ps says of the container's processes, whose options follow the id (-ef without any), or their pids as JSON.",
	setup: func(a *app, fs *pflag.FlagSet) func([]string) error {
		format := fs.StringP("format", "f", "table", "table or json")
		return func(args []string) error { return a.ps(args[0], *format, args[1:]) }
	},
}

// pidsOf lists a container's processes: those in its cgroup, or in its pid namespace when it has none.
func pidsOf(c *run.Container) ([]int, error) {
	if len(c.State().CgroupDirs) > 0 {
		return c.Cgroup().Pids()
	}
	own, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/pid", c.Pid()))
	if err != nil {
		return nil, fmt.Errorf("list processes: the container has no cgroup, and %w", err)
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if ns, err := os.Readlink("/proc/" + e.Name() + "/ns/pid"); err == nil && ns == own {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

func (a *app) ps(id, format string, options []string) error {
	if format != "table" && format != "json" {
		return fmt.Errorf("invalid format option %q", format)
	}
	c, err := a.load(id)
	if err != nil {
		return err
	}
	defer c.Close()
	pids, err := pidsOf(c)
	if err != nil {
		return err
	}
	if format == "json" {
		if pids == nil {
			pids = []int{}
		}
		return json.NewEncoder(a.stdout).Encode(pids)
	}
	if len(options) == 0 {
		options = []string{"-ef"}
	}
	out, err := exec.Command("ps", options...).Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return fmt.Errorf("ps: %w: %s", err, bytes.TrimSpace(exit.Stderr))
		}
		return fmt.Errorf("ps: %w", err)
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	column := slices.Index(strings.Fields(lines[0]), "PID")
	if column < 0 {
		return errors.New("ps: there is no column PID in its output")
	}
	if _, err := fmt.Fprintln(a.stdout, lines[0]); err != nil {
		return err
	}
	for _, line := range lines[1:] {
		f := strings.Fields(line)
		if len(f) <= column {
			continue
		}
		if pid, err := strconv.Atoi(f[column]); err == nil && slices.Contains(pids, pid) {
			if _, err := fmt.Fprintln(a.stdout, line); err != nil {
				return err
			}
		}
	}
	return nil
}
