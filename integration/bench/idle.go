package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// idleFetches is the number of parked fetches, each on a connection of its own.
const idleFetches = 1000

// idleSection measures the CPU of a server that has nothing to do: first with nobody connected,
// then with a thousand fetches that wait for data that does not come.
func idleSection(ctx context.Context, b *bench) error {
	chronos, err := b.startChronos()
	if err != nil {
		return err
	}
	topic, err := chronos.newTopic(ctx, topicSpec{partitions: 1, schedules: true})
	if err != nil {
		return err
	}
	window := max(2*time.Second, b.length())
	t := newTable("Idle: CPU of a server with nothing to do", "", "CPU", "window")
	nobody, err := idleCPU(ctx, chronos, window)
	if err != nil {
		return err
	}
	t.add("nobody connected", millis(nobody), window.String())
	var conns []*harness.Conn
	defer func() {
		for _, c := range conns {
			_ = c.Close()
		}
	}()
	for range idleFetches {
		c, err := park(chronos.addr, topic)
		if err != nil {
			return err
		}
		conns = append(conns, c)
	}
	// The last request is sent, not parked yet: let the server come to rest.
	if err := wait(ctx, time.Second); err != nil {
		return err
	}
	parked, err := idleCPU(ctx, chronos, window)
	if err != nil {
		return err
	}
	t.add(fmt.Sprintf("%d parked fetches", idleFetches), millis(parked), window.String())
	b.print(t)
	var closeErr error
	for _, c := range conns {
		closeErr = errors.Join(closeErr, c.Close())
	}
	conns = nil
	return errors.Join(closeErr, chronos.end())
}

func idleCPU(ctx context.Context, t *target, window time.Duration) (time.Duration, error) {
	before, err := harness.CPU(t.Pid())
	if err != nil {
		return 0, err
	}
	if err := wait(ctx, window); err != nil {
		return 0, err
	}
	after, err := harness.CPU(t.Pid())
	return after - before, err
}

// park sends a fetch that waits for a minute.
func park(addr, topic string) (*harness.Conn, error) {
	c, err := harness.Dial(addr)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(12)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 60_000, 1, 1<<20
	req.SessionEpoch = -1
	rt := kmsg.NewFetchRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewFetchRequestTopicPartition()
	rp.PartitionMaxBytes, rp.CurrentLeaderEpoch = 1<<20, -1
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	return c, c.Send(req)
}
