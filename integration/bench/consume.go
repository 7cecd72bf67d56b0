package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// consumeSection measures one consumer that reads a partition from its start, again and again,
// from the page cache.
func consumeSection(ctx context.Context, b *bench) error {
	const size = 1024
	records := 2_000_000
	if b.quick {
		records = 200_000
	}
	chronos, err := b.startChronos()
	if err != nil {
		return err
	}
	topic, err := chronos.newTopic(ctx, true)
	if err != nil {
		return err
	}
	if err := b.fill(ctx, chronos, topic, filling{records: records, size: size}); err != nil {
		return err
	}
	flushDisk()
	var samples []sample
	for range b.runs {
		s, err := consumeRun(ctx, chronos, topic, records)
		if err != nil {
			return err
		}
		samples = append(samples, s)
	}
	m := middle(samples)
	gigabytes := m.records * size / 1e9
	t := newTable("Consume: 1 partition, 1 KiB values, from the page cache",
		"chronos", "value bytes/s", "server CPU/GB", "client CPU/GB", "records", "run")
	t.add(count(m.rate())+"/s", megabytes(m.rate()*size),
		fmt.Sprintf("%.2f s", m.used.cpu.Seconds()/gigabytes),
		fmt.Sprintf("%.2f s", m.used.client.Seconds()/gigabytes), count(m.records),
		fmt.Sprintf("%d x %.1f s", b.runs, m.elapsed.Seconds()))
	t.print(b.out)
	b.addFloor(m.rate() >= 500_000, "consume 1 KiB: 500 k/s", "%s/s", count(m.rate()))
	return chronos.end()
}

// filling says what to write into a topic.
type filling struct {
	records int
	size    int
	headers func() headerList
}

// fill writes a number of records and waits for all acknowledgements.
func (b *bench) fill(ctx context.Context, t *target, topic string, f filling) error {
	cl, err := t.client(kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return err
	}
	defer cl.Close()
	p := &producing{cl: cl, values: b.contents(f.size), headers: f.headers, limit: f.records}
	p.run(ctx)
	if err := cl.Flush(ctx); err != nil {
		return fmt.Errorf("fill %s: %w", topic, err)
	}
	if failed := p.failed.Load(); failed != nil {
		return fmt.Errorf("fill %s: %w", topic, *failed)
	}
	if n := int(p.acked.Load()); n != f.records {
		return fmt.Errorf("fill %s: %d of %d acknowledged", topic, n, f.records)
	}
	return nil
}

// consumeRun reads all records once; it counts from the first record on, so that connecting does
// not.
func consumeRun(ctx context.Context, t *target, topic string, records int) (sample, error) {
	cl, err := t.client(kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return sample{}, err
	}
	defer cl.Close()
	before, err := t.usage()
	if err != nil {
		return sample{}, err
	}
	var begun time.Time
	read, first := 0, 0
	for read < records {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return sample{}, fmt.Errorf("read %d of %d: %w", read, records, err)
		}
		read += fetches.NumRecords()
		if begun.IsZero() {
			begun, first = time.Now(), read
		}
	}
	s := sample{records: float64(read - first), elapsed: time.Since(begun)}
	after, err := t.usage()
	s.used = after.minus(before)
	return s, err
}
