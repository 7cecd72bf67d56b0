package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// consumeCase is one row of the consume table, with the goals of design.md section 7.
type consumeCase struct {
	size     int
	records  int
	rateGoal float64
	cpuGoal  float64 // seconds of the server for a GB of values; 0: none
}

func (b *bench) consumeCases() []consumeCase {
	cases := []consumeCase{
		{size: 1024, records: 3_000_000, rateGoal: 1e6, cpuGoal: 0.35},
		{size: 100, records: 10_000_000, rateGoal: 3e6},
	}
	if b.quick {
		for i := range cases {
			cases[i].records /= 6
		}
	}
	return cases
}

// consumeSection measures one consumer that reads a partition from its start, again and again.
// The reference sends one batch from its memory for ever, without a copy.
func consumeSection(ctx context.Context, b *bench) error {
	const title = "Consume: one consumer, 1 partition, from the page cache"
	t := newTable(title, "value", "drop", "chronos", "of drop", "value bytes/s", "server CPU/GB",
		"client CPU/GB", "drop CPU/GB", "records", "runs")
	t.note("The page cache is warmed: each log is read once before the first run that counts. " +
		"The reference sends one batch of its memory again and again.")
	runs := newRunsTable(title, "records/s")
	p, err := b.startPair()
	if err != nil {
		return err
	}
	for _, c := range b.consumeCases() {
		if err := b.consumeRow(ctx, t, runs, consuming{pair: p, consumeCase: c}); err != nil {
			return errors.Join(err, p.end())
		}
	}
	b.print(t)
	b.print(runs.table)
	return p.end()
}

// consuming is a case and who takes part in it.
type consuming struct {
	pair
	consumeCase
}

func (b *bench) consumeRow(ctx context.Context, t *table, runs runsTable, c consuming) error {
	topic, err := c.chronos.newTopic(ctx, topicSpec{partitions: 1, schedules: true, forever: true})
	if err != nil {
		return err
	}
	if err := b.fill(ctx, c.chronos, topic, filling{records: c.records, size: c.size}); err != nil {
		return err
	}
	flushDisk()
	if _, err := consumeRun(ctx, c.chronos, topic, c.records); err != nil {
		return fmt.Errorf("warm the page cache: %w", err)
	}
	all, err := b.takeTurns(
		contender{name: "drop", run: func() (sample, error) {
			return consumeRun(ctx, c.drop, cannedTopic(c.size), c.records)
		}},
		contender{name: "chronos", run: func() (sample, error) {
			return consumeRun(ctx, c.chronos, topic, c.records)
		}},
	)
	if err != nil {
		return err
	}
	reference, m := middle(all[0]), middle(all[1])
	gigabytes := m.records * float64(c.size) / 1e9
	t.add(bytesOf(c.size), count(reference.rate())+"/s", count(m.rate())+"/s",
		ratio(m.rate(), reference.rate()), megabytes(m.rate()*float64(c.size)),
		fmt.Sprintf("%.2f s", m.used.cpu.Seconds()/gigabytes),
		fmt.Sprintf("%.2f s", m.used.client.Seconds()/gigabytes),
		fmt.Sprintf("%.2f s", reference.used.cpu.Seconds()/gigabytes), count(m.records),
		fmt.Sprintf("%d x %.1f s", b.runs, m.elapsed.Seconds()))
	runs.addRates(bytesOf(c.size), "drop", all[0])
	runs.addRates(bytesOf(c.size), "chronos", all[1])
	name := "consume " + bytesOf(c.size)
	b.addFloor(m.rate() >= c.rateGoal, name+": "+count(c.rateGoal)+"/s", "%s/s, %.2f of drop",
		count(m.rate()), m.rate()/reference.rate())
	if c.cpuGoal > 0 {
		used := m.used.cpu.Seconds() / gigabytes
		b.addFloor(used <= c.cpuGoal, fmt.Sprintf("%s: server CPU %.2f s/GB", name, c.cpuGoal),
			"%.2f s", used)
	}
	return c.chronos.dropTopic(ctx, topic)
}

// consumeRun reads that many records once; it counts from the first record on, so that connecting
// does not.
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
