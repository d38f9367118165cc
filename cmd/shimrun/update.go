package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"

	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/run"
	"example.io/shim/linux/spec"
)

var updateCommand = command{
	name: "update", args: idArg, min: 1, max: 1,
	short: "change the limits of a container",
	long: `Changes what the options or a file name and leaves the rest. The file has the form of /linux/resources in config.json; - is standard input.
Amounts of memory can end in k, m, g or t; -1 is no limit.`,
	setup: func(a *app, fs *pflag.FlagSet) func([]string) error {
		file := fs.StringP("resources", "r", "", "`FILE` with the resources as JSON, - for standard input")
		set := resourceFlags(fs)
		l3 := fs.String("l3-cache-schema", "", "share of the L3 cache, a line of resctrl's schemata such as L3:0=ff")
		bandwidth := fs.String("mem-bw-schema", "", "share of the memory bandwidth, a line such as MB:0=50")
		return func(args []string) error {
			if err := a.update(args[0], *file, set); err != nil || *l3 == "" && *bandwidth == "" {
				return err
			}
			return a.updateSchemata(args[0], *l3, *bandwidth)
		}
	},
}

// resourceFlags defines an option for each number, and returns what applies those that were given.
func resourceFlags(fs *pflag.FlagSet) func(*specs.LinuxResources) error {
	type option struct {
		name  string
		value *string
		apply func(r *specs.LinuxResources, v string) error
	}
	var list []option
	add := func(name, usage string, apply func(r *specs.LinuxResources, v string) error) {
		list = append(list, option{name, fs.String(name, "", usage), apply})
	}
	add("blkio-weight", "weight of block I/O, 10 to 1000", number(func(r *specs.LinuxResources, n uint16) { blockIO(r).Weight = &n }))
	add("cpu-period", "period of the CPU quota in microseconds", number(func(r *specs.LinuxResources, n uint64) { cpu(r).Period = &n }))
	add("cpu-quota", "CPU time in a period in microseconds", number(func(r *specs.LinuxResources, n int64) { cpu(r).Quota = &n }))
	add("cpu-burst", "CPU time that may be saved up, in microseconds", number(func(r *specs.LinuxResources, n uint64) { cpu(r).Burst = &n }))
	add("cpu-share", "weight of CPU time, against other containers", number(func(r *specs.LinuxResources, n uint64) { cpu(r).Shares = &n }))
	add("cpu-rt-period", "period of the realtime limit in microseconds", number(func(r *specs.LinuxResources, n uint64) { cpu(r).RealtimePeriod = &n }))
	add("cpu-rt-runtime", "realtime CPU time in a period in microseconds", number(func(r *specs.LinuxResources, n int64) { cpu(r).RealtimeRuntime = &n }))
	add("cpu-idle", "1 to get only the CPU time that nobody else wants", number(func(r *specs.LinuxResources, n int64) { cpu(r).Idle = &n }))
	add("cpuset-cpus", "CPUs, a list such as 0-2,5", text(func(r *specs.LinuxResources, v string) { cpu(r).Cpus = v }))
	add("cpuset-mems", "memory nodes, a list", text(func(r *specs.LinuxResources, v string) { cpu(r).Mems = v }))
	add("memory", "limit of memory", amount(func(r *specs.LinuxResources, n int64) { memory(r).Limit = &n }))
	add("memory-reservation", "soft limit of memory", amount(func(r *specs.LinuxResources, n int64) { memory(r).Reservation = &n }))
	add("memory-swap", "limit of memory and swap together", amount(func(r *specs.LinuxResources, n int64) { memory(r).Swap = &n }))
	add("pids-limit", "number of processes", number(func(r *specs.LinuxResources, n int64) { r.Pids = &specs.LinuxPids{Limit: &n} }))
	return func(r *specs.LinuxResources) error {
		for _, o := range list {
			if *o.value == "" {
				continue
			}
			if err := o.apply(r, *o.value); err != nil {
				return fmt.Errorf("invalid value for --%s: %w", o.name, err)
			}
		}
		return nil
	}
}

func cpu(r *specs.LinuxResources) *specs.LinuxCPU {
	if r.CPU == nil {
		r.CPU = &specs.LinuxCPU{}
	}
	return r.CPU
}

