package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"
)

// headerTs is the control header that names a due time, headerID the one that names a record.
const (
	headerTs = "chronos-schedule-ts"
	headerID = "chronos-schedule-id"
)

// scheduleBytes is the value of each scheduled record.
const scheduleBytes = 100

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
	p, err := b.startPair()
	if err != nil {
		return err
	}
	targets := []*target{p.drop, p.chronos}
	end := func(err error) error {
		for _, t := range targets {
			err = errors.Join(err, t.end())
		}
		return err
	}
	turns := []contender{b.acceptTurn(ctx, p.drop, plain)}
	for _, codec := range benchCodecs[:2] {
		turns = append(turns, b.acceptTurn(ctx, p.chronos, codec))
	}
	if b.schedules.nats {
		for _, m := range natsModes {
			t, err := b.startNats(m)
			if err != nil {
				return end(err)
			}
			targets = append(targets, t)
			turns = append(turns, contender{name: m.name, every: fourth, run: func() (sample, error) {
				return b.natsAccept(ctx, t, m)
			}})
		}
	}
	all, err := b.takeTurns(turns...)
	if err != nil {
		return end(err)
	}
	b.printAccepted(turns, all)
	return end(nil)
}

func (b *bench) acceptTurn(ctx context.Context, t *target, codec codec) contender {
	c := produceCase{
		size: scheduleBytes, partitions: 1, codec: codec, schedules: true, headers: dueAhead(),
	}
	return contender{name: t.name + " " + codec.name, run: func() (sample, error) {
		return b.produceRun(ctx, t, c)
	}}
}

func (b *bench) printAccepted(turns []contender, all [][]sample) {
	const title = "Schedule: records of 100 B, due within a day, accepted"
	t := newTable(title, "who", "accepted", "chronos plain is", "server CPU/rec", "client CPU/rec",
		"fdatasyncs", "written", "run")
	t.note("All but drop and NATS default acknowledge after a sync; NATS always syncs before each "+
		"acknowledgement. Each takes part in every fourth round. Their client is nats.go, with %d "+
		"and %d messages in flight.", natsModes[0].window, natsModes[1].window)
	runs := newRunsTable(title, "records/s")
	ours := middle(all[1])
	for i, turn := range turns {
		m := middle(all[i])
		fsyncs, written := "-", "-"
		if m.used.written > 0 {
			fsyncs, written = count(m.used.fsyncs), megabytes(float64(m.used.written))
		}
		t.add(turn.name, count(m.rate())+"/s", ratio(ours.rate(), m.rate())+" x",
			micros(m.used.cpu, m.records), micros(m.used.client, m.records), fsyncs, written,
			fmt.Sprintf("%d x %.1f s", len(all[i]), m.elapsed.Seconds()))
		runs.addRates(bytesOf(scheduleBytes), turn.name, all[i])
	}
	b.print(t)
	b.print(runs.table)
	for i, codec := range benchCodecs[:2] {
		rate := middle(all[1+i]).rate()
		b.addFloor(rate >= acceptGoal, "accept scheduled records, "+codec.name+": 400 k/s", "%s/s",
			count(rate))
	}
}
