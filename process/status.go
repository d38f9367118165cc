package process

import (
	"fmt"

	"github.com/containerd/errdefs"
)

// Status is where a process is in its life. Init's status is the container's.
type Status int

// The statuses a client can see, and five (starting, resuming, the two of checkpoints, deleting) that mean slow work is under way.
const (
	Created Status = iota
	starting
	Running
	Pausing
	Paused
	resuming
	dumping       // a running container is being checkpointed
	dumpingPaused // a paused one is
	Stopped
	deleting
	Deleted
	statusCount
)

var statusNames = [statusCount]string{
	"created", "starting", "running", "pausing", "paused", "resuming", "being checkpointed", "being checkpointed while paused", "stopped", "being deleted", "deleted",
}

// String returns the status's name.
func (s Status) String() string {
	if s < 0 || s >= statusCount {
		return fmt.Sprintf("status %d", int(s))
	}
	return statusNames[s]
}

// Public returns the status as clients know it: work under way has not changed anything yet.
func (s Status) Public() Status {
	switch s {
	case starting:
		return Created
	case dumping:
		return Running
	case resuming, dumpingPaused:
		return Paused
	case deleting:
		return Stopped
	}
	return s
}

// event is what can happen to a process: a client's wish, or the completion of work, or an exit.
type event int

const (
	evStart event = iota
	evStarted
	evStartFailed
	evPause
	evPaused
	evPauseFailed
	evResume
	evResumed
	evResumeFailed
	evExit
	evExecAdd   // asked of init: may an exec be added?
	evExecStart // asked of init: may an exec start?
	evKill      // a signal for init
	evExecKill  // a signal for an exec
	evUpdate
	evCheckpoint
	evCheckpointed
	evCheckpointFailed
	evDelete
	evDeleted
	evDeleteFailed
	eventCount
)

var eventNames = [eventCount]string{
	"start", "started", "start failed", "pause", "paused", "pause failed", "resume", "resumed", "resume failed",
	"exit", "exec", "start of an exec", "kill", "kill", "update",
	"checkpoint", "checkpointed", "checkpoint failed", "delete", "deleted", "delete failed",
}

// String returns the event's name.
func (e event) String() string {
	if e < 0 || e >= eventCount {
		return fmt.Sprintf("event %d", int(e))
	}
	return eventNames[e]
}

// verdict is what the table says of an event.
type verdict int

const (
	impossible verdict = iota // a bug of this package; the zero value, so a forgotten cell is found
	accept
	refuse   // FailedPrecondition
	finished // NotFound: the process has ended
	gone     // NotFound: the container or exec was deleted
)

type cell struct {
	verdict verdict
	next    Status
}

func to(s Status) cell { return cell{accept, s} }

var (
	no   = cell{verdict: refuse}
	dead = cell{verdict: finished}
	away = cell{verdict: gone}
	bug  = cell{verdict: impossible}
)

