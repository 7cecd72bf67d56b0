package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// produceCase is one row of a produce table.
type produceCase struct {
	size       int // bytes of each value
	partitions int
	codec      codec
	schedules  bool              // the topic has schedules enabled
	headers    func() headerList // of each record; nil: none
}

func (c produceCase) String() string {
	s := fmt.Sprintf("%s, %s, %s", bytesOf(c.size), partitionCount(c.partitions), c.codec.name)
	if !c.schedules {
		s += ", schedules off"
	}
	return s
}

type codec struct {
	name string
	kgo  kgo.CompressionCodec
}

var (
	plain       = codec{"plain", kgo.NoCompression()}
	benchCodecs = []codec{
		plain, {"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()},
	}
)

// produceCases are the rows: plain ones first, with schedules enabled as a new topic has them.
func (b *bench) produceCases() []produceCase {
	var cases []produceCase
	for _, size := range []int{100, 1024} {
		for _, partitions := range []int{1, 8} {
			cases = append(cases, produceCase{
				size: size, partitions: partitions, codec: plain, schedules: true,
			})
		}
		if !b.quick {
			cases = append(cases, produceCase{size: size, partitions: 1, codec: plain})
		}
		for _, codec := range benchCodecs[1:] {
			cases = append(cases, produceCase{
				size: size, partitions: 1, codec: codec, schedules: true,
			})
		}
	}
	return cases
}

// produceTable has a row for each case, and the runs behind it.
type produceTable struct {
	rows *table
	runs runsTable
}

func newProduceTable(title string) produceTable {
	return produceTable{
		rows: newTable(title, "value", "partitions", "codec", "schedules", "drop", "chronos", "of drop",
			"value bytes/s", "server CPU/rec", "client CPU/rec", "fdatasyncs", "written", "run"),
		runs: newRunsTable(title, "records/s"),
	}
}

// produceSection measures one idempotent producer with acks=all.
func produceSection(ctx context.Context, b *bench) error {
	t := newProduceTable("Produce: one producer, acks=all, idempotent, fsync before ack")
	p, err := b.startPair()
	if err != nil {
		return err
	}
	for _, c := range b.produceCases() {
		reference, measured, err := b.produceRow(ctx, t, p, c)
		if err != nil {
			return errors.Join(err, p.end())
		}
		b.produceFloors(c, reference, measured)
	}
	b.print(t.rows)
	b.print(t.runs.table)
	return p.end()
}

// produceRow measures one case against the reference, run by run, and adds its row.
func (b *bench) produceRow(
	ctx context.Context, t produceTable, p pair, c produceCase,
) (reference, measured sample, err error) {
	all, err := b.takeTurns(
		contender{name: "drop", run: func() (sample, error) {
			return b.produceRun(ctx, p.drop, c)
		}},
		contender{name: "chronos", run: func() (sample, error) {
			return b.produceRun(ctx, p.chronos, c)
		}},
	)
	if err != nil {
		return sample{}, sample{}, err
	}
	reference, m := middle(all[0]), middle(all[1])
	t.rows.add(bytesOf(c.size), strconv.Itoa(c.partitions), c.codec.name, onOff(c.schedules),
		count(reference.rate())+"/s", count(m.rate())+"/s", ratio(m.rate(), reference.rate()),
		megabytes(m.rate()*float64(c.size)), micros(m.used.cpu, m.records),
		micros(m.used.client, m.records), count(m.used.fsyncs), megabytes(float64(m.used.written)),
		fmt.Sprintf("%d x %.1f s", b.runs, m.elapsed.Seconds()))
	t.runs.addRates(c.String(), "drop", all[0])
	t.runs.addRates(c.String(), "chronos", all[1])
	return reference, m, nil
}

// The goals of design.md section 7 for plain produce.
const (
	produceRateGoal  = 2_000_000 // 100 B
	produceRatioGoal = 0.75
	produceCPUGoal   = 250 * time.Nanosecond // 100 B
	produceRateMin   = 100_000
)

func (b *bench) produceFloors(c produceCase, reference, m sample) {
	if c.codec.name != plain.name || !c.schedules {
		return
	}
	name := fmt.Sprintf("produce %s, %s", bytesOf(c.size), partitionCount(c.partitions))
	of := m.rate() / reference.rate()
	if c.size == 100 && c.partitions == 1 {
		b.addFloor(m.rate() >= produceRateMin, name+": 100 k/s", "%s/s", count(m.rate()))
		b.addFloor(m.rate() >= produceRateGoal || of >= produceRatioGoal,
			name+": 2.0 M/s or 0.75 of drop", "%s/s, %.2f", count(m.rate()), of)
		b.addFloor(m.cpu() <= produceCPUGoal, name+": server CPU 0.25 us/record", "%s",
			micros(m.used.cpu, m.records))
	}
	if c.size == 1024 {
		b.addFloor(of >= produceRatioGoal, name+": 0.75 of drop", "%s/s, %.2f", count(m.rate()), of)
	}
}

// produceRun writes to a new topic for the length of a run, after a warm-up.
func (b *bench) produceRun(ctx context.Context, t *target, c produceCase) (sample, error) {
	topic, err := t.newTopic(ctx, topicSpec{partitions: c.partitions, schedules: c.schedules})
	if err != nil {
		return sample{}, err
	}
	flushDisk()
	s, err := b.produceInto(ctx, t, topic, c)
	if err != nil {
		return s, fmt.Errorf("%s, %s: %w", t.name, c, err)
	}
	return s, t.dropTopic(ctx, topic)
}

func (b *bench) produceInto(
	ctx context.Context, t *target, topic string, c produceCase,
) (sample, error) {
	p, err := b.startProducing(ctx, t, topic, c)
	if err != nil {
		return sample{}, err
	}
	defer p.cl.Close()
	s, err := b.measure(ctx, t, p.count)
	return s, errors.Join(err, p.finish(ctx))
}

// startProducing makes a client and lets it produce. The caller finishes it and closes the client.
func (b *bench) startProducing(
	ctx context.Context, t *target, topic string, c produceCase,
) (*producing, error) {
	cl, err := t.client(kgo.DefaultProduceTopic(topic), kgo.ProducerBatchCompression(c.codec.kgo),
		// Every partition gets as much as every other.
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()))
	if err != nil {
		return nil, err
	}
	p := &producing{cl: cl, values: b.contents(c.size), headers: c.headers}
	// A partition's first record opens its files, which a run of seconds must not count a thousand
	// times.
	first := &producing{cl: cl, values: p.values, headers: c.headers, limit: c.partitions}
	first.run(ctx)
	if err := first.finish(ctx); err != nil {
		cl.Close()
		return nil, err
	}
	p.start(ctx)
	return p, nil
}
