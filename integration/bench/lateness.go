package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The rate at which design.md section 7 states its goals, and these.
const (
	latenessRate       = 10_000 // due per second
	latenessMedianGoal = time.Millisecond
	latenessTailGoal   = 5 * time.Millisecond
)

// The rates at which records are accepted even by a busy machine: they decide how far ahead a load
// begins to become due.
const (
	acceptMin     = 100_000
	natsAcceptMin = 30_000
	natsAlwaysMin = 2_500
)

// dueLoad says what becomes due: at a rate for a while, or all at once.
type dueLoad struct {
	records int
	rate    int // per second; 0: all in the same millisecond
	length  time.Duration
	lead    time.Duration // from the first produced record to the first due one
}

// dueAt returns a load at a rate.
func (b *bench) dueAt(rate, accepted int) dueLoad {
	length := b.schedules.length
	records := max(1, int(float64(rate)*length.Seconds()))
	return dueLoad{
		records: records, rate: rate, length: length,
		lead: time.Second + time.Duration(records)*time.Second/time.Duration(accepted),
	}
}

// due is when the i-th record is due, in Unix milliseconds.
func (l dueLoad) due(first int64, i int) int64 {
	if l.rate == 0 {
		return first
	}
	return first + int64(i)*1000/int64(l.rate)
}

// lates is how late the records of one run came.
type lates struct {
	records                     int
	least, p50, p99, p999, most time.Duration
	took                        time.Duration // from the first due time to the last arrival
	used                        usage
}

// latesOf sums up sorted durations.
func latesOf(sorted []time.Duration) lates {
	return lates{
		records: len(sorted), least: sorted[0], p50: quantile(sorted, 0.5),
		p99: quantile(sorted, 0.99), p999: quantile(sorted, 0.999), most: sorted[len(sorted)-1],
	}
}

// overrun is an error of a run that accepted its records more slowly than was planned, so that
// they were late before they were there.
type overrun struct{ by time.Duration }

// Error says by how much.
func (o overrun) Error() string {
	return fmt.Sprintf("accepting took %s longer than planned", o.by)
}

// ahead makes a run again, further ahead, when it overran.
func ahead[T any](l dueLoad, run func(l dueLoad) (T, error)) (T, error) {
	const tries = 4
	for try := 1; ; try++ {
		result, err := run(l)
		var over overrun
		if try == tries || !errors.As(err, &over) {
			return result, err
		}
		l.lead = 2*l.lead + over.by
	}
}

// latenessSection measures how late records reach a consumer that waits for them. Never early is
// checked here too: an early record fails the run.
func latenessSection(ctx context.Context, b *bench) error {
	timer, err := b.startTimer()
	if err != nil {
		return err
	}
	targets := []*target{timer}
	end := func(err error) error {
		for _, t := range targets {
			err = errors.Join(err, t.end())
		}
		return err
	}
	nats := map[string]*target{}
	for _, m := range natsModes {
		if !b.schedules.nats {
			break
		}
		t, err := b.startNats(m)
		if err != nil {
			return end(err)
		}
		nats[m.name], targets = t, append(targets, t)
	}
	var turns []turn[lates]
	var rates []int
	for _, rate := range b.schedules.rates {
		of := b.latenessTurns(ctx, rate, timer, nats)
		for range of {
			rates = append(rates, rate)
		}
		turns = append(turns, of...)
	}
	all, err := takeTurns(b.runs, turns)
	if err != nil {
		return end(err)
	}
	b.printLateness(turns, rates, all)
	return end(nil)
}

// latenessTurns are those who take part at one rate.
func (b *bench) latenessTurns(
	ctx context.Context, rate int, timer *target, nats map[string]*target,
) []turn[lates] {
	every := 0
	if rate != latenessRate {
		every = fourth
	}
	turns := []turn[lates]{
		{name: "floor", every: every, run: func() (lates, error) {
			return timerRun(timer, b.dueAt(rate, acceptMin))
		}},
		{name: chronosName, every: every, run: func() (lates, error) {
			return ahead(b.dueAt(rate, acceptMin), func(l dueLoad) (lates, error) {
				return b.freshLateness(ctx, l)
			})
		}},
	}
	for _, m := range natsModes {
		t := nats[m.name]
		if t == nil || rate > m.rate {
			continue
		}
		accepted := natsAcceptMin
		if m.rate < natsAcceptMin {
			accepted = natsAlwaysMin
		}
		turns = append(turns, turn[lates]{name: m.name, every: fourth, run: func() (lates, error) {
			return ahead(b.dueAt(rate, accepted), func(l dueLoad) (lates, error) {
				return b.natsLateness(ctx, t, m, l)
			})
		}})
	}
	return turns
}

