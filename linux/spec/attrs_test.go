package spec

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// TestAttributeRules: as TestRules, for what a process has besides its identity.
func TestAttributeRules(t *testing.T) {
	for _, c := range []struct{ patch, want string }{
		{`{"process": {"scheduler": {"policy": "SCHED_OTHER", "nice": -20, "flags": ["SCHED_FLAG_RESET_ON_FORK"]}}}`, ""},
		{`{"process": {"scheduler": {"nice": 1}}}`, "/process/scheduler/policy: is missing"},
		{`{"process": {"scheduler": {"policy": "other"}}}`, `/process/scheduler/policy: "other" is none of SCHED_BATCH, SCHED_DEADLINE, `},
		{`{"process": {"scheduler": {"policy": "SCHED_ISO"}}}`, `*/process/scheduler/policy: SCHED_ISO: Linux has the name`},
		{`{"process": {"scheduler": {"policy": "SCHED_BATCH", "nice": 20}}}`, "/process/scheduler/nice: 20 is not in -20 to 19"},
		{`{"process": {"scheduler": {"policy": "SCHED_BATCH", "priority": 1}}}`, "/process/scheduler/priority: 1: SCHED_BATCH has none"},
		{`{"process": {"scheduler": {"policy": "SCHED_RR"}}}`, "/process/scheduler/priority: 0 is not in 1 to 99, as SCHED_RR needs"},
		{`{"process": {"scheduler": {"policy": "SCHED_FIFO", "priority": 99}}}`, ""},
		{`{"process": {"scheduler": {"policy": "SCHED_FIFO", "priority": 99, "flags": ["SCHED_FLAG_RECLAIM", "X"]}}}`, `/process/scheduler/flags/1: "X" is none of SCHED_FLAG_DL_OVERRUN, `},
		{`{"process": {"scheduler": {"policy": "SCHED_OTHER", "period": 5}}}`, "/process/scheduler/period: 5: SCHED_OTHER has none"},
		{`{"process": {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1024, "deadline": 1024}}}`, ""},
		{`{"process": {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 1023, "deadline": 2000}}}`, "/process/scheduler/runtime: 1023 is less than 1024 ns"},
		{`{"process": {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 1999}}}`, "/process/scheduler/deadline: 1999 is less than the runtime"},
		{`{"process": {"scheduler": {"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 3000, "period": 2999}}}`, "/process/scheduler/period: 2999 is less than the deadline"},
		{`{"process": {"ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 0}}}`, ""},
		{`{"process": {"ioPriority": {"class": "IDLE", "priority": 0}}}`, `/process/ioPriority/class: "IDLE" is none of IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE, IOPRIO_CLASS_RT`},
		{`{"process": {"ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 8}}}`, "/process/ioPriority/priority: 8 is not in 0 to 7"},
	} {
		s, err := Parse(patched(t, c.patch))
		if err != nil {
			t.Fatalf("%s: %v", c.patch, err)
		}
		err = Validate(s, Options{})
		want, later := strings.CutPrefix(c.want, "*")
		switch {
		case want == "" && err != nil:
			t.Errorf("%s: %v", c.patch, err)
		case want == "":
		case err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "; "):
			t.Errorf("%s:\ngot  %v\nwant %s", c.patch, err, want)
		case errors.Is(err, errdefs.ErrNotImplemented) != later:
			t.Errorf("%s: wrong class: %v", c.patch, err)
		}
	}
}
