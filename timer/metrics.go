package timer

// LatenessBucketsMs are the upper bounds of the lateness histogram in milliseconds.
var LatenessBucketsMs = [...]float64{
	0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000,
}

// Stats is a snapshot of a schedule's counters.
type Stats struct {
	Pending    int64  // records that wait
	NextDue    UnixMs // due time of the first of them, exact or a lower bound
	HasNext    bool   // whether NextDue means anything
	Delivered  int64  // records appended to the partition log since Open
	Settled    int64  // deliveries that Settle wrote into settlement batches since Open
	Retries    int64  // delivery appends that failed for space and were put back
	HeldBack   int64  // entries put back because the wall clock had not reached them
	Rewinds    int64  // times the near window was thrown away after the clock stepped back
	NearLength int64  // entries in memory: wheel, ready and in flight
	NearBytes  int64  // memory that the near window holds
	InFlight   int64  // entries delivered but not below the partition log's high watermark
	// LatenessCount counts observed lateness by bucket of LatenessBucketsMs, not cumulative; the
	// last element counts what is above all bounds.
	LatenessCount [len(LatenessBucketsMs) + 1]int64
	LatenessSumMs float64 // sum of all observed lateness
}
