package replication

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// TestFetchStateIsOfOneMoment: what an answer says of a partition holds together, whatever is
// appended and deleted while it is made: log start <= last stable offset <= high watermark.
func TestFetchStateIsOfOneMoment(t *testing.T) {
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
	var producers sync.WaitGroup
	for range 2 {
		producers.Go(func() {
			for !stop.Load() {
				if _, err := p.Append(context.Background(), append(batch.Batch(nil), raw...), AppendOptions{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	producers.Go(func() {
		for !stop.Load() {
			if _, err := p.DeleteRecords(context.Background(), BeforeHighWatermark); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for p.HighWatermark() < 100_000 && !t.Failed() {
		_, s, err := p.Read(nil, FetchRead{From: p.LogEnd(), CurrentEpoch: -1, LastFetchedEpoch: -1})
		if errors.Is(err, log.ErrOffsetOutOfRange) {
			err = nil // deleted meanwhile
		}
		if err != nil || s.LogStart > s.LastStable || s.LastStable > s.HighWatermark {
			t.Errorf("%+v, %v", s, err)
		}
	}
	stop.Store(true)
	producers.Wait()
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}
