package batch

// Record is one record of a batch. Its slices are views into the batch, or into the
// Reader's buffer, and live as long as that does.
type Record struct {
	// Attributes has no defined bits; Kafka keeps the byte as it is.
	Attributes int8
	// TimestampDelta counts milliseconds from the batch's BaseTimestamp.
	TimestampDelta int64
	// OffsetDelta counts from the batch's BaseOffset.
	OffsetDelta int32
	// Key and Value are nil for null, and empty but not nil for no bytes.
	Key, Value []byte
	// Headers are the headers as they lie in the record.
	Headers RawHeaders
}

// EachHeader calls fn for every header in order until fn returns false. A nil value
// is null. The error is an ErrInvalid for broken framing, which the headers of a
// Reader's record never have.
func (r Record) EachHeader(fn func(key, value []byte) bool) error { return r.Headers.Each(fn) }

// Header is a header to be written. A nil Value is null.
type Header struct {
	Key   string
	Value []byte
}

// RawHeaders are the encoded headers of a record, without the count before them.
type RawHeaders struct {
	Count int    // Count is the number of headers.
	Bytes []byte // Bytes holds exactly Count headers when it comes from a Reader.
}

// Each calls fn for every header in order until fn returns false.
func (h RawHeaders) Each(fn func(key, value []byte) bool) error {
	at := 0
	for i := range h.Count {
		var key, value []byte
		if key, value, at = headerAt(h.Bytes, at); at < 0 {
			return invalid("header %d of %d is broken", i, h.Count)
		}
		if !fn(key, value) {
			return nil
		}
	}
	if at != len(h.Bytes) {
		return invalid("%d bytes follow the headers", len(h.Bytes)-at)
	}
	return nil
}

// Get returns the value of the first header of that name.
func (h RawHeaders) Get(name string) (value []byte, ok bool) {
	at := 0
	for range h.Count {
		var k, v []byte
		if k, v, at = headerAt(h.Bytes, at); at < 0 {
			return nil, false
		}
		if string(k) == name {
			return v, true
		}
	}
	return nil, false
}

// headerAt returns the header at p[i:] and the position behind it, or badVarint.
func headerAt(p []byte, i int) (key, value []byte, next int) {
	n, i := varint(p, i)
	if i < 0 || n < 0 || int(n) > len(p)-i {
		return nil, nil, badVarint
	}
	key = p[i : i+int(n) : i+int(n)]
	value, i = nullable(p, i+int(n))
	return key, value, i
}

// nullable returns the length-prefixed bytes at p[i:], nil for a length of -1, and
// the position behind them, or badVarint.
func nullable(p []byte, i int) ([]byte, int) {
	n, i := varint(p, i)
	if i < 0 || n < -1 || int(n) > len(p)-i {
		return nil, badVarint
	}
	if n < 0 {
		return nil, i
	}
	return p[i : i+int(n) : i+int(n)], i + int(n)
}

// ParseRecord decodes the record at the start of p, with its length varint, and
// returns how many bytes it takes. It does not look into the headers, but for their
// count being possible. The error wraps ErrInvalid.
func ParseRecord(p []byte) (r Record, n int, err error) {
	body, at, err := recordBody(p, 0)
	if err != nil {
		return Record{}, 0, err
	}
	if err = r.parse(body); err != nil {
		return Record{}, 0, err
	}
	return r, at + len(body), nil
}

// recordBody returns the bytes behind the length varint at p[i:] and where they start.
func recordBody(p []byte, i int) (body []byte, at int, err error) {
	n, at := varint(p, i)
	if at < 0 {
		return nil, 0, invalid("its length varint is broken")
	}
	if n < minBodyBytes || int(n) > len(p)-at {
		return nil, 0, invalid("its length is %d, %d bytes are left", n, len(p)-at)
	}
	return p[at : at+int(n) : at+int(n)], at, nil
}

// minBodyBytes is the smallest record: attributes, two deltas, two null lengths and a
// header count, a byte each.
const minBodyBytes = 6

// parse decodes a record without its length, at least minBodyBytes long.
func (r *Record) parse(p []byte) error {
	r.Attributes = int8(p[0])
	at := 1
	if r.TimestampDelta, at = varlong(p, at); at < 0 {
		return invalid("its timestamp delta is broken")
	}
	if r.OffsetDelta, at = varint(p, at); at < 0 {
		return invalid("its offset delta is broken")
	}
	if r.Key, at = nullable(p, at); at < 0 {
		return invalid("its key runs past its end")
	}
	if r.Value, at = nullable(p, at); at < 0 {
		return invalid("its value runs past its end")
	}
	n, at := varint(p, at)
	if at < 0 {
		return invalid("its header count is broken")
	}
	r.Headers = RawHeaders{Count: int(n), Bytes: p[at:]}
	return checkHeaderCount(int(n), len(p)-at)
}

// minHeaderBytes is the smallest header: two lengths.
const minHeaderBytes = 2

// checkHeaderCount refuses a count that the bytes left cannot hold, so that no loop
// runs and no slice grows by what a client merely claims.
func checkHeaderCount(n, left int) error {
	if n < 0 || n > left/minHeaderBytes {
		return invalid("it claims %d headers in %d bytes", n, left)
	}
	if n == 0 && left != 0 {
		return invalid("%d bytes follow its headers", left)
	}
	return nil
}

// check walks over all headers, so that a record from a Reader is sound.
func (h RawHeaders) check() error {
	at := 0
	for i := range h.Count {
		if _, _, at = headerAt(h.Bytes, at); at < 0 {
			return invalid("header %d of %d is broken", i, h.Count)
		}
	}
	if at != len(h.Bytes) {
		return invalid("%d bytes follow its headers", len(h.Bytes)-at)
	}
	return nil
}
