package main

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// clockCheck is how long the kernel's word about its clock is believed:
// decisions ask for the time thousands of times a second, and the state
// changes over hours.
const clockCheck = time.Second

// clockOf returns the node's clock: milliseconds since 1970, and whether they
// can be trusted. "auto" asks the kernel whether something keeps its clock
// synchronised (adjtimex(2): the state TIME_ERROR means no).
func clockOf(setting string) func() (int64, bool) {
	if setting == "trusted" {
		return func() (int64, bool) { return time.Now().UnixMilli(), true }
	}
	var checked, trusted atomic.Int64
	return func() (int64, bool) {
		now := time.Now().UnixMilli()
		if since := now - checked.Load(); since < 0 || since >= clockCheck.Milliseconds() {
			trusted.Store(kernelTrusts())
			checked.Store(now)
		}
		return now, trusted.Load() == 1
	}
}

func kernelTrusts() int64 {
	const timeError = 5
	var t unix.Timex
	if state, err := unix.Adjtimex(&t); err != nil || state == timeError {
		return 0
	}
	return 1
}
