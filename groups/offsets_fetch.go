package groups

import (
	"maps"
	"slices"
)

// fetch answers from the durable offsets; without a group, g is nil and every offset
// is missing, which is no error.
func (g *group) fetch(r *FetchRequest) FetchResponse {
	if r.Topics == nil {
		return g.fetchAll()
	}
	resp := FetchResponse{Topics: make([]FetchTopicResult, len(r.Topics))}
	for i := range r.Topics {
		t := &r.Topics[i]
		found := make([]FetchedOffset, len(t.Partitions))
		for j, p := range t.Partitions {
			found[j] = FetchedOffset{Partition: p, Offset: -1, LeaderEpoch: -1}
			if g == nil {
				continue
			}
			c, ok := g.offsets.get(topicPartition{t.Topic, p})
			if ok && isSameTopic(c.topicID, t.TopicID) {
				found[j] = fetched(p, &c)
			}
		}
		resp.Topics[i] = FetchTopicResult{Topic: t.Topic, TopicID: t.TopicID, Partitions: found}
	}
	return resp
}

func (g *group) fetchAll() FetchResponse {
	var resp FetchResponse
	if g == nil {
		return resp
	}
	for _, topic := range slices.Sorted(maps.Keys(g.offsets.byTopic)) {
		partitions := g.offsets.byTopic[topic]
		t := FetchTopicResult{Topic: topic}
		for _, p := range slices.Sorted(maps.Keys(partitions)) {
			c := partitions[p]
			t.TopicID = c.topicID
			t.Partitions = append(t.Partitions, fetched(p, &c))
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

func fetched(partition int32, c *committed) FetchedOffset {
	return FetchedOffset{
		Partition: partition, Offset: c.offset, LeaderEpoch: c.leaderEpoch,
		Metadata: c.metadata,
	}
}

// isSameTopic says whether both ids can be of one topic; an unknown id fits any. An
// offset of a topic that was deleted means nothing to its successor of the same name.
func isSameTopic(a, b TopicID) bool {
	return a == b || a == TopicID{} || b == TopicID{}
}
