package explore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/chronosdb/chronosdb/integration/oracle"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/timer/clock"
)

const (
	// inFlightMax is how many batches a client sends without an answer.
	inFlightMax = 5
	// recentMax is how many batches back a client may retry: as many as the server knows.
	recentMax = 5
)

// producer is a client, or without an id a connection.
type producer struct {
	id      batch.ProducerID // -1: none
	session *oracle.Session
	origin  *replication.Origin
	boxes   [partitionCount]outbox
}

// outbox is what a producer sends to one partition.
type outbox struct {
	seq    batch.Sequence // of the next new batch
	queue  []*sent        // not answered, oldest first
	recent []*sent        // taken by the server, oldest first, at most recentMax
}

// sent is a batch and what became of it.
type sent struct {
	b     *oracle.Batch
	raw   batch.Batch
	seq   batch.Sequence
	tries int
	ack   *replication.Ack // nil: to be sent, or sent again
}

// collect takes the answers that have come. A connection answers in order, so one that is due later
// waits for those before it: else a client might have more than five in flight, in a way.
func (o *outbox) collect(w *world, partition int32) {
	for len(o.queue) > 0 && o.queue[0].ack != nil && isDone(o.queue[0].ack) {
		s := o.queue[0]
		r, err := s.ack.Result()
		if err != nil {
			s.ack = nil // the node is stopping: nobody knows
			return
		}
		hw := int64(math.MaxInt64)
		if p, err := w.m.Partition(w.topic, partition); err == nil {
			hw = int64(p.HighWatermark())
		}
		w.answers = append(w.answers, answer{s: s, a: oracle.Answer{
			Base: int64(r.BaseOffset), HighWatermark: hw, Step: w.step,
		}})
		o.queue = o.queue[1:]
	}
}

func isDone(a *replication.Ack) bool {
	select {
	case <-a.Done():
		return true
	default:
		return false
	}
}

// newProducer makes a client with an id or a connection without.
func (w *world) newProducer(withID bool) *producer {
	p := &producer{id: -1, origin: replication.NewOrigin()}
	if withID {
		crashed := w.do(func() (err error) {
			p.id, err = w.m.NextProducerID()
			return err
		})
		if crashed {
			return w.newProducer(withID)
		}
		if w.ids[p.id] {
			w.fail(fmt.Errorf("producer id %d was handed out twice", p.id))
		}
		w.ids[p.id] = true
	}
	p.session = w.oracle.NewSession(fmt.Sprintf("producer %d (%d)", p.id, w.step))
	for i := range p.boxes {
		if withID && w.rng.IntN(4) == 0 {
			p.boxes[i].seq = batch.Sequence(math.MaxInt32 - w.rng.IntN(40)) // sequences wrap around
		}
	}
	return p
}

// forgetOutcomes is what clients know after a stop or a crash: nothing of what was not answered.
// Those with an id try again, or are never heard of again; connections are gone.
func (w *world) forgetOutcomes(crash bool) {
	for i, p := range w.producers {
		if p == nil {
			continue
		}
		for j := range p.boxes {
			for _, s := range p.boxes[j].queue {
				s.ack = nil
				w.totals.unknown++
			}
		}
		if p.id < 0 || crash && !w.quiet && w.rng.IntN(4) == 0 {
			w.producers[i] = nil
		}
	}
}

// alive returns the producers that are not gone.
func (w *world) alive() []*producer {
	return slices.DeleteFunc(slices.Clone(w.producers), func(p *producer) bool { return p == nil })
}

// refill replaces the producers that are gone. A crash while one is made may take others.
func (w *world) refill() {
	for i := 0; i < len(w.producers); {
		if w.producers[i] != nil {
			i++
			continue
		}
		w.producers[i] = w.newProducer(i%5 < 3)
		i = 0
	}
}

// produce lets a random producer go on: send again what it must, or send something new.
func (w *world) produce() {
	p := w.producers[w.rng.IntN(len(w.producers))]
	i := int32(w.rng.IntN(partitionCount))
	box := &p.boxes[i]
	for _, s := range box.queue {
		if s.ack == nil {
			w.offer(p, i, s)
			return
		}
	}
	if len(box.queue) < inFlightMax {
		w.offer(p, i, w.newBatch(p, i))
	}
}

