//go:build !linux

package clock

import "time"

// Elapsed counts from the start of the process. Whether it goes on while the machine is suspended
// is the system's choice: if it does not, waking up looks as if the time of day had jumped.
func (realClock) Elapsed() time.Duration { return time.Since(processStart) }
