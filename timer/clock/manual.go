package clock

import (
	"container/heap"
	"sync"
	"time"
)

// Manual is a clock that stands still until a test moves it.
//
// It keeps two times, as a machine does: the time of day, which Set may move either way, and the
// elapsed time, which only Advance moves. Timers follow the elapsed time.
type Manual struct {
	advancing sync.Mutex // held by Advance while it runs timers, so that two advances do not mix

	mu struct { // short: never held while a timer's function runs
		sync.Mutex
		now     time.Time
		elapsed time.Duration
		seq     uint64 // breaks ties: timers due at the same time fire in the order of arming
		armed   timerHeap
		changed chan struct{} // closed and replaced whenever a timer is armed
	}
}

// NewManual returns a clock that stands at start.
func NewManual(start time.Time) *Manual {
	m := &Manual{}
	m.mu.now = start
	m.mu.changed = make(chan struct{})
	return m
}

// Now returns the time at which the clock stands.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.now
}

// Elapsed returns by how much Advance has moved the clock.
func (m *Manual) Elapsed() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.mu.elapsed
}

// Set moves the time of day to t, forwards or backwards, and fires nothing: no time has elapsed.
func (m *Manual) Set(t time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.mu.now = t
}

// NewTimer returns a timer that fires when Advance has moved the clock by d in all. A d of zero or
// less fires at once, as the real timer does.
func (m *Manual) NewTimer(d time.Duration) Timer {
	t := &manualTimer{clock: m, c: make(chan time.Time, 1), index: notArmed}
	t.Reset(d)
	return t
}

// AfterFunc arranges for f to run inside the Advance that moves the clock to d from now. A d of
// zero or less waits for the next Advance too (Advance(0) is enough): the caller may hold locks
// that f needs.
func (m *Manual) AfterFunc(d time.Duration, f func()) Timer {
	t := &manualTimer{clock: m, f: f, index: notArmed}
	t.Reset(d)
	return t
}

// Advance moves the clock by d, which must not be negative, and fires every timer that becomes
// due, in order of due time; each sees the clock standing at its own due time. Functions run on
// the caller's goroutine and may arm timers, which fire in the same Advance if they fall within
// it; they must not call Advance.
func (m *Manual) Advance(d time.Duration) {
	m.advancing.Lock()
	defer m.advancing.Unlock()
	m.mu.Lock()
	target := m.mu.elapsed + max(d, 0)
	for len(m.mu.armed) > 0 && m.mu.armed[0].due <= target {
		t := heap.Pop(&m.mu.armed).(*manualTimer)
		m.moveLocked(t.due)
		if t.f == nil {
			t.sendLocked()
			continue
		}
		m.mu.Unlock()
		t.f()
		m.mu.Lock()
	}
	m.moveLocked(target)
	m.mu.Unlock()
}

// moveLocked moves both times forward to the given elapsed time. A timer armed with a negative
// duration lies in the past and moves nothing.
func (m *Manual) moveLocked(elapsed time.Duration) {
	if step := elapsed - m.mu.elapsed; step > 0 {
		m.mu.elapsed = elapsed
		m.mu.now = m.mu.now.Add(step)
	}
}

// Armed returns how many timers are waiting.
func (m *Manual) Armed() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.mu.armed)
}

// WaitArmed blocks until at least n timers are waiting. A test calls it before Advance when
// another goroutine arms the timer that the test wants to see fire.
func (m *Manual) WaitArmed(n int) {
	for {
		m.mu.Lock()
		armed, changed := len(m.mu.armed), m.mu.changed
		m.mu.Unlock()
		if armed >= n {
			return
		}
		<-changed
	}
}

// notArmed is the heap index of a timer that is not in the heap.
const notArmed = -1

// manualTimer is one timer of a Manual clock; its fields belong to clock.mu.
type manualTimer struct {
	clock *Manual
	c     chan time.Time // nil for AfterFunc
	f     func()         // nil for NewTimer
	due   time.Duration  // in elapsed time
	seq   uint64
	index int // in clock.mu.armed, or notArmed
}

func (t *manualTimer) C() <-chan time.Time { return t.c }

func (t *manualTimer) Reset(d time.Duration) {
	m := t.clock
	m.mu.Lock()
	defer m.mu.Unlock()
	t.disarmLocked()
	if d <= 0 && t.f == nil {
		t.sendLocked()
		return
	}
	t.due = m.mu.elapsed + d
	t.seq = m.mu.seq
	m.mu.seq++
	heap.Push(&m.mu.armed, t)
	close(m.mu.changed)
	m.mu.changed = make(chan struct{})
}

func (t *manualTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	return t.disarmLocked()
}

// sendLocked puts the time on the channel, which is empty: every arming empties it first.
func (t *manualTimer) sendLocked() { t.c <- t.clock.mu.now }

// disarmLocked takes the timer out of the heap and its unreceived firing out of the channel. It
// reports whether there was anything to take.
func (t *manualTimer) disarmLocked() bool {
	if t.index != notArmed {
		heap.Remove(&t.clock.mu.armed, t.index)
		return true
	}
	select {
	case <-t.c:
		return true // like a real timer of Go 1.23: not received yet means still armed
	default:
		return false
	}
}

// timerHeap orders timers by due time, then by the order of arming. Its length is bounded by the
// number of timers that the test makes.
type timerHeap []*manualTimer

func (h timerHeap) Len() int { return len(h) }

func (h timerHeap) Less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].seq < h[j].seq
}

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push appends x, a *manualTimer, for container/heap.
func (h *timerHeap) Push(x any) {
	t := x.(*manualTimer)
	t.index = len(*h)
	*h = append(*h, t)
}

// Pop takes the last timer off, for container/heap.
func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.index = notArmed
	return t
}
