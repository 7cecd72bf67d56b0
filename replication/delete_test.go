package replication

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// TestDeletionIsNoFault deletes topics while their first scheduled records, checkpoints, commits and
// looks at retention are under way: the node must not take it for a failing disk, and must end.
func TestDeletionIsNoFault(t *testing.T) {
	n := &node{t: t}
	m, err := Open(Options{
		DataDir: "/data", FS: vfs.NewCrash(1), RetentionInterval: time.Millisecond,
		OnFailure: func(err error) { t.Errorf("the data directory was given up: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	n.Manager = m
	for range 60 {
		topic, err := m.CreateTopic(TopicSpec{
			Name: "t", Partitions: 2, ReplicationFactor: -1,
			Configs: map[string]string{
				metadata.ConfigInternalSegmentBytes: "16384", metadata.ConfigRetentionBytes: "16384",
			},
		}, false)
		if err != nil {
			t.Fatal(err)
		}
		var producers sync.WaitGroup
		for i := range int32(2) {
			producers.Go(func() { n.produceUntilGone(topic.ID, i) })
		}
		if err := m.DeleteTopic(topic.ID); err != nil {
			t.Error(err)
		}
		producers.Wait()
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}

// produceUntilGone sends plain and scheduled records until the topic is deleted.
func (n *node) produceUntilGone(id metadata.TopicID, index int32) {
	value := string(make([]byte, 2000))
	for seq := batch.Sequence(0); ; seq++ {
		p, err := n.Partition(id, index)
		if err != nil {
			return
		}
		r := rec{value: value}
		if seq%2 == 0 {
			r.delay = at(int(seq % 3))
		}
		b := stamped(n.t, time.Now(), 5, seq, r)
		if _, err := p.Append(context.Background(), b, AppendOptions{}); err != nil {
			return
		}
		p.deps.tidy(p)
	}
}
