package timer

import (
	"bytes"
	"fmt"
	"math"
	"strconv"

	"github.com/chronosdb/chronosdb/log/batch"
)

// deliveredInflateMax bounds what a delivered batch inflates to. They are built here, within the
// size of one delivery or of one record.
const deliveredInflateMax = 1 << 30

// delivery builds the batch of one delivery from staged records. It keeps its buffers.
type delivery struct {
	buf     []byte // header room and records, not compressed
	packed  []byte // the same, compressed
	scratch []byte // added headers of one record
	count   int
	codec   batch.Codec // of the first source
	base    UnixMs      // timestamp of the first record
	max     UnixMs
}

// reset forgets all records.
func (d *delivery) reset() {
	d.buf = beginBatch(d.buf[:0])
	d.count, d.base, d.max = 0, 0, math.MinInt64
}

// add appends the staged record rec, which was checked, with now as the time of delivery. It
// returns false, and adds nothing, when the batch has records and would grow beyond limit: a record
// that alone is larger travels alone.
func (d *delivery) add(
	rec []byte, dec Decision, e Entry, now UnixMs, limit int,
) (ok bool, err error) {
	r, _, err := batch.ParseRecord(rec)
	if err != nil {
		return false, err
	}
	if e.isPlaced() {
		dec.Due = e.Due // the decision has another time
	}
	timestamp := dec.Timestamp
	if dec.Flags&FlagControl != 0 {
		timestamp = now
	}
	if d.count == 0 {
		d.base, d.codec = timestamp, dec.Codec
	}
	before := len(d.buf)
	if err := d.append(r, dec, e.Position, timestamp); err != nil {
		return false, err
	}
	if d.count > 0 && len(d.buf) > limit {
		d.buf = d.buf[:before]
		return false, nil
	}
	d.count++
	d.max = max(d.max, timestamp)
	return true, nil
}

// append encodes one delivered record.
func (d *delivery) append(r batch.Record, dec Decision, p Position, timestamp UnixMs) error {
	kept, count, err := d.headers(r, dec, p)
	if err != nil {
		return err
	}
	delta := int64(timestamp - d.base)
	n := 1 + varintBytes(delta) + varintBytes(int64(d.count)) + bytesBytes(r.Key) +
		bytesBytes(r.Value) + varintBytes(int64(count)) + len(kept)
	d.buf = appendVarint(d.buf, int64(n))
	d.buf = append(d.buf, byte(r.Attributes))
	d.buf = appendVarint(d.buf, delta)
	d.buf = appendVarint(d.buf, int64(d.count))
	d.buf = appendBytes(d.buf, r.Key)
	d.buf = appendBytes(d.buf, r.Value)
	d.buf = appendVarint(d.buf, int64(count))
	d.buf = append(d.buf, kept...)
	return nil
}

// headers returns the encoded headers of a delivered record: the producer's, without what the
// server adds and, with FlagControl, without the orders to the server; then the server's own. The
// position is always the last one, which is where EachDelivered looks for it.
func (d *delivery) headers(
	r batch.Record, dec Decision, p Position,
) (encoded []byte, count int, err error) {
	out := d.scratch[:0]
	left := r.Headers.Count - 1 // the last one is the decision
	control := dec.Flags&FlagControl != 0
	terms, err := dec.Terms()
	if err != nil {
		return nil, 0, err
	}
	err = r.EachHeader(func(key, value []byte) bool {
		if left == 0 {
			return false
		}
		left--
		ours := len(terms.TimeHeader) > 0 && bytes.Equal(key, terms.TimeHeader)
		if !ours && !dropHeader(key, control) {
			out = appendBytes(out, key)
			out = appendBytes(out, value)
			count++
		}
		return true
	})
	if err != nil {
		return nil, 0, err
	}
	if control {
		out = appendNumberHeader(out, batch.HeaderScheduledFor, int64(dec.Due))
		out = appendNumberHeader(out, batch.HeaderCreatedAt, int64(dec.Timestamp))
		count += 2
	}
	var text [48]byte
	out = appendText(out, batch.HeaderPosition)
	out = appendBytes(out, p.AppendText(text[:0]))
	d.scratch = out
	return out, count + 1, nil
}

