package clock

import "time"

// Clock tells the time of day and makes timers. All methods may be called from any goroutine.
type Clock interface {
	// Now returns the time of day. It may step backwards when the machine's clock is set.
	Now() time.Time
	// Elapsed returns how much time has passed since some moment, with the time that the machine
	// was suspended where the system can tell. Setting the time of day does not change it.
	Elapsed() time.Duration
	// NewTimer returns a timer that sends the time on its channel once d has elapsed.
	NewTimer(d time.Duration) Timer
	// AfterFunc calls f once d has elapsed: on a goroutine of its own with Real, inside Advance
	// with Manual. The returned timer's channel is nil.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer fires once after its duration, measured in elapsed time: setting the time of day does not
// move it.
type Timer interface {
	// C returns the channel on which the timer sends. It holds at most one value.
	C() <-chan time.Time
	// Reset arms the timer anew for d from now. A firing that was not received yet is taken back.
	Reset(d time.Duration)
	// Stop disarms the timer and takes back a firing that was not received yet. It reports whether
	// the timer was armed. It does not wait for a running AfterFunc.
	Stop() bool
}
