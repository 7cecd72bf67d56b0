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
	due         UnixMs // of the occurrence, if it is not the first: the staged record has not got it
	fate        Fate
}

const (
	settlementVersion = 1
	// settlementVersionRecurs has ranges of later occurrences, with their due times.
	settlementVersionRecurs = 2
	// settledRangeBytesMin is the smallest encoded range, which bounds a count by the bytes there
	// are.
	settledRangeBytesMin = 5
)

// settle makes a settlement of deliveries. It sorts positions.
func settle(settledTo Offset, delivered []Key) settlement {
	slices.SortFunc(delivered, func(a, b Key) int { return a.Position.Compare(b.Position) })
	s := settlement{settledTo: settledTo}
	for _, p := range delivered {
		if n := len(s.ranges); n > 0 && p.Occurrence == 0 {
			r := &s.ranges[n-1]
			if r.epoch == p.Epoch && r.last+1 == p.Offset && r.occurrence == 0 {
				r.last = p.Offset
				continue
			}
		}
		r := settledRange{
			epoch: p.Epoch, first: p.Offset, last: p.Offset, occurrence: p.Occurrence,
			fate: FateDelivered,
		}
		if p.Occurrence > 0 {
			r.due = p.Due
		}
		s.ranges = append(s.ranges, r)
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
	value = append(value, s.version())
	value = binary.BigEndian.AppendUint64(value, uint64(s.settledTo))
	value = binary.AppendUvarint(value, uint64(len(s.ranges)))
	var before settledRange
	for _, r := range s.ranges {
		value = binary.AppendUvarint(value, uint64(r.epoch-before.epoch))
		value = binary.AppendVarint(value, int64(r.first-before.last))
		value = binary.AppendUvarint(value, uint64(r.last-r.first))
		value = binary.AppendUvarint(value, uint64(r.occurrence))
		value = append(value, byte(r.fate))
		if r.occurrence > 0 {
			value = binary.AppendVarint(value, int64(r.due))
		}
		before = r
	}
	return sealValue(batch.KindSettlement, now, value)
}

// version is the oldest version that can say it.
func (s settlement) version() byte {
	for i := range s.ranges {
		if s.ranges[i].occurrence > 0 {
			return settlementVersionRecurs
		}
	}
	return settlementVersion
}

// settlementOf reads a settlement batch whose CRC was checked.
func settlementOf(b batch.Batch) (settlement, error) {
	bad := func(what string) (settlement, error) {
		return settlement{}, fmt.Errorf("%w: staging offset %d: %s", ErrBadSettlement,
			b.BaseOffset(), what)
	}
	v, err := valueOfKind(b, batch.KindSettlement)
	if err != nil {
		return bad(err.Error())
	}
	if len(v) < 9 || v[0] != settlementVersion && v[0] != settlementVersionRecurs {
		return bad("its version is not known; start the version that wrote it, or a newer one")
	}
	s := settlement{settledTo: Offset(binary.BigEndian.Uint64(v[1:]))}
	d := varintReader{p: v[9:]}
	count := d.unsigned(uint64(len(v)) / settledRangeBytesMin)
	var before settledRange
	for range count {
		r, ok := d.settledRange(v[0], before)
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
func (d *varintReader) settledRange(version byte, before settledRange) (settledRange, bool) {
	r := settledRange{epoch: before.epoch + batch.LeaderEpoch(d.unsigned(1<<31-1))}
	r.first = before.last + Offset(d.signed())
	r.last = r.first + Offset(d.unsigned(1<<40))
	r.occurrence = Occurrence(d.unsigned(1<<31 - 1))
	r.fate = Fate(d.one())
	if r.occurrence > 0 {
		r.due = UnixMs(d.signed())
		d.bad = d.bad || version < settlementVersionRecurs
	}
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

// text reads a length of at most limit and as many bytes, which it does not copy.
func (d *varintReader) text(limit uint64) []byte {
	n := d.unsigned(min(limit, uint64(len(d.p))))
	if n > uint64(len(d.p)) {
		d.bad, n = true, 0
	}
	p := d.p[:n]
	d.p = d.p[n:]
	return p
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
