package log

import (
	"errors"
	"fmt"
	"io"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// SegmentInspection says how a segment file is read, and who hears of it.
type SegmentInspection struct {
	FS vfs.FS
	// From is the byte at which to begin, a batch boundary; 0 is the beginning of the file.
	From int64
	// FromOffset is the offset of the batch there. It is not looked at when From is 0.
	FromOffset Offset
	// OnBatch is called for each intact batch in order. Its error ends the inspection.
	OnBatch func(b BatchAt) error
	// OnDamage is called for each range of bytes that is not the next batch. More batches may
	// follow it. Its error ends the inspection.
	OnDamage func(d SegmentDamage) error
}

// SegmentDamage is a range of bytes in a segment that holds no batch which could come there.
type SegmentDamage struct {
	File     string
	Position int64  // Position is the first byte.
	Until    int64  // Until is where the next intact batch begins, or the file ends.
	Offset   Offset // Offset is the first one that cannot be read.
	Next     Offset // Next is the offset of the next intact batch, or NoOffset if there is none.
	Err      error  // Err says what is wrong at Position.
}

// SegmentSummary is what was found in a segment file.
type SegmentSummary struct {
	Path     string
	Base     Offset // Base is the offset in its name.
	End      Offset // End is the offset behind the last intact batch.
	EndPos   int64  // EndPos is the byte behind the last intact batch.
	Bytes    int64  // Bytes is the file's length.
	Batches  int64
	Records  int64
	Damages  int
	MaxTime  UnixMs // MaxTime is the greatest timestamp, or -1.
	ZeroTail int64  // ZeroTail is how many zeros follow the last batch.
}

// InspectSegment reads a segment file from its beginning to its end. It checks every batch and,
// behind damage, goes on with the next intact one.
func InspectSegment(path string, o SegmentInspection) (SegmentSummary, error) {
	s, f, err := openInspectedSegment(o.FS, path)
	if err != nil {
		return SegmentSummary{Path: path}, err
	}
	defer s.release()
	w := &segmentWalker{
		o: &o, seg: s, file: f, next: s.base,
		sum: SegmentSummary{Path: path, Base: s.base, End: s.base, Bytes: f.size, MaxTime: noTime},
	}
	w.sc = scanner{seg: s, size: f.size}
	if o.From > 0 {
		w.sc.pos, w.next = o.From, o.FromOffset
		w.sum.End, w.sum.EndPos = w.next, o.From
	}
	for more := true; more; {
		if more, err = w.step(); err != nil {
			return w.sum, err
		}
	}
	return w.sum, nil
}

// segmentWalker is one InspectSegment.
type segmentWalker struct {
	o    *SegmentInspection
	seg  *segment
	file *inspectedFile
	sc   scanner
	next Offset // of the batch to come
	sum  SegmentSummary
}

// step takes one batch, or one range of damage.
func (w *segmentWalker) step() (more bool, err error) {
	at := w.sc.pos
	b, err := w.sc.next()
	if err == nil {
		err = checkBatch(w.seg, b, w.next)
	}
	switch {
	case err == nil:
		return true, w.take(b, at)
	case errors.Is(err, io.EOF):
		return false, nil
	}
	var ioErr *readError
	if !errors.As(err, &ioErr) {
		zero, zeroErr := onlyZeros(w.seg, w.file, at)
		if zeroErr == nil && zero {
			w.sum.ZeroTail = w.sum.Bytes - at
			return false, nil
		}
	}
	return w.damaged(at, err)
}

func (w *segmentWalker) take(b batch.Batch, at int64) error {
	w.next = b.LastOffset() + 1
	w.sum.End, w.sum.EndPos = w.next, at+int64(len(b))
	w.sum.Batches++
	w.sum.Records += int64(b.Count())
	w.sum.MaxTime = max(w.sum.MaxTime, b.MaxTimestamp())
	if w.o.OnBatch == nil {
		return nil
	}
	return w.o.OnBatch(BatchAt{File: w.sum.Path, Position: at, Batch: b})
}

// damaged reports what begins at a byte, and goes on behind it.
func (w *segmentWalker) damaged(at int64, cause error) (more bool, err error) {
	d := SegmentDamage{
		File: w.sum.Path, Position: at, Until: w.sum.Bytes, Offset: w.next, Next: noOffset, Err: cause,
	}
	if pos, next, ok := w.resync(at); ok {
		d.Until, d.Next = pos, next
		w.sc = scanner{seg: w.seg, size: w.file.size, pos: pos}
		w.next, more = next, true
	}
	w.sum.Damages++
	if w.o.OnDamage != nil {
		err = w.o.OnDamage(d)
	}
	return more, err
}

// resync finds the next intact batch behind damage. The damaged batch's own length comes first:
// a value can hold the bytes of a batch, which a search would take for one.
func (w *segmentWalker) resync(at int64) (int64, Offset, bool) {
	from := at + 1
	var header [batch.HeaderBytes]byte
	if at+batch.HeaderBytes <= w.sum.Bytes &&
		readFull(w.seg, header[:], at) == nil {
		n := int64(batch.Batch(header[:]).Length())
		if behind := at + n; n >= batch.HeaderBytes && behind < w.sum.Bytes {
			if base, ok := w.intactAt(behind); ok {
				return behind, base, true
			}
		}
	}
	pos, found, err := findBatch(w.seg, from, w.next)
	if err != nil || !found {
		return 0, 0, false
	}
	base, ok := w.intactAt(pos)
	return pos, base, ok
}

// intactAt says whether an intact batch begins at a byte, and its base offset.
func (w *segmentWalker) intactAt(pos int64) (Offset, bool) {
	sc := scanner{seg: w.seg, size: w.file.size, pos: pos}
	b, err := sc.next()
	if err != nil || batch.CheckStored(b) != nil || b.BaseOffset() < w.next {
		return 0, false
	}
	return b.BaseOffset(), true
}

// Finding is the damage as a finding of that grade.
func (d SegmentDamage) Finding(g Grade) Finding {
	return Finding{Grade: g, File: d.File, Position: d.Position, Err: d.error()}
}

// error is the damage as a sentence.
func (d SegmentDamage) error() error {
	if d.Next == noOffset {
		return fmt.Errorf("%w; nothing intact follows up to byte %d, offsets from %d on cannot be read",
			d.Err, d.Until, d.Offset)
	}
	if d.Next == d.Offset {
		return fmt.Errorf("%w; the batch of offset %d begins at byte %d instead", d.Err, d.Next,
			d.Until)
	}
	return fmt.Errorf("%w; %d bytes with offsets %d to %d cannot be read", d.Err, d.Until-d.Position,
		d.Offset, d.Next-1)
}
