package log

import (
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// beginScan decides where the scan begins, prepares the segments before it, and returns the index
// of the first segment to scan.
func (r *recovery) beginScan() (int, error) {
	r.redo = map[Offset]int64{}
	if !r.noted {
		// No crash leads here: the note was durable before the first append. It was deleted or has
		// rotted, so nothing says what had been acknowledged. All is read, and trusted only whole.
		r.l.o.Logger.Error("there is no recovery-point note; reading the whole log",
			zap.String("dir", r.l.dir), zap.Error(r.noNote()))
		base, replayed := r.segments[0].base, r.note
		r.note = noteState{start: base, flushed: max(base, replayed.flushed)}
		r.note.journalFrom = replayed.journalFrom
		r.note.recovery = point{offset: base, segment: base, maxTime: noTime, firstTime: noTime}
		r.next = base
		return 0, nil
	}
	at := r.note.recovery
	if (at.pos == 0) != (at.offset == at.segment) || at.offset < at.segment {
		// No write leads here. Nothing is cut by what such a note says.
		path := r.l.o.FS.PathJoin(r.l.dir, noteName)
		return 0, &CorruptError{File: path, Err: fmt.Errorf("it places offset %d at byte %d of the"+
			" segment that begins with offset %d", at.offset, at.pos, at.segment)}
	}
	r.next = at.offset
	set := segmentSet{list: r.segments}
	first := set.find(at.segment)
	if first < 0 || r.segments[first].base != at.segment {
		path := segmentPath(r.l.o.FS, r.l.dir, at.segment)
		return 0, &CorruptError{File: path, Err: errors.New("the segment of the recovery point is" +
			" missing")}
	}
	for i, s := range r.segments[:first] {
		if err := r.trustSealed(s, r.segments[i+1].base); err != nil {
			return 0, err
		}
	}
	return first, nil
}

// trustSealed takes a segment below the recovery point as it is: it was synced when it was whole.
// Reads check it.
func (r *recovery) trustSealed(s *segment, end Offset) error {
	info, err := r.l.o.FS.Stat(s.path)
	if err != nil {
		return fmt.Errorf("segment %s: %w", s.path, err)
	}
	if info.Size() < batch.HeaderBytes {
		return s.corrupt(info.Size(), fmt.Errorf("%w: the segment should hold offsets %d to %d",
			batch.ErrShort, s.base, end))
	}
	s.size.Store(info.Size())
	s.end.Store(int64(end))
	return nil
}

// scan reads all batches from the recovery point on.
func (r *recovery) scan(first int) error {
	for i := first; i < len(r.segments); i++ {
		s := r.segments[i]
		from := int64(0)
		if i == first {
			from = r.note.recovery.pos
		}
		if err := r.resume(s, from); err != nil {
			return err
		}
		damage, err := r.scanSegment(s, from)
		if err != nil {
			return err
		}
		more, err := r.judge(i, damage)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	last := r.segments[len(r.segments)-1]
	last.end.Store(int64(noOffset))
	return nil
}

// resume prepares a segment's tables and tail for the batches to come at a position.
func (r *recovery) resume(s *segment, pos int64) error {
	at := point{maxTime: noTime, firstTime: noTime}
	if pos > 0 {
		at = r.note.recovery
	}
	s.size.Store(pos)
	whole, err := s.index.reset(at.indexEntries, func(e entry) bool { return e.key < int64(r.next) })
	if err != nil {
		return err
	}
	rel := uint32(r.next - s.base)
	wholeTimes, err := s.times.reset(at.timeEntries, func(e entry) bool { return e.value <= rel })
	if err != nil {
		return err
	}
	at.pos = pos
	r.l.resumeLocked(s, at)
	if whole && wholeTimes {
		return nil
	}
	// The checkpoint had synced other entries than there are: the file was deleted or cut, or it
	// was rebuilt while the log was open, which may give it another number of entries.
	r.l.o.Logger.Warn("rebuilding an index that is not as it was noted", zap.String("segment", s.path))
	s.end.Store(int64(r.next)) // as far as there is anything to index yet
	return r.l.rebuildQuiet(s)
}

// scanSegment takes all batches from pos on that are intact and the ones expected. damage says
// what follows them: nil if it is the file's end, or zeros up to it.
func (r *recovery) scanSegment(s *segment, pos int64) (damage, err error) {
	f, err := s.file()
	if err != nil {
		return nil, err
	}
	size, err := f.Size()
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", s.path, err)
	}
	if size < pos {
		// No crash leads here: the file was synced up to the recovery point.
		return nil, s.corrupt(size, fmt.Errorf("%w: the file ends at byte %d, the recovery point is at"+
			" byte %d", batch.ErrShort, size, pos))
	}
	sc := &scanner{seg: s, pos: pos, size: size}
	for {
		at := sc.pos
		if r.note.vouched && r.next >= r.note.flushed && at < size {
			return r.classify(s, f, errUnvouched)
		}
		b, err := sc.next()
		if err == nil {
			err = checkBatch(s, b, r.next)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil, nil
		case err != nil:
			return r.classify(s, f, err)
		}
		if err := r.take(s, b, at); err != nil {
			return nil, err
		}
	}
}

// errUnvouched is what ends a log that was committed through the journal. What lies behind was
// never acknowledged. It may look whole and not even be the log's: a crash can give a file blocks
// whose old bytes are those of a batch of another log, with the very offset that comes next.
var errUnvouched = errors.New("nothing says that these bytes were flushed")

// classify tells the end of the log from damage: zeros up to the end of the file are no bytes of
// a batch. A crash can keep a file's length and lose the bytes, and a file may be filled ahead.
func (r *recovery) classify(s *segment, f vfs.LogFile, damage error) (error, error) {
	var ioErr *readError
	if errors.As(damage, &ioErr) {
		return nil, damage
	}
	zero, err := onlyZeros(s, f, s.size.Load())
	if err != nil || !zero {
		return damage, err
	}
	s.tail.longer = true
	return nil, nil
}

// onlyZeros says whether the file holds nothing but zeros from pos on.
func onlyZeros(s *segment, f vfs.LogFile, pos int64) (bool, error) {
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	buf := make([]byte, min(scanBlockBytes, size-pos))
	for pos < size {
		p := buf[:min(int64(len(buf)), size-pos)]
		if err := readFull(s, p, pos); err != nil {
			return false, err
		}
		for _, c := range p {
			if c != 0 {
				return false, nil
			}
		}
		pos += int64(len(p))
	}
	return true, nil
}

// take accounts for one recovered batch and shows it to the owner.
func (r *recovery) take(s *segment, b batch.Batch, pos int64) error {
	l := r.l
	if err := s.observeLocked(b, pos, l.o.IndexIntervalBytes); err != nil {
		return err
	}
	if _, ok := r.redo[s.base]; !ok && (!r.noted || b.LastOffset() >= r.note.flushed) {
		r.redo[s.base] = pos
	}
	if e := b.LeaderEpoch(); r.epochsKnown && e > r.epochs.last() {
		// An older epochs file was put back. What the batches say is true as well.
		r.epochs, r.newEpochs = r.epochs.with(e, b.BaseOffset()), true
	}
	s.size.Store(pos + int64(len(b)))
	r.next = b.LastOffset() + 1
	l.counters.recoveredBatches.Add(1)
	l.counters.recoveredBytes.Add(int64(len(b)))
	if l.o.OnRecover == nil {
		return nil
	}
	return l.o.OnRecover(b)
}

// judge decides what comes after the intact batches of segment i. more says that the scan goes on
// in the next segment.
func (r *recovery) judge(i int, damage error) (more bool, err error) {
	s := r.segments[i]
	last := i == len(r.segments)-1
	if damage == nil {
		switch {
		case last && r.next >= r.note.flushed:
			return false, nil
		case !last && r.segments[i+1].base == r.next:
			return true, r.seal(s)
		case !last && r.segments[i+1].base < r.next:
			return false, s.corrupt(s.size.Load(), fmt.Errorf("%w: offset %d follows, but there is a"+
				" segment %s", batch.ErrCorrupt, r.next, r.segments[i+1].path))
		}
		damage = fmt.Errorf("%w: the segment ends at offset %d", batch.ErrShort, r.next)
	}
	if r.next < r.note.flushed {
		// No crash leads here: these bytes had been synced. Somebody acknowledged the records.
		return false, s.corrupt(s.size.Load(), fmt.Errorf("%w; offsets up to %d had been synced",
			damage, r.note.flushed))
	}
	if !r.noted {
		if err := r.mustBeLast(i, damage); err != nil {
			return false, err
		}
	}
	return false, r.cut(i, damage)
}

// seal ends a segment that another one follows.
func (r *recovery) seal(s *segment) error {
	if err := r.l.cutZerosLocked(s); err != nil {
		return err
	}
	if err := s.sealLocked(r.next); err != nil {
		return err
	}
	return nil
}

// cut removes a torn tail: a crash came while batches were being written that no flush had
// covered, so nobody was told of them. Later segments were begun behind it and go with it.
func (r *recovery) cut(i int, damage error) error {
	s := r.segments[i]
	f, err := s.file()
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return fmt.Errorf("segment %s: %w", s.path, err)
	}
	keep := s.size.Load()
	r.l.o.Logger.Warn("cutting a torn tail that was never acknowledged", zap.String("segment", s.path),
		zap.Int64("position", keep), zap.Int64("bytes", size-keep),
		zap.Int("segments_removed", len(r.segments)-i-1), zap.Error(damage))
	// Later segments first: a crash between leaves a hole, which is cut again.
	if err := r.removeFrom(i + 1); err != nil {
		return err
	}
	if size == keep {
		return nil
	}
	if err := f.Truncate(keep); err != nil {
		return fmt.Errorf("cut segment %s: %w", s.path, err)
	}
	s.tail.longer = false
	r.l.counters.cutBytes.Add(size - keep)
	r.changed = true
	if err := f.SyncData(); err != nil {
		return fmt.Errorf("fdatasync segment %s: %w", s.path, err)
	}
	return nil
}

