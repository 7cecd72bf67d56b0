package clock

import (
	"testing"
	"time"
)

func TestGuardTellsJumpsFromTimeThatPasses(t *testing.T) {
	m := NewManual(start)
	g := NewGuard(m, time.Minute)
	set := func(d time.Duration) { m.Set(m.Now().Add(d)) }
	for i, c := range []struct {
		do      func()
		trusted bool
		change  Change
		jump    time.Duration
	}{
		{func() {}, true, Unchanged, 0},
		{func() { m.Advance(100 * time.Hour) }, true, Unchanged, 0}, // a night, or a suspended machine
		{func() { set(time.Minute) }, true, Unchanged, 0},
		{func() { set(time.Minute) }, true, Unchanged, 0}, // each step by itself
		{func() { set(time.Minute + 1) }, false, Jumped, time.Minute + 1},
		{func() { m.Advance(time.Hour) }, false, Unchanged, time.Minute + 1},
		{func() { set(time.Hour) }, false, Unchanged, time.Hour + time.Minute + 1},
		{func() { set(-time.Hour - 1) }, true, Agreed, 0},
		{func() { set(-10 * time.Hour) }, true, Unchanged, 0},
		{func() { set(10 * time.Hour) }, true, Unchanged, 0}, // back where it was trusted
		{func() { set(48 * time.Hour) }, false, Jumped, 48 * time.Hour},
		{func() { g.Accept() }, true, Unchanged, 0},
		{func() { set(time.Minute) }, true, Unchanged, 0},
	} {
		c.do()
		trusted, change := g.Check()
		if trusted != c.trusted || change != c.change || g.Jump() != c.jump {
			t.Fatalf("step %d: trusted %v, change %v, jump %v; want %+v", i, trusted, change, g.Jump(), c)
		}
	}
}

func TestGuardOff(t *testing.T) {
	m := NewManual(start)
	for _, g := range []*Guard{nil, NewGuard(m, 0)} {
		m.Set(m.Now().Add(1000 * time.Hour))
		if trusted, change := g.Check(); !trusted || change != Unchanged || g.Jump() != 0 {
			t.Fatal("a guard that is off distrusts the clock")
		}
	}
}

func TestElapsedGoesOn(t *testing.T) {
	c := Real()
	before, at := c.Elapsed(), time.Now()
	for time.Since(at) < time.Millisecond {
	}
	if d := c.Elapsed() - before; d < time.Millisecond/2 || d > time.Hour {
		t.Fatalf("%v elapsed", d)
	}
}
