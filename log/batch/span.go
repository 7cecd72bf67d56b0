package batch

// Span says where a record of an uncompressed batch lies.
type Span struct {
	Index int // Index counts the records from 0.
	Pos   int // Pos is where the record, with its length varint, starts in the batch.
	Len   int // Len is how many bytes it takes, the varint included.
}

// End is the position behind the record.
func (s Span) End() int { return s.Pos + s.Len }

// Spans walks over the records of an uncompressed batch by their length varints alone
// and looks into none: for those who know the batch and want a record's place. It
// allocates nothing.
type Spans struct {
	b     Batch
	index int
	pos   int
	err   error
}

// Spans starts a walk. A compressed batch has no spans: Next returns false and Err an
// ErrInvalid.
func (b Batch) Spans() Spans {
	s := Spans{b: b, pos: HeaderBytes}
	if c := b.Codec(); c != None {
		s.err = invalid("spans of a batch with codec %s", c)
	}
	return s
}

// Next returns the next record's place, or false behind the last one and at an error.
func (s *Spans) Next() (Span, bool) {
	if s.err != nil || s.index >= s.b.Count() {
		return Span{}, false
	}
	n, at := varint(s.b, s.pos)
	if at < 0 || n < minBodyBytes || int(n) > len(s.b)-at {
		s.err = &RecordError{s.index, invalid("its length is broken at byte %d", s.pos)}
		return Span{}, false
	}
	sp := Span{Index: s.index, Pos: s.pos, Len: at + int(n) - s.pos}
	s.index, s.pos = s.index+1, sp.End()
	return sp, true
}

// Err returns what stopped the walk early, if anything did: a *RecordError, or an
// ErrInvalid when bytes follow the last record.
func (s *Spans) Err() error {
	if s.err == nil && s.index >= s.b.Count() && s.pos != len(s.b) {
		return invalid("%d bytes follow the last record", len(s.b)-s.pos)
	}
	return s.err
}
