package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// Facts of what is asked of a restarted server.
const (
	overdueAfter = 100 * time.Millisecond // due that long after it was produced; the server is down
	probeLead    = 50 * time.Millisecond
	onTime       = 10 * time.Millisecond // that late at most is on time
	pendingTail  = 10                    // one in so many is accepted just before the kill
	probeMax     = 5 * time.Minute       // until one is on time
)

// The values of the records that are not only pending.
const overdueValue = "overdue"

// again is what a restarted server did, each from the start of its process.
type again struct {
	ready, served, overdue, onTime time.Duration
	lateness                       time.Duration // of the record that was on time
}

// restartRow kills the server while a record waits for a time that comes before the next start, and
// starts it on the same data.
func (b *bench) restartRow(
	ctx context.Context, t *table, old *target, c pendingCase, topic string,
) (server *target, pending int, err error) {
	ordinary, err := old.newTopic(ctx, topicSpec{partitions: 1, schedules: true})
	if err != nil {
		return nil, 0, errors.Join(err, old.end())
	}
	tail := max(1, c.records/pendingTail)
	err = b.fill(ctx, old, topic, filling{
		records: tail, size: scheduleBytes, headers: c.headers(c.records),
	})
	if err != nil {
		return nil, 0, errors.Join(err, old.end())
	}
	pending = c.records + tail
	if err := produceDue(ctx, old, topic, overdueValue, overdueAfter); err != nil {
		return nil, 0, errors.Join(err, old.end())
	}
	old.Kill()
	if err := wait(ctx, overdueAfter); err != nil {
		return nil, 0, err
	}
	launch, addr, err := harness.ServeLaunch(old.dir)
	if err != nil {
		return nil, 0, err
	}
	begun := time.Now()
	p, err := launch.Start()
	if err != nil {
		return nil, 0, err
	}
	server = &target{Process: p, name: old.name, addr: addr, web: launch.HTTPAddr, dir: old.dir}
	a := again{ready: time.Since(begun)}
	if err := a.ask(ctx, server, topic, ordinary, begun); err != nil {
		return nil, 0, errors.Join(err, server.end())
	}
	if err := b.awaitPending(ctx, server, pending); err != nil {
		return nil, 0, errors.Join(err, server.end())
	}
	var r resting
	if err := b.rest(ctx, server, &r); err != nil {
		return nil, 0, errors.Join(err, server.end())
	}
	t.add(c.String(), seconds(a.ready), seconds(a.served), seconds(a.overdue), seconds(a.onTime),
		millis(a.lateness), megabytes(float64(r.resident)), megabytes(float64(r.peak)))
	b.addFloor(a.served <= restartGoal, c.String()+" pending: serves 5 s after SIGKILL", "%s",
		seconds(a.served))
	return server, pending, nil
}

// produceDue produces one record that is due after some time.
func produceDue(ctx context.Context, t *target, topic, value string, after time.Duration) error {
	cl, err := t.client(kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer cl.Close()
	return cl.ProduceSync(ctx, &kgo.Record{
		Value: []byte(value), Headers: dueHeader(time.Now().Add(after).UnixMilli()),
	}).FirstErr()
}

// ask makes the server serve: an ordinary record there and back, then the delivery of the overdue
// record, then records that are due soon until one comes on time.
func (a *again) ask(
	ctx context.Context, t *target, topic, ordinary string, begun time.Time,
) error {
	ctx, cancel := context.WithTimeout(ctx, probeMax)
	defer cancel()
	cl, err := t.client(kgo.DefaultProduceTopic(topic), kgo.ConsumeTopics(topic, ordinary),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return err
	}
	defer cl.Close()
	r := &kgo.Record{Topic: ordinary, Value: []byte("there and back")}
	if err := cl.ProduceSync(ctx, r).FirstErr(); err != nil {
		return err
	}
	for probe := 0; ; {
		fetches := cl.PollFetches(ctx)
		at := time.Now()
		if err := fetches.Err(); err != nil {
			return fmt.Errorf("wait for records after the restart, %+v so far: %w", *a, err)
		}
		for it := fetches.RecordIter(); !it.Done(); {
			r := it.Next()
			if r.Topic == ordinary {
				a.served = at.Sub(begun)
				continue
			}
			late, err := lateness(r, at)
			if err != nil {
				return err
			}
			if string(r.Value) == overdueValue {
				a.overdue = at.Sub(begun)
			} else if a.lateness = late; late <= onTime {
				a.onTime = at.Sub(begun)
			}
		}
		if a.served == 0 || a.overdue == 0 {
			continue
		}
		if a.onTime != 0 {
			return nil
		}
		probe++
		err := cl.ProduceSync(ctx, &kgo.Record{
			Value:   []byte(strconv.Itoa(probe)),
			Headers: dueHeader(time.Now().Add(probeLead).UnixMilli()),
		}).FirstErr()
		if err != nil {
			return err
		}
	}
}
