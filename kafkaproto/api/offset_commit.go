package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/groups"
)

// First versions in which something changed for offsets.
const (
	commitRetentionLast = 4 // v2-4 carry a retention time
	commitGroupNotFound = 9 // clients know GROUP_ID_NOT_FOUND
	offsetTopicIDs      = 10
)

// OffsetCommit (key 8): store offsets of a group; the answer comes when they are durable.
//
// Behavior:
//   - Topics that do not exist get UNKNOWN_TOPIC_OR_PARTITION (or UNKNOWN_TOPIC_ID); the others
//     are committed. Partitions are not checked, as in Kafka.
//
// Version notes:
//   - v2-4: retention time; v6: leader epoch; v7: static members; v8: flexible
//   - v9: member epochs of the new group protocol, in the place of the generation, and
//     GROUP_ID_NOT_FOUND for a member of a group that does not exist; v10: topic ids
func (s *Service) offsetCommit(c *call, r *kmsg.OffsetCommitRequest) (Reply, error) {
	in := groups.CommitRequest{
		GroupID:     r.Group,
		MemberID:    r.MemberID,
		Generation:  r.Generation,
		InstanceID:  r.InstanceID,
		RetentionMs: -1,

		CanTellGroupNotFound: c.Version >= commitGroupNotFound,
	}
	if c.Version <= commitRetentionLast {
		in.RetentionMs = r.RetentionTimeMillis
	}
	out := kmsg.NewPtrOffsetCommitResponse()
	out.Version = c.Version
	image := s.o.Replicas.Image()
	var places []int // in out.Topics, of the topics of in
	held := int64(0)
	for i := range r.Topics {
		t := &r.Topics[i]
		topic, err := findTopic(image, c.Version >= offsetTopicIDs, t.Topic, t.TopicID)
		out.Topics = append(out.Topics, committedTopic(t, codeOf(err)))
		held += committedBytes(t)
		if err != nil {
			continue
		}
		places = append(places, i)
		in.Topics = append(in.Topics, groups.CommitTopic{
			Topic: topic.Name, TopicID: groups.TopicID(topic.ID), Partitions: commitPartitions(t),
		})
	}
	p := newPromise(held)
	s.o.Groups.Commit(in, func(a groups.CommitResponse) {
		for i := range places {
			parts := out.Topics[places[i]].Partitions
			for j := range parts {
				err := a.Err
				if i < len(a.Topics) && j < len(a.Topics[i].Partitions) {
					err = a.Topics[i].Partitions[j].Err
				}
				parts[j].ErrorCode = codeOf(err)
			}
		}
		p.keep(out)
	})
	return p, nil
}

// committedBytes is what a topic of a commit takes until it is answered.
func committedBytes(t *kmsg.OffsetCommitRequestTopic) int64 {
	n := int64(elementBytes)
	for i := range t.Partitions {
		n += elementBytes + int64(len(orEmpty(t.Partitions[i].Metadata)))
	}
	return n
}

// committedTopic is a topic of the answer, with one code for all its partitions.
func committedTopic(t *kmsg.OffsetCommitRequestTopic, code int16) kmsg.OffsetCommitResponseTopic {
	out := kmsg.NewOffsetCommitResponseTopic()
	out.Topic, out.TopicID = t.Topic, t.TopicID
	for i := range t.Partitions {
		p := kmsg.NewOffsetCommitResponseTopicPartition()
		p.Partition, p.ErrorCode = t.Partitions[i].Partition, code
		out.Partitions = append(out.Partitions, p)
	}
	return out
}

func commitPartitions(t *kmsg.OffsetCommitRequestTopic) []groups.CommitPartition {
	out := make([]groups.CommitPartition, len(t.Partitions))
	for i := range t.Partitions {
		p := &t.Partitions[i]
		out[i] = groups.CommitPartition{
			Partition:   p.Partition,
			Offset:      p.Offset,
			LeaderEpoch: p.LeaderEpoch,
			Metadata:    orEmpty(p.Metadata),
		}
	}
	return out
}
