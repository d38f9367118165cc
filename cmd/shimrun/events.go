package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"

	"example.io/shim/linux/cgroup/files"
	"example.io/shim/linux/run"
	"example.io/shim/oom"
)

var eventsCommand = command{
	name: "events", args: idArg, min: 1, max: 1,
	short: "print a container's statistics again and again, and its OOM kills",
	long:  "Prints a JSON object a line, {\"type\",\"id\",\"data\"}: type stats every interval, type oom when a process was killed for want of memory.",
	setup: func(a *app, fs *pflag.FlagSet) func([]string) error {
		const every = 5 * time.Second
		interval := fs.Duration("interval", every, "time between statistics")
		once := fs.Bool("stats", false, "print the statistics once")
		return func(args []string) error { return a.events(args[0], *interval, *once) }
	},
}

type event struct {
	Type string `json:"type"`
	ID   string `json:"id"`
	Data any    `json:"data,omitempty"`
}

func (a *app) events(id string, interval time.Duration, once bool) error {
	if interval <= 0 {
		return errors.New("duration interval must be greater than 0")
	}
	return a.inStatus(id, func(c *run.Container, status run.Status) error {
		if status == run.Stopped {
			return fmt.Errorf("container with id %s is not running", id)
		}
		e := &eventStream{id: id, c: c, out: json.NewEncoder(a.stdout)}
		if once {
			return e.stats()
		}
		return e.follow(interval, a.log.warn)
	})
}

type eventStream struct {
	id  string
	c   *run.Container
	out *json.Encoder
}

func (e *eventStream) stats() error {
	m, err := e.c.Cgroup().Stats()
	if err != nil {
		return err
	}
	data := statsOf(m)
	if d, ok := files.Find(e.c.State().CgroupDirs, "cpuset"); ok && !d.Unified {
		if data.CPUSet, err = readCpuset(d.Path); err != nil {
			return err
		}
	}
	return e.out.Encode(event{"stats", e.id, data})
}

// follow prints until the container has ended.
func (e *eventStream) follow(interval time.Duration, warn func(string, ...any)) error {
	kills := (<-chan struct{})(nil)
	pending := func() int { return 0 }
	s := e.c.State()
	if d, ok := files.Find(s.CgroupDirs, "memory"); ok {
		w, err := oom.New(d.Path)
		if err != nil {
			return err
		}
		defer func() { _ = w.Close() }()
		kills, pending = w.C(), w.Pending
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	ended := e.c.Ended()
	tell := func() error {
		for range pending() {
			if err := e.out.Encode(event{Type: "oom", ID: e.id}); err != nil {
				return err
			}
		}
		return nil
	}
	for {
		select {
		case <-ended:
			return tell()
		case _, ok := <-kills:
			if !ok { // the cgroup is gone
				kills = nil
			}
			if err := tell(); err != nil {
				return err
			}
		case <-tick.C:
			if err := e.stats(); err != nil {
				warn("%s: %v", e.id, err) // it may be ending
			}
		}
	}
}
