package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/compaction"
	"github.com/chronosdb/chronosdb/log/mutant"
	"github.com/chronosdb/chronosdb/log/vfs"
)

const (
	// cleanedSuffix ends the names of a segment's files while they are written.
	cleanedSuffix = ".cleaned"
	// compactWriteBytes is how much is written at once.
	compactWriteBytes = 1 << 20
	// compactDirtyBytesMax bounds what a compaction leaves to the page cache before it syncs: an
	// fdatasync of a log's own must not wait behind a whole segment.
	compactDirtyBytesMax = 16 << 20
)

// compactGroup writes what stays of a group's records to a new segment and puts it in their place.
func (c *compactor) compactGroup(g group) error {
	before := c.filter.Counts()
	w, err := newCleanedSegment(c, g.base)
	if err != nil {
		return err
	}
	err = c.fill(w, g)
	if err == nil && len(g.segments) == 1 && c.filter.Counts().Changed == before.Changed {
		c.l.closeUnused(g.segments[0], 1)
		return w.discard() // nothing to gain
	}
	if err == nil {
		err = w.finish(g.end)
	}
	if err == nil {
		err = c.swap(w, g)
	}
	if err != nil {
		return errors.Join(c.writeError(err), w.discard())
	}
	c.res.Segments += len(g.segments)
	c.res.Replacements++
	return nil
}

// fill passes all batches of the group through the filter.
func (c *compactor) fill(w *cleanedSegment, g group) error {
	for _, s := range g.segments {
		sc := &scanner{seg: s, size: s.size.Load(), buf: c.readBuf}
		for next := s.base; ; {
			at := sc.pos
			b, err := sc.next()
			if errors.Is(err, io.EOF) {
				if cap(sc.buf) <= 2*scanBlockBytes { // as with what is written
					c.readBuf = sc.buf
				}
				break
			}
			if err == nil {
				err = checkBatch(s, b, next)
			}
			if err != nil {
				return scanError(s, at, err)
			}
			next = b.LastOffset() + 1
			if err := c.r.Pace(len(b)); err != nil {
				return err
			}
			c.res.BytesRead += int64(len(b))
			if err := w.add(b, c.floorOf(b, g)); err != nil {
				return err
			}
		}
	}
	return nil
}

// floorOf says what must stay of a batch because of where it is: at the end of the new segment, or
// of all that is compacted.
func (c *compactor) floorOf(b batch.Batch, g group) compaction.Floor {
	switch b.LastOffset() + 1 {
	case c.r.To:
		return compaction.Record
	case g.end:
		return compaction.Header
	default:
		return compaction.Nothing
	}
}

// writeError sorts what went wrong: a full disk passes, a failed write or sync is final, and what
// was read or asked for is as it is.
func (c *compactor) writeError(err error) error {
	var failed *cleanedError
	switch {
	case !errors.As(err, &failed):
		return err
	case vfs.IsShortage(err):
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	default:
		return c.l.fail(err)
	}
}

// cleanedError is a failure to write a cleaned segment.
type cleanedError struct{ err error }

func (e *cleanedError) Error() string { return e.err.Error() }
func (e *cleanedError) Unwrap() error { return e.err }

// cleanedSegment is a segment that is being written, under names that recovery removes.
type cleanedSegment struct {
	c    *compactor
	seg  *segment
	file vfs.LogFile

	buf   []byte // not in the file yet
	pos   int64  // where buf begins in the file
	dirty int64  // bytes written since the last sync
}

func newCleanedSegment(c *compactor, base Offset) (*cleanedSegment, error) {
	fs := c.l.o.FS
	w := &cleanedSegment{c: c, seg: newSegment(fs, c.l.dir, base), buf: c.writeBuf[:0]}
	for _, path := range w.paths() {
		*path += cleanedSuffix
		// What an earlier pass could not remove.
		if err := fs.Remove(*path); err != nil && !isNotExist(err) {
			return nil, fmt.Errorf("remove %s: %w", *path, err)
		}
	}
	f, err := w.seg.file()
	if err != nil {
		return nil, c.writeError(&cleanedError{err})
	}
	w.file = f
	return w, nil
}

func (w *cleanedSegment) paths() []*string {
	return []*string{&w.seg.path, &w.seg.index.path, &w.seg.times.path}
}

// add appends what stays of a batch.
func (w *cleanedSegment) add(b batch.Batch, floor compaction.Floor) error {
	before := len(w.buf)
	var err error
	if w.buf, err = w.c.filter.Append(w.buf, b, floor); err != nil {
		return fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err)
	}
	if len(w.buf) == before {
		return nil
	}
	at := w.pos + int64(before)
	left := batch.Batch(w.buf[before:])
	if err := w.seg.observeLocked(left, at, w.c.l.o.IndexIntervalBytes); err != nil {
		return &cleanedError{err}
	}
	if len(w.buf) < compactWriteBytes {
		return nil
	}
	return w.write()
}

// write moves the buffer to the file.
func (w *cleanedSegment) write() error {
	if err := w.c.r.Pace(len(w.buf)); err != nil {
		return err
	}
	if _, err := w.file.WriteAt(w.buf, w.pos); err != nil {
		return &cleanedError{fmt.Errorf("write %s: %w", w.seg.path, err)}
	}
	w.pos += int64(len(w.buf))
	w.dirty += int64(len(w.buf))
	w.c.res.BytesWritten += int64(len(w.buf))
	if w.buf = w.buf[:0]; cap(w.buf) > 2*compactWriteBytes {
		w.buf = nil // one large batch must not cost its memory for the rest of the pass
	}
	if w.dirty < compactDirtyBytesMax {
		return nil
	}
	return w.sync()
}

func (w *cleanedSegment) sync() error {
	w.dirty = 0
	if mutant.On(mutant.CompactionUnsynced) {
		return nil
	}
	if err := w.file.SyncData(); err != nil {
		return &cleanedError{fmt.Errorf("fdatasync %s: %w", w.seg.path, err)}
	}
	return nil
}

// finish makes the segment whole and durable, but for its name.
func (w *cleanedSegment) finish(end Offset) error {
	if err := w.write(); err != nil {
		return err
	}
	w.c.writeBuf = w.buf
	if err := w.sync(); err != nil {
		return err
	}
	w.seg.size.Store(w.pos)
	if err := w.seg.sealLocked(end); err != nil {
		return &cleanedError{err}
	}
	for _, t := range []*table{w.seg.index, w.seg.times} {
		if _, err := t.sync(); err != nil {
			return &cleanedError{err}
		}
	}
	return nil
}

// discard removes the files. What stays behind is removed by the next pass or the next Open.
func (w *cleanedSegment) discard() error {
	w.seg.release()
	var first error
	for _, path := range w.paths() {
		if err := w.c.l.o.FS.Remove(*path); err != nil && !isNotExist(err) && first == nil {
			first = fmt.Errorf("remove %s: %w", *path, err)
		}
	}
	return first
}
