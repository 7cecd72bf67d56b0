package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// The goals of a burst: design.md section 7 and issue 4.
const (
	burstRateGoal    = 300_000
	burstTrafficGoal = 50 * time.Millisecond
)

// The rates at which a burst is accepted even by a busy machine, and how long ordinary traffic is
// measured before it is due.
const (
	burstAcceptMin = 250_000
	burstQuiet     = 2 * time.Second
)

// burstRun is what one burst measured: the burst, and the traffic beside it before and during it.
type burstRun struct {
	lates
	quietAck, quietSeen lates
	ack, seen           lates
	peak                int64 // resident memory of the server
}

func (r burstRun) rate() float64 { return float64(r.records) / r.took.Seconds() }

// burstSection measures how fast records drain that are all due in one millisecond, and how
// ordinary traffic on another topic fares meanwhile.
func burstSection(ctx context.Context, b *bench) error {
	turns := []turn[burstRun]{{name: chronosName, every: second, run: func() (burstRun, error) {
		return ahead(burstOf(b.schedules.burst, burstAcceptMin), func(l dueLoad) (burstRun, error) {
			return b.chronosBurst(ctx, l)
		})
	}}}
	m := natsModes[0]
	if b.schedules.natsBurst > 0 {
		turns = append(turns, turn[burstRun]{name: m.name, every: fourth, run: func() (burstRun, error) {
			l := burstOf(b.schedules.natsBurst, natsAcceptMin)
			return ahead(l, func(l dueLoad) (burstRun, error) { return b.natsBurst(ctx, m, l) })
		}})
	}
	all, err := takeTurns(b.runs, turns)
	if err != nil {
		return err
	}
	b.printBursts(turns, all)
	return nil
}

// burstOf is a load that is all due at once.
func burstOf(records, accepted int) dueLoad {
	return dueLoad{
		records: records,
		lead:    burstQuiet + time.Second + time.Duration(records)*time.Second/time.Duration(accepted),
	}
}

func (b *bench) chronosBurst(ctx context.Context, l dueLoad) (burstRun, error) {
	chronos, err := b.startChronos()
	if err != nil {
		return burstRun{}, err
	}
	r, err := b.besideTraffic(ctx, l, chronos, bursting{
		traffic: func() (*beside, error) { return startTraffic(ctx, chronos) },
		burst: func(due time.Time) (func() (lates, error), error) {
			topic, err := chronos.newTopic(ctx, topicSpec{partitions: 1, schedules: true})
			if err != nil {
				return nil, err
			}
			if err := b.fillDue(ctx, chronos, topic, l, due.UnixMilli()); err != nil {
				return nil, err
			}
			return func() (lates, error) { return readLates(ctx, chronos, topic, l.records) }, nil
		},
	})
	return r, errors.Join(err, chronos.end())
}

func (b *bench) natsBurst(ctx context.Context, m natsMode, l dueLoad) (burstRun, error) {
	nats, err := b.startNats(m)
	if err != nil {
		return burstRun{}, err
	}
	r, err := b.besideTraffic(ctx, l, nats, bursting{
		traffic: func() (*beside, error) { return b.startNatsTraffic(ctx, nats) },
		burst: func(time.Time) (func() (lates, error), error) {
			// Its client schedules and reads in one go, so the quiet time includes the scheduling.
			return func() (lates, error) { return b.natsLateness(ctx, nats, m, l) }, nil
		},
	})
	return r, errors.Join(err, nats.end())
}

// bursting is how a server gets its burst: burst schedules it and returns what reads it.
type bursting struct {
	traffic func() (*beside, error)
	burst   func(due time.Time) (read func() (lates, error), err error)
}

// besideTraffic makes a burst with ordinary traffic beside it.
func (b *bench) besideTraffic(
	ctx context.Context, l dueLoad, t *target, w bursting,
) (r burstRun, err error) {
	due := time.Now().Add(l.lead)
	read, err := w.burst(due)
	if err != nil {
		return r, err
	}
	if by := time.Since(due.Add(-burstQuiet)); by > 0 {
		return r, overrun{by}
	}
	traffic, err := w.traffic()
	if err != nil {
		return r, err
	}
	quiet := time.Now()
	if r.lates, err = read(); err != nil {
		return r, errors.Join(err, traffic.abandon())
	}
	ended := time.Now()
	m, err := traffic.end()
	if err != nil {
		return r, err
	}
	if r.peak, err = harness.Peak(t.Pid()); err != nil {
		return r, err
	}
	// NATS's client decides itself when its burst is due; what it took tells.
	due = ended.Add(-r.took)
	var some [4]bool
	r.quietAck, some[0] = between(m.Acked, quiet, due)
	r.quietSeen, some[1] = between(m.Received, quiet, due)
	r.ack, some[2] = between(m.Acked, due, ended)
	r.seen, some[3] = between(m.Received, due, ended)
	if some != [4]bool{true, true, true, true} {
		return r, errors.New("no ordinary record before or during the burst")
	}
	return r, nil
}

func (b *bench) printBursts(turns []turn[burstRun], all [][]burstRun) {
	title := fmt.Sprintf("Burst: %d B, all due in one millisecond, 1 partition, with %d ordinary "+
		"records/s on another topic", scheduleBytes, trafficRate)
	t := newTable(title, "who", "records", "drained in", "rate", "lateness p50", "p99",
		"ack p99 before", "ack p99 during", "max", "seen p99 before", "seen p99 during", "max",
		"peak memory")
	t.note("Before and during: ordinary records acknowledged to their producer, and seen by their " +
		"consumer, counted from when they should have been produced. NATS schedules its burst in " +
		"the time before.")
	for i, turn := range turns {
		var rates []float64
		for _, r := range all[i] {
			rates = append(rates, r.rate())
			t.add(turn.name, count(float64(r.records)), millis(r.took), count(r.rate())+"/s",
				millis(r.p50), millis(r.p99), millis(r.quietAck.p99), millis(r.ack.p99),
				millis(r.ack.most), millis(r.quietSeen.p99), millis(r.seen.p99), millis(r.seen.most),
				megabytes(float64(r.peak)))
		}
		if turn.name != chronosName {
			continue
		}
		rate := medianFloat(rates)
		b.addFloor(rate >= burstRateGoal, "burst: 300 k/s", "%s/s", count(rate))
		for _, of := range []struct {
			what string
			took func(r burstRun) time.Duration
		}{
			{"acknowledged", func(r burstRun) time.Duration { return r.ack.p99 }},
			{"seen", func(r burstRun) time.Duration { return r.seen.p99 }},
		} {
			var p99 []time.Duration
			for _, r := range all[i] {
				p99 = append(p99, of.took(r))
			}
			got := medianDuration(p99)
			b.addFloor(got <= burstTrafficGoal, "ordinary records "+of.what+
				" beside a burst, p99: 50 ms", "%s", millis(got))
		}
	}
	b.print(t)
}
