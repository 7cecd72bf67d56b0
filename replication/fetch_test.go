package replication

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// whileDeleting calls look as long as records are appended and deleted all the time.
func whileDeleting(t *testing.T, look func(p *Partition) error) {
	t.Helper()
	m, err := Open(Options{DataDir: "/data", FS: vfs.NewCrash(1), FsyncMode: log.Periodic})
	if err != nil {
		t.Fatal(err)
	}
	n := &node{t: t, Manager: m}
	n.topic, err = m.CreateTopic(TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	p, raw := n.part(), stamped(t, time.Now(), -1, -1, rec{value: "v"})
	var stop atomic.Bool
	var others sync.WaitGroup
	for range 2 {
		others.Go(func() {
			for !stop.Load() {
				if _, err := p.Append(context.Background(), append(batch.Batch(nil), raw...), AppendOptions{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	others.Go(func() {
		for !stop.Load() {
			if _, err := p.DeleteRecords(context.Background(), BeforeHighWatermark); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for p.HighWatermark() < 100_000 && !t.Failed() {
		if err := look(p); err != nil {
			t.Error(err)
		}
	}
	stop.Store(true)
	others.Wait()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestFetchStateIsOfOneMoment: what an answer says of a partition holds together, whatever is
// appended and deleted while it is made: log start <= last stable offset <= high watermark.
func TestFetchStateIsOfOneMoment(t *testing.T) {
	whileDeleting(t, func(p *Partition) error {
		_, s, err := p.Read(nil, FetchRead{From: p.LogEnd(), CurrentEpoch: -1, LastFetchedEpoch: -1})
		if errors.Is(err, log.ErrOffsetOutOfRange) {
			return nil // deleted meanwhile
		}
		if err == nil && (s.LogStart > s.LastStable || s.LastStable > s.HighWatermark) {
			return fmt.Errorf("%+v", s)
		}
		return err
	})
}

// TestOffsetsWhileRecordsAreDeleted: a deletion in the midst of a look-up is no error of it.
func TestOffsetsWhileRecordsAreDeleted(t *testing.T) {
	whileDeleting(t, func(p *Partition) error {
		for _, ts := range []int64{EarliestTimestamp, MaxTimestamp, 0} {
			if _, err := p.OffsetForTime(ts, false); err != nil {
				return fmt.Errorf("timestamp %d: %w", ts, err)
			}
		}
		return nil
	})
}
