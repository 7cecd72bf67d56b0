package oracle

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"
	"strings"
)

// The headers that the server knows, spelled here for themselves.
const (
	headerScheduledFor = "chronos-scheduled-for"
	headerCreatedAt    = "chronos-created-at"
	headerPosition     = "chronos-position"
	prefixControl      = "chronos-schedule-"
	headerMessageID    = "chronos-message-id"
)

// Read hands over what a fetch from an offset of a partition returned. It returns the offset behind
// the last record; that is from itself when nothing was returned.
func (o *Oracle) Read(id int32, from int64, raw []byte) (next int64, err error) {
	p := o.partition(id)
	next = -1
	for len(raw) > 0 {
		b, rest, err := nextBatch(raw, o.inflate)
		if err != nil {
			return from, fmt.Errorf("partition %d: %w", id, err)
		}
		if next == -1 && b.base > from || next != -1 && b.base != next {
			return from, fmt.Errorf("%w: partition %d: after offset %d comes %d", ErrNotDense, id,
				max(next, from), b.base)
		}
		if b.epoch > p.epoch {
			return from, fmt.Errorf("%w: offset %d of partition %d has leader epoch %d, the leader's is %d",
				ErrContent, b.base, id, b.epoch, p.epoch)
		}
		for i := range b.records {
			if err := o.see(p, id, &b, &b.records[i]); err != nil {
				return from, fmt.Errorf("partition %d, offset %d: %w", id, b.records[i].offset, err)
			}
		}
		next = b.base + int64(len(b.records))
		raw = rest
	}
	if next == -1 {
		if from < p.hw {
			return from, fmt.Errorf("%w: partition %d gave nothing at %d below its high watermark %d",
				ErrLost, id, from, p.hw)
		}
		return from, nil
	}
	if next > p.hw {
		return from, fmt.Errorf("%w: partition %d shows offset %d, its high watermark is %d", ErrAnswer,
			id, next-1, p.hw)
	}
	p.protected = max(p.protected, next)
	return next, nil
}

// see judges one record at one offset.
func (o *Oracle) see(p *partition, id int32, b *shownBatch, s *shownRecord) error {
	if s.offset >= int64(len(p.cells)) {
		return fmt.Errorf("%w: it is shown beyond the log's end %d", ErrAnswer, len(p.cells))
	}
	c := &p.cells[s.offset]
	digest := s.digest(b.marked)
	if c.record != nil {
		if digest != c.digest {
			return fmt.Errorf("%w: it was %s, it is %.40q", ErrChanged, c.record, s.value)
		}
		return nil
	}
	r := o.values[string(s.value)]
	switch {
	case r == nil:
		return fmt.Errorf("%w: %.40q", ErrPhantom, s.value)
	case r.batch.refused || r.batch.Partition != id:
		return fmt.Errorf("%w: %s", ErrPhantom, r)
	case r.offset >= 0:
		return fmt.Errorf("%w: %s, first at offset %d", ErrTwice, r, r.offset)
	case len(r.batch.attempts) == 0:
		return fmt.Errorf("%w: %s was not accepted", ErrPhantom, r)
	}
	var err error
	if b.marked {
		err = o.seeDelivery(p, r, s)
	} else {
		err = seePlain(r, s)
	}
	if err != nil {
		return err
	}
	c.record, c.digest, r.offset = r, digest, s.offset
	delete(o.pending, r)
	return r.judgeOrder(b.marked)
}

// seePlain judges a record that went to the partition log as it was sent.
func seePlain(r *Record, s *shownRecord) error {
	b := r.batch
	if !b.mayBePlain() {
		return fmt.Errorf("%w: %s is to be staged, and is shown without a mark", ErrContent, r)
	}
	if b.acked && b.base+int64(r.index) != s.offset {
		return fmt.Errorf("%w: %s was acknowledged at offset %d", ErrAnswer, r, b.base+int64(r.index))
	}
	return r.compare(s, func(string) bool { return true }, 0)
}