// dropHeader says whether a producer's header is left out of the delivered record.
func dropHeader(key []byte, control bool) bool {
	if !control {
		return string(key) == batch.HeaderPosition
	}
	return batch.IsControlHeader(key) || batch.IsServerHeader(key)
}

func appendNumberHeader(dst []byte, key string, n int64) []byte {
	var text [20]byte
	dst = appendText(dst, key)
	return appendBytes(dst, strconv.AppendInt(text[:0], n, 10))
}

func appendText(dst []byte, s string) []byte {
	dst = appendVarint(dst, int64(len(s)))
	return append(dst, s...)
}

// build returns the batch, compressed with codec. It is valid until the next reset or build.
func (d *delivery) build(codec batch.Codec, level batch.Level) (batch.Batch, error) {
	f := frame{
		attributes:    batch.AttrMark,
		count:         d.count,
		baseTimestamp: d.base,
		maxTimestamp:  d.max,
	}
	p := d.buf
	if codec != batch.None {
		packed, err := batch.CompressLevel(beginBatch(d.packed[:0]), codec, level,
			d.buf[batch.HeaderBytes:])
		if err != nil {
			return nil, fmt.Errorf("compress a delivery with %s: %w", codec, err)
		}
		d.packed, p = packed, packed
		f.attributes |= int16(codec)
	}
	return f.noProducer().seal(p), nil
}

// shrink gives large buffers back: one huge record must not hold its memory for ever.
func (d *delivery) shrink(keep int) {
	if cap(d.buf) > keep {
		d.buf = nil
	}
	if cap(d.packed) > keep {
		d.packed = nil
	}
}

// Delivered is one record of a marked batch, as recovery and settlement see it.
type Delivered struct {
	Position Position
	// Due is what chronos-scheduled-for says. Only a record that had control headers has it from
	// us; on others it is whatever a producer sent, so it is a hint to be verified.
	Due    UnixMs
	HasDue bool
}

// EachDelivered calls fn for every record of a delivered batch whose CRC was checked. Only a batch
// with the mark is believed: others are refused.
func EachDelivered(b batch.Batch, fn func(d Delivered) error) error {
	if !b.IsMarked() {
		return fmt.Errorf("%w: the batch at offset %d has no mark", ErrBadDelivery, b.BaseOffset())
	}
	var r batch.Reader
	if err := r.Reset(b, deliveredInflateMax); err != nil {
		return fmt.Errorf("delivered batch at offset %d: %w", b.BaseOffset(), err)
	}
	defer r.Close()
	for {
		rec, ok, err := r.Next()
		if err != nil {
			return fmt.Errorf("delivered batch at offset %d: %w", b.BaseOffset(), err)
		}
		if !ok {
			return nil
		}
		d, err := deliveredOf(rec)
		if err != nil {
			return fmt.Errorf("offset %d: %w", b.BaseOffset()+Offset(rec.OffsetDelta), err)
		}
		if err := fn(d); err != nil {
			return err
		}
	}
}

// deliveredOf reads the position, which is the last header, and the due time before it.
func deliveredOf(rec batch.Record) (d Delivered, err error) {
	var lastKey, lastValue, due []byte
	if err := rec.EachHeader(func(key, value []byte) bool {
		lastKey, lastValue = key, value
		if string(key) == batch.HeaderScheduledFor {
			due = value
		}
		return true
	}); err != nil {
		return d, err
	}
	if string(lastKey) != batch.HeaderPosition {
		return d, fmt.Errorf("%w: its last header is %.40q", ErrBadDelivery, lastKey)
	}
	if d.Position, err = ParsePosition(lastValue); err != nil {
		return d, err
	}
	if ms, err := strconv.ParseInt(string(due), 10, 64); err == nil {
		d.Due, d.HasDue = UnixMs(ms), true
	}
	return d, nil
}
