package log

import (
	"errors"
	"hash/crc32"
	"io"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// InspectRef says whether the segment in a log's folder holds exactly the batches that a reference
// of the commit journal names, intact.
func InspectRef(fs vfs.FS, dir string, e journal.Entry) (whole bool, path string, err error) {
	path = segmentPath(fs, dir, Offset(e.Segment))
	s, _, err := openInspectedSegment(fs, path)
	if err != nil {
		return false, path, err
	}
	defer s.release()
	whole, err = holdsRef(s, e)
	return whole, path, err
}

// holdsRef says whether a segment holds exactly the batches that a reference names, intact.
func holdsRef(s *segment, e journal.Entry) (bool, error) {
	sc := &scanner{seg: s, pos: e.Position, size: e.Position + int64(e.Length)}
	sum, next := uint32(0), Offset(e.First)
	for {
		b, err := sc.next()
		if errors.Is(err, io.EOF) {
			return sum == e.Digest && next == Offset(e.End), nil
		}
		var ioErr *readError
		if errors.As(err, &ioErr) {
			return false, err
		}
		if err != nil || batch.CheckStored(b) != nil || b.BaseOffset() != next {
			return false, nil
		}
		sum = crc32.Update(sum, castagnoli, b[:batch.HeaderBytes])
		next = b.LastOffset() + 1
	}
}
