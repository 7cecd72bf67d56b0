package compaction

import (
	"errors"

	"github.com/chronosdb/chronosdb/log/batch"
)

// InflatedBytesMax bounds what one stored batch may inflate to when it is compacted.
const InflatedBytesMax = 256 << 20

// Mapper fills an OffsetMap from the batches that were not compacted yet.
type Mapper struct {
	m      *OffsetMap
	from   batch.Offset
	txns   *Transactions
	reader batch.Reader
}

// NewMapper returns a Mapper for the records from an offset on; the first batch may begin below it.
// aborted are the aborted transactions among them.
func NewMapper(m *OffsetMap, from batch.Offset, aborted []AbortedTxn) *Mapper {
	m.latest = from - 1
	return &Mapper{m: m, from: from, txns: NewTransactions(aborted)}
}

// Add notes the keys of the next batch. full says that the map had no room for one of them: then
// the map speaks of the records before that one, and no more batches may be added.
//
// An aborted record is none: it must not remove the committed one before it. Nor is a record of a
// batch that cannot be read to its end: it came in like that, and no client can read it either.
func (p *Mapper) Add(b batch.Batch) (full bool, err error) {
	if b.IsControl() {
		_, err = p.txns.Control(b)
	} else if !p.txns.Data(b) && b.Count() > 0 {
		full, err = p.records(b)
	}
	if err != nil && !Unreadable(err) {
		return false, err
	}
	if !full {
		p.Reached(b.LastOffset())
	}
	return full, nil
}

// Unreadable says that a batch is as it was sent, but is not what it should be: what is compressed
// does not inflate, or what should be a record is none.
func Unreadable(err error) bool {
	return errors.Is(err, batch.ErrInvalid) || errors.Is(err, batch.ErrBadCompression) ||
		errors.Is(err, batch.ErrBomb)
}

func (p *Mapper) records(b batch.Batch) (full bool, err error) {
	if err := p.reader.Reset(b, InflatedBytesMax); err != nil {
		return false, err
	}
	defer p.reader.Close()
	if err := readToEnd(&p.reader); err != nil {
		return false, err
	}
	for {
		rec, ok, err := p.reader.Next()
		if err != nil || !ok {
			return false, err
		}
		o := b.BaseOffset() + batch.Offset(rec.OffsetDelta)
		if o < p.from {
			continue
		}
		if rec.Key != nil && !p.m.Put(rec.Key, o) {
			return true, nil
		}
		p.Reached(o)
	}
}

// readToEnd makes sure that all records can be read, and goes back to the first.
func readToEnd(r *batch.Reader) error {
	for {
		_, ok, err := r.Next()
		if err != nil {
			return err
		}
		if !ok {
			r.Rewind()
			return nil
		}
	}
}

// Reached notes that the map speaks of every record up to an offset, inclusively.
func (p *Mapper) Reached(o batch.Offset) { p.m.latest = max(p.m.latest, o) }
