package timer

import (
	"cmp"
	"math"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// UnixMs is a point in time in Unix milliseconds.
type UnixMs = clock.UnixMs

// Offset is an offset in the staging log or in the partition log; names say which.
type Offset = batch.Offset

// PartitionNumber names a partition in the index. A number is never used for a second partition.
type PartitionNumber uint64

// Key is the place of a pending record in due order: due time first, then position.
type Key struct {
	Due UnixMs
	Position
}

// minKey is below, maxKey above every key of a record.
var (
	minKey = Key{Due: math.MinInt64}
	maxKey = Key{math.MaxInt64, Position{math.MaxInt32, math.MaxInt64, math.MaxInt32}}
)

// Compare orders keys by due time, then position.
func (k Key) Compare(o Key) int {
	if c := cmp.Compare(k.Due, o.Due); c != 0 {
		return c
	}
	return k.Position.Compare(o.Position)
}

// Less says whether k comes before o.
func (k Key) Less(o Key) bool { return k.Compare(o) < 0 }

// minOf returns the smaller key.
func minOf(a, b Key) Key {
	if b.Less(a) {
		return b
	}
	return a
}

// Entry is a pending record in the index: when it is due and where its bytes are. It has no
// pointers, so that a million of them cost the garbage collector nothing.
type Entry struct {
	Key
	Delta  int32 // staging offset minus the base offset of its staged batch
	At     int32 // byte position of the record's body (behind its length) in the staged batch
	Length int32 // bytes of the body
	Flags  EntryFlags
}

// EntryFlags say more about an entry.
type EntryFlags uint16

// The flags of an entry.
const (
	// EntryDueNow: it was due already when it was appended: its producer's answer waits for the
	// delivery.
	EntryDueNow EntryFlags = 1 << iota
	// EntryNamed: it has an id, under which the index finds its key.
	EntryNamed
	// EntryRecurs: after its delivery comes the next one.
	EntryRecurs
	// EntryLanded: a recurring record whose delivery has landed. It waits for the command that says
	// when the next one is.
	EntryLanded
	// EntryDoomed: it was replaced or cancelled while its delivery was on its way. Should a crash
	// take that delivery back, there is none.
	EntryDoomed
	// EntryTerms: its decision has terms, which a delivery reads.
	EntryTerms
	// EntryMoved: an operator has moved it: its due time is not the one of its decision, or of its
	// rule.
	EntryMoved

	entryFlagsAll = EntryMoved<<1 - 1
)

// The flags of an entry of ledger.add. They are never stored.
const (
	// entryGone: it is not added after all.
	entryGone EntryFlags = 1 << 15
	// entryHeld: it is on its way to the partition log, or in limbo, and stays there.
	entryHeld EntryFlags = 1 << 14
)

// has says whether one of the flags is set.
func (f EntryFlags) has(one EntryFlags) bool { return f&one != 0 }

// isPlaced says whether the entry's due time is another one than that of its decision, so that the
// index keeps its place.
func (e Entry) isPlaced() bool { return e.Occurrence > 0 || e.Flags.has(EntryMoved) }

// isRecordOf says whether two entries are of one record, whenever they are due.
func (e Entry) isRecordOf(o Entry) bool {
	return e.first() == o.first() && e.Delta == o.Delta && e.At == o.At && e.Length == o.Length
}

// base returns the base offset of the staged batch that holds the record.
func (e Entry) base() Offset { return e.Offset - Offset(e.Delta) }
