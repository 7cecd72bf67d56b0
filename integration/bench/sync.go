package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// syncValueBytes is the value of each record that is produced alone; syncAppendBytes is what the
// bare loop beside it appends: a page, the least that a disk writes.
const (
	syncValueBytes  = 100
	syncAppendBytes = 4096
	syncBlock       = 200 // calls of one measured thing before the next has its turn
)

// How much of the floor a produced record may take, after design.md section 7.
const (
	syncMedianGoal = 1.3
	syncTailGoal   = 1.5
)

// latencies collects the durations of one measured thing, run by run.
type latencies struct {
	p50, p99 []time.Duration
	calls    int
}

func (l *latencies) addRun(ds []time.Duration) {
	slices.Sort(ds)
	l.p50 = append(l.p50, quantile(ds, 0.50))
	l.p99 = append(l.p99, quantile(ds, 0.99))
	l.calls += len(ds)
}

// syncSection measures one record in flight. The floor beside it is a round trip to the reference
// plus one bare append with fdatasync; all three take turns in short blocks, so that they see the
// same disk.
func syncSection(ctx context.Context, b *bench) error {
	p, err := b.startPair()
	if err != nil {
		return err
	}
	chronos := p.chronos
	steps, closeAll, err := b.syncSteps(ctx, p)
	if err != nil {
		return err
	}
	defer closeAll()
	results := make([]latencies, len(steps))
	before, err := chronos.usage()
	if err != nil {
		return err
	}
	for range b.runs {
		if err := b.syncRun(ctx, steps, results); err != nil {
			return err
		}
	}
	after, err := chronos.usage()
	if err != nil {
		return err
	}
	b.printSync(steps, results, after.minus(before))
	return p.end()
}

// step is one thing whose duration is measured.
type step struct {
	name string
	call func() error
}

func (b *bench) syncSteps(ctx context.Context, p pair) ([]step, func(), error) {
	file, err := os.Create(filepath.Join(b.dir, "append"))
	if err != nil {
		return nil, nil, fmt.Errorf("make the file of the bare loop: %w", err)
	}
	block := make([]byte, syncAppendBytes)
	steps := []step{{"bare 4 KiB append + fdatasync", func() error {
		if _, err := file.Write(block); err != nil {
			return err
		}
		return dataSync(file)
	}}}
	closers := []func(){func() { _ = file.Close() }}
	for _, t := range []*target{p.drop, p.chronos} {
		topic, err := t.newTopic(ctx, topicSpec{partitions: 1, schedules: true})
		if err != nil {
			return nil, nil, err
		}
		cl, err := t.client(kgo.DefaultProduceTopic(topic),
			kgo.ProducerBatchCompression(kgo.NoCompression()))
		if err != nil {
			return nil, nil, err
		}
		closers = append(closers, cl.Close)
		value := b.contents(syncValueBytes)[0]
		steps = append(steps, step{"produce to " + t.name, func() error {
			return cl.ProduceSync(ctx, &kgo.Record{Value: value}).FirstErr()
		}})
	}
	closeAll := func() {
		for _, f := range closers {
			f()
		}
	}
	return steps, closeAll, nil
}

// syncRun lets the steps take turns for the length of a run, after one block each as a warm-up.
func (b *bench) syncRun(ctx context.Context, steps []step, results []latencies) error {
	flushDisk()
	taken := make([][]time.Duration, len(steps))
	begun := time.Now()
	for block := 0; time.Since(begun) < b.length() || block < 2; block++ {
		for i, s := range steps {
			for range syncBlock {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				start := time.Now()
				if err := s.call(); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
				if block > 0 {
					taken[i] = append(taken[i], time.Since(start))
				}
			}
		}
	}
	for i := range steps {
		results[i].addRun(taken[i])
	}
	return nil
}

func (b *bench) printSync(steps []step, results []latencies, used usage) {
	t := newTable("Sync produce: 100 B, one in flight, acks=all, idempotent",
		"", "p50", "p99", "calls", "fdatasyncs", "run")
	runs := fmt.Sprintf("%d x %g s, taking turns", b.runs, b.seconds)
	var p50, p99 []time.Duration
	for i, s := range steps {
		p50 = append(p50, medianDuration(results[i].p50))
		p99 = append(p99, medianDuration(results[i].p99))
		fsyncs := "-"
		if i == len(steps)-1 {
			fsyncs = count(used.fsyncs)
		}
		t.add(s.name, millis(p50[i]), millis(p99[i]), count(float64(results[i].calls)), fsyncs, runs)
	}
	floor50, floor99 := p50[0]+p50[1], p99[0]+p99[1]
	of50, of99 := p50[2].Seconds()/floor50.Seconds(), p99[2].Seconds()/floor99.Seconds()
	t.add("floor: reference + bare", millis(floor50), millis(floor99), "", "", "")
	t.add("chronos of the floor", fmt.Sprintf("%.2f", of50), fmt.Sprintf("%.2f", of99), "", "", "")
	b.print(t)
	r := newRunsTable(t.title, "duration")
	for i, s := range steps {
		r.addDurations(s.name, "p50", results[i].p50)
		r.addDurations(s.name, "p99", results[i].p99)
	}
	b.print(r.table)
	b.addFloor(of50 <= syncMedianGoal, "sync produce p50: 1.3 x the floor", "%s, %.2f x",
		millis(p50[2]), of50)
	b.addFloor(of99 <= syncTailGoal, "sync produce p99: 1.5 x the floor", "%s, %.2f x",
		millis(p99[2]), of99)
	b.addFloor(p99[2] < 10*time.Millisecond, "sync produce p99: under 10 ms", "%s", millis(p99[2]))
}
