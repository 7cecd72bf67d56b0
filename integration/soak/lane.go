package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/history"
)

// scheduledOf is how many records there are for each scheduled one, in topics that have such, and
// delayMax bounds the delay.
const (
	scheduledOf = 5
	delayMax    = 5 * time.Second
)

// lane is one topic with its producer and its group of consumers.
type lane struct {
	l        *load
	id       int
	topic    string
	schedule bool

	mu struct {
		sync.Mutex
		acked []history.Write
		reads map[place]history.Read // a group reads some twice when its members change
		err   error
	}
}

// place is where a record lies.
type place struct {
	partition int32
	offset    int64
}

func newLane(l *load, id int, topic string, schedule bool) *lane {
	n := &lane{l: l, id: id, topic: topic, schedule: schedule}
	n.mu.reads = make(map[place]history.Read)
	return n
}

func delayHeader(delay string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: "chronos-schedule-delay", Value: []byte(delay)}
}

// pace calls do so many times a second until the end.
func pace(ctx context.Context, perSecond int, do func(n int)) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * float64(perSecond)); n < due; n++ {
			do(n)
		}
	}
}

// produce writes numbered records until the end, and then flushes.
func (n *lane) produce(ctx context.Context, perSecond int) error {
	cl, err := n.l.client(kgo.DefaultProduceTopic(n.topic),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return err
	}
	defer cl.Close()
	padding := strings.Repeat("x", valueBytes)
	pace(ctx, perSecond, func(number int) {
		w := history.Write{
			Key:       history.Key{Producer: n.id, Number: number},
			Partition: int32(number % partitions),
		}
		r := &kgo.Record{Partition: w.Partition}
		if n.schedule && number%scheduledOf == 0 {
			w.DueMs = time.Now().Add(time.Duration(number) * 37 * time.Millisecond % delayMax).UnixMilli()
			r.Headers = []kgo.RecordHeader{{Key: "chronos-schedule-ts", Value: fmt.Append(nil, w.DueMs)}}
		}
		r.Value = fmt.Appendf(nil, "%d %d %d %s", w.Producer, w.Number, w.DueMs, padding)
		cl.Produce(context.Background(), r, func(_ *kgo.Record, err error) {
			n.mu.Lock()
			defer n.mu.Unlock()
			if err != nil {
				n.mu.err = fmt.Errorf("produce to %s: %w", n.topic, err)
				return
			}
			n.mu.acked = append(n.mu.acked, w)
		})
	})
	return cl.Flush(context.WithoutCancel(ctx))
}

// consume is the group's member that stays.
func (n *lane) consume(ctx context.Context) error {
	cl, err := n.l.client(kgo.ConsumeTopics(n.topic), kgo.ConsumerGroup(n.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitInterval(time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	for ctx.Err() == nil {
		fetches := cl.PollFetches(ctx)
		at := time.Now().UnixMilli()
		for _, e := range fetches.Errors() {
			if !errors.Is(e.Err, context.Canceled) {
				return fmt.Errorf("consume %s: %w", n.topic, e.Err)
			}
		}
		n.note(fetches.Records(), at)
	}
	return nil
}

// comeAndGo is the group's member that does not.
func (n *lane) comeAndGo(ctx context.Context) error {
	for ctx.Err() == nil {
		life, cancel := context.WithTimeout(ctx, memberLife)
		err := n.consume(life)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(memberLife / 3):
		}
	}
	return nil
}

// note keeps what was read. The same place must always hold the same record.
func (n *lane) note(records []*kgo.Record, at int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case n.l.read <- struct{}{}: // Who waits for it looks when the lock is free.
	default:
	}
	for _, r := range records {
		read := history.Read{
			Partition: r.Partition, Offset: r.Offset, StampMs: r.Timestamp.UnixMilli(), ArrivedMs: at,
		}
		_, err := fmt.Sscanf(string(r.Value), "%d %d %d", &read.Producer, &read.Number, &read.DueMs)
		if err != nil {
			n.mu.err = fmt.Errorf("%s has a record that is not ours: %.40q", n.topic, r.Value)
			continue
		}
		p := place{r.Partition, r.Offset}
		if was, ok := n.mu.reads[p]; ok && was.Key != read.Key {
			n.mu.err = fmt.Errorf("offset %d of %s-%d was %v, is %v", r.Offset, n.topic, r.Partition,
				was.Key, read.Key)
		}
		n.mu.reads[p] = read
	}
}

func (n *lane) allRead() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.mu.reads) >= len(n.mu.acked)
}

func (n *lane) judge() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	reads := make([]history.Read, 0, len(n.mu.reads))
	var unscheduled []history.Read
	for _, r := range n.mu.reads {
		reads = append(reads, r)
		if r.DueMs == 0 {
			unscheduled = append(unscheduled, r)
		}
	}
	fmt.Printf("%s: %d acknowledged, %d read\n", n.topic, len(n.mu.acked), len(reads))
	err := errors.Join(n.mu.err, history.Lost(n.mu.acked, reads), history.Duplicate(reads),
		history.Phantom(n.mu.acked, reads), history.OutOfOrder(unscheduled), history.Early(reads),
		history.Dense(reads))
	if err != nil {
		return fmt.Errorf("%s: %w", n.topic, err)
	}
	return nil
}
