package log

import (
	"errors"
	"fmt"
	"slices"

	"github.com/chronosdb/chronosdb/log/batch"
)

// rereadsMax bounds how often one read starts again because Truncate changed bytes under it, or
// compaction replaced the segment: far more often than the latter can come in between.
const rereadsMax = 128

// Read appends to dst the whole batches that hold offsets in [From, Bound), as many as fit
// MaxBytes, and returns it. The first one may begin below From. It returns no bytes when there is
// nothing between From and Bound, or when the first batch does not fit and MinOne is false.
//
// Every batch is checked, header and CRC: a CorruptError means that nothing was returned. From
// below Start or above End is ErrOffsetOutOfRange. Read takes no lock that an append or a flush
// holds.
func (l *Log) Read(dst []byte, r ReadRequest) ([]byte, error) {
	out, err := dst, error(nil)
	err = l.stable(func() error {
		out, err = l.read(dst, r)
		return err
	})
	if err != nil {
		return dst, err
	}
	l.counters.readBytes.Add(int64(len(out) - len(dst)))
	return out, nil
}

// stable runs a read again if Truncate changed the bytes that it was reading, or because a
// compaction replaced the segment. What succeeded beside a truncation may be of two histories: a
// read of many pieces, each of them whole, some from before and some of what was appended since.
func (l *Log) stable(read func() error) error {
	for range rereadsMax {
		before := l.truncations.Load()
		err := read()
		if errors.Is(err, errReplaced) {
			l.awaitSwap()
			continue
		}
		if before%2 == 0 && l.truncations.Load() == before {
			return err
		}
		l.mu.Lock()   // wait until the truncation is over
		l.mu.Unlock() //nolint:staticcheck // the empty section is the wait
	}
	return read()
}

func (l *Log) read(dst []byte, r ReadRequest) ([]byte, error) {
	end := l.End()
	if r.From < l.Start() || r.From > end {
		return dst, l.outOfRange(r.From)
	}
	bound := min(r.Bound, end)
	left, one := r.MaxBytes, r.MinOne
	before := len(dst)
	for next := r.From; next < bound; {
		n := len(dst)
		got, err := l.readSegment(dst, ReadRequest{
			From: next, Bound: bound, MaxBytes: left, MinOne: one,
			SkipEmpty: r.SkipEmpty && n == before,
		})
		if err != nil {
			return dst, err
		}
		dst = got.bytes
		if !got.exhausted {
			break
		}
		// All of this segment is in dst: what is left of the limit is for the next one.
		next, left, one = got.next, left-(len(dst)-n), one && len(dst) == n
	}
	return dst, nil
}

// segmentRead is what one segment has contributed to a read.
type segmentRead struct {
	bytes     []byte
	next      Offset // offset behind the last batch
	exhausted bool   // whether that is the segment's end
}

// readSegment reads batches of the one segment that holds r.From.
func (l *Log) readSegment(dst []byte, r ReadRequest) (segmentRead, error) {
	s, err := l.pin(r.From)
	if err != nil {
		return segmentRead{}, err
	}
	defer s.release()
	end := l.endOf(s)
	at, err := l.locate(s, r.From, end)
	if err != nil {
		return segmentRead{}, err
	}
	if r.SkipEmpty && s.sparse() {
		if at, err = skipEmpty(s, at, min(r.Bound, end)); err != nil || at.offset >= min(r.Bound, end) {
			return segmentRead{bytes: dst, next: at.offset, exhausted: at.offset == end}, err
		}
	}
	size := s.size.Load()
	if size-at.pos < batch.HeaderBytes { // Truncate has removed the batch since it was located
		return segmentRead{}, s.corrupt(at.pos, fmt.Errorf("%w: the segment ends", batch.ErrShort))
	}
	n := min(int64(max(r.MaxBytes, 0)), size-at.pos)
	if n < batch.HeaderBytes {
		if !r.MinOne {
			return segmentRead{bytes: dst}, nil
		}
		n = batch.HeaderBytes
	}
	run := batchRun{seg: s, at: at, bound: min(r.Bound, end)}
	p, err := run.read(dst, n)
	if err != nil {
		return segmentRead{}, err
	}
	// The first batch is larger than what was read.
	if whole := int64(batch.Batch(p[len(dst):]).Length()); r.MinOne && whole > n {
		if whole > size-at.pos {
			return segmentRead{}, s.corrupt(at.pos, fmt.Errorf("%w: length is %d", batch.ErrCorrupt, whole))
		}
		if p, err = run.read(dst, whole); err != nil {
			return segmentRead{}, err
		}
	}
	behind := run.at
	s.hint.Store(&behind)
	used := int(behind.pos - at.pos)
	return segmentRead{
		bytes: p[:len(dst)+used], next: behind.offset, exhausted: behind.offset == end,
	}, nil
}

