package main

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// sleepUntil sleeps as exactly as the kernel does it. The timers of Go's runtime wait in whole
// milliseconds when nothing else runs, which is up to one too late, and no floor.
func sleepUntil(t time.Time) error {
	for d := time.Until(t); d > 0; d = time.Until(t) {
		ts := syscall.NsecToTimespec(d.Nanoseconds())
		if err := syscall.Nanosleep(&ts, nil); err != nil && !errors.Is(err, syscall.EINTR) {
			return fmt.Errorf("sleep: %w", err)
		}
	}
	return nil
}