// offer hands a batch to the server without waiting at the gate.
func (w *world) offer(p *producer, i int32, s *sent) {
	before := s.b.Offers()
	w.oracle.Offer(s.b, w.now(), w.schedules)
	s.tries++
	box := &p.boxes[i]
	var refusal *batch.RecordError
	w.do(func() error {
		ack, err := w.append(p, i, s)
		w.note("%s: %v", s.b, err)
		switch {
		case err == nil:
			s.ack = ack
			box.taken(s)
		case errors.Is(err, context.Canceled):
			w.totals.gateWaits++
			w.oracle.Withdraw(s.b, before)
			return nil
		case errors.Is(err, replication.ErrStorage) && w.diskFailed():
			w.totals.fullDisks++
			w.oracle.Withdraw(s.b, before)
			return nil
		case errors.As(err, &refusal):
			return w.refused(box, s, err)
		}
		return err
	})
}

// append calls the server.
func (w *world) append(p *producer, i int32, s *sent) (*replication.Ack, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a closed gate is an error, not a wait
	part, err := w.m.Partition(w.topic, i)
	if err != nil {
		return nil, err
	}
	raw := append(batch.Batch(nil), s.raw...)
	return part.Append(ctx, raw, replication.AppendOptions{Origin: p.origin})
}

// taken notes that the server has the batch; it knows the last few.
func (o *outbox) taken(s *sent) {
	for _, known := range o.recent {
		if known == s {
			return
		}
	}
	o.recent = append(o.recent, s)
	if len(o.recent) > recentMax {
		o.recent = o.recent[1:]
	}
}

// refused handles a refusal for good. The producer gives up what it had sent behind the batch as well
// and goes on with the batch's sequence.
func (w *world) refused(o *outbox, s *sent, refusal error) error {
	if w.maxDelayMs == 0 || !w.schedules {
		return refusal
	}
	w.totals.refused++
	for at, other := range o.queue {
		if other != s {
			continue
		}
		for _, later := range o.queue[at:] {
			if err := w.oracle.Refuse(later.b); err != nil {
				return err
			}
			for k, known := range o.recent {
				if known == later {
					o.recent = o.recent[:k]
					break
				}
			}
		}
		o.seq, o.queue = s.seq, o.queue[:at]
		return nil
	}
	return fmt.Errorf("an acknowledged batch was refused: %w", refusal)
}

// retry sends a batch again that the server has.
func (w *world) retry() {
	p := w.producers[w.rng.IntN(len(w.producers))]
	i := int32(w.rng.IntN(partitionCount))
	box := &p.boxes[i]
	if p.id < 0 || len(box.recent) == 0 {
		return
	}
	for _, s := range box.queue {
		if s.ack == nil {
			return // a client sends again in order
		}
	}
	s := box.recent[w.rng.IntN(len(box.recent))]
	w.totals.duplicates++
	w.do(func() error {
		ack, err := w.append(p, i, s)
		w.note("again %s: %v", s.b, err)
		if err != nil {
			return err
		}
		if isDone(ack) {
			r, err := ack.Result()
			if err != nil {
				return err
			}
			w.answers = append(w.answers, answer{s: s, a: oracle.Answer{
				Base: int64(r.BaseOffset), HighWatermark: int64(w.partition(i).HighWatermark()), Step: w.step,
			}})
		}
		return nil
	})
}

// newBatch makes a batch of random records and puts it into the outbox.
func (w *world) newBatch(p *producer, i int32) *sent {
	count := 1 + w.rng.IntN(5)
	if w.rng.IntN(20) == 0 {
		count = 10 + w.rng.IntN(40)
	}
	scheduled := [3]int{0, 100, 50}[w.rng.IntN(3)] // percent
	records := make([]*oracle.Record, 0, count)
	for range count {
		records = append(records, w.newRecord(w.rng.IntN(100) < scheduled))
	}
	b, err := w.oracle.Send(p.session, i, records)
	w.judge(err)
	box := &p.boxes[i]
	s := &sent{b: b, seq: box.seq, raw: w.build(p.id, box.seq, records)}
	box.seq = s.raw.LastSequence() + 1
	if box.seq < 0 {
		box.seq = 0
	}
	box.queue = append(box.queue, s)
	return s
}

