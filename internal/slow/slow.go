// Package slow gives tests the time that they need where the CPU is emulated (integration/vm/test.sh).
package slow

import (
	"fmt"
	"os"
	"strconv"
	"time"
)

// env is how many times slower than a host this machine is.
const env = "SHIM_TEST_SLOWDOWN"

// factor is 1 on a host.
func factor() int {
	text := os.Getenv(env)
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		panic(fmt.Sprintf("%s: %q is no number of times", env, text))
	}
	return n
}

// Emulated says that it is so.
func Emulated() bool { return factor() > 1 }

// Limit is how long on this machine what takes d at most on a host may take.
func Limit(d time.Duration) time.Duration { return d * time.Duration(factor()) }

// Sample is what a test does of its variants at one of many steps: all of them on a host, on an emulated CPU one, another at the next step. So each
// variant has a part of the steps there.
func Sample[T any](step int, variants []T) []T {
	if !Emulated() || len(variants) == 0 {
		return variants
	}
	i := step % len(variants)
	return variants[i : i+1]
}
