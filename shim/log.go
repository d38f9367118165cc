package shim

import (
	"fmt"
	"os"
	"time"
)

// Logf writes a warning to the daemon's log, which is on standard error, in the form of containerd's own: what reads its log reads ours with it. In UTC: no zone is
// loaded for a line.
func Logf(format string, args ...any) {
	now := time.Now().UTC().Format(time.RFC3339Nano)
	_, _ = fmt.Fprintf(os.Stderr, "time=%q level=warning msg=%q\n", now, fmt.Sprintf(format, args...))
}
