package groups

import "sync/atomic"

// Metrics is a snapshot of what the coordinator counts. Counters start at zero with
// each process.
type Metrics struct {
	// Groups is the number of groups by state name.
	Groups map[string]int64
	// Members and Offsets are how many are held now.
	Members, Offsets int64
	// Rebalances counts completed ones; SessionTimeouts and RebalanceTimeouts count
	// members that were dropped for one of them.
	Rebalances, SessionTimeouts, RebalanceTimeouts int64
	// Commits counts durable offset commits (one per partition); CommitFailures those
	// that the log refused or lost.
	Commits, CommitFailures int64
	// ExpiredOffsets counts offsets removed by retention.
	ExpiredOffsets int64
	// ShardsLoading is how many shards are not loaded yet.
	ShardsLoading int64
}

// counters are the moving parts behind Metrics.
type counters struct {
	rebalances, sessionTimeouts, rebalanceTimeouts atomic.Int64
	commits, commitFailures, expired               atomic.Int64
}

// Metrics returns a snapshot. It takes each shard's lock once, for as long as it takes
// to count its groups.
func (c *Coordinator) Metrics() Metrics {
	m := Metrics{
		Groups:            make(map[string]int64, len(stateNames)),
		Rebalances:        c.count.rebalances.Load(),
		SessionTimeouts:   c.count.sessionTimeouts.Load(),
		RebalanceTimeouts: c.count.rebalanceTimeouts.Load(),
		Commits:           c.count.commits.Load(),
		CommitFailures:    c.count.commitFailures.Load(),
		ExpiredOffsets:    c.count.expired.Load(),
	}
	for _, name := range stateNames {
		m.Groups[name] = 0
	}
	for _, s := range c.shards {
		s.addTo(&m)
	}
	return m
}

func (s *shard) addTo(m *Metrics) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.log == nil {
		m.ShardsLoading++
	}
	for _, sl := range s.mu.slots {
		m.Groups[sl.group.state.String()]++
		m.Members += int64(len(sl.group.members))
		m.Offsets += int64(sl.group.offsets.count)
	}
}
