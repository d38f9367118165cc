package trace

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// SlowEnv is how many times slower than a host this machine is: the CPU of a virtual machine may be emulated (integration/vm/test.sh).
const SlowEnv = "SHIM_TEST_SLOWDOWN"

// Limit is how long on this machine what takes d at most on a host may take.
func Limit(d time.Duration) time.Duration {
	text := os.Getenv(SlowEnv)
	if text == "" {
		return d
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		panic(fmt.Sprintf("%s: %q is no number of times", SlowEnv, text))
	}
	return d * time.Duration(n)
}
