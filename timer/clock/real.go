package clock

import "time"

// Real returns the machine's clock.
func Real() Clock { return realClock{} }

type realClock struct{}

// processStart is where Elapsed counts from, if it cannot count from the machine's start.
var processStart = time.Now()

func (realClock) Now() time.Time { return time.Now() }

func (realClock) NewTimer(d time.Duration) Timer { return realTimer{time.NewTimer(d)} }

func (realClock) AfterFunc(d time.Duration, f func()) Timer {
	return realTimer{time.AfterFunc(d, f)}
}

// realTimer relies on the timers of Go 1.23 and later, whose channel never holds a stale value
// after Stop or Reset.
type realTimer struct{ t *time.Timer }

func (t realTimer) C() <-chan time.Time { return t.t.C }

func (t realTimer) Reset(d time.Duration) { t.t.Reset(d) }

func (t realTimer) Stop() bool { return t.t.Stop() }
