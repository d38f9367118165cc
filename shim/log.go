package shim

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// Logf writes a warning to the daemon's log, which is on standard error, in the form of containerd's own: what reads its log reads ours with it. In UTC: no zone is
// loaded for a line.
func Logf(format string, args ...any) {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	toLog(fmt.Appendf(nil, "time=%q level=warning msg=%q\n", now, fmt.Sprintf(format, args...)))
}

// toLog writes by the descriptor: os.Stderr ends the process when nobody reads any more. What does not fit now is lost.
func toLog(text []byte) { _, _ = unix.Write(2, text) }
