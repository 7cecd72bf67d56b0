package clock

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestUnixMs(t *testing.T) {
	tests := []struct {
		name string
		got  any
		want any
	}{
		{"ToMs rounds down", ToMs(time.Unix(1, 2_999_999)), UnixMs(1002)},
		{"ToMs rounds down before 1970", ToMs(time.Unix(0, -1)), UnixMs(-1)},
		{"Time", UnixMs(1500).Time(), time.Unix(1, 500e6).UTC()},
		{"Sub", UnixMs(1500).Sub(-500), 2 * time.Second},
		{"Sub saturates upwards", UnixMs(math.MaxInt64).Sub(0), time.Duration(math.MaxInt64)},
		{"Sub saturates downwards", UnixMs(0).Sub(math.MaxInt64), time.Duration(math.MinInt64)},
		{"Sub survives overflow", UnixMs(math.MaxInt64).Sub(-1), time.Duration(math.MaxInt64)},
		{"and the other way", UnixMs(math.MinInt64).Sub(1), time.Duration(math.MinInt64)},
		{"Add", UnixMs(5).Add(2 * time.Second), UnixMs(2005)},
		{"Add rounds up", UnixMs(5).Add(time.Nanosecond), UnixMs(6)},
		{"Add rounds up below zero", UnixMs(5).Add(-1500 * time.Microsecond), UnixMs(4)},
		{"Add saturates", UnixMs(math.MaxInt64 - 1).Add(time.Hour), UnixMs(math.MaxInt64)},
		{"Add saturates downwards", UnixMs(math.MinInt64).Add(-time.Hour), UnixMs(math.MinInt64)},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%s: got %v, want %v", tt.name, tt.got, tt.want)
		}
	}
}

var start = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// eventLog collects what happens, with the clock's time since start.
type eventLog struct {
	clock  *Manual
	events []string
}

func (l *eventLog) add(name string) {
	l.events = append(l.events, fmt.Sprintf("%s@%v", name, l.clock.Now().Sub(start)))
}

func (l *eventLog) f(name string) func() { return func() { l.add(name) } }

func TestManualRunsInOrder(t *testing.T) {
	m := NewManual(start)
	l := &eventLog{clock: m}
	m.AfterFunc(3*time.Second, l.f("c"))
	m.AfterFunc(time.Second, func() {
		l.add("a")
		m.AfterFunc(time.Second, l.f("b"))   // within the same Advance
		m.AfterFunc(10*time.Second, l.f("")) // not
	})
	m.AfterFunc(3*time.Second, l.f("d")) // after c, which was armed before
	m.AfterFunc(0, l.f("now"))
	stopped := m.AfterFunc(time.Second, l.f("stopped"))
	if !stopped.Stop() || stopped.Stop() {
		t.Error("Stop must say once that the timer was armed")
	}
	if len(l.events) > 0 {
		t.Errorf("before Advance: %q", l.events)
	}
	m.Advance(4 * time.Second)
	want := "now@0s a@1s b@2s c@3s d@3s"
	if got := strings.Join(l.events, " "); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := m.Now().Sub(start); got != 4*time.Second || m.Armed() != 1 {
		t.Errorf("the clock stands at %v with %d timers", got, m.Armed())
	}
}

func TestManualTiesFireInOrderOfArming(t *testing.T) {
	m := NewManual(start)
	var got, want []int
	for i := range 100 {
		m.AfterFunc(time.Second, func() { got = append(got, i) })
		want = append(want, i)
	}
	m.Advance(time.Second)
	if !slices.Equal(got, want) {
		t.Errorf("fired in the order %v", got)
	}
}

func TestManualSetMovesNoTimer(t *testing.T) {
	m := NewManual(start)
	timer := m.NewTimer(time.Minute)
	m.Set(start.Add(24 * time.Hour))
	m.Set(start.Add(-time.Hour))
	m.Advance(time.Minute - 1)
	select {
	case at := <-timer.C():
		t.Fatalf("fired at %v: setting the clock let no time pass", at)
	default:
	}
	m.Advance(1)
	if at := <-timer.C(); !at.Equal(start.Add(-time.Hour + time.Minute)) {
		t.Errorf("fired at %v", at)
	}
}

