package log

import "sync/atomic"

// sizeBounds are the upper bounds of the buckets of a Sizes, ascending: powers of four from one.
var sizeBounds = [...]int64{
	1, 4, 16, 64, 256, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24, 1 << 26,
}

// Sizes is a histogram of counts or bytes with fixed buckets. Its zero value is empty.
type Sizes struct {
	buckets [len(sizeBounds) + 1]atomic.Int64 // the last one has no bound
	sum     atomic.Int64
}

// Observe counts one size.
func (h *Sizes) Observe(n int64) {
	i := 0
	for i < len(sizeBounds) && n > sizeBounds[i] {
		i++
	}
	h.buckets[i].Add(1)
	h.sum.Add(n)
}

// Snapshot returns the counts so far.
func (h *Sizes) Snapshot() SizesSnapshot {
	s := SizesSnapshot{Sum: h.sum.Load()}
	for i := range h.buckets {
		bucket := SizesBucket{Count: h.buckets[i].Load(), Bound: -1}
		s.Count += bucket.Count
		if i < len(sizeBounds) {
			bucket.Bound = sizeBounds[i]
		}
		s.Buckets = append(s.Buckets, bucket)
	}
	return s
}

// SizesSnapshot is what a Sizes has counted.
type SizesSnapshot struct {
	Count   int64         // Count is the number of sizes.
	Sum     int64         // Sum is all of them together.
	Buckets []SizesBucket // Buckets have ascending bounds; the last one has none.
}

// SizesBucket is one bucket of a histogram.
type SizesBucket struct {
	Bound int64 // Bound is the largest size counted here, or -1: no bound.
	Count int64 // Count is the number in this bucket alone.
}
