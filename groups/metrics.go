package groups

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
