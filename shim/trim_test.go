package shim

import (
	"os"
	"runtime"
	"runtime/debug"
	"testing"
)

// TestTrim: a quiet shim runs on one processor, and what is no heap is given back too.
func TestTrim(t *testing.T) {
	must(t, os.Unsetenv("GOGC"))
	processors, percent := runtime.GOMAXPROCS(0), debug.SetGCPercent(100)
	defer func() {
		runtime.GOMAXPROCS(processors)
		debug.SetGCPercent(percent)
	}()
	more := 0
	trim(func() { more++ })
	if n := runtime.GOMAXPROCS(0); n != 1 || more != 1 {
		t.Errorf("%d processors, %d calls", n, more)
	}
	if n := debug.SetGCPercent(100); n != memoryPercent {
		t.Errorf("the heap may grow by %d percent", n)
	}
}
