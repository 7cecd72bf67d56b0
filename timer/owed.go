package timer

import "sort"

// owed keeps account of the records that were due when they were appended: their producers wait
// for the delivery. It is a queue of staged batches, oldest first, with how many such records
// each still has. The turn owns it.
type owed struct {
	batches []owedBatch // from first on
	first   int
}

type owedBatch struct {
	base Offset // staging offset of the first record
	left int    // records not yet appended to the partition log
}

// owedMax bounds the queue: beyond it, batches are counted together with the one before, and what
// depends on them waits for both.
const owedMax = 1 << 16

// add appends a batch, or more records of the last one. base must not be below earlier ones.
func (o *owed) add(base Offset, count int) {
	if n := len(o.batches); n > o.first && (o.batches[n-1].base == base || n-o.first >= owedMax) {
		o.batches[n-1].left += count
		return
	}
	if o.first > 0 && len(o.batches) == cap(o.batches) {
		o.batches = o.batches[:copy(o.batches, o.batches[o.first:])]
		o.first = 0
	}
	o.batches = append(o.batches, owedBatch{base, count})
}

// paid takes note that the record at a staging offset was delivered.
func (o *owed) paid(offset Offset) {
	q := o.batches[o.first:]
	i := sort.Search(len(q), func(i int) bool { return q[i].base > offset }) - 1
	if i >= 0 && q[i].left > 0 {
		q[i].left--
	}
}

// done returns the staging offset below which nothing is owed; applied if nothing is at all.
func (o *owed) done(applied Offset) Offset {
	for o.first < len(o.batches) && o.batches[o.first].left == 0 {
		o.first++
	}
	if o.first == len(o.batches) {
		o.batches, o.first = o.batches[:0], 0
		return applied
	}
	return o.batches[o.first].base
}
