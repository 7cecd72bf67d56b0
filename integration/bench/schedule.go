package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// headerTs is the control header that names a due time.
const headerTs = "chronos-schedule-ts"

// dueAhead returns headers with due times at random within a day, from an hour ahead on.
func dueAhead() func() headerList {
	rng := rand.New(rand.NewPCG(2, 3))
	from := time.Now().Add(time.Hour).UnixMilli()
	return func() headerList { return dueHeader(from + rng.Int64N(24*3600*1000)) }
}

func dueHeader(ms int64) headerList {
	return headerList{{Key: headerTs, Value: strconv.AppendInt(nil, ms, 10)}}
}

// acceptGoal is how many scheduled records design.md section 7 wants accepted in a second.
const acceptGoal = 400_000

// scheduleSection measures how fast scheduled records are accepted, all of them for later.
func scheduleSection(ctx context.Context, b *bench) error {
	t := newProduceTable("Schedule: records due within a day, accepted with fsync before ack")
	p, err := b.startPair()
	if err != nil {
		return err
	}
	for _, codec := range benchCodecs[:2] {
		_, m, err := b.produceRow(ctx, t, p, produceCase{
			size: 100, partitions: 1, codec: codec, schedules: true, headers: dueAhead(),
		})
		if err != nil {
			return errors.Join(err, p.end())
		}
		b.addFloor(m.rate() >= acceptGoal, "accept scheduled records, "+codec.name+": 400 k/s",
			"%s/s", count(m.rate()))
	}
	b.print(t.rows)
	b.print(t.runs.table)
	return p.end()
}

// The load of the lateness section.
const (
	latenessRate  = 10_000 // due per second
	latenessBytes = 100
)

// latenessSection measures how late records reach a consumer that waits for them. Never early is
// checked here too: an early record fails the run.
func latenessSection(ctx context.Context, b *bench) error {
	seconds := 10
	if b.quick {
		seconds = 2
	}
	t := newTable("Lateness at the consumer: 10,000 due per second, 100 B, 1 partition",
		"p50", "p99", "p99.9", "max", "min", "records", "server CPU/rec", "fdatasyncs", "run")
	var p50, p99 []time.Duration
	for range b.runs {
		chronos, err := b.startChronos()
		if err != nil {
			return err
		}
		late, used, err := b.latenessRun(ctx, chronos, seconds*latenessRate)
		if err != nil {
			return err
		}
		p50, p99 = append(p50, quantile(late, 0.5)), append(p99, quantile(late, 0.99))
		t.add(millis(quantile(late, 0.5)), millis(quantile(late, 0.99)),
			millis(quantile(late, 0.999)), millis(late[len(late)-1]), millis(late[0]),
			count(float64(len(late))), micros(used.cpu, float64(len(late))), count(used.fsyncs),
			fmt.Sprintf("%d s", seconds))
		if err := chronos.end(); err != nil {
			return err
		}
	}
	t.add(millis(medianDuration(p50)), millis(medianDuration(p99)), "", "", "", "", "", "",
		fmt.Sprintf("median of %d", b.runs))
	b.print(t)
	for _, goal := range []struct {
		what string
		of   []time.Duration
		most time.Duration
	}{
		{"lateness p50, 10 k/s: 1 ms", p50, time.Millisecond},
		{"lateness p99, 10 k/s: 5 ms", p99, 5 * time.Millisecond},
	} {
		got := medianDuration(goal.of)
		b.addFloor(got <= goal.most, goal.what, "%s", millis(got))
	}
	return nil
}

// latenessRun schedules all records ahead, then waits for them, and returns the sorted lateness
// of each.
func (b *bench) latenessRun(
	ctx context.Context, t *target, records int,
) ([]time.Duration, usage, error) {
	topic, err := t.newTopic(ctx, topicSpec{partitions: 1, schedules: true})
	if err != nil {
		return nil, usage{}, err
	}
	const lead = 4 * time.Second // longer than accepting all of them takes
	first := time.Now().Add(lead).UnixMilli()
	i := 0
	err = b.fill(ctx, t, topic, filling{
		records: records, size: latenessBytes,
		headers: func() headerList {
			i++
			return dueHeader(first + int64(i-1)*1000/latenessRate)
		},
	})
	if err != nil {
		return nil, usage{}, err
	}
	if over := time.Now().UnixMilli() - first; over > 0 {
		return nil, usage{}, fmt.Errorf("invalid run: accepting took %d ms longer than planned", over)
	}
	cl, err := t.client(kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, usage{}, err
	}
	defer cl.Close()
	before, err := t.usage()
	if err != nil {
		return nil, usage{}, err
	}
	late, err := readLateness(ctx, cl, records)
	if err != nil {
		return nil, usage{}, err
	}
	after, err := t.usage()
	return late, after.minus(before), err
}

func readLateness(
	ctx context.Context, cl *kgo.Client, records int,
) ([]time.Duration, error) {
	late := make([]time.Duration, 0, records)
	for len(late) < records {
		fetches := cl.PollFetches(ctx)
		at := time.Now()
		if err := fetches.Err(); err != nil {
			return nil, fmt.Errorf("read %d of %d: %w", len(late), records, err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			d, err := lateness(it.Next(), at)
			if err != nil {
				return nil, err
			}
			late = append(late, d)
		}
	}
	slices.Sort(late)
	return late, nil
}

// lateness is how long after its due time a record arrived; the due time is the server's header.
func lateness(r *kgo.Record, at time.Time) (time.Duration, error) {
	for _, h := range r.Headers {
		if h.Key != "chronos-scheduled-for" {
			continue
		}
		ms, err := strconv.ParseInt(string(h.Value), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("due time: %w", err)
		}
		d := at.Sub(time.UnixMilli(ms))
		if d < 0 {
			return 0, fmt.Errorf("record at %d is %s early", r.Offset, -d)
		}
		return d, nil
	}
	return 0, fmt.Errorf("record at %d carries no due time", r.Offset)
}
