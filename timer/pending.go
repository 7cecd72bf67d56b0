package timer

import (
	"errors"
	"fmt"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
)

// What operators look at. It comes from the index and the staging log, which may be read at any
// time; only whether a record is on its way asks for the turn's lock.

// PendingKey returns the smallest key of a record that is due at a time: where a scan of the
// records due from then on begins.
func PendingKey(due UnixMs) Key { return Key{Due: due, Position: minKey.Position} }

// After returns the smallest key above k.
func (k Key) After() Key {
	k.Occurrence++
	return k
}

// ScanPending calls fn with at most limit pending records whose key is not below from, in order,
// until fn returns false. Those whose delivery is on its way are among them.
func (s *Schedule) ScanPending(from Key, limit int, fn func(e Entry) bool) error {
	return s.o.Index.Scan(s.o.Partition, from, limit, func(e Entry) bool {
		return e.Flags.has(EntryDoomed) || fn(e)
	})
}

// NamedPending returns the pending record that has an id.
func (s *Schedule) NamedPending(id string) (e Entry, ok bool, err error) {
	return s.pendingAt(func() (Key, bool, error) { return s.o.Index.Named(s.o.Partition, id) })
}

// followTries bounds how often an entry is looked for that moves on meanwhile.
const followTries = 8

// pendingAt returns the pending record whose key another look-up gives. A turn may move it on
// between the two: then it is looked up again.
func (s *Schedule) pendingAt(find func() (Key, bool, error)) (e Entry, ok bool, err error) {
	var before Key
	for try := range followTries {
		k, ok, err := find()
		if err != nil || !ok || try > 0 && k == before {
			return Entry{}, false, err
		}
		if e, ok, err = s.getPending(k); err != nil || ok {
			return e, ok, err
		}
		before = k
	}
	return Entry{}, false, nil
}

func (s *Schedule) getPending(k Key) (e Entry, ok bool, err error) {
	e, ok, err = s.o.Index.Get(s.o.Partition, k)
	return e, ok && !e.Flags.has(EntryDoomed), err
}

// FindPending returns the pending record of a position. A recurring record is found by the
// positions of its earlier occurrences as well.
func (s *Schedule) FindPending(p Position) (e Entry, ok bool, err error) {
	pl, ok, err := s.o.Index.Place(s.o.Partition, p.first())
	if err != nil {
		return Entry{}, false, err
	}
	if ok {
		if pl.Key.Occurrence < p.Occurrence {
			return Entry{}, false, nil
		}
		return s.pendingAt(func() (Key, bool, error) {
			pl, ok, err := s.o.Index.Place(s.o.Partition, p.first())
			return pl.Key, ok, err
		})
	}
	if p.Occurrence > 0 {
		return Entry{}, false, nil
	}
	var finder positionFinder
	k, ok, err := finder.find(s, p)
	if errors.Is(err, log.ErrOffsetOutOfRange) {
		return Entry{}, false, nil // it was deleted meanwhile, and so was settled
	}
	if err != nil || !ok {
		return Entry{}, false, err
	}
	return s.getPending(k)
}

// ReadPending reads a pending record: as it lies in the staging log, where its last header is the
// decision. It aliases nothing.
func (s *Schedule) ReadPending(e Entry) (StagedRecord, error) {
	rec, err := s.o.Staging.ReadWithin(nil, e.base(), int(e.At), int(e.Length))
	if err != nil {
		return StagedRecord{}, fmt.Errorf("read staging offset %d: %w", e.Offset, err)
	}
	if len(rec) != int(e.Length) {
		return StagedRecord{}, badEntry(&e)
	}
	d, err := checkRecord(rec)
	if err != nil {
		return StagedRecord{}, err
	}
	r, _, err := batch.ParseRecord(rec)
	return StagedRecord{Position: e.Position, Decision: d, Record: r}, err
}

// Delivering says for each entry whether its delivery is on its way, or has landed and the next
// occurrence is not known yet. It waits for the turn that is being made.
func (s *Schedule) Delivering(entries []Entry) []bool {
	s.turn.Lock()
	defer s.turn.Unlock()
	out := make([]bool, len(entries))
	for i, e := range entries {
		out[i] = e.Flags.has(EntryLanded) || s.turn.flying[e.Position] != nil ||
			s.turn.near.flightOf(e.Key) != nil
	}
	return out
}

// IsPaused says whether an operator has paused the deliveries, as of the last turn.
func (s *Schedule) IsPaused() bool { return s.stats.paused.Load() }
