package log

import "sync/atomic"

// committerCounters are a committer's figures.
type committerCounters struct {
	commits, flushes, fsyncs, flushedBytes atomic.Int64
	records, inlineBytes, directBytes      atomic.Int64
	drains, drainedBytes                   atomic.Int64
	latency                                Latency
	bytes, logs                            Sizes // of each commit
}

// CommitterStats are a committer's figures since NewCommitter.
type CommitterStats struct {
	Commits      int64           // Commits counts rounds; in Batch mode one covers many logs.
	Flushes      int64           // Flushes counts flushes of single logs.
	Fsyncs       int64           // Fsyncs counts fdatasyncs of segments.
	FlushedBytes int64           // FlushedBytes is what they made durable.
	Records      int64           // Records counts writes to the commit journal.
	InlineBytes  int64           // InlineBytes is what the journal holds until it is drained.
	DirectBytes  int64           // DirectBytes is what went straight to the segments.
	Drains       int64           // Drains counts drains of logs to make room.
	DrainedBytes int64           // DrainedBytes is what they wrote.
	FsyncLatency LatencySnapshot // FsyncLatency is the time of each flush in its syncs.
	CommitBytes  SizesSnapshot   // CommitBytes is what each commit made durable.
	CommitLogs   SizesSnapshot   // CommitLogs is how many waited for each commit.
}

// Stats returns the committer's figures.
func (c *Committer) Stats() CommitterStats {
	return CommitterStats{
		Commits: c.stats.commits.Load(), Flushes: c.stats.flushes.Load(),
		Fsyncs: c.stats.fsyncs.Load(), FlushedBytes: c.stats.flushedBytes.Load(),
		Records: c.stats.records.Load(), InlineBytes: c.stats.inlineBytes.Load(),
		DirectBytes: c.stats.directBytes.Load(), Drains: c.stats.drains.Load(),
		DrainedBytes: c.stats.drainedBytes.Load(), FsyncLatency: c.stats.latency.Snapshot(),
		CommitBytes: c.stats.bytes.Snapshot(), CommitLogs: c.stats.logs.Snapshot(),
	}
}
