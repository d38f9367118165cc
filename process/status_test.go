package process

import (
	"errors"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
)

// walk is the table written a second time, by columns: a row per event, a word per status in the order of the constants.
// A capital letter is the next status; - is FailedPrecondition, f "already finished", g NotFound, ! a bug.
var walk = map[event]string{
	//                  created starting running pausing paused resuming dumping dumpingPaused stopped deleting deleted
	evStart:            "S - - - - - - - - - g",
	evStarted:          "! R ! ! ! ! ! ! ! ! !",
	evStartFailed:      "! X ! ! ! ! ! ! ! ! !",
	evPause:            "- - P - - - - - - - g",
	evPaused:           "! ! ! Z ! ! ! ! X D G",
	evPauseFailed:      "! ! ! R ! ! ! ! X D G",
	evResume:           "- - - - U - - - - - g",
	evResumed:          "! ! ! ! ! R ! ! X D G",
	evResumeFailed:     "! ! ! ! ! Z ! ! X D G",
	evExit:             "X S X X X X K L X D G",
	evExecAdd:          "C S R - - - - - - - g",
	evExecStart:        "C S R - - - - - - - g",
	evKill:             "C S R P Z U K L f f g",
	evExecKill:         "- - R ! ! ! ! ! f f g",
	evUpdate:           "C S R P Z U K L - - g",
	evCheckpoint:       "- - K - L - - - - - g",
	evCheckpointed:     "! ! ! ! ! ! R Z ! ! !",
	evCheckpointFailed: "! ! ! ! ! ! R Z ! ! !",
	evDelete:           "D - - - - - - - D - g",
	evDeleted:          "! ! ! ! ! ! ! ! ! G !",
	evDeleteFailed:     "! ! ! ! ! ! ! ! ! X !",
}

var letters = map[string]Status{
	"C": Created, "S": starting, "R": Running, "P": Pausing, "Z": Paused, "U": resuming, "K": dumping, "L": dumpingPaused, "X": Stopped, "D": deleting, "G": Deleted,
}

func TestTable(t *testing.T) {
	for e := range eventCount {
		row := strings.Fields(walk[e])
		if len(row) != int(statusCount) {
			t.Fatalf("%s: %d cells, want %d", e, len(row), statusCount)
		}
		for s := range statusCount {
			got, err := next(s, e)
			if want, ok := letters[row[s]]; ok {
				if err != nil || got != want {
					t.Errorf("%s while %s: got %s, %v; want %s", e, s, got, err, want)
				}
				continue
			}
			kind := map[string]error{"-": errdefs.ErrFailedPrecondition, "f": errFinished, "g": errdefs.ErrNotFound, "!": errdefs.ErrInternal}[row[s]]
			if got != s || !errors.Is(err, kind) {
				t.Errorf("%s while %s: got %s, %v; want %v", e, s, got, err, kind)
			}
		}
	}
}

func TestPublicStatus(t *testing.T) {
	for s := range statusCount {
		want := map[Status]Status{starting: Created, resuming: Paused, dumping: Running, dumpingPaused: Paused, deleting: Stopped}
		if w, hidden := want[s]; hidden {
			if s.Public() != w {
				t.Errorf("%s is shown as %s", s, s.Public())
			}
		} else if s.Public() != s {
			t.Errorf("%s is shown as %s", s, s.Public())
		}
	}
}