// clocks runs a test of the behaviour that both clocks share; wait lets a time pass.
func clocks(t *testing.T, test func(t *testing.T, c Clock, wait func(time.Duration))) {
	t.Run("Manual", func(t *testing.T) {
		m := NewManual(start)
		test(t, m, m.Advance)
	})
	t.Run("Real", func(t *testing.T) {
		test(t, Real(), func(d time.Duration) { <-Real().NewTimer(d + 5*time.Millisecond).C() })
	})
}

func fired(timer Timer) bool {
	select {
	case <-timer.C():
		return true
	default:
		return false
	}
}

func TestTimer(t *testing.T) {
	clocks(t, func(t *testing.T, c Clock, wait func(time.Duration)) {
		before := c.Now()
		timer := c.NewTimer(time.Hour)
		if fired(timer) {
			t.Error("fired at once")
		}
		timer.Reset(10 * time.Millisecond)
		wait(10 * time.Millisecond)
		if !fired(timer) || fired(timer) {
			t.Error("must fire exactly once")
		}
		if d := c.Now().Sub(before); d < 10*time.Millisecond {
			t.Errorf("only %v passed", d)
		}
		if timer.Stop() {
			t.Error("Stop of a timer that was received")
		}
		timer.Reset(0)
		wait(0)
		if !timer.Stop() {
			t.Error("a firing that nobody received counts as armed")
		}
		if fired(timer) {
			t.Error("Stop must take an unreceived firing back")
		}
		timer.Reset(0)
		wait(0)
		timer.Reset(time.Hour)
		if fired(timer) || !timer.Stop() {
			t.Error("Reset must take an unreceived firing back and arm anew")
		}
	})
}

func TestAfterFuncReset(t *testing.T) {
	clocks(t, func(t *testing.T, c Clock, wait func(time.Duration)) {
		ran := make(chan bool, 2)
		timer := c.AfterFunc(time.Hour, func() { ran <- true })
		if timer.C() != nil {
			t.Error("AfterFunc has no channel")
		}
		timer.Reset(time.Millisecond)
		wait(time.Millisecond)
		<-ran
		timer.Reset(time.Millisecond)
		wait(time.Millisecond)
		<-ran
		if timer.Stop() {
			t.Error("Stop after it ran")
		}
	})
}

func TestWaitArmed(t *testing.T) {
	m := NewManual(start)
	got := make(chan time.Time)
	// Ends by itself; the receive below waits for it.
	go func() {
		first := m.NewTimer(time.Second)
		m.NewTimer(time.Hour)
		got <- <-first.C()
	}()
	m.WaitArmed(2)
	m.Advance(time.Second)
	if at := <-got; !at.Equal(start.Add(time.Second)) {
		t.Errorf("fired at %v", at)
	}
	m.WaitArmed(1)
}

// TestManualHeap stops and resets timers in the middle of the heap.
func TestManualHeap(t *testing.T) {
	m := NewManual(start)
	l := &eventLog{clock: m}
	timers := make([]Timer, 50)
	for i := range timers {
		timers[i] = m.AfterFunc(time.Duration(i*37%50)*time.Second, l.f("x"))
	}
	for i := range timers {
		switch i % 3 {
		case 0:
			timers[i].Stop()
		case 1:
			timers[i].Reset(time.Duration(i*13%50) * time.Second)
		}
	}
	m.Advance(time.Minute)
	if len(l.events) != 33 || m.Armed() != 0 {
		t.Errorf("%d fired, %d armed", len(l.events), m.Armed())
	}
	bySecond := func(a, b string) int {
		da, _ := time.ParseDuration(a[2:])
		db, _ := time.ParseDuration(b[2:])
		return int(da - db)
	}
	if !slices.IsSortedFunc(l.events, bySecond) {
		t.Errorf("out of order: %q", l.events)
	}
}
