package compaction

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/chronosdb/chronosdb/log/batch"
)

// AbortedTxn is a transaction that was aborted: the offset of its first record and of its marker.
type AbortedTxn struct {
	Producer batch.ProducerID
	First    batch.Offset
	Last     batch.Offset
}

// Transactions follows the transactions of a log while its batches pass in order. It says which
// batches belong to aborted ones, and which markers have nothing left to speak of: Kafka's
// CleanedTransactionMetadata.
type Transactions struct {
	aborted   []AbortedTxn                   // that begin later, by first offset
	aborting  map[batch.ProducerID]*abortion // begun and aborted later
	committed map[batch.ProducerID]struct{}  // a batch of it was met, and it is not aborted
}

// abortion is an aborted transaction whose marker is still to come.
type abortion struct {
	last batch.Offset // of its marker, which an earlier pass may have removed
	met  bool         // a batch of it was met
}

// NewTransactions returns the state before the first batch. aborted are the aborted transactions
// that have a record or their marker in the batches to come, in any order.
func NewTransactions(aborted []AbortedTxn) *Transactions {
	sorted := slices.Clone(aborted)
	slices.SortFunc(sorted, func(a, b AbortedTxn) int { return cmp.Compare(a.First, b.First) })
	return &Transactions{
		aborted:  sorted,
		aborting: map[batch.ProducerID]*abortion{}, committed: map[batch.ProducerID]struct{}{},
	}
}

// Data takes a batch of records and says whether its transaction was aborted, so that no consumer
// that asks for committed records may see it.
func (t *Transactions) Data(b batch.Batch) (aborted bool) {
	t.begin(b.LastOffset())
	if !b.IsTransactional() {
		return false
	}
	id := b.ProducerID()
	if a := t.aborting[id]; a != nil && b.BaseOffset() <= a.last {
		a.met = true
		return true
	}
	t.committed[id] = struct{}{}
	return false
}

// Control takes a control batch and says whether nothing is left of its transaction. A control
// batch without a record was emptied before.
func (t *Transactions) Control(b batch.Batch) (spent bool, err error) {
	t.begin(b.LastOffset())
	if b.Count() == 0 {
		return true, nil
	}
	kind, err := markerOf(b)
	if err != nil {
		return false, err
	}
	id := b.ProducerID()
	switch kind {
	case markerAbort:
		a := t.aborting[id]
		delete(t.aborting, id)
		return a == nil || !a.met, nil
	case markerCommit:
		_, met := t.committed[id]
		delete(t.committed, id)
		return !met, nil
	default:
		return false, nil // not a transaction's
	}
}

// begin lets the aborted transactions begin whose first record is at or below an offset.
func (t *Transactions) begin(upTo batch.Offset) {
	for len(t.aborted) > 0 && t.aborted[0].First <= upTo {
		next := t.aborted[0]
		if a := t.aborting[next.Producer]; a == nil || a.last < next.First {
			t.aborting[next.Producer] = &abortion{last: next.Last}
		}
		t.aborted = t.aborted[1:]
	}
}

// The kinds of control records, as in Kafka's ControlRecordType.
const (
	markerAbort  int16 = 0
	markerCommit int16 = 1

	markerKeyBytes = 4 // version and kind, two bytes each
)

// markerOf returns the kind of a control batch's first record.
func markerOf(b batch.Batch) (int16, error) {
	var r batch.Reader
	if err := r.Reset(b, InflatedBytesMax); err != nil {
		return 0, err
	}
	defer r.Close()
	rec, ok, err := r.Next()
	if err != nil {
		return 0, err
	}
	if !ok || len(rec.Key) < markerKeyBytes {
		return 0, fmt.Errorf("%w: the control record at offset %d has a key of %d bytes",
			batch.ErrInvalid, b.BaseOffset(), len(rec.Key))
	}
	return int16(binary.BigEndian.Uint16(rec.Key[2:])), nil
}
