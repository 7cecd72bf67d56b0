package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// spreadRecords is the number of records in each batch.
const spreadRecords = 1000

// spreadInFlight is how many batches wait for their answers at once.
const spreadInFlight = 5

// spreadGoal is how much of the rate of plain batches compressed ones must reach.
const spreadGoal = 0.9

// spreadCodecs are those of a batch.
var spreadCodecs = []struct {
	name string
	kgo  kgo.CompressionCodecType
}{{"plain", kgo.CodecNone}, {"lz4", kgo.CodecLz4}, {"zstd", kgo.CodecZstd}}

// spreadSection measures batches whose records are due far apart: each millisecond takes a record
// out of each of many batches, and a server that inflates a batch for each does so a thousand
// times.
func spreadSection(ctx context.Context, b *bench) error {
	l := dueLoad{
		records: b.schedules.batches * spreadRecords, length: b.schedules.spread,
		lead: time.Second + time.Duration(b.schedules.batches*spreadRecords)*time.Second/burstAcceptMin,
	}
	t := newTable(fmt.Sprintf("Spread: %d batches of 1,000 records of %d B, each due over %s",
		b.schedules.batches, scheduleBytes, l.length), "codec", "due", "delivered", "of plain",
		"lateness p50", "p99", "max", "server CPU/rec", "read while due", "run")
	t.note("Delivered: records by the time from the first due to the last arrival. Read: by the " +
		"server through system calls, from page cache or disk.")
	var plainRate float64
	for _, codec := range spreadCodecs {
		late, err := ahead(l, func(l dueLoad) (spreadRun, error) {
			return b.spreadRun(ctx, codec.kgo, l)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", codec.name, err)
		}
		rate := float64(late.records) / late.took.Seconds()
		if plainRate == 0 {
			plainRate = rate
		}
		t.add(codec.name, count(float64(l.records)/l.length.Seconds())+"/s", count(rate)+"/s",
			ratio(rate, plainRate), millis(late.p50), millis(late.p99), millis(late.most),
			micros(late.used.cpu, float64(late.records)), megabytes(float64(late.read)),
			fmt.Sprintf("1 x %.1f s", late.took.Seconds()))
		if codec.name != plain.name {
			b.addFloor(rate >= spreadGoal*plainRate, "delivery of "+codec.name+
				" batches due over a long time: 0.9 of plain", "%.2f", rate/plainRate)
		}
	}
	b.print(t)
	return nil
}

// spreadRun is what one codec took.
type spreadRun struct {
	lates
	read int64
}

func (b *bench) spreadRun(
	ctx context.Context, codec kgo.CompressionCodecType, l dueLoad,
) (r spreadRun, err error) {
	chronos, err := b.startChronos()
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, chronos.end()) }()
	topic, err := chronos.newTopic(ctx, topicSpec{partitions: 1, schedules: true})
	if err != nil {
		return r, err
	}
	first := time.Now().Add(l.lead)
	if err := b.produceSpread(chronos.addr, topic, codec, l, first.UnixMilli()); err != nil {
		return r, err
	}
	if by := time.Since(first); by > 0 {
		return r, overrun{by}
	}
	before, err := chronos.usage()
	if err != nil {
		return r, err
	}
	readBefore, err := harness.Read(chronos.Pid())
	if err != nil {
		return r, err
	}
	if r.lates, err = readLates(ctx, chronos, topic, l.records); err != nil {
		return r, err
	}
	after, err := chronos.usage()
	if err != nil {
		return r, err
	}
	readAfter, err := harness.Read(chronos.Pid())
	r.used, r.read = after.minus(before), readAfter-readBefore
	return r, err
}

// produceSpread sends the batches as they are made here: a client library would cut them by its
// own lights.
func (b *bench) produceSpread(
	addr, topic string, codec kgo.CompressionCodecType, l dueLoad, first int64,
) error {
	c, err := harness.Dial(addr)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }() // all answers are read, or it failed
	values := b.contents(scheduleBytes)
	open := 0
	for i := range l.records / spreadRecords {
		records := make([]kmsg.Record, spreadRecords)
		for j := range records {
			// The batches take turns, so that records become due at a steady rate.
			turn := int64(j*b.schedules.batches + i)
			due := first + turn*l.length.Milliseconds()/int64(l.records)
			records[j] = harness.Record(string(values[(i*spreadRecords+j)%len(values)]),
				headerTs, strconv.FormatInt(due, 10))
		}
		batch := harness.PlainBatch(time.Now().UnixMilli(), records...)
		batch.Codec = codec
		raw, err := batch.Encode()
		if err != nil {
			return err
		}
		if err := c.Send(produceOne(topic, raw)); err != nil {
			return err
		}
		if open++; open < spreadInFlight {
			continue
		}
		if err := receiveProduced(c); err != nil {
			return err
		}
		open--
	}
	for range open {
		if err := receiveProduced(c); err != nil {
			return err
		}
	}
	return nil
}

func produceOne(topic string, raw []byte) *kmsg.ProduceRequest {
	req := kmsg.NewPtrProduceRequest()
	req.SetVersion(9)
	req.Acks, req.TimeoutMillis = -1, 30_000
	t := kmsg.NewProduceRequestTopic()
	t.Topic = topic
	p := kmsg.NewProduceRequestTopicPartition()
	p.Records = raw
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func receiveProduced(c *harness.Conn) error {
	resp, err := c.Receive()
	if err != nil {
		return err
	}
	for _, t := range resp.(*kmsg.ProduceResponse).Topics {
		for _, p := range t.Partitions {
			if p.ErrorCode != 0 {
				return fmt.Errorf("produce a batch: error %d", p.ErrorCode)
			}
		}
	}
	return nil
}