// seeDelivery judges the delivery of a staged record.
func (o *Oracle) seeDelivery(p *partition, r *Record, s *shownRecord) error {
	b, c := r.batch, &p.cells[s.offset]
	if !b.mayBeStaged() || b.acked && b.base >= 0 {
		return fmt.Errorf("%w: %s is not to be staged, and is shown with a mark", ErrContent, r)
	}
	position, ok := header(s.headers, headerPosition)
	if !ok || s.headers[len(s.headers)-1].Key != headerPosition {
		return fmt.Errorf("%w: %s does not end in one", ErrPosition, r)
	}
	if first, known := p.positions[string(position)]; known {
		return fmt.Errorf("%w: %s is that of offset %d, too", ErrPosition, position, first)
	}
	p.positions[string(position)] = s.offset
	due, err := o.judgeDue(p, r, s)
	if err != nil {
		return err
	}
	if c.nowMs < due {
		return fmt.Errorf("%w: %s is due at %d and was appended at %d", ErrEarly, r, due, c.nowMs)
	}
	o.shown++
	if r.Wait == Plain && len(b.attempts) > 1 {
		return nil // its due time is that of one of several offers
	}
	return p.judgeDueOrder(delivered{record: r, due: due, position: string(position), step: c.step})
}

// judgeDue checks what a delivery says of times, and returns when it was due.
func (o *Oracle) judgeDue(p *partition, r *Record, s *shownRecord) (due int64, err error) {
	if r.Wait == Plain {
		due = int64(math.MaxInt64)
		for _, a := range r.batch.attempts {
			due = min(due, a.nowMs)
		}
		return due, r.compare(s, func(key string) bool { return key != headerPosition }, 1)
	}
	kept := func(key string) bool {
		return !strings.HasPrefix(key, prefixControl) && key != headerMessageID &&
			key != headerScheduledFor && key != headerCreatedAt && key != headerPosition
	}
	if err := r.compare(s, kept, 3); err != nil {
		return 0, err
	}
	text, _ := header(s.headers, headerScheduledFor)
	due, err = strconv.ParseInt(string(text), 10, 64)
	if err != nil || !r.canBeDue(due) {
		return 0, fmt.Errorf("%w: %s says that it was due at %q, its offers were %v", ErrContent, r, text,
			r.batch.attempts)
	}
	created, _ := header(s.headers, headerCreatedAt)
	if string(created) != strconv.FormatInt(r.TimestampMs, 10) {
		return 0, fmt.Errorf("%w: %s says it was created at %q, not %d", ErrContent, r, created,
			r.TimestampMs)
	}
	if s.timestampMs < due {
		return 0, fmt.Errorf("%w: %s is due at %d and has timestamp %d", ErrEarly, r, due, s.timestampMs)
	}
	if s.timestampMs < p.lastMs {
		return 0, fmt.Errorf("%w: the timestamp of %s is %d, an earlier delivery's %d", ErrWentBack, r,
			s.timestampMs, p.lastMs)
	}
	p.lastMs = s.timestampMs
	return due, nil
}

// compare checks what a consumer gets of a record: everything, but for the headers that kept leaves
// out, and with so many added at the end. A record whose Wait is not Plain gets a timestamp of the
// server when headers are added.
func (r *Record) compare(s *shownRecord, kept func(key string) bool, added int) error {
	if !sameBytes(r.Key, s.key) || !sameBytes(r.Value, s.value) {
		return fmt.Errorf("%w: %s has key %.40q and value %.40q", ErrContent, r, s.key, s.value)
	}
	if (added == 0 || r.Wait == Plain) && s.timestampMs != r.TimestampMs {
		return fmt.Errorf("%w: %s has timestamp %d, sent was %d", ErrContent, r, s.timestampMs,
			r.TimestampMs)
	}
	want := slices.DeleteFunc(slices.Clone(r.Headers), func(h Header) bool { return !kept(h.Key) })
	got := s.headers[:max(0, len(s.headers)-added)]
	if !slices.EqualFunc(want, got, func(a, b Header) bool {
		return a.Key == b.Key && sameBytes(a.Value, b.Value)
	}) {
		return fmt.Errorf("%w: %s has headers %q, %d of them the server's; sent were %q", ErrContent, r,
			s.headers, added, r.Headers)
	}
	return nil
}

// digest sums up everything that a consumer gets of a record.
func (s *shownRecord) digest(marked bool) uint64 {
	h := fnv.New64a()
	var n [8]byte
	put := func(p []byte) {
		n[0], n[1], n[2], n[3] = byte(len(p)), byte(len(p)>>8), byte(len(p)>>16), 0
		if p == nil {
			n[3] = 1
		}
		h.Write(n[:4])
		h.Write(p)
	}
	for i := range n {
		n[i] = byte(s.timestampMs >> (8 * i))
	}
	h.Write(n[:])
	if marked {
		h.Write([]byte{1})
	}
	put(s.key)
	put(s.value)
	for _, one := range s.headers {
		put([]byte(one.Key))
		put(one.Value)
	}
	return h.Sum64()
}
