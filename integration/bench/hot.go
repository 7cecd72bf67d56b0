package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The load of the hot section: many partitions that all get a little.
const (
	hotPartitions = 1000
	hotRate       = 10_000 // records per second in all
	hotBytes      = 100
	hotTick       = time.Millisecond
	hotGoal       = 25 * time.Millisecond // p99
)

// hotSection measures how long a produced record waits for its acknowledgement while a thousand
// partitions are written to at once.
func hotSection(ctx context.Context, b *bench) error {
	title := fmt.Sprintf("Produce to %d hot partitions: %d records/s of %d B in all, acks=all",
		hotPartitions, hotRate, hotBytes)
	t := newTable(title, "", "p50", "p99", "p99.9", "max", "server CPU/rec", "fdatasyncs", "records",
		"run")
	t.note("Latency counts from the moment at which a record was due to be sent. The row of a " +
		"server is its run with the median p99.")
	runs := newRunsTable(title, "duration")
	p, err := b.startPair()
	if err != nil {
		return err
	}
	results := make([][]hotRun, 2)
	for range b.runs {
		for i, target := range []*target{p.drop, p.chronos} {
			r, err := b.hotRun(ctx, target)
			if err != nil {
				return errors.Join(fmt.Errorf("%s: %w", target.name, err), p.end())
			}
			results[i] = append(results[i], r)
		}
	}
	for i, name := range []string{"drop", "chronos"} {
		var p50, p99 []time.Duration
		for _, r := range results[i] {
			p50, p99 = append(p50, quantile(r.took, 0.5)), append(p99, quantile(r.took, 0.99))
		}
		m := middleHot(results[i])
		t.add(name, millis(quantile(m.took, 0.5)), millis(quantile(m.took, 0.99)),
			millis(quantile(m.took, 0.999)), millis(m.took[len(m.took)-1]),
			micros(m.used.cpu, float64(len(m.took))), count(m.used.fsyncs),
			count(float64(len(m.took))), fmt.Sprintf("%d x %.0f s", b.runs, b.length().Seconds()))
		runs.addDurations("p50", name, p50)
		runs.addDurations("p99", name, p99)
	}
	got := quantile(middleHot(results[1]).took, 0.99)
	b.addFloor(got <= hotGoal, "1,000 hot partitions, 10 k/s: p99 25 ms", "%s", millis(got))
	b.print(t)
	b.print(runs.table)
	return p.end()
}

// hotRun is one run: the sorted latencies.
type hotRun struct {
	took []time.Duration
	used usage
}

// middleHot returns the run with the median p99.
func middleHot(runs []hotRun) hotRun {
	sorted := slices.Clone(runs)
	slices.SortFunc(sorted, func(a, b hotRun) int {
		return int(quantile(a.took, 0.99) - quantile(b.took, 0.99))
	})
	return sorted[len(sorted)/2]
}

func (b *bench) hotRun(ctx context.Context, t *target) (hotRun, error) {
	topic, err := t.newTopic(ctx, topicSpec{partitions: hotPartitions, schedules: true})
	if err != nil {
		return hotRun{}, err
	}
	flushDisk()
	cl, err := t.client(kgo.DefaultProduceTopic(topic),
		kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return hotRun{}, err
	}
	defer cl.Close()
	// The first records find out about the partitions and open them all.
	if _, err := b.paced(ctx, cl, time.Second); err != nil {
		return hotRun{}, err
	}
	before, err := t.usage()
	if err != nil {
		return hotRun{}, err
	}
	took, err := b.paced(ctx, cl, b.length())
	if err != nil {
		return hotRun{}, err
	}
	after, err := t.usage()
	if err != nil {
		return hotRun{}, err
	}
	return hotRun{took: took, used: after.minus(before)}, t.dropTopic(ctx, topic)
}

// paced sends records at the rate for a while and returns the sorted latencies. It never waits for
// an answer: a slow server gets no rest by being slow.
func (b *bench) paced(
	ctx context.Context, cl *kgo.Client, length time.Duration,
) ([]time.Duration, error) {
	n := int(length.Seconds() * hotRate)
	took := make([]time.Duration, n) // each record writes its own
	values := b.contents(hotBytes)
	var failed struct {
		sync.Mutex
		err error
	}
	tick := time.NewTicker(hotTick)
	defer tick.Stop()
	begun := time.Now()
	for next := 0; next < n; {
		for until := time.Since(begun); next < n; next++ {
			i, due := next, time.Duration(next)*time.Second/hotRate
			if due > until {
				break
			}
			cl.Produce(ctx, &kgo.Record{Value: values[i%len(values)]}, func(_ *kgo.Record, err error) {
				took[i] = time.Since(begun) - due
				if err != nil {
					failed.Lock()
					failed.err = err
					failed.Unlock()
				}
			})
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if err := cl.Flush(ctx); err != nil {
		return nil, err
	}
	failed.Lock()
	defer failed.Unlock()
	slices.Sort(took)
	return took, failed.err
}
