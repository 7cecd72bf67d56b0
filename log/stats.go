package log

import (
	"sync/atomic"
	"time"
)

// latencyBounds are the upper bounds of the buckets of a Latency, ascending.
var latencyBounds = [...]time.Duration{
	100 * time.Microsecond, 200 * time.Microsecond, 500 * time.Microsecond,
	time.Millisecond, 2 * time.Millisecond, 5 * time.Millisecond,
	10 * time.Millisecond, 20 * time.Millisecond, 50 * time.Millisecond,
	100 * time.Millisecond, 500 * time.Millisecond, time.Second,
}

// Latency is a histogram of durations with fixed buckets. Its zero value is empty.
type Latency struct {
	buckets [len(latencyBounds) + 1]atomic.Int64 // the last one has no bound
	sumNs   atomic.Int64
}

// Observe counts one duration.
func (h *Latency) Observe(d time.Duration) {
	i := 0
	for i < len(latencyBounds) && d > latencyBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sumNs.Add(int64(d))
}

// Snapshot returns the counts so far.
func (h *Latency) Snapshot() LatencySnapshot {
	s := LatencySnapshot{Sum: time.Duration(h.sumNs.Load())}
	for i := range h.buckets {
		n := h.buckets[i].Load()
		s.Count += n
		bucket := LatencyBucket{Count: n, Bound: -1}
		if i < len(latencyBounds) {
			bucket.Bound = latencyBounds[i]
		}
		s.Buckets = append(s.Buckets, bucket)
	}
	return s
}

// LatencySnapshot is what a Latency has counted.
type LatencySnapshot struct {
	Count   int64           // Count is the number of durations.
	Sum     time.Duration   // Sum is all of them together.
	Buckets []LatencyBucket // Buckets have ascending bounds; the last one has none.
}

// LatencyBucket is one bucket of a histogram.
type LatencyBucket struct {
	Bound time.Duration // Bound is the longest duration counted here, or -1: no bound.
	Count int64         // Count is the number in this bucket alone.
}

// counters are a log's figures since Open.
type counters struct {
	appends, appendedBytes, readBytes          atomic.Int64
	flushes, fsyncs, flushedBytes, commits     atomic.Int64
	recoveredBatches, recoveredBytes, cutBytes atomic.Int64
	indexRebuilds, replayedEntries             atomic.Int64
	compactions, compactedRecords              atomic.Int64
	compactedBytes, compactionBytes            atomic.Int64
	compactionNs                               atomic.Int64
	fsyncLatency                               Latency
}

// Stats are a log's figures since Open.
type Stats struct {
	Appends       int64 // Appends counts calls that wrote.
	AppendedBytes int64 // AppendedBytes is what they wrote.
	ReadBytes     int64 // ReadBytes is the batch bytes handed to readers.
	Flushes       int64 // Flushes counts those that had something to do.
	Fsyncs        int64 // Fsyncs counts fdatasyncs of segments; a flush after a roll has several.
	FlushedBytes  int64 // FlushedBytes is what they made durable.

	RecoveredBatches int64 // RecoveredBatches counts batches read by Open.
	RecoveredBytes   int64 // RecoveredBytes is their size.
	CutBytes         int64 // CutBytes is the torn tail that Open removed.
	IndexRebuilds    int64 // IndexRebuilds counts segments whose index was made anew.

	Compactions            int64         // Compactions counts calls of Compact.
	CompactionReadBytes    int64         // CompactionReadBytes counts what is new twice.
	CompactionWrittenBytes int64         // CompactionWrittenBytes is the size of what took its place.
	CompactionRemoved      int64         // CompactionRemoved counts records.
	CompactionTime         time.Duration // CompactionTime includes waits for the speed limit.

	FsyncLatency LatencySnapshot // FsyncLatency is the time of each flush in its syncs.
}

// Stats returns the log's figures.
func (l *Log) Stats() Stats {
	c := &l.counters
	return Stats{
		Appends: c.appends.Load(), AppendedBytes: c.appendedBytes.Load(),
		ReadBytes: c.readBytes.Load(), Flushes: c.flushes.Load(), Fsyncs: c.fsyncs.Load(),
		FlushedBytes: c.flushedBytes.Load(), RecoveredBatches: c.recoveredBatches.Load(),
		RecoveredBytes: c.recoveredBytes.Load(), CutBytes: c.cutBytes.Load(),
		IndexRebuilds: c.indexRebuilds.Load(), FsyncLatency: c.fsyncLatency.Snapshot(),
		Compactions:            c.compactions.Load(),
		CompactionReadBytes:    c.compactedBytes.Load(),
		CompactionWrittenBytes: c.compactionBytes.Load(),
		CompactionRemoved:      c.compactedRecords.Load(),
		CompactionTime:         time.Duration(c.compactionNs.Load()),
	}
}
