package main

import (
	"encoding/json"
	"fmt"
	"os/user"
	"strconv"
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"
	"github.com/spf13/pflag"

	"example.io/shim/linux/run"
)

var stateCommand = command{
	name: "state", args: idArg, min: 1, max: 1,
	short: "print the state of a container",
	long:  "The state is a JSON object with the keys of the runtime specification, and rootfs, created and owner.",
	setup: func(a *app, _ *pflag.FlagSet) func([]string) error {
		return func(args []string) error {
			c, err := a.load(args[0])
			if err != nil {
				return err
			}
			defer c.Close()
			s, err := stateOf(c)
			if err != nil {
				return err
			}
			data, err := json.MarshalIndent(s, "", "  ")
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(a.stdout, "%s\n", data)
			return err
		}
	},
}

// containerState is what state and list print. The order and names of its keys are runc's.
type containerState struct {
	Version     string            `json:"ociVersion"`
	ID          string            `json:"id"`
	Pid         int               `json:"pid"`
	Status      string            `json:"status"`
	Bundle      string            `json:"bundle"`
	Rootfs      string            `json:"rootfs"`
	Created     time.Time         `json:"created"`
	Annotations map[string]string `json:"annotations,omitempty"`
	Owner       string            `json:"owner"`
}

func stateOf(c *run.Container) (*containerState, error) {
	status, err := c.Status()
	if err != nil {
		return nil, err
	}
	s := c.State()
	out := &containerState{Version: specs.Version, ID: s.ID, Status: string(status), Bundle: s.Bundle, Rootfs: s.Rootfs, Created: s.Created, Owner: owner(s.UID)}
	if status != run.Stopped {
		out.Pid = c.Pid()
	}
	// A bundle of a shim whose config.json is gone still has a state.
	if sp, err := c.Spec(); err == nil {
		out.Annotations = sp.Annotations
	}
	return out, nil
}

func owner(uid uint32) string {
	if uid == 0 {
		return "root"
	}
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "#" + id
}
