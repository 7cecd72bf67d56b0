package timer

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/chronosdb/chronosdb/log/batch"
)

// Fate is what became of a staged record.
type Fate uint8

// The fates of this version.
const (
	// FateDelivered: the record was appended to the partition log.
	FateDelivered Fate = 0
)

// settlement says what became of staged records, once their deliveries may leave the partition log.
type settlement struct {
	settledTo Offset // partition-log offset below which every delivery has a settlement
	ranges    []settledRange
}

// settledRange is a run of consecutive staging offsets with one fate.
type settledRange struct {
	epoch       batch.LeaderEpoch
	first, last Offset // staging offsets, both included
	occurrence  Occurrence
	fate        Fate
}

const (
	settlementVersion = 1
	// settledRangeBytesMin is the smallest encoded range, which bounds a count by the bytes there
	// are.
	settledRangeBytesMin = 5
)

// settle makes a settlement of deliveries. It sorts positions.
func settle(settledTo Offset, positions []Position) settlement {
	slices.SortFunc(positions, Position.Compare)
	s := settlement{settledTo: settledTo}
	for _, p := range positions {
		if n := len(s.ranges); n > 0 {
			r := &s.ranges[n-1]
			if r.epoch == p.Epoch && r.last+1 == p.Offset && r.occurrence == p.Occurrence {
				r.last = p.Offset
				continue
			}
		}
		s.ranges = append(s.ranges, settledRange{
			epoch: p.Epoch, first: p.Offset, last: p.Offset, occurrence: p.Occurrence,
			fate: FateDelivered,
		})
	}
	return s
}

// each calls fn for every position of the settlement.
func (s settlement) each(fn func(p Position)) {
	for _, r := range s.ranges {
		for o := r.first; o <= r.last; o++ {
			fn(Position{Epoch: r.epoch, Offset: o, Occurrence: r.occurrence})
		}
	}
}

// build returns the settlement batch, stamped with the time now.
func (s settlement) build(now UnixMs) batch.Batch {
	value := make([]byte, 0, 32+8*len(s.ranges))
	value = append(value, settlementVersion)
	value = binary.BigEndian.AppendUint64(value, uint64(s.settledTo))
	value = binary.AppendUvarint(value, uint64(len(s.ranges)))
	var before settledRange
	for _, r := range s.ranges {
		value = binary.AppendUvarint(value, uint64(r.epoch-before.epoch))
		value = binary.AppendVarint(value, int64(r.first-before.last))
		value = binary.AppendUvarint(value, uint64(r.last-r.first))
		value = binary.AppendUvarint(value, uint64(r.occurrence))
		value = append(value, byte(r.fate))
		before = r
	}
	p := beginBatch(make([]byte, 0, batch.HeaderBytes+len(value)+16))
	p = appendVarint(p, int64(3+1+bytesBytes(value)+1))
	p = append(p, 0, 0, 0) // attributes, timestamp delta, offset delta
	p = appendBytes(p, nil)
	p = appendBytes(p, value)
	p = appendVarint(p, 0)
	f := frame{
		attributes:    batch.KindSettlement.Attributes(),
		count:         1,
		baseTimestamp: now,
		maxTimestamp:  now,
	}
	return f.noProducer().seal(p)
}

// settlementOf reads a settlement batch whose CRC was checked.
func settlementOf(b batch.Batch) (settlement, error) {
	bad := func(what string) (settlement, error) {
		return settlement{}, fmt.Errorf("%w: staging offset %d: %s", ErrBadSettlement,
			b.BaseOffset(), what)
	}
	if b.Kind() != batch.KindSettlement || b.Codec() != batch.None || b.Count() != 1 {
		return bad("it is no settlement batch of one record")
	}
	rec, n, err := batch.ParseRecord(b.Records())
	if err != nil || n != len(b.Records()) {
		return bad("its record is broken")
	}
	v := rec.Value
	if len(v) < 9 || v[0] != settlementVersion {
		return bad("its version is not known; start the version that wrote it, or a newer one")
	}
	s := settlement{settledTo: Offset(binary.BigEndian.Uint64(v[1:]))}
	d := varintReader{p: v[9:]}
	count := d.unsigned(uint64(len(v)) / settledRangeBytesMin)
	var before settledRange
	for range count {
		r, ok := d.settledRange(before)
		if !ok {
			return bad("a range is broken")
		}
		s.ranges = append(s.ranges, r)
		before = r
	}
	if d.bad || len(d.p) != 0 || s.settledTo < 0 {
		return bad("its value is broken")
	}
	return s, nil
}

// settledRange reads one range behind before.
func (d *varintReader) settledRange(before settledRange) (settledRange, bool) {
	r := settledRange{epoch: before.epoch + batch.LeaderEpoch(d.unsigned(1<<31-1))}
	r.first = before.last + Offset(d.signed())
	r.last = r.first + Offset(d.unsigned(1<<40))
	r.occurrence = Occurrence(d.unsigned(1<<31 - 1))
	r.fate = Fate(d.one())
	ordered := r.epoch >= before.epoch && r.first >= 0 && r.last >= r.first
	return r, !d.bad && ordered && r.fate == FateDelivered
}

// varintReader reads numbers from p. After a broken one it stays bad and returns zeros.
type varintReader struct {
	p   []byte
	bad bool
}

// unsigned reads a number of at most limit.
func (d *varintReader) unsigned(limit uint64) uint64 {
	v, n := binary.Uvarint(d.p)
	if n <= 0 || v > limit {
		d.bad, d.p = true, nil
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *varintReader) signed() int64 {
	v, n := binary.Varint(d.p)
	if n <= 0 {
		d.bad, d.p = true, nil
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *varintReader) one() byte {
	if len(d.p) == 0 {
		d.bad = true
		return 0
	}
	c := d.p[0]
	d.p = d.p[1:]
	return c
}
