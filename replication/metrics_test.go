package replication

import (
	"fmt"
	"slices"
	"testing"
)

// TestMetricsCountWhatGoesThrough compares the counts with what was appended and served.
func TestMetricsCountWhatGoesThrough(t *testing.T) {
	n := startNode(t)
	plain := n.batch(-1, -1, rec{value: "a"}, rec{value: "b"})
	n.append(plain)
	first := n.batch(7, 0, rec{value: "c"})
	n.append(first)
	n.append(first) // a duplicate
	staged := n.batch(-1, -1, rec{value: "d", delay: at(1000)})
	n.append(staged)
	n.idle()
	n.part().Served(500, 3)
	n.part().Served(20, 1)
	m := n.Metrics()
	if len(m.Topics) != 1 || m.Topics[0].Topic != "t" {
		t.Fatalf("topics %+v", m.Topics)
	}
	got := m.Topics[0]
	want := Traffic{
		BytesIn: int64(len(plain) + len(first) + len(staged)), RecordsIn: 4, BytesOut: 520, RecordsOut: 4,
	}
	if got.Traffic != want || got.LogBytes != int64(len(plain)+len(first)) || got.Segments != 1 {
		t.Errorf("figures %+v, want %+v and %d bytes of log", got, want, len(plain)+len(first))
	}
	if m.LogBytes != got.LogBytes || m.StagingBytes == 0 || m.LogSegments != 1 || m.StagingSegments != 1 {
		t.Errorf("sums %+v", m)
	}
}

// TestMetricsBoundTheTopics makes more topics than may have figures of their own.
func TestMetricsBoundTheTopics(t *testing.T) {
	n := startNode(t)
	var names []string
	for i := range TopicMetricsMax + 20 {
		// Names whose order is not that of creation.
		name := fmt.Sprintf("topic-%d", (i*37)%1000)
		names = append(names, name)
		topic, err := n.CreateTopic(TopicSpec{Name: name, Partitions: 1, ReplicationFactor: -1}, false)
		if err != nil {
			t.Fatal(err)
		}
		p, err := n.Partition(topic.ID, 0)
		if err != nil {
			t.Fatal(err)
		}
		p.Served(1, 1)
	}
	topics := n.Metrics().Topics
	if len(topics) != TopicMetricsMax+1 {
		t.Fatalf("%d series, at most %d and the others are wanted", len(topics), TopicMetricsMax)
	}
	var got []string
	for _, one := range topics[:TopicMetricsMax] {
		got = append(got, one.Topic)
	}
	if want := append([]string{"t"}, names[:TopicMetricsMax-1]...); !slices.Equal(got, want) {
		t.Errorf("series of %v, want the oldest topics: %v", got, want)
	}
	if other := topics[TopicMetricsMax]; other.Topic != OtherTopics || other.RecordsOut != 21 {
		t.Errorf("the others: %+v, want 21 records out", other)
	}
}

func TestMetricsNameOfflinePartitions(t *testing.T) {
	n := startNode(t)
	n.append(n.batch(-1, -1, rec{value: "a"}))
	n.idle()
	n.part().goOffline(fmt.Errorf("damage for a test"))
	m := n.Metrics()
	if m.Partitions != 1 || m.OfflinePartitions != 1 || !slices.Equal(m.Offline, []string{"t-0"}) {
		t.Errorf("figures %+v", m)
	}
}
