package journal

import (
	"fmt"
	"slices"
)

// Logs returns the names of all logs that have entries from an earlier life, sorted. It is empty
// after Recovered.
func (j *Journal) Logs() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	names := make([]string, 0, len(j.mu.index))
	for name := range j.mu.index {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Confirmed returns the newest sequence of an earlier life behind which Confirm has written: all
// that was committed up to it was durable, here and wherever an entry refers to.
func (j *Journal) Confirmed() Sequence {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.mu.confirmed
}

// Replay passes on every entry of a log with a sequence of at least from, in the order in which
// they were committed. The entry's payload is valid until fn returns. Several logs may be replayed
// at once, before Recovered.
func (j *Journal) Replay(log string, from Sequence, fn func(s Sequence, e Entry) error) error {
	j.mu.Lock()
	refs := j.mu.index[log]
	j.mu.Unlock()
	var s scan
	for _, r := range refs {
		if r.file.last < from {
			continue
		}
		pos := int64(r.record) * blockBytes
		head := make([]byte, recordHeaderBytes)
		if err := readAgain(r.file, head, pos); err != nil {
			return err
		}
		h, ok := decodeRecordHeader(head, r.file.header, pos)
		if !ok {
			return r.file.corrupt(pos, "the record has changed since it was read")
		}
		if h.sequence < from {
			continue
		}
		e, err := s.readEntry(r, h)
		if err != nil {
			return err
		}
		if e.Log != log {
			return r.file.corrupt(pos, "the record has changed since it was read")
		}
		if err := fn(h.sequence, e); err != nil {
			return fmt.Errorf("replay commit record %d: %w", h.sequence, err)
		}
	}
	return nil
}

// readEntry reads one entry of a record whose checksum was good when it was indexed.
func (s *scan) readEntry(r ref, h recordHeader) (Entry, error) {
	pos := int64(r.record)*blockBytes + recordHeaderBytes + int64(r.entry)
	left := h.bodyBytes - int(r.entry)
	need := min(left, entryHeaderBytes+LogNameBytesMax)
	for {
		if cap(s.buf) < need {
			s.buf = make([]byte, need)
		}
		p := s.buf[:need]
		if err := readAgain(r.file, p, pos); err != nil {
			return Entry{}, err
		}
		e, _, err := decodeEntry(p)
		if err == nil {
			return e, nil
		}
		span := min(left, entrySpan(p))
		if span <= need {
			return Entry{}, r.file.corrupt(pos, "commit record %d: %w", h.sequence, err)
		}
		need = span
	}
}
