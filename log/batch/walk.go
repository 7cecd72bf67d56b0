package batch

// ControlSummary is what one walk over a batch's records finds out.
type ControlSummary struct {
	// Records counts the records, all of them sound.
	Records int
	// Bytes is the size of the records, inflated.
	Bytes int
	// Control counts the records with at least one control header. Zero means that
	// the batch may go to the partition log untouched.
	Control int
	// FirstControl is the index of the first of them, or -1.
	FirstControl int
	// NullKeys counts the records without a key, which a compacted topic refuses.
	NullKeys int
	// FirstNullKey is the index of the first of them, or -1.
	FirstNullKey int
	// MinTimestamp and MaxTimestamp bound what the producer gave as the records'
	// times: the true values, where the batch's own MaxTimestamp is only a claim.
	MinTimestamp, MaxTimestamp UnixMs
}

// WalkControl walks once over every record of a batch that CheckFromClient has passed
// and reports whether any carries a control header. It skips keys and values and looks
// at the headers' names only, so that a value that contains such a name means nothing.
// limit bounds the inflated bytes, as in NewReader. It allocates nothing for a sound
// batch.
//
// The framing is verified strictly: lengths and header counts within their bounds,
// offset deltas 0 to n-1, exactly as many records as the batch says, no byte behind
// the last one.
//
// Errors: *RecordError that wraps ErrInvalid, ErrInvalid, ErrBomb, ErrBadCompression.
func WalkControl(b Batch, limit int) (ControlSummary, error) {
	return ControlNames{}.Walk(b, limit)
}

// Walk is WalkControl for a topic with control headers of its own.
func (names ControlNames) Walk(b Batch, limit int) (ControlSummary, error) {
	var r Reader
	if err := r.Reset(b, limit); err != nil {
		return ControlSummary{}, err
	}
	defer r.Close()
	return r.Walk(names)
}

// Walk is WalkControl over a batch that is open already, so that a compressed one is
// inflated once for the walk and for what follows. It does not move the Reader.
func (r *Reader) Walk(names ControlNames) (ControlSummary, error) {
	w := walker{names: names, first: names.firstByte()}
	w.sum = ControlSummary{Bytes: len(r.records), FirstControl: -1, FirstNullKey: -1}
	if err := w.records(r.records, r.b.count()); err != nil {
		return ControlSummary{}, err
	}
	if r.b.count() == 0 {
		return w.sum, nil
	}
	base := r.b.BaseTimestamp()
	w.sum.MinTimestamp = base + UnixMs(w.minDelta)
	w.sum.MaxTimestamp = base + UnixMs(w.maxDelta)
	if w.minDelta < 0 && w.sum.MinTimestamp > base || w.maxDelta > 0 && w.sum.MaxTimestamp < base {
		// A time that wraps around would pass any bound on how far it may be off.
		return ControlSummary{}, invalid("timestamps run from %d%+d to %d%+d, which no int64 holds",
			base, w.minDelta, base, w.maxDelta)
	}
	return w.sum, nil
}

// walker is the state of one walk.
type walker struct {
	names              ControlNames
	first              byte // first is the first byte of the topic's own header, or 'c'.
	sum                ControlSummary
	minDelta, maxDelta int64
}

// records walks over p, which must hold exactly count records.
func (w *walker) records(p []byte, count int) error {
	at := 0
	for i := range count {
		n, body := varint(p, at)
		if body < 0 || n < minBodyBytes || int(n) > len(p)-body {
			_, _, err := recordBody(p, at)
			return &RecordError{i, err}
		}
		at = body + int(n)
		if !w.record(p[body:at], i) {
			return &RecordError{i, w.explain(p[body:at], i)}
		}
	}
	if at != len(p) {
		return invalid("%d bytes follow the %d records", len(p)-at, count)
	}
	w.sum.Records = count
	return nil
}

