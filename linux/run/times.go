package run

import (
	"encoding/binary"

	"golang.org/x/sys/unix"

	"example.io/shim/linux/plan"
)

// timespecSize is sizeof(struct timespec) of 64-bit kernels.
const timespecSize = 16

// timesSize is what the table of times adds to the arena.
func (e *engine) timesSize() int {
	const align = 8 // of the image's end
	if e.deps.Times == nil {
		return 0
	}
	return timespecSize*len(e.plan.Steps) + align
}

// keepTimes puts the table behind the image, which has size bytes, and tells the child of it.
func (e *engine) keepTimes(size int) {
	if e.deps.Times == nil {
		return
	}
	at := (size + 7) &^ 7
	e.times = e.arena.Bytes()[at : at+timespecSize*len(e.plan.Steps)]
	e.im.SetHeader(plan.HdrTimes, e.arena.Base()+uint64(at))
}

// stamp notes when a step of the parent begins.
func (e *engine) stamp(i int) {
	if e.times != nil {
		now := monotonic()
		binary.NativeEndian.PutUint64(e.times[timespecSize*i:], uint64(now/1e9))
		binary.NativeEndian.PutUint64(e.times[timespecSize*i+8:], uint64(now%1e9))
	}
}

// stampEnd notes when the parent is done: behind its last step the child's program runs.
func (e *engine) stampEnd() {
	if e.times != nil {
		e.done = monotonic()
	}
}

// monotonic is the child's clock (CLOCK_MONOTONIC), in ns.
func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail: the clock is there and the address is ours
	return t.Nano()
}

// tellTimes hands the table on, once.
func (e *engine) tellTimes() {
	if e.times == nil {
		return
	}
	t := plan.Times{Plan: e.plan, Began: make([]int64, len(e.plan.Steps)), Ended: e.done}
	for i := range t.Began {
		b := e.times[timespecSize*i:]
		t.Began[i] = int64(binary.NativeEndian.Uint64(b))*1e9 + int64(binary.NativeEndian.Uint64(b[8:]))
	}
	e.times = nil
	e.deps.Times(t)
}
