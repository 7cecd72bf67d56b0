package journal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// ref says where an entry of the last life lies: the record, and the entry within its body.
type ref struct {
	file   *file
	record uint32 // position of the record, in blocks
	entry  uint32 // position of the entry in the body
}

// scan is the reading of all files after an unclean stop.
type scan struct {
	files []*file // with a header, oldest use first
	next  Sequence
	buf   []byte
	visit func(f *file, h recordHeader, body []byte) error

	newest recordHeader // of the newest record
	holder *file        // that holds it; nil if there is none

	clean bool // the mark says that nothing in the files is of use
	// released is how far records may be missing: the most that a header or a record says.
	released Sequence
	// atLeast is the highest that a header says: all records below were durable once.
	atLeast Sequence
	end     place // behind the newest record
	empty   *file // the first one behind it without any record
	gaps    []gap // bounded by the records that there are
}

// place is a byte of a file.
type place struct {
	file *file
	pos  int64
}

// gap tells of records that are missing before one that is intact.
type gap struct {
	upTo Sequence
	err  error
}

// run reads every record, oldest first, and makes sure that what is missing is no loss.
func (s *scan) run() error {
	sortByUse(s.files)
	for _, f := range s.files {
		s.released = max(s.released, f.header.released)
		s.atLeast = max(s.atLeast, f.header.atLeast)
	}
	for _, f := range s.files {
		if err := s.scanFile(f); err != nil {
			return err
		}
	}
	return s.judge()
}

// scanFile reads the records of one file. Behind one that is damaged it goes on at the next intact
// one.
func (s *scan) scanFile(f *file) error {
	if s.end.file == nil {
		s.end = place{f, firstRecord}
	}
	pos := int64(firstRecord)
	for pos+recordHeaderBytes <= f.header.fileBytes {
		h, body, ok, err := s.read(f, pos)
		if err != nil {
			return err
		}
		if !ok {
			pos += blockBytes
			continue
		}
		if h.sequence < s.next {
			return f.corrupt(pos, "commit record %d follows record %d", h.sequence, s.next-1)
		}
		s.noteGap(f, h)
		if err := s.visit(f, h, body); err != nil {
			return err
		}
		s.released = max(s.released, h.sequence-1-Sequence(h.unreleased))
		f.last, s.next = h.sequence, h.sequence+1
		s.newest, s.holder = h, f
		pos += recordBytes(h.bodyBytes)
		s.end, s.empty = place{f, pos}, nil
	}
	if s.end.file != f && s.empty == nil {
		s.empty = f
	}
	return nil
}

// noteGap remembers what is missing before a record.
func (s *scan) noteGap(f *file, h recordHeader) {
	if h.sequence == max(s.next, 1) {
		return
	}
	at := s.end
	switch {
	case s.empty != nil:
		at = place{s.empty, firstRecord} // It was alone in its file.
	case at.file != f && h.position > firstRecord:
		at = place{f, firstRecord} // It began this file.
	}
	s.gaps = append(s.gaps, gap{h.sequence - 1, at.file.corrupt(at.pos, "a commit record before %d"+
		" is missing or damaged; record %d is intact at byte %d of %s", h.sequence, h.sequence,
		h.position, f.path)})
}

// judge tells damage from what may be missing: released records, and the one whose commit was under
// way, which has nothing behind it.
func (s *scan) judge() error {
	for _, g := range s.gaps {
		if g.upTo > s.released {
			return g.err
		}
	}
	if durable := s.atLeast; durable > max(s.next, s.released+1) {
		return s.end.file.corrupt(s.end.pos, "commit record %d is missing or damaged; it was durable"+
			" when a later file was begun", durable-1)
	}
	// A file that is too short may have lost its last records, which nothing follows.
	for _, f := range s.files {
		if f.size < f.header.fileBytes && !s.clean {
			return f.corrupt(f.size, "the file ends here, it had %d bytes", f.header.fileBytes)
		}
	}
	return nil
}

