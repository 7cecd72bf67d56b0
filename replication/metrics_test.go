package replication

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/replication/metadata"
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

// figures are the counters of a snapshot, none of which may ever fall: a scraper takes that for a
// restart, and what is left for a sudden growth.
func figures(m Metrics) map[string]int64 {
	out := map[string]int64{
		"delivered": m.Schedules.Delivered, "settled": m.Schedules.Settled,
		"compactions": m.Compaction.Passes, "compacted": m.Compaction.ReadBytes,
	}
	for i, n := range m.Schedules.LatenessCount {
		out[fmt.Sprintf("lateness %d", i)] = n
	}
	for _, t := range m.Topics {
		out[t.Topic+" in"], out[t.Topic+" out"] = t.RecordsIn, t.RecordsOut
	}
	return out
}

// wantNoneFell compares two snapshots; a topic that is gone has no figures.
func wantNoneFell(t *testing.T, what string, before, after Metrics) {
	t.Helper()
	now := figures(after)
	for name, n := range figures(before) {
		if left, ok := now[name]; ok && left < n {
			t.Errorf("%s: %s fell from %d to %d", what, name, n, left)
		}
	}
}

// compactAndDeliver makes the node's topic count something of everything.
func (n *node) compactAndDeliver() {
	n.t.Helper()
	n.set("cleanup.policy", "compact")
	for range 20 {
		if _, err := n.try(n.keyed("k"), nil); err != nil {
			n.t.Fatal(err)
		}
		n.clock.Advance(8 * 24 * time.Hour) // so that each has a segment
		n.idle()
	}
	n.cleaner.cleanAll()
	n.set("cleanup.policy", "delete")
	n.append(n.batch(-1, -1, rec{value: "later", delay: at(5)}))
	n.clock.Advance(time.Second)
	n.idle()
	if m := n.Metrics(); m.Schedules.Delivered == 0 || m.Compaction.Passes == 0 {
		n.t.Fatalf("nothing was counted: %+v", m)
	}
}

// TestCountersOutliveTheirTopics deletes topics and takes a partition offline. No counter falls, and
// no topic that was counted with the others gets figures of its own.
func TestCountersOutliveTheirTopics(t *testing.T) {
	n := startNode(t)
	n.compactAndDeliver()
	var topics []metadata.TopicID
	for i := range TopicMetricsMax + 10 {
		topic, err := n.CreateTopic(TopicSpec{
			Name: fmt.Sprintf("more-%03d", i), Partitions: 2, ReplicationFactor: -1,
		}, false)
		if err != nil {
			t.Fatal(err)
		}
		topics = append(topics, topic.ID)
		for index := range int32(2) {
			p, err := n.Partition(topic.ID, index)
			if err != nil {
				t.Fatal(err)
			}
			p.Served(1, 1+i)
		}
	}
	before := n.Metrics()
	look := func(what string) {
		t.Helper()
		after := n.Metrics()
		wantNoneFell(t, what, before, after)
		known := figures(before)
		for name := range figures(after) {
			if _, ok := known[name]; !ok {
				t.Errorf("%s: %s is new", what, name)
			}
		}
		before = after
	}
	gone := func(what string, id metadata.TopicID) {
		t.Helper()
		if err := n.DeleteTopic(id); err != nil {
			t.Fatal(err)
		}
		look(what)
	}
	gone("one of the others was deleted", topics[len(topics)-1])
	p, err := n.Partition(topics[3], 1)
	if err != nil {
		t.Fatal(err)
	}
	p.goOffline(fmt.Errorf("damage for a test"))
	look("one of two partitions is offline")
	gone("a topic with an offline partition was deleted", topics[3])
	gone("the oldest topic was deleted", n.topic.ID)
	topic, err := n.CreateTopic(TopicSpec{Name: "new", Partitions: 1, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	if _, own := figures(n.Metrics())["new in"]; !own {
		t.Error("a new topic has no figures of its own though there is room")
	}
	if err := n.DeleteTopic(topic.ID); err != nil {
		t.Fatal(err)
	}
}
