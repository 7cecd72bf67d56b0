package api

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// OffsetForLeaderEpoch (key 23): where a leader epoch ends, so that a client notices that what it
// has read was cut off.
//
// Behavior:
//   - The answer is the largest epoch not above the asked one, and where it ends; -1, -1 if there
//     is none.
//   - The replica id is not looked at: there are no followers.
//
// Version notes:
//   - v2: current leader epoch; v3: replica id; v4: flexible
func (s *Service) offsetForLeaderEpoch(
	c *call, r *kmsg.OffsetForLeaderEpochRequest,
) (Reply, error) {
	return inTurn(func(*Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrOffsetForLeaderEpochResponse()
		out.Version = c.Version
		image := s.o.Replicas.Image()
		for i := range r.Topics {
			t := &r.Topics[i]
			topic, topicErr := findTopic(image, false, t.Topic, [16]byte{})
			to := kmsg.NewOffsetForLeaderEpochResponseTopic()
			to.Topic = t.Topic
			for j := range t.Partitions {
				p := &t.Partitions[j]
				po := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
				po.Partition = p.Partition
				po.LeaderEpoch, po.EndOffset = -1, -1
				err := topicErr
				if err == nil {
					err = s.epochEnd(topic, p, &po)
				}
				po.ErrorCode = codeOf(err)
				to.Partitions = append(to.Partitions, po)
			}
			out.Topics = append(out.Topics, to)
		}
		return out, nil
	}), nil
}

func (s *Service) epochEnd(
	topic *metadata.Topic,
	p *kmsg.OffsetForLeaderEpochRequestTopicPartition,
	out *kmsg.OffsetForLeaderEpochResponseTopicPartition,
) error {
	part, err := s.o.Replicas.Partition(topic.ID, p.Partition)
	if err != nil {
		return err
	}
	if err := part.CheckEpoch(batch.LeaderEpoch(p.CurrentLeaderEpoch)); err != nil {
		return err
	}
	epoch, end := part.EpochEnd(batch.LeaderEpoch(p.LeaderEpoch))
	out.LeaderEpoch, out.EndOffset = int32(epoch), int64(end)
	return nil
}
