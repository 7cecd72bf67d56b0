package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// The bounds of resident memory, and the load under which it is measured.
const (
	restMemoryGoal   = 60_000_000
	loadedMemoryGoal = 400_000_000
	loadedClients    = 100
	loadedPartitions = 100
	// loadedClientBytes is what each client holds: several full requests, so that none of them ever
	// waits for records to send.
	loadedClientBytes = 4 << 20
)

// memorySection measures the resident memory of a server at rest, and with a hundred producers
// that send as fast as they can.
func memorySection(ctx context.Context, b *bench) error {
	t := newTable("Memory of the server", "", "resident", "peak", "connections", "records/s", "run")
	chronos, err := b.startChronos()
	if err != nil {
		return err
	}
	if err := b.loadedRows(ctx, t, chronos); err != nil {
		return errors.Join(err, chronos.end())
	}
	b.print(t)
	return chronos.end()
}

func (b *bench) loadedRows(ctx context.Context, t *table, chronos *target) error {
	if err := wait(ctx, b.settle()); err != nil {
		return err
	}
	rest, err := harness.Resident(chronos.Pid())
	if err != nil {
		return err
	}
	peak, err := harness.Peak(chronos.Pid())
	if err != nil {
		return err
	}
	t.add("at rest, nothing stored", megabytes(float64(rest)), megabytes(float64(peak)), "0", "-", "-")
	b.addFloor(rest < restMemoryGoal, "resident at rest: under 60 MB", "%s", megabytes(float64(rest)))
	for _, size := range []int{100, 1024} {
		if err := b.loadedRow(ctx, t, chronos, size); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) loadedRow(ctx context.Context, t *table, chronos *target, size int) error {
	topic, err := chronos.newTopic(ctx, topicSpec{partitions: loadedPartitions, schedules: true})
	if err != nil {
		return err
	}
	producers := make([]*producing, loadedClients)
	for i := range producers {
		cl, err := chronos.client(kgo.DefaultProduceTopic(topic),
			kgo.MaxBufferedBytes(loadedClientBytes),
			kgo.ProducerBatchCompression(kgo.NoCompression()))
		if err != nil {
			return err
		}
		defer cl.Close()
		producers[i] = &producing{cl: cl, values: b.contents(size)}
		producers[i].start(ctx)
	}
	counter := func() (sum float64) {
		for _, p := range producers {
			sum += p.count()
		}
		return sum
	}
	length := max(2*time.Second, 2*b.length())
	s, err := measureNow(ctx, chronos, length, counter)
	if err != nil {
		return err
	}
	resident, err := harness.Resident(chronos.Pid())
	if err != nil {
		return err
	}
	m, err := harness.Scrape(chronos.web)
	if err != nil {
		return err
	}
	connections, err := m.Sum("chronos_connections")
	if err != nil {
		return err
	}
	for _, p := range producers {
		p.stop.Store(true)
	}
	for _, p := range producers {
		if err := p.finish(ctx); err != nil {
			return err
		}
	}
	peak, err := harness.Peak(chronos.Pid())
	if err != nil {
		return err
	}
	name := fmt.Sprintf("%d producers of %s at full speed, %d partitions", loadedClients,
		bytesOf(size), loadedPartitions)
	t.add(name, megabytes(float64(resident)), megabytes(float64(peak)), count(connections),
		count(s.rate())+"/s", fmt.Sprintf("%.1f s", s.elapsed.Seconds()))
	b.addFloor(peak < loadedMemoryGoal, name+": peak under 400 MB", "%s", megabytes(float64(peak)))
	return chronos.dropTopic(ctx, topic)
}