// mustBeLast makes sure, when no note says what was flushed, that nothing intact lies behind the
// damage. Writes reach the files in order, so what a crash tears is the end; damage with batches
// behind it is rot, and what it took may have been acknowledged.
func (r *recovery) mustBeLast(i int, damage error) error {
	s := r.segments[i]
	for k, later := range r.segments[i:] {
		from := int64(0)
		if k == 0 {
			from = s.size.Load()
		}
		pos, found, err := findBatch(later, from, r.next)
		if err != nil {
			return err
		}
		if found {
			return s.corrupt(s.size.Load(), fmt.Errorf("%w; the recovery-point note is lost, and an intact"+
				" batch follows in %s at byte %d", damage, later.path, pos))
		}
	}
	return nil
}

// findBatch searches a file from a byte on for an intact batch at or above an offset. A segment's
// offsets fit 32 bits, see mustRollLocked: hardly anything else looks like a batch, or a search
// through compressed data would read what its accidental lengths say, again and again.
func findBatch(s *segment, from int64, above Offset) (int64, bool, error) {
	f, err := s.file()
	if err != nil {
		return 0, false, err
	}
	size, err := f.Size()
	if err != nil {
		return 0, false, err
	}
	buf := make([]byte, min(scanBlockBytes, max(size-from, 0)))
	var whole []byte
	for pos := from; pos+batch.HeaderBytes <= size; pos += int64(len(buf)) - batch.HeaderBytes + 1 {
		p := buf[:min(int64(len(buf)), size-pos)]
		if err := readFull(s, p, pos); err != nil {
			return 0, false, err
		}
		for k := 0; k+batch.HeaderBytes <= len(p); k++ {
			h, at := batch.Batch(p[k:]), pos+int64(k)
			n := int64(h.Length())
			if h.Magic() != 2 || n < batch.HeaderBytes || at+n > size || h.BaseOffset() < above ||
				int64(h.BaseOffset()-s.base) > math.MaxInt32 || h.LastOffsetDelta() < 0 {
				continue
			}
			whole = slices.Grow(whole[:0], int(n))[:n]
			if err := readFull(s, whole, at); err != nil {
				return 0, false, err
			}
			if batch.CheckStored(whole) == nil {
				return at, true, nil
			}
		}
	}
	return 0, false, nil
}
