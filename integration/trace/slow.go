package trace

import (
	"time"

	"example.io/shim/internal/slow"
)

// Limit is how long on this machine what takes d at most on a host may take: the CPU of a virtual machine may be emulated (integration/vm/test.sh).
func Limit(d time.Duration) time.Duration { return slow.Limit(d) }