// table is the whole life cycle, for init and exec alike. docs/lifecycle.md shows the same.
//
// A completion may find init dead (it exited meanwhile): then it changes nothing. An exit while starting or being checkpointed changes
// nothing either: it is kept until the request has been answered, so that its event comes first.
var table = [statusCount][eventCount]cell{
	Created: {
		evStart: to(starting), evStarted: bug, evStartFailed: bug,
		evPause: no, evPaused: bug, evPauseFailed: bug, evResume: no, evResumed: bug, evResumeFailed: bug,
		evExit: to(Stopped), evExecAdd: to(Created), evExecStart: to(Created), evKill: to(Created), evExecKill: no,
		evUpdate: to(Created), evCheckpoint: no, evCheckpointed: bug, evCheckpointFailed: bug,
		evDelete: to(deleting), evDeleted: bug, evDeleteFailed: bug,
	},
	starting: {
		evStart: no, evStarted: to(Running), evStartFailed: to(Stopped),
		evPause: no, evPaused: bug, evPauseFailed: bug, evResume: no, evResumed: bug, evResumeFailed: bug,
		evExit: to(starting), evExecAdd: to(starting), evExecStart: to(starting), evKill: to(starting), evExecKill: no,
		evUpdate: to(starting), evCheckpoint: no, evCheckpointed: bug, evCheckpointFailed: bug,
		evDelete: no, evDeleted: bug, evDeleteFailed: bug,
	},
	Running: {
		evStart: no, evStarted: bug, evStartFailed: bug,
		evPause: to(Pausing), evPaused: bug, evPauseFailed: bug, evResume: no, evResumed: bug, evResumeFailed: bug,
		evExit: to(Stopped), evExecAdd: to(Running), evExecStart: to(Running), evKill: to(Running), evExecKill: to(Running),
		evUpdate: to(Running), evCheckpoint: to(dumping), evCheckpointed: bug, evCheckpointFailed: bug,
		evDelete: no, evDeleted: bug, evDeleteFailed: bug,
	},
	Pausing: {
		evStart: no, evStarted: bug, evStartFailed: bug,
		evPause: no, evPaused: to(Paused), evPauseFailed: to(Running), evResume: no, evResumed: bug, evResumeFailed: bug,
		evExit: to(Stopped), evExecAdd: no, evExecStart: no, evKill: to(Pausing), evExecKill: bug,
		evUpdate: to(Pausing), evCheckpoint: no, evCheckpointed: bug, evCheckpointFailed: bug,
		evDelete: no, evDeleted: bug, evDeleteFailed: bug,
	},
	Paused: {
		evStart: no, evStarted: bug, evStartFailed: bug,
		evPause: no, evPaused: bug, evPauseFailed: bug, evResume: to(resuming), evResumed: bug, evResumeFailed: bug,
		evExit: to(Stopped), evExecAdd: no, evExecStart: no, evKill: to(Paused), evExecKill: bug,
		evUpdate: to(Paused), evCheckpoint: to(dumpingPaused), evCheckpointed: bug, evCheckpointFailed: bug,
		evDelete: no, evDeleted: bug, evDeleteFailed: bug,
	},
	resuming: {
		evStart: no, evStarted: bug, evStartFailed: bug,
		evPause: no, evPaused: bug, evPauseFailed: bug, evResume: no, evResumed: to(Running), evResumeFailed: to(Paused),
		evExit: to(Stopped), evExecAdd: no, evExecStart: no, evKill: to(resuming), evExecKill: bug,
		evUpdate: to(resuming), evCheckpoint: no, evCheckpointed: bug, evCheckpointFailed: bug,
		evDelete: no, evDeleted: bug, evDeleteFailed: bug,
	},
	dumping: {
		evStart: no, evStarted: bug, evStartFailed: bug,
		evPause: no, evPaused: bug, evPauseFailed: bug, evResume: no, evResumed: bug, evResumeFailed: bug,
		evExit: to(dumping), evExecAdd: no, evExecStart: no, evKill: to(dumping), evExecKill: bug,
		evUpdate: to(dumping), evCheckpoint: no, evCheckpointed: to(Running), evCheckpointFailed: to(Running),
		evDelete: no, evDeleted: bug, evDeleteFailed: bug,
	},
	dumpingPaused: {
		evStart: no, evStarted: bug, evStartFailed: bug,
		evPause: no, evPaused: bug, evPauseFailed: bug, evResume: no, evResumed: bug, evResumeFailed: bug,
		evExit: to(dumpingPaused), evExecAdd: no, evExecStart: no, evKill: to(dumpingPaused), evExecKill: bug,
		evUpdate: to(dumpingPaused), evCheckpoint: no, evCheckpointed: to(Paused), evCheckpointFailed: to(Paused),
		evDelete: no, evDeleted: bug, evDeleteFailed: bug,
	},
	Stopped: {
		evStart: no, evStarted: bug, evStartFailed: bug,
		evPause: no, evPaused: to(Stopped), evPauseFailed: to(Stopped),
		evResume: no, evResumed: to(Stopped), evResumeFailed: to(Stopped),
		evExit: to(Stopped), evExecAdd: no, evExecStart: no, evKill: dead, evExecKill: dead,
		evUpdate: no, evCheckpoint: no, evCheckpointed: bug, evCheckpointFailed: bug,
		evDelete: to(deleting), evDeleted: bug, evDeleteFailed: bug,
	},
	deleting: {
		evStart: no, evStarted: bug, evStartFailed: bug,
		evPause: no, evPaused: to(deleting), evPauseFailed: to(deleting),
		evResume: no, evResumed: to(deleting), evResumeFailed: to(deleting),
		evExit: to(deleting), evExecAdd: no, evExecStart: no, evKill: dead, evExecKill: dead,
		evUpdate: no, evCheckpoint: no, evCheckpointed: bug, evCheckpointFailed: bug,
		evDelete: no, evDeleted: to(Deleted), evDeleteFailed: to(Stopped),
	},
	Deleted: {
		evStart: away, evStarted: bug, evStartFailed: bug,
		evPause: away, evPaused: to(Deleted), evPauseFailed: to(Deleted),
		evResume: away, evResumed: to(Deleted), evResumeFailed: to(Deleted),
		evExit: to(Deleted), evExecAdd: away, evExecStart: away, evKill: away, evExecKill: away,
		evUpdate: away, evCheckpoint: away, evCheckpointed: bug, evCheckpointFailed: bug,
		evDelete: away, evDeleted: bug, evDeleteFailed: bug,
	},
}

// next looks an event up in the table. The error says what is wrong, but not with whom.
func next(s Status, e event) (Status, error) {
	switch c := table[s][e]; c.verdict {
	case accept:
		return c.next, nil
	case refuse:
		return s, fmt.Errorf("%s: it is %s: %w", e, s, errdefs.ErrFailedPrecondition)
	case finished:
		return s, errFinished
	case gone:
		return s, fmt.Errorf("%s: it was deleted: %w", e, errdefs.ErrNotFound)
	}
	return s, fmt.Errorf("%s while %s cannot happen: %w", e, s, errdefs.ErrInternal)
}

// errFinished has the words clients look for.
var errFinished = fmt.Errorf("process already finished: %w", errdefs.ErrNotFound)
