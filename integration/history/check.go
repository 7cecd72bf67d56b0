package history

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// One sentinel for each way to be wrong.
var (
	ErrLost       = errors.New("acknowledged and never read")
	ErrDuplicate  = errors.New("read more than once")
	ErrPhantom    = errors.New("read and never written there")
	ErrOutOfOrder = errors.New("read out of its producer's order")
	ErrEarly      = errors.New("read before it was due")
	ErrDueOrder   = errors.New("read out of due order")
	ErrNotDense   = errors.New("offsets are not dense")
)

// examplesMax bounds the cases that one error spells out.
const examplesMax = 5

// findings collects what one check found wrong.
type findings struct {
	kind     error
	count    int
	examples []string
}

func (f *findings) add(format string, args ...any) {
	f.count++
	if len(f.examples) < examplesMax {
		f.examples = append(f.examples, fmt.Sprintf(format, args...))
	}
}

func (f *findings) err() error {
	if f.count == 0 {
		return nil
	}
	return fmt.Errorf("%w: %d times, such as: %s", f.kind, f.count, strings.Join(f.examples, "; "))
}

// Lost fails when an acknowledged record was not read on its partition.
func Lost(writes []Write, reads []Read) error {
	type place struct {
		Key
		partition int32
	}
	seen := make(map[place]bool, len(reads))
	for _, r := range reads {
		seen[place{r.Key, r.Partition}] = true
	}
	f := findings{kind: ErrLost}
	for _, w := range writes {
		if !seen[place{w.Key, w.Partition}] {
			f.add("producer %d number %d of partition %d", w.Producer, w.Number, w.Partition)
		}
	}
	return f.err()
}

// Duplicate fails when a record was read more than once, on whatever partitions.
func Duplicate(reads []Read) error {
	first := make(map[Key]Read, len(reads))
	f := findings{kind: ErrDuplicate}
	for _, r := range reads {
		if was, ok := first[r.Key]; ok {
			f.add("producer %d number %d at offset %d and %d of partition %d and %d",
				r.Producer, r.Number, was.Offset, r.Offset, was.Partition, r.Partition)
			continue
		}
		first[r.Key] = r
	}
	return f.err()
}

// Phantom fails when a record was read that nobody wrote to that partition with that due time.
func Phantom(writes []Write, reads []Read) error {
	written := make(map[Write]bool, len(writes))
	for _, w := range writes {
		written[w] = true
	}
	f := findings{kind: ErrPhantom}
	for _, r := range reads {
		if !written[Write{Key: r.Key, Partition: r.Partition, DueMs: r.DueMs}] {
			f.add("producer %d number %d due %d at offset %d of partition %d",
				r.Producer, r.Number, r.DueMs, r.Offset, r.Partition)
		}
	}
	return f.err()
}

// OutOfOrder fails when, within a partition, a producer's numbers do not rise with the offsets.
func OutOfOrder(reads []Read) error {
	type lane struct {
		producer  int
		partition int32
	}
	last := map[lane]Read{}
	f := findings{kind: ErrOutOfOrder}
	for _, r := range byOffset(reads) {
		l := lane{r.Producer, r.Partition}
		if was, ok := last[l]; ok && r.Number < was.Number {
			f.add("producer %d number %d at offset %d after number %d at offset %d of partition %d",
				r.Producer, r.Number, r.Offset, was.Number, was.Offset, r.Partition)
		}
		last[l] = r
	}
	return f.err()
}

// Early fails when a scheduled record's timestamp or its arrival lies before its due time.
func Early(reads []Read) error {
	f := findings{kind: ErrEarly}
	for _, r := range reads {
		if r.DueMs == 0 {
			continue
		}
		if r.StampMs < r.DueMs {
			f.add("producer %d number %d due %d carries the timestamp %d",
				r.Producer, r.Number, r.DueMs, r.StampMs)
		}
		if r.ArrivedMs != 0 && r.ArrivedMs < r.DueMs {
			f.add("producer %d number %d due %d arrived at %d",
				r.Producer, r.Number, r.DueMs, r.ArrivedMs)
		}
	}
	return f.err()
}

// DueOrder fails when, within a partition, the due times of scheduled records fall as offsets
// rise. It holds only for records that were all accepted before the first of them was due.
func DueOrder(reads []Read) error {
	last := map[int32]Read{}
	f := findings{kind: ErrDueOrder}
	for _, r := range byOffset(reads) {
		if r.DueMs == 0 {
			continue
		}
		if was, ok := last[r.Partition]; ok && r.DueMs < was.DueMs {
			f.add("due %d at offset %d after due %d at offset %d of partition %d",
				r.DueMs, r.Offset, was.DueMs, was.Offset, r.Partition)
		}
		last[r.Partition] = r
	}
	return f.err()
}

// Dense fails when the offsets of a partition do not run from 0 without a gap. It wants every
// record of the partition, each once.
func Dense(reads []Read) error {
	next := map[int32]int64{}
	f := findings{kind: ErrNotDense}
	for _, r := range byOffset(reads) {
		if r.Offset != next[r.Partition] {
			f.add("offset %d follows %d on partition %d",
				r.Offset, next[r.Partition]-1, r.Partition)
		}
		next[r.Partition] = r.Offset + 1
	}
	return f.err()
}

// byOffset returns the reads sorted by partition and offset; the argument keeps its order.
func byOffset(reads []Read) []Read {
	sorted := slices.Clone(reads)
	slices.SortStableFunc(sorted, func(a, b Read) int {
		if c := cmp.Compare(a.Partition, b.Partition); c != 0 {
			return c
		}
		return cmp.Compare(a.Offset, b.Offset)
	})
	return sorted
}