// skipEmpty steps over the batches without records that compaction has left at a place.
func skipEmpty(s *segment, at place, bound Offset) (place, error) {
	c := newCursor(s, at, bound)
	for {
		h, at, ok, err := c.next()
		if err != nil || !ok || h.Count() > 0 {
			return at, err
		}
	}
}

// readAt appends n bytes of the segment to dst.
func (l *Log) readAt(s *segment, dst []byte, at place, n int64) ([]byte, error) {
	p := slices.Grow(dst, int(n))[:len(dst)+int(n)]
	if err := readFull(s, p[len(dst):], at.pos); err != nil {
		if ioErr := (*readError)(nil); errors.As(err, &ioErr) {
			return dst, err
		}
		return dst, s.corrupt(at.pos, err)
	}
	return p, nil
}

// readPieceBytes is how much of a segment is read before it is checked: so little that it is in the
// processor's cache then, and does not have to come from memory a second time.
const readPieceBytes = 512 << 10

// batchRun reads batches that follow each other in a segment, and checks them.
type batchRun struct {
	seg   *segment
	at    place // behind the batches that are checked
	bound Offset
}

// read appends up to n bytes of the segment to dst, of which those up to the run's place are whole
// batches below the bound, and checked.
func (r *batchRun) read(dst []byte, n int64) ([]byte, error) {
	p := slices.Grow(dst, int(n))
	from, end := r.at.pos, r.at.pos+n
	for pos, ended := from, false; pos < end && !ended; {
		k := min(readPieceBytes, end-pos)
		p = p[:len(p)+int(k)]
		if err := readFull(r.seg, p[len(p)-int(k):], pos); err != nil {
			if ioErr := (*readError)(nil); errors.As(err, &ioErr) {
				return dst, err
			}
			return dst, r.seg.corrupt(pos, err)
		}
		pos += k
		var err error
		if ended, err = r.check(p[len(dst)+int(r.at.pos-from):]); err != nil {
			return dst, r.seg.corrupt(r.at.pos, err)
		}
	}
	return p, nil
}

// check steps over the whole batches in p, which begins at the run's place, and reports whether
// there are no more of them below the bound.
func (r *batchRun) check(p []byte) (ended bool, err error) {
	for r.at.offset < r.bound {
		b, rest, err := batch.Next(p)
		if errors.Is(err, batch.ErrShort) { // there is more of it, unless its length lies
			if len(p) >= batch.HeaderBytes {
				return false, checkHeader(r.seg, batch.Batch(p), r.at, r.seg.size.Load())
			}
			return false, nil
		}
		if err == nil {
			err = checkBatch(r.seg, b, r.at.offset)
		}
		if err != nil {
			return false, err
		}
		if b.LastOffset() >= r.bound {
			break
		}
		p = rest
		r.at = place{offset: b.LastOffset() + 1, pos: r.at.pos + int64(len(b))}
	}
	return true, nil
}

// checkBatch makes sure that b is an intact batch and the one expected at an offset.
func checkBatch(s *segment, b batch.Batch, want Offset) error {
	if err := batch.CheckStored(b); err != nil {
		return err
	}
	return s.checkNext(b, want)
}

// ReadWithin appends n bytes to dst, from byte pos of the batch whose base offset is base. It
// reads one record of a large batch; that it is only a part, no CRC can be checked.
func (l *Log) ReadWithin(dst []byte, base Offset, pos, n int) ([]byte, error) {
	out := dst
	err := l.stable(func() error {
		var err error
		out, err = l.readWithin(dst, base, pos, n)
		return err
	})
	if err != nil {
		return dst, err
	}
	l.counters.readBytes.Add(int64(n))
	return out, nil
}

func (l *Log) readWithin(dst []byte, base Offset, pos, n int) ([]byte, error) {
	if base < l.Start() || base >= l.End() {
		return dst, l.outOfRange(base)
	}
	s, err := l.pin(base)
	if err != nil {
		return dst, err
	}
	defer s.release()
	at, err := l.locate(s, base, l.endOf(s))
	if err != nil {
		return dst, err
	}
	head, err := l.readAt(s, nil, at, batch.HeaderBytes)
	if err != nil {
		return dst, err
	}
	h := batch.Batch(head)
	if h.BaseOffset() != base || pos < 0 || n < 0 || pos+n > h.Length() {
		return dst, fmt.Errorf("bytes %d to %d of a batch at offset %d; log %s has a batch of %d bytes"+
			" at %d: %w", pos, pos+n, base, l.dir, h.Length(), h.BaseOffset(), ErrOffsetOutOfRange)
	}
	at.pos += int64(pos)
	return l.readAt(s, dst, at, int64(n))
}
