package timer

import (
	"fmt"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
)

const (
	// runBytesMax bounds what one read of the staging log asks for.
	runBytesMax = 1 << 20
	// runGapMax is how many unneeded bytes between two records of a batch are read along.
	runGapMax = 4 << 10
	// denseGapMax and denseMin say when whole batches are read: from denseMin records on, if no two
	// neighbours are further apart than denseGapMax offsets.
	denseGapMax = 8
	denseMin    = 4
)

// run holds the bytes of the next records to be delivered, read together where they lie together.
// It keeps its buffer. What one delivery leaves in it serves the next.
type run struct {
	buf     []byte
	records []runRecord // from next on: not used yet
	next    int
}

// runRecord says where a record lies in buf.
type runRecord struct {
	key      Key
	from, to int
}

// take returns the bytes of the first of entries, reading ahead for the others. They are valid
// until the next call.
func (r *run) take(staging *log.Log, entries []Entry, bound Offset) ([]byte, error) {
	for r.next < len(r.records) {
		rec := &r.records[r.next]
		if rec.key == entries[0].Key {
			r.next++
			return r.buf[rec.from:rec.to], nil
		}
		// Something earlier came in between: what was read ahead is used after it, or read again.
		if entries[0].Key.Less(rec.key) {
			break
		}
		r.next++
	}
	if err := r.read(staging, entries, bound); err != nil {
		return nil, err
	}
	r.next = 1
	return r.buf[r.records[0].from:r.records[0].to], nil
}

// read reads a run that starts with the first of entries.
func (r *run) read(staging *log.Log, entries []Entry, bound Offset) error {
	r.buf, r.records, r.next = r.buf[:0], r.records[:0], 0
	if n := denseRun(entries); n >= denseMin && entries[0].base() != entries[n-1].base() {
		return r.readBatches(staging, entries[:n], bound)
	}
	return r.readWithin(staging, entries)
}

// denseRun returns how many of the entries lie close together and in order.
func denseRun(entries []Entry) int {
	n, bytes := 1, int(entries[0].Length)
	for n < len(entries) && bytes < runBytesMax {
		gap := entries[n].Offset - entries[n-1].Offset
		if gap < 1 || gap > denseGapMax {
			break
		}
		bytes += int(entries[n].Length)
		n++
	}
	return n
}

// readBatches reads whole batches, and takes from them the records of as many entries as they hold.
func (r *run) readBatches(staging *log.Log, entries []Entry, bound Offset) (err error) {
	r.buf, err = staging.Read(r.buf, log.ReadRequest{
		From: entries[0].Offset, Bound: bound, MaxBytes: runBytesMax, MinOne: true,
	})
	if err != nil {
		return fmt.Errorf("read staging offset %d: %w", entries[0].Offset, err)
	}
	rest, at, i := r.buf, 0, 0
	for len(rest) > 0 && i < len(entries) {
		b, after, err := batch.Next(rest)
		if err != nil {
			return fmt.Errorf("read staging offset %d: %w", entries[i].Offset, err)
		}
		for ; i < len(entries) && entries[i].base() == b.BaseOffset(); i++ {
			from, to := int(entries[i].At), int(entries[i].At)+int(entries[i].Length)
			if from < batch.HeaderBytes || to > len(b) || b.LeaderEpoch() != entries[i].Epoch {
				return badEntry(entries[i])
			}
			r.records = append(r.records, runRecord{entries[i].Key, at + from, at + to})
		}
		at += len(b)
		rest = after
	}
	if len(r.records) == 0 {
		return badEntry(entries[0])
	}
	return nil
}

// readWithin reads records of one staged batch without its other bytes, where they are many.
func (r *run) readWithin(staging *log.Log, entries []Entry) (err error) {
	first := entries[0]
	end := int(first.At) + int(first.Length)
	r.records = append(r.records, runRecord{first.Key, 0, int(first.Length)})
	for _, e := range entries[1:] {
		from, to := int(e.At), int(e.At)+int(e.Length)
		if e.base() != first.base() || from < end || from-end > runGapMax ||
			to-int(first.At) > runBytesMax {
			break
		}
		r.records = append(r.records, runRecord{e.Key, from - int(first.At), to - int(first.At)})
		end = to
	}
	r.buf, err = staging.ReadWithin(r.buf, first.base(), int(first.At), end-int(first.At))
	if err != nil {
		return fmt.Errorf("read staging offset %d: %w", first.Offset, err)
	}
	if len(r.buf) != end-int(first.At) {
		return badEntry(first)
	}
	return nil
}

// drop forgets what was read ahead, and a buffer that one huge record made large.
func (r *run) drop() {
	r.records, r.next = r.records[:0], 0
	if cap(r.buf) > 2*runBytesMax {
		r.buf = nil
	}
}

// badEntry says that an entry does not point at its record.
func badEntry(e Entry) error {
	return fmt.Errorf("%w: entry %s due %d points at %d bytes at byte %d of the staged batch at"+
		" offset %d, which are not that record",
		ErrIndex, e.Position, e.Due, e.Length, e.At, e.base())
}