// newRecord makes a record with a value of its own.
func (w *world) newRecord(scheduled bool) *oracle.Record {
	w.values++
	value := fmt.Appendf(nil, "v%d ", w.values)
	pad := w.rng.IntN(100)
	if w.rng.IntN(20) == 0 {
		pad = 2000
	}
	value = append(value, padding[:pad]...)
	r := &oracle.Record{Value: value, TimestampMs: w.now() - int64(w.rng.IntN(50))}
	if w.rng.IntN(3) > 0 {
		r.Key = strconv.AppendInt(nil, int64(w.rng.IntN(10)), 10)
	}
	if w.rng.IntN(4) == 0 {
		r.Headers = append(r.Headers, oracle.Header{Key: "trace", Value: []byte("x")})
	}
	if w.rng.IntN(20) == 0 { // a mirror copies what a server added
		r.Headers = append(r.Headers, oracle.Header{Key: "chronos-position", Value: []byte("1.0.0")},
			oracle.Header{Key: "chronos-scheduled-for", Value: []byte("5")})
	}
	if scheduled {
		w.schedule(r)
	}
	if w.rng.IntN(8) == 0 {
		r.Headers = append(r.Headers, oracle.Header{Key: "null"})
	}
	return r
}

var padding = bytes.Repeat([]byte("."), 4096)

// schedule gives a record a due time: mostly soon, some past, some far ahead.
func (w *world) schedule(r *oracle.Record) {
	var wait int64
	switch k := w.rng.IntN(100); {
	case k < 15:
		wait = -int64(w.rng.IntN(5000))
	case k < 20:
		wait = 0
	case k < 60:
		wait = int64(w.rng.IntN(200))
	case k < 85:
		wait = int64(w.rng.IntN(20_000))
	case k < 95:
		wait = int64(w.rng.IntN(1_800_000))
	default:
		wait = int64(w.rng.IntN(40 * 3600 * 1000))
	}
	if wait >= 0 && w.rng.IntN(2) == 0 {
		r.Wait, r.WaitMs = oracle.After, wait
		text := strconv.FormatInt(wait, 10)
		if wait%1000 == 0 && wait > 0 {
			text = time.Duration(wait * int64(time.Millisecond)).String()
		}
		r.Headers = append(r.Headers, oracle.Header{Key: batch.HeaderScheduleDelay, Value: []byte(text)})
		return
	}
	r.Wait, r.WaitMs = oracle.Until, w.now()+wait
	r.Headers = append(r.Headers, oracle.Header{
		Key: batch.HeaderScheduleTs, Value: strconv.AppendInt(nil, r.WaitMs, 10),
	})
}

var codecs = []batch.Codec{batch.None, batch.None, batch.Gzip, batch.Snappy, batch.Lz4, batch.Zstd}

// build encodes a batch as a client does.
func (w *world) build(id batch.ProducerID, seq batch.Sequence, records []*oracle.Record) batch.Batch {
	o := batch.BuilderOptions{
		Codec:         codecs[w.rng.IntN(len(codecs))],
		BaseTimestamp: clock.UnixMs(records[0].TimestampMs), ProducerID: id, BaseSequence: seq,
	}
	if id < 0 {
		o = o.NoProducer()
	}
	builder := batch.NewBuilder(o)
	for _, r := range records {
		f := batch.RecordFields{TimestampMs: clock.UnixMs(r.TimestampMs), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			f.Headers = append(f.Headers, batch.Header{Key: h.Key, Value: h.Value})
		}
		w.must(builder.Append(f))
	}
	b, err := builder.Build(nil)
	w.must(err)
	return b
}
