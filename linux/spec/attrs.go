package spec

import (
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// SchedulerPolicies are the policies of sched(7) by number (include/uapi/linux/sched.h). SCHED_ISO has a number there and nothing behind it.
var SchedulerPolicies = map[specs.LinuxSchedulerPolicy]uint32{
	specs.SchedOther: 0, specs.SchedFIFO: 1, specs.SchedRR: 2, specs.SchedBatch: 3, specs.SchedIdle: 5, specs.SchedDeadline: 6,
}

// SchedulerFlags are the flags of sched_setattr(2).
var SchedulerFlags = map[specs.LinuxSchedulerFlag]uint64{
	specs.SchedFlagResetOnFork: 0x1, specs.SchedFlagReclaim: 0x2, specs.SchedFlagDLOverrun: 0x4, specs.SchedFlagKeepPolicy: 0x8,
	specs.SchedFlagKeepParams: 0x10, specs.SchedFlagUtilClampMin: 0x20, specs.SchedFlagUtilClampMax: 0x40,
}

// IOClasses are the classes of ioprio_set(2).
var IOClasses = map[specs.IOPriorityClass]uint64{"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}

// Limits of sched(7) and ioprio_set(2).
const (
	minNice, maxNice         = -20, 19
	minRealtime, maxRealtime = 1, 99
	maxIOPriority            = 7
	minDeadline              = 1024 // ns: the kernel's DL_SCALE, below which it refuses a runtime
)

func (p *problems) scheduler(here string, s *specs.Scheduler) {
	_, known := SchedulerPolicies[s.Policy]
	switch {
	case s.Policy == "":
		p.bad(here+"/policy", "is missing")
		return
	case s.Policy == specs.SchedISO:
		p.cannot(here+"/policy", "%s: Linux has the name and no such scheduler", s.Policy)
		return
	case !known:
		p.bad(here+"/policy", "%q is none of %s", s.Policy, names(SchedulerPolicies))
		return
	}
	if s.Nice < minNice || s.Nice > maxNice {
		p.bad(here+"/nice", "%s", inRange(int64(s.Nice), minNice, maxNice))
	}
	realtime, deadline := s.Policy == specs.SchedFIFO || s.Policy == specs.SchedRR, s.Policy == specs.SchedDeadline
	switch {
	case realtime && (s.Priority < minRealtime || s.Priority > maxRealtime):
		p.bad(here+"/priority", "%s, as %s needs", inRange(int64(s.Priority), minRealtime, maxRealtime), s.Policy)
	case !realtime && s.Priority != 0:
		p.bad(here+"/priority", "%d: %s has none", s.Priority, s.Policy)
	}
	for i, f := range s.Flags {
		if _, ok := SchedulerFlags[f]; !ok {
			p.bad(at(here, "flags", i), "%q is none of %s", f, names(SchedulerFlags))
		}
	}
	p.deadline(here, s, deadline)
}

// deadline checks the three times of SCHED_DEADLINE (sched(7)): runtime <= deadline <= period.
func (p *problems) deadline(here string, s *specs.Scheduler, is bool) {
	if !is {
		for _, f := range []struct {
			name string
			v    uint64
		}{{"runtime", s.Runtime}, {"deadline", s.Deadline}, {"period", s.Period}} {
			if f.v != 0 {
				p.bad(here+"/"+f.name, "%d: %s has none", f.v, s.Policy)
			}
		}
		return
	}
	switch {
	case s.Runtime < minDeadline:
		p.bad(here+"/runtime", "%d is less than %d ns", s.Runtime, minDeadline)
	case s.Deadline < s.Runtime:
		p.bad(here+"/deadline", "%d is less than the runtime %d", s.Deadline, s.Runtime)
	case s.Period != 0 && s.Period < s.Deadline:
		p.bad(here+"/period", "%d is less than the deadline %d", s.Period, s.Deadline)
	}
}

func (p *problems) ioPriority(here string, io *specs.LinuxIOPriority) {
	if _, ok := IOClasses[io.Class]; !ok {
		p.bad(here+"/class", "%q is none of %s", io.Class, names(IOClasses))
	}
	if io.Priority < 0 || io.Priority > maxIOPriority {
		p.bad(here+"/priority", "%s", inRange(io.Priority, 0, maxIOPriority))
	}
}

// names lists what a table knows.
func names[K ~string, V any](table map[K]V) string {
	list := make([]string, 0, len(table))
	for _, k := range slices.Sorted(maps.Keys(table)) {
		list = append(list, string(k))
	}
	return strings.Join(list, ", ")
}
