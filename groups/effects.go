package groups

import (
	"time"

	"github.com/chronosdb/chronosdb/timer/clock"
)

// effects collects what a transition wants done outside the group. The shard carries
// it out: writes under its lock, so that the log's order is the order of the
// decisions, answers after it has let go.
type effects struct {
	now     time.Time // one reading of the clock for the whole transition
	answers []func()
	writes  []write
	touched []*group // those whose deadlines or whose reason to exist may have changed
}

// write is a set of records that are stored together.
type write struct {
	group   *group
	records []Record
	// decided is called exactly once, under the shard's lock: with nil when the records
	// are durable, with the reason when they are not and will not be.
	decided func(fx *effects, err error)
}

func (fx *effects) nowMs() clock.UnixMs { return clock.ToMs(fx.now) }

func (fx *effects) answer(f func()) { fx.answers = append(fx.answers, f) }

func (fx *effects) store(w write) { fx.writes = append(fx.writes, w) }

// touch may be called often for the same group: looking after it twice does no harm,
// and only the common case, one group touched repeatedly, is worth a comparison.
func (fx *effects) touch(g *group) {
	if n := len(fx.touched); n == 0 || fx.touched[n-1] != g {
		fx.touched = append(fx.touched, g)
	}
}

// deliver gives the answers. No lock may be held.
func (fx *effects) deliver() {
	for _, f := range fx.answers {
		f()
	}
}
