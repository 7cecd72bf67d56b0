package clock

import (
	"sync"
	"time"
)

// Guard finds out when the time of day jumps ahead: more of it has passed than the machine has
// seen pass. Everything that is due until then would be taken for due at once, and cannot be taken
// back if the clock was wrong.
//
// It compares the time of day with the elapsed time, which counts a suspended machine's sleep as
// well where the system can tell (Linux): so waking up is no jump. What it compares is how far the
// two are apart now, with the furthest that they were apart before: a clock that went back and
// comes again to where it was trusted is no jump either. Steps of at most the bound are trusted.
type Guard struct {
	clock Clock
	max   time.Duration

	mu struct {
		sync.Mutex
		trusted time.Duration // time of day minus elapsed time, at most
		jump    time.Duration // how far ahead of that the clock is; 0: it is trusted
	}
}

// Change is what a look at the clock has changed.
type Change uint8

// The changes.
const (
	Unchanged Change = iota
	Jumped           // the clock is not trusted from now on
	Agreed           // it is again
)

// NewGuard returns a guard that trusts the clock as it is now. A max of zero trusts it always.
func NewGuard(c Clock, maxJump time.Duration) *Guard {
	g := &Guard{clock: c, max: maxJump}
	g.mu.trusted = g.apart()
	return g
}

// apart is how far the time of day is ahead of the elapsed time.
func (g *Guard) apart() time.Duration {
	elapsed := g.clock.Elapsed()
	return g.clock.Now().Round(0).Sub(time.Unix(0, 0)) - elapsed
}

// Check looks at the clock and says whether it can be trusted. A nil guard trusts it.
func (g *Guard) Check() (trusted bool, change Change) {
	if g == nil || g.max <= 0 {
		return true, Unchanged
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	apart := g.apart()
	was := g.mu.jump > 0
	switch ahead := apart - g.mu.trusted; {
	case ahead > g.max:
		g.mu.jump = ahead
	default:
		g.mu.jump = 0
		g.mu.trusted = max(g.mu.trusted, apart)
	}
	switch is := g.mu.jump > 0; {
	case is && !was:
		return false, Jumped
	case was && !is:
		return true, Agreed
	default:
		return !is, Unchanged
	}
}

// Jump returns how far ahead the clock was at the last look, or 0 if it was trusted.
func (g *Guard) Jump() time.Duration {
	if g == nil {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mu.jump
}

// Accept trusts the clock as it is now, and returns by how much it had jumped.
func (g *Guard) Accept() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	jump := g.mu.jump
	g.mu.trusted, g.mu.jump = g.apart(), 0
	return jump
}