// redo makes the newest record durable again. Its commit may have died before its fdatasync, or
// with it: then it can be read, and a power cut would still take it, after others had been written
// that follow it. All older ones were durable before it was begun.
func (s *scan) redo() error {
	if s.holder == nil {
		return nil
	}
	p := vfs.AlignedBuffer(int(recordBytes(s.newest.bodyBytes)))
	if err := readAgain(s.holder, p, s.newest.position); err != nil {
		return err
	}
	whole := p[:recordHeaderBytes+s.newest.bodyBytes]
	if recordCRC(whole, s.holder.header.salt) != s.newest.crc {
		return s.holder.corrupt(s.newest.position, "the record has changed since it was read first")
	}
	if err := s.holder.log.WriteDirect(p, s.newest.position); err != nil {
		return fmt.Errorf("write %s again: %w", s.holder.path, err)
	}
	if err := s.holder.log.SyncData(); err != nil {
		return fmt.Errorf("fdatasync %s: %w", s.holder.path, err)
	}
	return nil
}

// sortByUse puts the oldest use first. Files are used again in this order, so that the sequences
// of those that still have their old records follow each other without a gap.
func sortByUse(files []*file) {
	slices.SortFunc(files, func(a, b *file) int {
		return cmp.Compare(a.header.generation, b.header.generation)
	})
}

// read reads the record at a position. ok is false if there is none of this use of the file. The
// body is valid until the next call.
func (s *scan) read(f *file, pos int64) (h recordHeader, body []byte, ok bool, err error) {
	if cap(s.buf) < recordHeaderBytes {
		s.buf = make([]byte, blockBytes)
	}
	head := s.buf[:recordHeaderBytes]
	if whole, err := readWhole(f, head, pos); !whole {
		return h, nil, false, err
	}
	h, ok = decodeRecordHeader(head, f.header, pos)
	if !ok {
		return h, nil, false, nil
	}
	n := recordHeaderBytes + h.bodyBytes
	if cap(s.buf) < n {
		s.buf = make([]byte, n)
	}
	p := s.buf[:n]
	if whole, err := readWhole(f, p, pos); !whole {
		return h, nil, false, err
	}
	return h, p[recordHeaderBytes:], recordCRC(p, f.header.salt) == h.crc, nil
}

// readWhole fills p, or reports that the file ends before.
func readWhole(f *file, p []byte, pos int64) (bool, error) {
	n, err := f.log.ReadAt(p, pos)
	if n == len(p) {
		return true, nil
	}
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	return false, fmt.Errorf("read %s at byte %d: %w", f.path, pos, err)
}

// readAgain fills p with bytes that have been there before.
func readAgain(f *file, p []byte, pos int64) error {
	whole, err := readWhole(f, p, pos)
	if err == nil && !whole {
		err = f.corrupt(pos, "the record has gone since it was read first")
	}
	return err
}

// hasRecords reports whether a file without a header has anything in it that looks like a record,
// and where. A file that was never used is zeros behind its header.
func hasRecords(f *file) (pos int64, found bool, err error) {
	size, err := f.log.Size()
	if err != nil {
		return 0, false, err
	}
	head := make([]byte, recordHeaderBytes)
	for pos = firstRecord; pos+recordHeaderBytes <= size; pos += blockBytes {
		if whole, err := readWhole(f, head, pos); !whole {
			return 0, false, err
		}
		be := binary.BigEndian
		if be.Uint32(head) == recordMagic && int64(be.Uint32(head[24:]))*blockBytes == pos {
			return pos, true, nil
		}
	}
	return 0, false, nil
}

// eachEntry passes every entry of a record's body on, with its position in it.
func eachEntry(f *file, h recordHeader, body []byte, fn func(at int, e Entry) error) error {
	rest := body
	for range h.entries {
		e, after, err := decodeEntry(rest)
		if err != nil {
			return f.corrupt(h.position, "commit record %d: %w", h.sequence, err)
		}
		if err := fn(len(body)-len(rest), e); err != nil {
			return err
		}
		rest = after
	}
	if len(rest) > 0 {
		return f.corrupt(h.position, "commit record %d has %d bytes too many", h.sequence, len(rest))
	}
	return nil
}
