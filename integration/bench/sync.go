package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// syncValueBytes is the value of each record that is produced alone; syncAppendBytes about what
// such a record takes on the disk, for the bare loop beside it.
const (
	syncValueBytes  = 100
	syncAppendBytes = 180
	syncBlock       = 200 // calls of one measured thing before the next has its turn
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
	chronos, err := b.startChronos()
	if err != nil {
		return err
	}
	drop, err := startDrop()
	if err != nil {
		return err
	}
	steps, closeAll, err := b.syncSteps(ctx, drop, chronos)
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
	return errors.Join(drop.end(), chronos.end())
}

// step is one thing whose duration is measured.
type step struct {
	name string
	call func() error
}

func (b *bench) syncSteps(
	ctx context.Context, drop, chronos *target,
) ([]step, func(), error) {
	file, err := os.Create(filepath.Join(b.dir, "append"))
	if err != nil {
		return nil, nil, fmt.Errorf("make the file of the bare loop: %w", err)
	}
	block := make([]byte, syncAppendBytes)
	steps := []step{{"bare append + fdatasync", func() error {
		if _, err := file.Write(block); err != nil {
			return err
		}
		return dataSync(file)
	}}}
	closers := []func(){func() { _ = file.Close() }}
	for _, t := range []*target{drop, chronos} {
		topic, err := t.newTopic(ctx, true)
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
	t.add("floor: reference + bare", millis(floor50), millis(floor99), "", "", "")
	t.add("chronos of the floor", ratio(p50[2].Seconds(), floor50.Seconds()),
		ratio(p99[2].Seconds(), floor99.Seconds()), "", "", "")
	t.print(b.out)
	b.addFloor(p99[2] < 10*time.Millisecond, "sync produce p99 on a quiet disk: under 10 ms",
		"%s (bare append + fdatasync p99 %s)", millis(p99[2]), millis(p99[0]))
}