func memory(r *specs.LinuxResources) *specs.LinuxMemory {
	if r.Memory == nil {
		r.Memory = &specs.LinuxMemory{}
	}
	return r.Memory
}

func blockIO(r *specs.LinuxResources) *specs.LinuxBlockIO {
	if r.BlockIO == nil {
		r.BlockIO = &specs.LinuxBlockIO{}
	}
	return r.BlockIO
}

// number parses a decimal number of type T.
func number[T uint16 | uint64 | int64](set func(*specs.LinuxResources, T)) func(*specs.LinuxResources, string) error {
	return func(r *specs.LinuxResources, v string) error {
		var n T
		if _, err := fmt.Sscanf(v+"\n", "%d\n", &n); err != nil {
			return fmt.Errorf("%q is no such number", v)
		}
		set(r, n)
		return nil
	}
}

func text(set func(*specs.LinuxResources, string)) func(*specs.LinuxResources, string) error {
	return func(r *specs.LinuxResources, v string) error {
		set(r, v)
		return nil
	}
}

// amount parses an amount of memory; -1 stays.
func amount(set func(*specs.LinuxResources, int64)) func(*specs.LinuxResources, string) error {
	return func(r *specs.LinuxResources, v string) error {
		n, err := parseBytes(v)
		if err != nil {
			return err
		}
		set(r, n)
		return nil
	}
}

func parseBytes(v string) (int64, error) {
	if v == "-1" {
		return -1, nil
	}
	digits := strings.ToLower(v)
	digits = strings.TrimSuffix(strings.TrimSuffix(digits, "b"), "i")
	shift := 0
	if digits != "" {
		if i := strings.IndexByte("kmgt", digits[len(digits)-1]); i >= 0 {
			shift, digits = 10*(i+1), digits[:len(digits)-1]
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<63-1)>>shift {
		return 0, fmt.Errorf("%q is no amount of memory", v)
	}
	return n << shift, nil
}

func (a *app) update(id, file string, set func(*specs.LinuxResources) error) error {
	r := &specs.LinuxResources{}
	if file != "" {
		data, err := readAll(file)
		if err != nil {
			return err
		}
		if r, err = spec.ParseResources(data); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	if err := set(r); err != nil {
		return err
	}
	settle(r)
	return a.inStatus(id, func(c *run.Container, status run.Status) error {
		if status == run.Stopped {
			return errors.New("container not running")
		}
		if err := spec.ValidateResources(r, spec.Options{CgroupVersion: c.State().Cgroup.Version}); err != nil {
			return err
		}
		if c.State().Cgroup.Version == 2 && files.IdleAndWeight(r) {
			a.log.warn("unable to apply both idle and the CPU weight: a cgroup that is idle has no weight")
		}
		return updateFailure(c.Cgroup().Update(r))
	})
}

// updateSchemata changes a container's share of caches and memory bandwidth.
func (a *app) updateSchemata(id string, lines ...string) error {
	c, err := a.use(id)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.SetSchemata(slices.DeleteFunc(lines, func(l string) bool { return l == "" }))
}

// updateFailure puts runc's words before the error of a limit that is below what is in use.
func updateFailure(err error) error {
	for source, words := range map[string]string{"/memory/limit: ": "rejecting memory limit", "/memory/swap: ": "rejecting memory+swap limit"} {
		if errdefs.IsFailedPrecondition(err) && strings.Contains(err.Error(), source) {
			return fmt.Errorf("%s: %w", words, err)
		}
	}
	return err
}

// settle makes of the resources what is meant by them: memory without a limit is without one with swap too, and nobody can have fewer
// processes than the one there is.
func settle(r *specs.LinuxResources) {
	if m := r.Memory; m != nil && m.Limit != nil && *m.Limit == -1 && m.Swap == nil {
		m.Swap = m.Limit
	}
	if noPids(r) {
		one := int64(1)
		r.Pids.Limit = &one
	}
}

func noPids(r *specs.LinuxResources) bool {
	return r.Pids != nil && r.Pids.Limit != nil && *r.Pids.Limit == 0
}

func readAll(file string) ([]byte, error) {
	if file == "-" {
		return io.ReadAll(os.Stdin)
	}
	return os.ReadFile(file)
}
