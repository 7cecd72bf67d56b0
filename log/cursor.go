package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/chronosdb/chronosdb/log/batch"
)

// The sizes of the reads of a cursor: small batches share one, large ones are stepped over.
const (
	cursorReadMin = 512
	cursorReadMax = 64 << 10
)

// cursor walks the batch headers of one segment and reads little of what lies between.
type cursor struct {
	seg *segment

	at   place  // the batch to come
	end  Offset // where the walk ends
	size int64  // bytes of the segment that may be read

	window    []byte // bytes of the file from windowPos on
	windowPos int64
	readBytes int // size of the next read: grows while headers lie close together
}

// newCursor returns a cursor over [at, end) of a pinned segment. end must have been loaded before
// the call, so that the segment's size covers it.
func newCursor(s *segment, at place, end Offset) *cursor {
	return &cursor{
		seg: s, at: at, end: end, size: s.size.Load(), readBytes: cursorReadMin,
	}
}

// next returns the header of the next batch, valid until the next call, and where it lies: the
// offset is where the batch before it ends, which in a compacted segment may be below its base. ok
// is false at the end.
func (c *cursor) next() (h batch.Batch, at place, ok bool, err error) {
	if c.at.offset >= c.end {
		return nil, c.at, false, nil
	}
	h, err = c.read(c.at.pos)
	if err == nil {
		err = checkHeader(c.seg, h, c.at, c.size)
	}
	if err != nil {
		return nil, c.at, false, c.fail(err)
	}
	if h.BaseOffset() >= c.end { // only behind a gap
		return nil, c.at, false, nil
	}
	at = c.at
	c.at = place{offset: h.LastOffset() + 1, pos: at.pos + int64(h.Length())}
	return h, at, true, nil
}

// fail keeps a read error as it is: the disk's refusal to read is not damage that we have seen.
func (c *cursor) fail(err error) error {
	var ioErr *readError
	if errors.As(err, &ioErr) {
		return err
	}
	return c.seg.corrupt(c.at.pos, err)
}

// read returns the header bytes at pos.
func (c *cursor) read(pos int64) (batch.Batch, error) {
	rel := pos - c.windowPos
	if len(c.window) == 0 || rel < 0 || rel+batch.HeaderBytes > int64(len(c.window)) {
		c.resize(rel)
		n := min(int64(c.readBytes), c.size-pos)
		if n < batch.HeaderBytes {
			return nil, fmt.Errorf("%w: the segment ends within a header", batch.ErrShort)
		}
		if int64(cap(c.window)) < n {
			c.window = make([]byte, n)
		}
		c.window = c.window[:n]
		if err := readFull(c.seg, c.window, pos); err != nil {
			c.window = c.window[:0]
			return nil, err
		}
		c.windowPos, rel = pos, 0
	}
	return batch.Batch(c.window[rel : rel+batch.HeaderBytes]), nil
}

// resize doubles the reads while the next header lies within or just behind the last one, and
// shrinks them when a large batch was stepped over.
func (c *cursor) resize(rel int64) {
	if len(c.window) == 0 {
		return
	}
	if rel <= int64(len(c.window)) {
		c.readBytes = min(2*c.readBytes, cursorReadMax)
		return
	}
	c.readBytes = cursorReadMin
}

// readError is the disk's refusal to read.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }

// Unwrap returns ErrUnreadable and what the disk said. A file that retention, a truncation or the
// end of the log took from a reader is no fault of the disk.
func (e *readError) Unwrap() []error {
	if errors.Is(e.err, ErrOffsetOutOfRange) || errors.Is(e.err, ErrClosed) {
		return []error{e.err}
	}
	return []error{ErrUnreadable, e.err}
}

// readFull reads all of p. A file that ends within is damage, any other error the disk's.
func readFull(s *segment, p []byte, pos int64) error {
	n, err := s.readAt(p, pos)
	if n == len(p) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: the file ends at byte %d", batch.ErrShort, pos+int64(n))
	}
	return &readError{fmt.Errorf("read segment %s at byte %d: %w", s.path, pos, err)}
}

// checkHeader makes sure that the header is that of the batch expected at a place of a segment of
// that size. It cannot check the CRC.
func checkHeader(s *segment, h batch.Batch, at place, size int64) error {
	switch n := int64(h.Length()); {
	case h.Magic() != 2:
		return fmt.Errorf("%w: magic is %d", batch.ErrMagic, h.Magic())
	case n < batch.HeaderBytes:
		return fmt.Errorf("%w: length is %d", batch.ErrCorrupt, n)
	case at.pos+n > size:
		return fmt.Errorf("%w: length is %d, the segment has %d bytes left", batch.ErrShort, n,
			size-at.pos)
	case h.LastOffsetDelta() < 0:
		return fmt.Errorf("%w: last offset delta is %d", batch.ErrCorrupt, h.LastOffsetDelta())
	}
	return s.checkNext(h, at.offset)
}

// scanner reads whole batches one after the other, a block at a time.
type scanner struct {
	seg  *segment
	pos  int64 // of the batch to come
	size int64 // where the bytes end
	buf  []byte
	lo   int // buf[lo:hi] are the bytes at pos
	hi   int
}

// scanBlockBytes is how much a scanner reads at once, and how large its buffer is until a batch
// needs more.
const scanBlockBytes = 1 << 20

// next returns the batch at pos and steps over it, or says what is wrong with the bytes there;
// io.EOF when there are none. It does not check the CRC. The batch is valid until the next call.
func (s *scanner) next() (batch.Batch, error) {
	if s.pos >= s.size {
		return nil, io.EOF
	}
	if err := s.fill(batch.HeaderBytes); err != nil {
		return nil, err
	}
	n := int64(batch.Batch(s.buf[s.lo:s.hi]).Length())
	if n < batch.HeaderBytes {
		return nil, fmt.Errorf("%w: length is %d", batch.ErrCorrupt, n)
	}
	if s.pos+n > s.size {
		return nil, fmt.Errorf("%w: length is %d, the file has %d bytes left", batch.ErrShort, n,
			s.size-s.pos)
	}
	if err := s.fill(int(n)); err != nil {
		return nil, err
	}
	b := batch.Batch(s.buf[s.lo : s.lo+int(n) : s.lo+int(n)])
	s.lo += int(n)
	s.pos += n
	return b, nil
}

// fill makes at least n bytes at pos available in buf. The buffer grows only to what the file
// really holds, whatever a damaged length says.
func (s *scanner) fill(n int) error {
	if s.hi-s.lo >= n {
		return nil
	}
	if s.size-s.pos < int64(n) {
		return fmt.Errorf("%w: the file ends within a header", batch.ErrShort)
	}
	if n > cap(s.buf) || s.buf == nil {
		grown := make([]byte, max(int64(n), min(scanBlockBytes, s.size-s.pos)))
		copy(grown, s.buf[s.lo:s.hi])
		s.buf = grown
	} else {
		copy(s.buf, s.buf[s.lo:s.hi])
	}
	s.hi, s.lo = s.hi-s.lo, 0
	s.buf = s.buf[:cap(s.buf)]
	want := min(int64(len(s.buf)-s.hi), s.size-s.pos-int64(s.hi))
	p := s.buf[s.hi : s.hi+int(want)]
	if err := readFull(s.seg, p, s.pos+int64(s.hi)); err != nil {
		return err
	}
	s.hi += int(want)
	return nil
}
