package oracle

import (
	"bytes"
	"fmt"
	"math"
)

// Wait says when a sent record is to be shown.
type Wait uint8

const (
	// Plain is a record without a control header: at once.
	Plain Wait = iota
	// Until is a record with a due time.
	Until
	// After is a record that is due some time after the server accepts it.
	After
)

// Header is a record header.
type Header struct {
	Key   string
	Value []byte
}

// Record is a record as its producer sent it. Its value names it: no other record of the history
// may have the same.
type Record struct {
	Key, Value  []byte
	Headers     []Header // all of them, control headers too
	TimestampMs int64
	Wait        Wait
	WaitMs      int64 // Until: the due time in Unix ms; After: the delay in ms

	batch  *Batch
	index  int   // within the batch
	offset int64 // where it was shown; -1: not yet
}

// attempt is one time at which a batch was offered to the server. Which of several the server
// accepted is not known to the producer when it crashed in between.
type attempt struct {
	nowMs     int64
	schedules bool // control headers were acted on
}

// Batch is a batch as its producer sent it, the first time and in every retry.
type Batch struct {
	Partition int32
	Records   []*Record

	session  *Session
	number   int // within the session and partition
	attempts []attempt
	refused  bool
	acked    bool
	base     int64 // the offset that was answered
	ackStep  int64
}

// Session is one producer, or one connection of producers without an id: what it sends to a
// partition has an order.
type Session struct {
	name       string
	partitions map[int32]*sequence
}

// sequence is what one session sent to one partition.
type sequence struct {
	batches      []*Batch
	plainTo      *Record // the last record shown that went to the partition log directly
	deliveredMax int     // the highest number of a batch of which a delivery was shown; -1: none
	plainMax     int     // the highest number of a batch that went to the partition log directly
}

// Name returns what the session was called, for messages.
func (s *Session) Name() string { return s.name }

// String names the batch for messages.
func (b *Batch) String() string {
	return fmt.Sprintf("batch %d of %s to partition %d (first value %.24q)", b.number, b.session.name,
		b.Partition, b.Records[0].Value)
}

// String names the record for messages.
func (r *Record) String() string {
	return fmt.Sprintf("record %d of %s", r.index, r.batch)
}

// NewSession begins a producer.
func (o *Oracle) NewSession(name string) *Session {
	s := &Session{name: name, partitions: make(map[int32]*sequence)}
	o.sessions = append(o.sessions, s)
	return s
}

// Send tells of a new batch of a session, after all its earlier ones.
func (o *Oracle) Send(s *Session, partition int32, records []*Record) (*Batch, error) {
	q := s.partitions[partition]
	if q == nil {
		q = &sequence{deliveredMax: -1, plainMax: -1}
		s.partitions[partition] = q
	}
	b := &Batch{
		Partition: partition, Records: records, session: s, number: len(q.batches), base: -1,
		ackStep: math.MaxInt64,
	}
	q.batches = append(q.batches, b)
	for i, r := range records {
		r.batch, r.index, r.offset = b, i, -1
		if o.values[string(r.Value)] != nil {
			return nil, fmt.Errorf("%w: %q", ErrUnreadKey, r.Value)
		}
		o.values[string(r.Value)] = r
	}
	return b, nil
}

// Offer tells that the batch is offered to the server at a time of the server's clock, with the
// topic's schedules enabled or not. It must be told before the server has the batch.
func (o *Oracle) Offer(b *Batch, nowMs int64, schedules bool) {
	if b.acked {
		return // whatever comes is a duplicate
	}
	a := attempt{nowMs, schedules}
	for _, known := range b.attempts {
		if known == a {
			return
		}
	}
	b.attempts = append(b.attempts, a)
}

// Withdraw takes back the last Offer: the server said that it did not take the batch, for now.
func (o *Oracle) Withdraw(b *Batch, before int) {
	if !b.acked && len(b.attempts) > before {
		b.attempts = b.attempts[:before]
	}
}

// Offers returns how many different offers of a batch the server may have taken.
func (b *Batch) Offers() int { return len(b.attempts) }

// Refuse tells that the server refused the batch for good. Nothing of it may ever be shown, and as
// its session's next batch takes its sequence, it leaves no hole.
func (o *Oracle) Refuse(b *Batch) error {
	if b.acked {
		return fmt.Errorf("%w: %s was acknowledged and is refused now", ErrAnswer, b)
	}
	for _, r := range b.Records {
		if r.offset >= 0 {
			return fmt.Errorf("%w: %s is refused, and %s was shown", ErrAnswer, b, r)
		}
	}
	b.refused = true
	return nil
}

