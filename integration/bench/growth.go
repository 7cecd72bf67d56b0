package main

import (
	"context"
	"errors"
	"fmt"
)

// growthGoal is how much of its best throughput every size must keep.
const growthGoal = 0.8

// growthCase is one size of a growing thing, measured.
type growthCase struct {
	name         string
	drop, server float64 // rates
}

// growthSection measures whether throughput holds as the work grows: more partitions, longer logs.
func growthSection(ctx context.Context, b *bench) error {
	p, err := b.startPair()
	if err != nil {
		return err
	}
	t := newProduceTable("Growth with partitions: produce, all partitions written to evenly")
	sizes := []int{100, 1024}
	if b.quick {
		sizes = sizes[:1]
	}
	for _, size := range sizes {
		var cases []growthCase
		for _, partitions := range []int{1, 10, 100, 1000} {
			c := produceCase{size: size, partitions: partitions, codec: plain, schedules: true}
			reference, m, err := b.produceRow(ctx, t, p, c)
			if err != nil {
				return errors.Join(err, p.end())
			}
			cases = append(cases, growthCase{
				partitionCount(partitions), reference.rate(), m.rate(),
			})
		}
		b.growthFloors(bytesOf(size)+" with partitions", cases)
	}
	b.print(t.rows)
	b.print(t.runs.table)
	if err := b.logGrowth(ctx, p); err != nil {
		return errors.Join(err, p.end())
	}
	return p.end()
}

// growthFloors judges a row of sizes twice: by the rates, and by what they are of the reference's,
// because the client itself slows down with many partitions.
func (b *bench) growthFloors(what string, cases []growthCase) {
	if len(cases) < 2 {
		return
	}
	for _, by := range []struct {
		name string
		of   func(growthCase) float64
	}{
		{"records/s", func(c growthCase) float64 { return c.server }},
		{"ratio to drop", func(c growthCase) float64 { return c.server / c.drop }},
	} {
		best, worst := cases[0], cases[0]
		for _, c := range cases {
			if by.of(c) > by.of(best) {
				best = c
			}
			if by.of(c) < by.of(worst) {
				worst = c
			}
		}
		kept := by.of(worst) / by.of(best)
		b.addFloor(kept >= growthGoal,
			fmt.Sprintf("growth, %s: within 20 %% of the best, %s", what, by.name),
			"%s has %.2f of %s", worst.name, kept, best.name)
	}
}

// logSizes are the lengths of log in GB at which throughput is measured.
func (b *bench) logSizes() []int {
	if b.quick {
		return []int{1}
	}
	return []int{1, 10, 30}
}

// growingLog is the log whose throughput is measured while it grows.
type growingLog struct {
	pair
	topic   string
	produce produceCase
	written int64 // bytes in the log
	cases   []growthCase
	medians []sample // of the server, by case
	runs    runsTable
}

// logGrowth lets one log grow, with retention off, and measures on the way.
func (b *bench) logGrowth(ctx context.Context, p pair) error {
	title := "Growth of the log: produce 1 KiB, 1 partition, retention off"
	t := newTable(title, "log", "drop", "chronos", "of drop", "of the best", "server CPU/rec", "run")
	topic, err := p.chronos.newTopic(ctx, topicSpec{partitions: 1, schedules: true, forever: true})
	if err != nil {
		return err
	}
	l := &growingLog{
		pair: p, topic: topic, runs: newRunsTable(title, "records/s"),
		produce: produceCase{size: 1024, partitions: 1, codec: plain, schedules: true},
	}
	for _, gigabytes := range b.logSizes() {
		free, err := freeBytes(b.dir)
		if err != nil {
			return err
		}
		if int64(gigabytes)*1e9 > (free+l.written)/2 {
			t.note("%d GB is skipped: that is more than half of the %s that are free.", gigabytes,
				megabytes(float64(free+l.written)))
			continue
		}
		if err := b.growTo(ctx, l, int64(gigabytes)*1e9); err != nil {
			return err
		}
	}
	best := 0.0
	for _, c := range l.cases {
		best = max(best, c.server)
	}
	for i, c := range l.cases {
		m := l.medians[i]
		t.add(c.name, count(c.drop)+"/s", count(c.server)+"/s", ratio(c.server, c.drop),
			ratio(c.server, best), micros(m.used.cpu, m.records),
			fmt.Sprintf("%d x %.1f s", b.runs, m.elapsed.Seconds()))
	}
	t.note("The log is filled to its size before the runs, which make it longer: to %s at the end.",
		megabytes(float64(l.written)))
	b.print(t)
	b.print(l.runs.table)
	b.growthFloors("of the log", l.cases)
	return p.chronos.dropTopic(ctx, topic)
}

// growTo fills the log to a size and measures there.
func (b *bench) growTo(ctx context.Context, l *growingLog, size int64) error {
	// The runs before may have made it longer than that already.
	if more := int(size-l.written) / l.produce.size; more > 0 {
		err := b.fill(ctx, l.chronos, l.topic, filling{records: more, size: l.produce.size})
		if err != nil {
			return err
		}
	}
	all, err := b.takeTurns(
		contender{name: "drop", run: func() (sample, error) {
			return b.produceRun(ctx, l.drop, l.produce)
		}},
		contender{name: "chronos", run: func() (sample, error) {
			flushDisk()
			return b.produceInto(ctx, l.chronos, l.topic, l.produce)
		}},
	)
	if err != nil {
		return err
	}
	if l.written, err = l.chronos.diskBytes(); err != nil {
		return err
	}
	name, m := fmt.Sprintf("%d GB", size/1e9), middle(all[1])
	l.cases = append(l.cases, growthCase{name, middle(all[0]).rate(), m.rate()})
	l.medians = append(l.medians, m)
	l.runs.addRates(name, "drop", all[0])
	l.runs.addRates(name, "chronos", all[1])
	return nil
}
