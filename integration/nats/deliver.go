package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// delivered is what deliver and probe measured.
type delivered struct {
	Records  int           `json:"records"`
	Min      time.Duration `json:"min"` // lateness at the consumer
	P50      time.Duration `json:"p50"`
	P99      time.Duration `json:"p99"`
	P999     time.Duration `json:"p999"`
	Max      time.Duration `json:"max"`
	Took     time.Duration `json:"took"`     // from the first due time to the last arrival
	Overran  time.Duration `json:"overran"`  // accepting took longer than the lead, by that much
	Accepted time.Duration `json:"accepted"` // how long accepting took
}

// arrivalMax bounds the wait for the next message.
const arrivalMax = time.Minute

// deliver publishes schedules that become due at a rate, and measures when they come.
func deliver(args []string) error {
	addr, l, err := parse("deliver", args)
	if err != nil {
		return err
	}
	ctx := context.Background()
	c, err := connect(addr, l.size, l.window)
	if err != nil {
		return err
	}
	defer c.nc.Close()
	s, err := c.makeStream(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	first := begun.Add(l.lead).UnixMilli()
	for i := range l.records {
		due := first
		if l.rate > 0 {
			due += int64(i) * 1000 / int64(l.rate)
		}
		if err := c.schedule(due); err != nil {
			return err
		}
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	d := delivered{Accepted: time.Since(begun)}
	if d.Overran = time.Since(time.UnixMilli(first)); d.Overran > 0 {
		return answer(d) // what it would measure is not lateness
	}
	d.Overran = 0
	late, last, err := read(ctx, s, l.records)
	if err != nil {
		return err
	}
	d.sum(late)
	d.Took = last.Sub(time.UnixMilli(first))
	if err := c.dropStream(ctx); err != nil {
		return err
	}
	return answer(d)
}

func (d *delivered) sum(late []time.Duration) {
	slices.Sort(late)
	at := func(q float64) time.Duration {
		return late[min(int(q*float64(len(late))), len(late)-1)]
	}
	d.Records, d.Min, d.Max = len(late), late[0], late[len(late)-1]
	d.P50, d.P99, d.P999 = at(0.5), at(0.99), at(0.999)
}

// read waits for that many due messages and returns how late each came, and when the last did.
func read(
	ctx context.Context, s jetstream.Stream, records int,
) (late []time.Duration, last time.Time, err error) {
	consumer, err := s.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{dueSubject}, DeliverPolicy: jetstream.DeliverAllPolicy,
	})
	if err != nil {
		return nil, last, fmt.Errorf("make a consumer: %w", err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		return nil, last, fmt.Errorf("consume: %w", err)
	}
	defer messages.Stop()
	for range records {
		m, err := messages.Next(jetstream.NextMaxWait(arrivalMax))
		if err != nil {
			return nil, last, fmt.Errorf("message %d of %d: %w", len(late), records, err)
		}
		last = time.Now()
		due, err := dueOf(m.Data())
		if err != nil {
			return nil, last, err
		}
		late = append(late, last.Sub(time.UnixMilli(due)))
	}
	return late, last, nil
}

// probe publishes one schedule beside those that are there and waits for it: a server that answers
// it serves.
func probe(args []string) error {
	addr, l, err := parse("probe", args)
	if err != nil {
		return err
	}
	ctx := context.Background()
	c, err := connect(addr, l.size, l.window)
	if err != nil {
		return err
	}
	defer c.nc.Close()
	s, err := c.js.Stream(ctx, scheduleStream)
	if err != nil {
		return fmt.Errorf("find the stream: %w", err)
	}
	c.next = -1 // a subject that no other schedule has
	due := time.Now().Add(l.lead)
	if err := c.schedule(due.UnixMilli()); err != nil {
		return err
	}
	if err := c.settle(ctx); err != nil {
		return err
	}
	late, last, err := read(ctx, s, 1)
	if err != nil {
		return err
	}
	d := delivered{Took: last.Sub(due)}
	d.sum(late)
	return answer(d)
}
