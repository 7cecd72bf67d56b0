package main

import (
	"context"
	"fmt"
	"time"

	"github.com/chronosdb/chronosdb/integration/harness"
)

// settle is how long a server may come to rest before its memory is read.
func (b *bench) settle() time.Duration {
	if b.quick {
		return 2 * time.Second
	}
	return 5 * time.Second
}

// pendingSection measures the resident memory with many records pending, and how long the server
// takes to serve again after a SIGKILL with them.
func pendingSection(ctx context.Context, b *bench) error {
	chronos, err := b.startChronos()
	if err != nil {
		return err
	}
	empty, err := harness.Resident(chronos.Pid())
	if err != nil {
		return err
	}
	topic, err := chronos.newTopic(ctx, topicSpec{partitions: 1, schedules: true})
	if err != nil {
		return err
	}
	begun := time.Now()
	err = b.fill(ctx, chronos, topic, filling{
		records: b.pending, size: 100, headers: dueAhead(),
	})
	if err != nil {
		return err
	}
	took := time.Since(begun)
	if err := b.awaitPending(ctx, chronos); err != nil {
		return err
	}
	t := newTable("Memory with records pending, 100 B, due within a day", "", "resident", "peak",
		"bytes a record", "on disk", "accepted in", "ready after SIGKILL")
	if err := b.memoryRow(ctx, t, chronos, memoryRow{
		name: count(float64(b.pending)) + " pending", empty: empty, took: took,
	}); err != nil {
		return err
	}
	again, ready, err := b.restart(ctx, chronos)
	if err != nil {
		return err
	}
	if err := b.memoryRow(ctx, t, again, memoryRow{
		name: "after the restart", empty: empty, ready: ready,
	}); err != nil {
		return err
	}
	b.print(t)
	return again.end()
}

// memoryRow is what a row says beside the memory.
type memoryRow struct {
	name        string
	empty       int64 // resident bytes of the empty server
	took, ready time.Duration
}

func (b *bench) memoryRow(
	ctx context.Context, t *table, server *target, row memoryRow,
) error {
	if err := wait(ctx, b.settle()); err != nil {
		return err
	}
	resident, err := harness.Resident(server.Pid())
	if err != nil {
		return err
	}
	peak, err := harness.Peak(server.Pid())
	if err != nil {
		return err
	}
	disk, err := server.diskBytes()
	if err != nil {
		return err
	}
	took, ready := "-", "-"
	if row.took != 0 {
		took = fmt.Sprintf("%.1f s", row.took.Seconds())
	}
	if row.ready != 0 {
		ready = fmt.Sprintf("%.2f s", row.ready.Seconds())
	}
	t.add(row.name, megabytes(float64(resident)), megabytes(float64(peak)),
		fmt.Sprintf("%.0f", float64(resident-row.empty)/float64(b.pending)),
		megabytes(float64(disk)), took, ready)
	b.addFloor(resident < 200_000_000, row.name+": resident under 200 MB", "%s",
		megabytes(float64(resident)))
	return nil
}

// restart kills the server and starts it on the same data.
func (b *bench) restart(ctx context.Context, t *target) (*target, time.Duration, error) {
	t.Kill()
	launch, addr, err := harness.ServeLaunch(t.dir)
	if err != nil {
		return nil, 0, err
	}
	p, err := launch.Start()
	if err != nil {
		return nil, 0, err
	}
	again := &target{Process: p, name: t.name, addr: addr, web: launch.HTTPAddr, dir: t.dir}
	return again, p.ReadyAfter(), b.awaitPending(ctx, again)
}

// awaitPending waits until the server counts every record as pending: it answers a producer once
// a record is durable and orders it by due time behind that.
func (b *bench) awaitPending(ctx context.Context, t *target) error {
	const pendingMax, askEvery = time.Minute, 50 * time.Millisecond
	for deadline := time.Now().Add(pendingMax); ; {
		m, err := harness.Scrape(t.web)
		if err != nil {
			return err
		}
		pending, err := m.Sum("chronos_pending_records")
		if err != nil {
			return err
		}
		if int(pending) == b.pending {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%.0f records pending after %s, want %d", pending, pendingMax, b.pending)
		}
		if err := wait(ctx, askEvery); err != nil {
			return err
		}
	}
}
