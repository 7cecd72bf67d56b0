package log

import (
	"math"

	"go.uber.org/zap"
)

// CompactionPolicy says what of a log may be compacted, and what must be.
type CompactionPolicy struct {
	// Bound is the first offset that must not be compacted: the last stable offset.
	Bound Offset
	// MinLagMs is how long a record is left alone after its timestamp; 0 for no time at all.
	MinLagMs int64
	// MaxLagMs is how long a record may stay without a look at it; math.MaxInt64 for ever.
	MaxLagMs int64
}

// CompactionPlan is what a compaction would do.
type CompactionPlan struct {
	From Offset // From is the first offset that was not compacted yet.
	To   Offset // To is the end of what would be: a segment's end, or From if there is nothing.

	CleanBytes int64 // CleanBytes is the size of the segments wholly below From.
	DirtyBytes int64 // DirtyBytes is that of the others below To.
	Overdue    bool  // Overdue says that MaxLagMs has passed for one of the latter.
}

// Ratio is the share of bytes that were not compacted yet: what min.cleanable.dirty.ratio bounds.
func (p CompactionPlan) Ratio() float64 {
	if p.DirtyBytes == 0 {
		return 0
	}
	return float64(p.DirtyBytes) / float64(p.CleanBytes+p.DirtyBytes)
}

// PlanCompaction looks at what there is to compact, as Kafka's LogCleanerManager does: whole
// segments behind those that were, not the active one, none that reaches the bound, nor one with a
// record younger than MinLagMs, nor what lies behind such a one.
func (l *Log) PlanCompaction(p CompactionPolicy, now UnixMs) CompactionPlan {
	plan := CompactionPlan{From: l.CleanTo()}
	plan.To = plan.From
	set := l.set.Load()
	for _, s := range set.list[:len(set.list)-1] {
		end := Offset(s.end.Load())
		if end == noOffset || end > p.Bound { // the first: it has become active by Truncate
			break
		}
		if end <= plan.From {
			plan.CleanBytes += s.size.Load()
			continue
		}
		times, ok := l.lagOf(s, p)
		if !ok || (p.MinLagMs > 0 && times.newest > now-UnixMs(p.MinLagMs)) {
			break
		}
		plan.To = end
		plan.DirtyBytes += s.size.Load()
		if p.MaxLagMs < math.MaxInt64 && times.first > 0 && times.first < now-UnixMs(p.MaxLagMs) {
			plan.Overdue = true
		}
	}
	return plan
}

// segmentTimes are the timestamps of a segment that compaction lags are measured by.
type segmentTimes struct {
	first  UnixMs // of its first batch
	newest UnixMs // of all
}

// lagOf reads the timestamps of a sealed segment, as far as the policy asks for them. What cannot
// be read is not compacted.
func (l *Log) lagOf(s *segment, p CompactionPolicy) (t segmentTimes, ok bool) {
	if p.MinLagMs <= 0 && p.MaxLagMs == math.MaxInt64 {
		return t, true
	}
	if !s.acquire() {
		return t, false
	}
	defer s.release()
	newest, err := l.maxTimeOf(s)
	if err == nil {
		t.newest = newest
		t.first, err = firstTimeOf(s, Offset(s.end.Load()))
	}
	if err != nil {
		l.o.Logger.Warn("compaction leaves a segment alone whose timestamps cannot be read",
			zap.String("segment", s.path), zap.Error(err))
	}
	return t, err == nil
}
