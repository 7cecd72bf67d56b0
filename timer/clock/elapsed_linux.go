package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Elapsed reads the clock that counts from the machine's start, and goes on while it is suspended.
// Nobody can set it.
func (realClock) Elapsed() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return time.Since(processStart) // a kernel before 2.6.39
	}
	return time.Duration(t.Nano())
}
