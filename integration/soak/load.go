package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	plainTopics   = 4
	partitions    = 3
	valueBytes    = 700
	retainedBytes = "2097152" // of each partition, besides its newest segment
	segmentBytes  = "1048576"
	memberLife    = 15 * time.Second // after which a group's second member goes, and comes again
	settleMax     = time.Minute      // for what is still on its way when the load ends
)

// load is all that clients do.
type load struct {
	addr  string
	rate  int
	admin *kadm.Client
	lanes []*lane
	keyed *keyed
	read  chan struct{} // cap 1: holds a value when a consumer has read more

	failed struct {
		sync.Mutex
		err error
	}
}

// newLoad makes the topics.
func newLoad(ctx context.Context, addr string, rate int) (*load, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr))
	if err != nil {
		return nil, err
	}
	l := &load{
		addr: addr, rate: rate, admin: kadm.NewClient(cl), read: make(chan struct{}, 1),
	}
	for i := range plainTopics {
		name := fmt.Sprintf("soak-%d", i)
		if err := l.create(ctx, name, partitions, map[string]string{
			"retention.bytes": retainedBytes, "segment.bytes": segmentBytes,
		}); err != nil {
			return nil, err
		}
		// Every other topic gets scheduled records among the plain ones.
		l.lanes = append(l.lanes, newLane(l, i, name, i%2 == 1))
	}
	l.keyed = newKeyed(l, "soak-keyed")
	return l, l.create(ctx, l.keyed.topic, 1, map[string]string{
		"cleanup.policy": "compact", "segment.bytes": segmentBytes, "segment.ms": "5000",
		"min.cleanable.dirty.ratio": "0.01", "delete.retention.ms": "1000",
		"max.compaction.lag.ms": "10000",
	})
}

func (l *load) create(
	ctx context.Context, topic string, partitions int32, configs map[string]string,
) error {
	set := map[string]*string{}
	for name, value := range configs {
		set[name] = &value
	}
	if _, err := l.admin.CreateTopic(ctx, partitions, 1, set, topic); err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return nil
}

// client returns a client that the caller closes.
func (l *load) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(l.addr)}, opts...)...)
}

func (l *load) close() { l.admin.Close() }

// fail keeps the first error of any client.
func (l *load) fail(err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	l.failed.Lock()
	defer l.failed.Unlock()
	if l.failed.err == nil {
		l.failed.err = err
	}
}

func (l *load) failure() error {
	l.failed.Lock()
	defer l.failed.Unlock()
	return l.failed.err
}

// during runs the load for a while and calls look now and then. Then producers stop, and consumers
// go on until they have read everything, or for settleMax.
func (l *load) during(ctx context.Context, lasts time.Duration, look func() error) error {
	producing, stopProducing := context.WithTimeout(ctx, lasts)
	defer stopProducing()
	consuming, stopConsuming := context.WithCancel(ctx)
	defer stopConsuming()
	var producers, consumers sync.WaitGroup
	perLane := max(1, l.rate/(len(l.lanes)+1))
	// The end of producing and consuming ends these goroutines; the wait groups wait for them.
	for _, lane := range l.lanes {
		producers.Go(func() { l.fail(lane.produce(producing, perLane)) })
		consumers.Go(func() { l.fail(lane.consume(consuming)) })
		consumers.Go(func() { l.fail(lane.comeAndGo(consuming)) })
	}
	producers.Go(func() { l.fail(l.keyed.produce(producing, perLane)) })
	producers.Go(func() { l.fail(l.churn(producing)) })
	err := l.lookUntil(producing, look)
	stopProducing()
	producers.Wait()
	if err == nil {
		l.settle(ctx)
	}
	stopConsuming()
	consumers.Wait()
	return errors.Join(err, l.failure())
}

// settle waits until consumers have read everything, for settleMax at most: what is missing then is
// the judge's to name.
func (l *load) settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleMax)
	defer cancel()
	for !l.allRead() {
		select {
		case <-ctx.Done():
			return
		case <-l.read:
		}
	}
}

// lookUntil looks until the time is up, a look fails or a client does.
func (l *load) lookUntil(ctx context.Context, look func() error) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := errors.Join(look(), l.failure()); err != nil {
			return err
		}
	}
}

func (l *load) allRead() bool {
	for _, lane := range l.lanes {
		if !lane.allRead() {
			return false
		}
	}
	return true
}

// churn makes, uses and deletes topics.
func (l *load) churn(ctx context.Context) error {
	for n := 0; ctx.Err() == nil; n++ {
		topic := fmt.Sprintf("soak-passing-%d", n)
		if err := l.create(ctx, topic, partitions, nil); err != nil {
			return ignoreEnd(ctx, err)
		}
		cl, err := l.client(kgo.DefaultProduceTopic(topic))
		if err != nil {
			return err
		}
		err = cl.ProduceSync(ctx, &kgo.Record{Value: make([]byte, valueBytes)},
			&kgo.Record{Value: []byte("later"), Headers: []kgo.RecordHeader{delayHeader("1h")}}).FirstErr()
		cl.Close()
		if err == nil {
			_, err = l.admin.DeleteTopic(ctx, topic)
		}
		if err != nil {
			return ignoreEnd(ctx, fmt.Errorf("passing topic: %w", err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
	return nil
}

// ignoreEnd is no error for one that came of the end of the load.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// judge checks all histories.
func (l *load) judge(ctx context.Context) error {
	var errs []error
	for _, lane := range l.lanes {
		errs = append(errs, lane.judge())
	}
	errs = append(errs, l.judgeRetention(ctx))
	return errors.Join(append(errs, l.keyed.judge(ctx))...)
}

// judgeRetention demands that segments have rolled and were deleted, or the soak had no retention.
func (l *load) judgeRetention(ctx context.Context) error {
	for _, lane := range l.lanes {
		starts, err := l.admin.ListStartOffsets(ctx, lane.topic)
		if err == nil {
			err = starts.Error()
		}
		if err != nil {
			return fmt.Errorf("start offsets of %s: %w", lane.topic, err)
		}
		deleted := int64(0)
		starts.Each(func(o kadm.ListedOffset) { deleted += o.Offset })
		if deleted == 0 {
			return fmt.Errorf("%s: nothing was deleted; the soak is too short or too slow", lane.topic)
		}
	}
	return nil
}
