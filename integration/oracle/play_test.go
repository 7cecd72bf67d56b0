package oracle

import (
	"encoding/binary"
	"hash/crc32"
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// play is a made-up history of one partition and one producer. It stops at the first error, which
// must come from the history's last event: what is before it is no offence.
type play struct {
	t     *testing.T
	o     *Oracle
	s     *Session
	now   int64
	epoch int32
	hw    int64
	start int64
	end   int64
	step  int64
	err   error
}

func newPlay(t *testing.T) *play {
	p := &play{t: t, o: New(nil), now: 1000}
	p.s = p.o.NewSession("producer")
	p.open(0, 0)
	return p
}

// event takes the verdict on an event.
func (p *play) event(err error) {
	p.t.Helper()
	if p.err != nil {
		p.t.Errorf("the history goes on behind %v", p.err)
	}
	p.err = err
}

func (p *play) marks() Marks {
	return Marks{Start: p.start, HighWatermark: p.hw, End: p.end, NowMs: p.now}
}

// open starts the server with a leader epoch one higher.
func (p *play) open(hw, end int64) {
	p.t.Helper()
	p.epoch++
	p.step = p.o.Step()
	p.hw, p.end = hw, end
	p.event(p.o.Opened(0, p.epoch, p.marks()))
}

// grow makes a step after which the log's end and high watermark are at end.
func (p *play) grow(end int64) {
	p.t.Helper()
	p.step = p.o.Step()
	p.hw, p.end = end, end
	p.event(p.o.Observe(0, p.marks()))
}

// retain moves the log's start.
func (p *play) retain(start int64) {
	p.t.Helper()
	p.start = start
	p.event(p.o.Observe(0, p.marks()))
}

// send sends a batch and offers it to the server.
func (p *play) send(records ...*Record) *Batch {
	p.t.Helper()
	b, err := p.o.Send(p.s, 0, records)
	p.event(err)
	if err == nil {
		p.o.Offer(b, p.now, true)
	}
	return b
}

func (p *play) ack(b *Batch, base int64) {
	p.t.Helper()
	p.event(p.o.Ack(b, Answer{Base: base, HighWatermark: p.hw, Step: p.step}))
}

// read makes a fetch that returns the batches.
func (p *play) read(from int64, batches ...[]byte) {
	p.t.Helper()
	var raw []byte
	for _, b := range batches {
		raw = append(raw, b...)
	}
	_, err := p.o.Read(0, from, raw)
	p.event(err)
}

// store appends batches to the log, one step for all, and reads them.
func (p *play) store(records int64, batches ...[]byte) {
	p.t.Helper()
	from := p.end
	p.grow(from + records)
	p.read(from, batches...)
}

func plain(value string) *Record {
	return &Record{
		Key: []byte("key"), Value: []byte(value), TimestampMs: 900,
		Headers: []Header{{Key: "trace", Value: []byte("x")}},
	}
}

func until(value string, due int64) *Record {
	r := plain(value)
	r.Wait, r.WaitMs = Until, due
	r.Headers = append(r.Headers, Header{"chronos-schedule-ts", strconv.AppendInt(nil, due, 10)})
	return r
}

func after(value string, delay int64) *Record {
	r := plain(value)
	r.Wait, r.WaitMs = After, delay
	r.Headers = append(r.Headers, Header{"chronos-schedule-delay", strconv.AppendInt(nil, delay, 10)})
	return r
}

// shown is a record as a consumer gets it, for a history to falsify.
func shown(r *Record) shownRecord {
	return shownRecord{timestampMs: r.TimestampMs, key: r.Key, value: r.Value, headers: r.Headers}
}

// due is the delivery of a scheduled record, on time.
func due(r *Record, ms int64, position string) shownRecord {
	s := shown(r)
	s.timestampMs = ms
	s.headers = []Header{
		r.Headers[0],
		{headerScheduledFor, strconv.AppendInt(nil, ms, 10)},
		{headerCreatedAt, strconv.AppendInt(nil, r.TimestampMs, 10)},
		{headerPosition, []byte(position)},
	}
	return s
}

// direct encodes a batch of the partition log that a producer sent.
func direct(base int64, records ...shownRecord) []byte { return encode(base, 0, records) }

// delivery encodes a batch that the server made.
func delivery(base int64, records ...shownRecord) []byte { return encode(base, attrMark, records) }

func encode(base int64, attributes int16, records []shownRecord) []byte {
	k := kmsg.NewRecordBatch()
	k.FirstOffset, k.PartitionLeaderEpoch, k.Magic, k.Attributes = base, 1, 2, attributes
	k.ProducerID, k.ProducerEpoch, k.FirstSequence = -1, -1, -1
	k.NumRecords, k.LastOffsetDelta = int32(len(records)), int32(len(records)-1)
	k.FirstTimestamp, k.MaxTimestamp = records[0].timestampMs, -1
	for i := range records {
		s := &records[i]
		k.MaxTimestamp = max(k.MaxTimestamp, s.timestampMs)
		r := kmsg.NewRecord()
		r.OffsetDelta, r.TimestampDelta64 = int32(i), s.timestampMs-k.FirstTimestamp
		r.Key, r.Value = s.key, s.value
		for _, h := range s.headers {
			r.Headers = append(r.Headers, kmsg.Header{Key: h.Key, Value: h.Value})
		}
		r.Length = int32(len(r.AppendTo(nil)) - 1) // the length itself, 0, takes one byte
		k.Records = r.AppendTo(k.Records)
	}
	return seal(k.AppendTo(nil))
}

// seal sets the length and the CRC of an encoded batch.
func seal(p []byte) []byte {
	binary.BigEndian.PutUint32(p[lengthAt:], uint32(len(p)-lengthAt-4))
	binary.BigEndian.PutUint32(p[crcAt:], crc32.Checksum(p[crcFrom:], castagnoli))
	return p
}