// Answer is what the producer was told when its batch was done.
type Answer struct {
	Base          int64 // -1 for a batch that was staged
	HighWatermark int64 // of the partition when the answer came
	Step          int64 // see Oracle.Step
}

// Ack tells that the server answered a batch, the first time or again. The partition must have been
// read up to the high watermark before.
func (o *Oracle) Ack(b *Batch, a Answer) error {
	if b.refused {
		return fmt.Errorf("%w: %s was refused and is acknowledged now", ErrAnswer, b)
	}
	if b.acked {
		if a.Base != b.base {
			return fmt.Errorf("%w: %s was answered with offset %d first and with %d now", ErrAnswer, b,
				b.base, a.Base)
		}
		return nil
	}
	b.acked, b.base, b.ackStep = true, a.Base, a.Step
	if a.Base < 0 {
		return o.ackedStaged(b)
	}
	return o.ackedPlain(b, a)
}

// ackedStaged checks what must be true of a staged batch once it is acknowledged.
func (o *Oracle) ackedStaged(b *Batch) error {
	if !b.mayBeStaged() {
		return fmt.Errorf("%w: %s has nothing to stage and was answered with offset -1", ErrAnswer, b)
	}
	for _, r := range b.Records {
		if r.offset < 0 && r.dueAtOnce() {
			return fmt.Errorf("%w: %s was due when it was accepted, and its batch is acknowledged"+
				" before it is shown", ErrAnswer, r)
		}
		if r.offset < 0 {
			o.pending[r] = struct{}{}
		}
	}
	return nil
}

// ackedPlain checks what must be true of a batch in the partition log once it is acknowledged.
func (o *Oracle) ackedPlain(b *Batch, a Answer) error {
	if !b.mayBePlain() {
		return fmt.Errorf("%w: %s is to be staged and was answered with offset %d", ErrAnswer, b, a.Base)
	}
	end := a.Base + int64(len(b.Records))
	if a.HighWatermark < end {
		return fmt.Errorf("%w: %s is acknowledged up to offset %d, the high watermark is %d", ErrAnswer,
			b, end, a.HighWatermark)
	}
	for i, r := range b.Records {
		at := a.Base + int64(i)
		if r.offset != at {
			return fmt.Errorf("%w: %s was acknowledged at offset %d and is shown at %d (-1: nowhere)",
				ErrAnswer, r, at, r.offset)
		}
	}
	return nil
}

// mayBeStaged says whether an offer of the batch lets the server stage it.
func (b *Batch) mayBeStaged() bool {
	if !b.hasControl() {
		return false
	}
	for _, a := range b.attempts {
		if a.schedules {
			return true
		}
	}
	return false
}

// mayBePlain says whether an offer of the batch lets it go to the partition log as it is.
func (b *Batch) mayBePlain() bool {
	if !b.hasControl() {
		return true
	}
	for _, a := range b.attempts {
		if !a.schedules {
			return true
		}
	}
	return false
}

func (b *Batch) hasControl() bool {
	for _, r := range b.Records {
		if r.Wait != Plain {
			return true
		}
	}
	return false
}

// due returns the due time that an offer at nowMs gives the record.
func (r *Record) due(nowMs int64) int64 {
	switch r.Wait {
	case Until:
		return r.WaitMs
	case After:
		return nowMs + r.WaitMs
	case Plain:
	}
	return nowMs
}

// dueAtOnce says whether the record was due at every offer of its batch, if it was staged.
func (r *Record) dueAtOnce() bool {
	for _, a := range r.batch.attempts {
		if !a.schedules || r.due(a.nowMs) > a.nowMs {
			return false
		}
	}
	return true
}

// dueMax returns the latest due time that the record can have.
func (r *Record) dueMax() int64 {
	latest := int64(math.MinInt64)
	for _, a := range r.batch.attempts {
		latest = max(latest, r.due(a.nowMs))
	}
	return latest
}

// canBeDue says whether the record can have a due time.
func (r *Record) canBeDue(ms int64) bool {
	for _, a := range r.batch.attempts {
		if a.schedules && r.due(a.nowMs) == ms {
			return true
		}
	}
	return false
}

// header returns the value of a header, the last one of that name.
func header(headers []Header, key string) (value []byte, ok bool) {
	for _, h := range headers {
		if h.Key == key {
			value, ok = h.Value, true
		}
	}
	return value, ok
}

func sameBytes(a, b []byte) bool { return (a == nil) == (b == nil) && bytes.Equal(a, b) }
