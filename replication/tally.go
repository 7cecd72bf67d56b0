package replication

import (
	"cmp"
	"slices"

	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
)

// tally keeps what partitions have counted when they leave service: a counter never falls, or who
// scrapes it would take that for a restart. It also says which topics have figures of their own,
// once and for as long as they exist. Manager.mu guards it.
type tally struct {
	// retired has, for each topic with figures of its own, what its offline partitions have counted.
	// At most TopicMetricsMax.
	retired   map[metadata.TopicID]*Traffic
	others    Traffic // of partitions that are gone of all other topics
	counts    Counts
	schedules timer.Stats // without its gauges
}

// admit gives topics figures of their own, the oldest first, as long as there is room.
func (t *tally) admit(topics ...*metadata.Topic) {
	topics = slices.Clone(topics)
	slices.SortFunc(topics, byAge)
	if t.retired == nil {
		t.retired = map[metadata.TopicID]*Traffic{}
	}
	for _, topic := range topics {
		if len(t.retired) < TopicMetricsMax {
			t.retired[topic.ID] = &Traffic{}
		}
	}
}

// byAge compares topics by when they were made.
func byAge(a, b *metadata.Topic) int {
	return cmp.Compare(a.Partitions[0].Number, b.Partitions[0].Number)
}

// retire notes what a partition has counted. It is called once, when the partition leaves service.
func (t *tally) retire(id metadata.TopicID, p *Partition) {
	var node Metrics
	var topic TopicMetrics
	p.addMetrics(&node, &topic)
	t.counts.add(node.Counts)
	addCounters(&t.schedules, node.Schedules)
	if topicSum := t.retired[id]; topicSum != nil {
		topicSum.add(topic.Traffic)
	} else {
		t.others.add(topic.Traffic)
	}
}

// forget makes room for the figures of another topic. One that was counted with the others stays
// with them.
func (t *tally) forget(id metadata.TopicID) { delete(t.retired, id) }
