package timer

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
)

const (
	// runRecordsMax and runBytesMax bound what is read ahead of the delivery.
	runRecordsMax = 8192
	runBytesMax   = 2 << 20
	// readBytesMax bounds what one read of the staging log asks for.
	readBytesMax = 1 << 20
	// readGapMax is how many unneeded bytes between two records are read along: about what one
	// more read would cost.
	readGapMax = 64 << 10
)

// run holds the bytes of the next records to be delivered. It reads them in the order in which they
// lie in the staging log, neighbours together, and gives them out in the order of delivery. What
// one delivery leaves in it serves the next. It keeps its buffers.
type run struct {
	arena   []byte      // the records
	records []runRecord // in the order of delivery; from next on: not used yet
	next    int

	buf   []byte  // scratch: one read
	order []int32 // scratch: the entries by staging offset
}

// runRecord says where a record lies in the arena.
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
			return r.arena[rec.from:rec.to], nil
		}
		// Something came in between, which is rare: what was read ahead is read again after it.
		if entries[0].Key.Less(rec.key) {
			break
		}
		r.next++
	}
	if err := r.read(staging, window(entries), bound); err != nil {
		return nil, err
	}
	r.next = 1
	return r.arena[r.records[0].from:r.records[0].to], nil
}

// giveBack makes the next take return the same record again.
func (r *run) giveBack() { r.next-- }

// window returns the entries whose records are read at once.
func window(entries []Entry) []Entry {
	n, bytes := 0, 0
	for n < len(entries) && n < runRecordsMax && (n == 0 || bytes < runBytesMax) {
		bytes += int(entries[n].Length)
		n++
	}
	return entries[:n]
}

// read reads the records of all entries.
func (r *run) read(staging *log.Log, entries []Entry, bound Offset) error {
	r.arena, r.records, r.order = r.arena[:0], r.records[:0], r.order[:0]
	for i, e := range entries {
		r.records = append(r.records, runRecord{key: e.Key})
		r.order = append(r.order, int32(i))
	}
	inOrder := func(a, b int32) int { return cmp.Compare(entries[a].Offset, entries[b].Offset) }
	if !slices.IsSortedFunc(r.order, inOrder) {
		slices.SortFunc(r.order, inOrder)
	}
	for left := r.order; len(left) > 0; {
		n, batches := neighbours(entries, left)
		var err error
		if batches {
			n, err = r.readBatches(staging, entries, left[:n], bound)
		} else {
			err = r.readWithin(staging, entries, left[:n])
		}
		if err != nil {
			r.drop()
			return err
		}
		left = left[n:]
	}
	return nil
}

// neighbours returns how many of the entries, in offset order, are read together, and whether they
// lie in several staged batches. Distances between batches are guessed from the record's size.
func neighbours(entries []Entry, order []int32) (n int, batches bool) {
	first := &entries[order[0]]
	before, bytes := first, int64(first.Length)
	for n = 1; n < len(order); n++ {
		e := &entries[order[n]]
		gap := int64(e.Offset-before.Offset-1) * int64(e.Length)
		if e.base() == before.base() {
			gap = int64(e.At) - int64(before.At) - int64(before.Length)
		}
		bytes += gap + int64(e.Length)
		if gap < 0 || gap > readGapMax || bytes > readBytesMax {
			break
		}
		batches = batches || e.base() != before.base()
		before = e
	}
	return n, batches
}

// keep copies a record into the arena.
func (r *run) keep(i int32, rec []byte) {
	from := len(r.arena)
	r.arena = append(r.arena, rec...)
	r.records[i].from, r.records[i].to = from, len(r.arena)
}

// readBatches reads whole batches, and takes from them the records of as many entries as they hold.
func (r *run) readBatches(
	staging *log.Log, entries []Entry, order []int32, bound Offset,
) (n int, err error) {
	first := &entries[order[0]]
	r.buf, err = staging.Read(r.buf[:0], log.ReadRequest{
		From: first.Offset, Bound: bound, MaxBytes: readBytesMax, MinOne: true,
	})
	if err != nil {
		return 0, fmt.Errorf("read staging offset %d: %w", first.Offset, err)
	}
	for rest := r.buf; len(rest) > 0 && n < len(order); {
		b, after, err := batch.Next(rest)
		if err != nil {
			return 0, fmt.Errorf("read staging offset %d: %w", first.Offset, err)
		}
		for ; n < len(order) && entries[order[n]].base() == b.BaseOffset(); n++ {
			e := &entries[order[n]]
			from, to := int(e.At), int(e.At)+int(e.Length)
			if from < batch.HeaderBytes || to > len(b) || b.LeaderEpoch() != e.Epoch {
				return 0, badEntry(e)
			}
			r.keep(order[n], b[from:to])
		}
		rest = after
	}
	if n == 0 {
		return 0, badEntry(first)
	}
	return n, nil
}

// readWithin reads records of one staged batch and what lies between them.
func (r *run) readWithin(staging *log.Log, entries []Entry, order []int32) (err error) {
	first, last := &entries[order[0]], &entries[order[len(order)-1]]
	at, n := int(first.At), int(last.At)+int(last.Length)-int(first.At)
	r.buf, err = staging.ReadWithin(r.buf[:0], first.base(), at, n)
	if err != nil {
		return fmt.Errorf("read staging offset %d: %w", first.Offset, err)
	}
	if len(r.buf) != n {
		return badEntry(first)
	}
	for _, i := range order {
		from := int(entries[i].At) - at
		r.keep(i, r.buf[from:from+int(entries[i].Length)])
	}
	return nil
}

// drop forgets what was read ahead, and buffers that one huge record made large.
func (r *run) drop() {
	r.records, r.next = r.records[:0], 0
	if cap(r.buf) > 2*readBytesMax {
		r.buf = nil
	}
	if cap(r.arena) > 2*runBytesMax {
		r.arena = nil
	}
}

// badEntry says that an entry does not point at its record.
func badEntry(e *Entry) error {
	return fmt.Errorf("%w: entry %s due %d points at %d bytes at byte %d of the staged batch at"+
		" offset %d, which are not that record",
		ErrIndex, e.Position, e.Due, e.Length, e.At, e.base())
}
