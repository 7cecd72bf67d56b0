package batch

// Reader iterates over the records of a batch. It inflates a compressed batch once,
// into a pooled buffer that Close gives back: no record may be used after Close. A
// Reader may be a local variable; its zero value is closed, and Reset opens it.
//
// Each record's framing is verified, headers included. Offset deltas must rise and
// stay within the batch, but may have gaps, which compaction leaves; WalkControl is
// stricter because a producer leaves none.
type Reader struct {
	b       Batch
	records []byte  // records are the bytes behind the header, inflated.
	buf     *[]byte // buf holds records when they were compressed, else nil.

	index     int   // index counts the records that Next has returned.
	pos, end  int   // pos and end frame the current record in records.
	lastDelta int32 // lastDelta is the current record's offset delta.
	err       error // err is the first error; Next repeats it.
}

// NewReader opens a batch that CheckFromClient or CheckStored has passed. limit bounds
// the bytes of the records after inflating and does not concern an uncompressed batch.
//
// Errors: ErrBomb, ErrBadCompression.
func NewReader(b Batch, limit int) (*Reader, error) {
	r := new(Reader)
	if err := r.Reset(b, limit); err != nil {
		return nil, err
	}
	return r, nil
}

// Reset closes r and opens it on another batch, as NewReader does.
func (r *Reader) Reset(b Batch, limit int) error {
	r.Close()
	r.b, r.records = b, b.Records()
	if b.Codec() == None {
		return nil
	}
	buf := getBuffer()
	out, err := Decompress((*buf)[:0], b.Codec(), b.Records(), limit)
	if err != nil {
		putBuffer(buf)
		*r = Reader{err: err}
		return err
	}
	*buf = out
	r.buf, r.records = buf, out
	return nil
}

// Close gives the buffer back. It may be called twice.
func (r *Reader) Close() {
	if r.buf != nil {
		putBuffer(r.buf)
	}
	*r = Reader{lastDelta: -1}
}

// Rewind goes back to the first record.
func (r *Reader) Rewind() {
	if r.records == nil {
		return
	}
	r.index, r.pos, r.end, r.lastDelta, r.err = 0, 0, 0, -1, nil
}

// Next returns the next record, or false behind the last one. The error is a
// *RecordError that wraps ErrInvalid; bytes behind the last record are an ErrInvalid.
func (r *Reader) Next() (rec Record, ok bool, err error) {
	if r.err != nil {
		return Record{}, false, r.err
	}
	if r.index >= r.b.count() {
		if r.end != len(r.records) {
			r.err = invalid("%d bytes follow the last record", len(r.records)-r.end)
		}
		return Record{}, false, r.err
	}
	body, at, err := recordBody(r.records, r.end)
	if err == nil {
		err = rec.parse(body)
	}
	if err == nil {
		err = r.check(&rec)
	}
	if err != nil {
		r.err = &RecordError{r.index, err}
		return Record{}, false, r.err
	}
	r.index++
	r.pos, r.end, r.lastDelta = r.end, at+len(body), rec.OffsetDelta
	return rec, true, nil
}

// check judges what parse does not look at.
func (r *Reader) check(rec *Record) error {
	if rec.OffsetDelta <= r.lastDelta || rec.OffsetDelta > r.b.LastOffsetDelta() {
		return invalid("its offset delta is %d after %d in a batch that ends at %d",
			rec.OffsetDelta, r.lastDelta, r.b.LastOffsetDelta())
	}
	return rec.Headers.check()
}

// Index returns the current record's place in the batch, counted from 0.
func (r *Reader) Index() int { return r.index - 1 }

// Raw returns the current record as it lies in the batch, with its length varint.
func (r *Reader) Raw() []byte { return r.records[r.pos:r.end:r.end] }

// Pos returns where Raw starts in Records.
func (r *Reader) Pos() int { return r.pos }

// Records returns all records, inflated.
func (r *Reader) Records() []byte { return r.records }

// count is Count, but 0 for the nil batch of a closed Reader.
func (b Batch) count() int {
	if len(b) < HeaderBytes {
		return 0
	}
	return b.Count()
}