// record checks one record without its length, at least minBodyBytes long. It only
// says yes or no: building an error here would cost the sound records, and explain
// finds the reason.
func (w *walker) record(p []byte, index int) bool {
	// Short varints are read in place, because a call for each of them would be half of the walk.
	// Lengths stay in zigzag form: odd ones are negative.
	delta, at := int64(p[1]), 2
	switch {
	case delta < 0x80:
		delta = delta>>1 ^ -(delta & 1)
	default:
		delta, at = varlong(p, 1)
		if at < 0 || at >= len(p) {
			return false
		}
	}
	offset := uint32(p[at])
	if at++; offset >= 0x80 {
		offset, at = uvarint(p, at-1)
	}
	if at < 0 || at >= len(p) || offset != uint32(index)<<1 {
		return false
	}
	size := uint32(p[at])
	if at++; size >= 0x80 {
		size, at = uvarint(p, at-1)
	}
	switch {
	case at < 0:
		return false
	case size == nullLength:
		w.nullKey(index)
	case size&1 != 0 || int(size>>1) >= len(p)-at:
		return false
	default:
		at += int(size >> 1)
	}
	if at >= len(p) {
		return false
	}
	if size = uint32(p[at]); size >= 0x80 {
		size, at = uvarint(p, at)
	} else {
		at++
	}
	switch {
	case at < 0 || at >= len(p):
		return false
	case size == nullLength:
	case size&1 != 0 || int(size>>1) >= len(p)-at:
		return false
	default:
		at += int(size >> 1)
	}
	if index == 0 {
		w.minDelta, w.maxDelta = delta, delta
	}
	w.minDelta, w.maxDelta = min(w.minDelta, delta), max(w.maxDelta, delta)
	if at == len(p)-1 && p[at] == 0 {
		return true // No headers, the common case.
	}
	return w.headers(p, at, index)
}

// nullLength is the zigzag form of -1, the length of null.
const nullLength = 1

// headers checks the header count at p[at:] and the headers behind it.
func (w *walker) headers(p []byte, at, index int) bool {
	n, at := varint(p, at)
	if at < 0 || n < 0 || int(n) > (len(p)-at)/minHeaderBytes {
		return false
	}
	control, first := false, w.first
	for range n {
		if at >= len(p) {
			return false
		}
		size := uint32(p[at])
		if at++; size >= 0x80 {
			size, at = uvarint(p, at-1)
		}
		if at < 0 || size&1 != 0 || int(size>>1) >= len(p)-at {
			return false
		}
		from := at
		at += int(size >> 1)
		// Most names are told apart by their first byte. An empty name has none: what is looked
		// at then is the length behind it, and Match says no.
		if c := p[from]; c == controlFirstByte || c == first {
			control = control || w.names.Match(p[from:at])
		}
		size = uint32(p[at])
		if at++; size >= 0x80 {
			size, at = uvarint(p, at-1)
		}
		switch {
		case at < 0:
			return false
		case size == nullLength:
		case size&1 != 0 || int(size>>1) > len(p)-at:
			return false
		default:
			at += int(size >> 1)
		}
	}
	if control {
		w.control(index)
	}
	return at == len(p)
}

func (w *walker) nullKey(index int) {
	if w.sum.NullKeys == 0 {
		w.sum.FirstNullKey = index
	}
	w.sum.NullKeys++
}

func (w *walker) control(index int) {
	if w.sum.Control == 0 {
		w.sum.FirstControl = index
	}
	w.sum.Control++
}

// explain finds out why record said no.
func (w *walker) explain(p []byte, index int) error {
	var rec Record
	if err := rec.parse(p); err != nil {
		return err
	}
	if int(rec.OffsetDelta) != index {
		return invalid("its offset delta is %d, not %d", rec.OffsetDelta, index)
	}
	if err := rec.Headers.check(); err != nil {
		return err
	}
	return invalid("its framing is broken")
}
