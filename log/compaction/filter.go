package compaction

import (
	"math"

	"github.com/chronosdb/chronosdb/log/batch"
)

// LastRecord is the last that a producer has written to a log: what a batch must hold to be kept
// for its sequence or epoch.
type LastRecord struct {
	// LastOffset is the last offset of its last batch of records, NoOffset if there is none: then
	// its last marker is kept, by epoch.
	LastOffset batch.Offset
	Epoch      batch.ProducerEpoch
}

// Rules are what a Filter decides by.
type Rules struct {
	Map               *OffsetMap   // Map holds the last offset of each key.
	Now               batch.UnixMs // Now is the time of the pass.
	DeleteRetentionMs int64        // DeleteRetentionMs is how long a tombstone is kept.
	Aborted           []AbortedTxn // Aborted are the aborted transactions of the log.
	// Producers are the active producers. The last batch of each stays, without records if need
	// be: it holds the sequence that the producer's next batch must follow.
	Producers map[batch.ProducerID]LastRecord
}

// Floor is what must stay of a batch, whatever the rules say.
type Floor int8

// The floors.
const (
	// Nothing need stay.
	Nothing Floor = iota
	// Header keeps the batch, without records if need be: the last one of a segment, so that the
	// segment ends where it did.
	Header
	// Record keeps the batch with its last record, unless that was aborted: the last one of what
	// is compacted, so that a client that reads to the end gets there.
	Record
)

// Counts are what a Filter has seen.
type Counts struct {
	Batches, BatchesKept int64
	Records, RecordsKept int64
	Changed              int64 // Changed counts batches that are not left as they were.
}

// Filter returns what compaction leaves of the batches of a log, from its start on, in order.
type Filter struct {
	rules   Rules
	txns    *Transactions
	reader  batch.Reader
	thinner batch.Thinner
	keep    []bool // of the current batch, by index
	counts  Counts
}

// NewFilter returns a Filter for one pass.
func NewFilter(r Rules) *Filter { return &Filter{rules: r, txns: NewTransactions(r.Aborted)} }

// Counts returns what has passed so far.
func (f *Filter) Counts() Counts { return f.counts }

// Append appends to dst what stays of the next batch: nothing, the batch as it is, or another one
// with the same offsets.
func (f *Filter) Append(dst []byte, b batch.Batch, floor Floor) ([]byte, error) {
	f.counts.Batches++
	f.counts.Records += int64(b.Count())
	before := len(dst)
	dst, err := f.append(dst, b, floor)
	if err != nil {
		return dst[:before], err
	}
	if len(dst) > before {
		left := batch.Batch(dst[before:])
		f.counts.BatchesKept++
		f.counts.RecordsKept += int64(left.Count())
	}
	if len(dst)-before != len(b) || string(dst[before:]) != string(b) {
		f.counts.Changed++
	}
	return dst, nil
}

func (f *Filter) append(dst []byte, b batch.Batch, floor Floor) ([]byte, error) {
	v, err := f.judge(b, floor)
	if err != nil && Unreadable(err) {
		return append(dst, b...), nil // Whatever it holds, it is the only copy.
	}
	if err != nil {
		return dst, err
	}
	if v.staying == 0 {
		switch {
		case floor == Nothing && !f.lastOfProducer(b):
			return dst, nil
		case b.Count() == 0:
			return append(dst, b...), nil
		}
		return batch.AppendEmpty(dst, b), nil
	}
	horizon, has := b.DeleteHorizon()
	if !has {
		horizon = batch.NoTimestamp
		if v.perishable {
			// The clock of the tombstone starts now: only from here on does a reader that begins at
			// the log's start find it where it finds no older record of its key.
			horizon = f.horizon()
		}
	}
	if v.staying == b.Count() && (has || horizon == batch.NoTimestamp) {
		return append(dst, b...), nil
	}
	if err := f.reader.Reset(b, InflatedBytesMax); err != nil {
		return dst, err
	}
	defer f.reader.Close()
	return f.thinner.Append(dst, &f.reader, f.keep, horizon)
}

// verdict is what was decided on a batch; Filter.keep has the single records.
type verdict struct {
	staying    int
	perishable bool // what stays goes once it has a delete horizon and that has passed
}

func (f *Filter) judge(b batch.Batch, floor Floor) (verdict, error) {
	f.keep = f.keep[:0] // grows with the records that are met: the count is the sender's claim
	if b.IsControl() {
		return f.judgeControl(b, floor)
	}
	if f.txns.Data(b) {
		return verdict{}, nil
	}
	return f.judgeRecords(b, floor)
}

// judgeControl keeps a marker for as long as there are records of its transaction, and then for as
// long as a tombstone: a reader may have met a record before it was removed.
func (f *Filter) judgeControl(b batch.Batch, floor Floor) (verdict, error) {
	spent, err := f.txns.Control(b)
	if err != nil {
		return verdict{}, err
	}
	if spent && floor != Record && f.expired(b) {
		return verdict{}, nil
	}
	for range b.Count() {
		f.keep = append(f.keep, true)
	}
	return verdict{staying: b.Count(), perishable: spent}, nil
}

func (f *Filter) judgeRecords(b batch.Batch, floor Floor) (v verdict, err error) {
	if err := f.reader.Reset(b, InflatedBytesMax); err != nil {
		return v, err
	}
	defer f.reader.Close()
	expired := f.expired(b)
	// Behind the map's end, older records of the keys may still be there. Kafka sets the horizon all
	// the same, so that the pass that removes those can remove the tombstone at once.
	datable := b.LastOffset() <= f.rules.Map.Latest()
	for {
		rec, ok, err := f.reader.Next()
		if err != nil {
			return v, err
		}
		if !ok {
			return v, nil
		}
		last := floor == Record && f.reader.Index() == b.Count()-1
		o := b.BaseOffset() + batch.Offset(rec.OffsetDelta)
		stays := last || f.stays(rec, o, expired)
		f.keep = append(f.keep, stays)
		if stays {
			v.staying++
			v.perishable = v.perishable || (rec.Value == nil && datable)
		}
	}
}

// stays decides on one record that was not aborted.
func (f *Filter) stays(rec batch.Record, o batch.Offset, expired bool) bool {
	if o > f.rules.Map.Latest() {
		return true
	}
	// One without a key is of a time before the topic was compacted. It is nobody's last.
	return rec.Key != nil && o >= f.rules.Map.Get(rec.Key) && (rec.Value != nil || !expired)
}

// horizon returns until when a tombstone stays that is dated now. The longest retention that can be
// asked for is for ever.
func (f *Filter) horizon() batch.UnixMs {
	now, keep := f.rules.Now, batch.UnixMs(f.rules.DeleteRetentionMs)
	if keep > math.MaxInt64-now {
		return math.MaxInt64
	}
	return now + keep
}

// expired says whether the batch's tombstones or marker have been kept for long enough.
func (f *Filter) expired(b batch.Batch) bool {
	horizon, ok := b.DeleteHorizon()
	return ok && horizon <= f.rules.Now
}

// lastOfProducer says whether the batch is the last one of an active producer.
func (f *Filter) lastOfProducer(b batch.Batch) bool {
	last, ok := f.rules.Producers[b.ProducerID()]
	if !ok || b.ProducerID() < 0 {
		return false
	}
	if last.LastOffset != batch.NoOffset {
		return b.LastOffset() == last.LastOffset
	}
	return b.IsControl() && b.ProducerEpoch() == last.Epoch
}