func (b *bench) printLateness(turns []turn[lates], rates []int, all [][]lates) {
	title := fmt.Sprintf("Lateness at the consumer: %d B, 1 partition", scheduleBytes)
	t := newTable(title, "due", "who", "p50", "p99", "p99.9", "max", "min", "records",
		"server CPU/rec", "fdatasyncs", "run")
	t.note("Floor: a process that wakes at each millisecond, writes that millisecond's bytes over " +
		"others, syncs them and sends them to this process. Medians of the runs, which take turns; " +
		"all but floor and chronos at 10 k/s take part in every fourth round.")
	r := newRunsTable(title, "duration")
	for i, turn := range turns {
		m := middleLates(all[i])
		due, fsyncs := count(float64(rates[i]))+"/s", "-"
		if turn.name == chronosName {
			fsyncs = count(m.used.fsyncs)
		}
		t.add(due, turn.name, millis(m.p50), millis(m.p99), millis(m.p999), millis(m.most),
			millis(m.least), count(float64(m.records)), micros(m.used.cpu, float64(m.records)), fsyncs,
			fmt.Sprintf("%d x %.1f s", len(all[i]), b.schedules.length.Seconds()))
		var p50, p99 []time.Duration
		for _, run := range all[i] {
			p50, p99 = append(p50, run.p50), append(p99, run.p99)
		}
		r.addDurations(due, turn.name+" p50", p50)
		r.addDurations(due, turn.name+" p99", p99)
		if turn.name == chronosName && rates[i] == latenessRate {
			b.addFloor(m.p50 <= latenessMedianGoal, "lateness p50, 10 k/s: 1 ms", "%s", millis(m.p50))
			b.addFloor(m.p99 <= latenessTailGoal, "lateness p99, 10 k/s: 5 ms", "%s", millis(m.p99))
		}
	}
	b.print(t)
	b.print(r.table)
}

// middleLates takes the median of each figure over all runs.
func middleLates(runs []lates) lates {
	of := func(figure func(lates) time.Duration) time.Duration {
		ds := make([]time.Duration, len(runs))
		for i, run := range runs {
			ds[i] = figure(run)
		}
		return medianDuration(ds)
	}
	return lates{
		records: runs[0].records,
		least:   of(func(l lates) time.Duration { return l.least }),
		p50:     of(func(l lates) time.Duration { return l.p50 }),
		p99:     of(func(l lates) time.Duration { return l.p99 }),
		p999:    of(func(l lates) time.Duration { return l.p999 }),
		most:    of(func(l lates) time.Duration { return l.most }),
		took:    of(func(l lates) time.Duration { return l.took }),
		used: usage{
			cpu: of(func(l lates) time.Duration { return l.used.cpu }), fsyncs: runs[0].used.fsyncs,
		},
	}
}

// freshLateness measures a load on a server of its own.
func (b *bench) freshLateness(ctx context.Context, l dueLoad) (lates, error) {
	chronos, err := b.startChronos()
	if err != nil {
		return lates{}, err
	}
	late, err := b.latenessRun(ctx, chronos, l)
	return late, errors.Join(err, chronos.end())
}

// latenessRun schedules all records ahead, then waits for them.
func (b *bench) latenessRun(ctx context.Context, t *target, l dueLoad) (lates, error) {
	topic, err := t.newTopic(ctx, topicSpec{partitions: 1, schedules: true})
	if err != nil {
		return lates{}, err
	}
	first := time.Now().Add(l.lead).UnixMilli()
	if err := b.fillDue(ctx, t, topic, l, first); err != nil {
		return lates{}, err
	}
	if by := time.Since(time.UnixMilli(first)); by > 0 {
		return lates{}, overrun{by}
	}
	before, err := t.usage()
	if err != nil {
		return lates{}, err
	}
	late, err := readLates(ctx, t, topic, l.records)
	if err != nil {
		return late, err
	}
	after, err := t.usage()
	late.used = after.minus(before)
	return late, err
}

// fillDue writes the records of a load.
func (b *bench) fillDue(
	ctx context.Context, t *target, topic string, l dueLoad, first int64,
) error {
	i := 0
	return b.fill(ctx, t, topic, filling{
		records: l.records, size: scheduleBytes,
		headers: func() headerList {
			i++
			return dueHeader(l.due(first, i-1))
		},
	})
}

// natsLateness measures a load on NATS.
func (b *bench) natsLateness(
	ctx context.Context, t *target, m natsMode, l dueLoad,
) (lates, error) {
	var d natsDelivered
	u, err := b.askNats(ctx, t, &d, "deliver", "-window", strconv.Itoa(m.window),
		"-records", strconv.Itoa(l.records), "-rate", strconv.Itoa(l.rate), "-lead", l.lead.String())
	if err == nil && d.Overran > 0 {
		err = overrun{d.Overran}
	}
	return lates{
		records: d.Records, least: d.Min, p50: d.P50, p99: d.P99, p999: d.P999, most: d.Max,
		took: d.Took, used: u,
	}, err
}

// readLates reads that many due records of a topic from its start.
func readLates(ctx context.Context, t *target, topic string, records int) (lates, error) {
	cl, err := t.client(kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return lates{}, err
	}
	defer cl.Close()
	late := make([]time.Duration, 0, records)
	var first, last time.Time
	for len(late) < records {
		fetches := cl.PollFetches(ctx)
		last = time.Now()
		if err := fetches.Err(); err != nil {
			return lates{}, fmt.Errorf("read %d of %d: %w", len(late), records, err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			d, err := lateness(it.Next(), last)
			if err != nil {
				return lates{}, err
			}
			if due := last.Add(-d); first.IsZero() || due.Before(first) {
				first = due
			}
			late = append(late, d)
		}
	}
	slices.Sort(late)
	l := latesOf(late)
	l.took = last.Sub(first)
	return l, nil
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
