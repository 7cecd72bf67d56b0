package api

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
)

// DeleteRecords (key 21): move the start of partitions forward.
//
// Behavior:
//   - The new start is durable when the answer says so; the timeout is never waited for.
//   - Offset -1 is the high watermark; one below the start changes nothing. The low watermark of
//     the answer is the start that there is now.
//   - An offset above the high watermark, or below -1, gets OFFSET_OUT_OF_RANGE.
//   - A topic with cleanup.policy=compact gets POLICY_VIOLATION, an internal one
//     INVALID_TOPIC_EXCEPTION.
//   - Records that wait for their due time have no offset yet, so they are never deleted.
//   - A partition that stands twice in a request is deleted from twice, in the order given.
//
// Version notes:
//   - v2: flexible
func (s *Service) deleteRecords(c *call, r *kmsg.DeleteRecordsRequest) (Reply, error) {
	return inTurn(func(w *Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrDeleteRecordsResponse()
		out.Version = c.Version
		image := s.o.Replicas.Image()
		for i := range r.Topics {
			from := &r.Topics[i]
			to := kmsg.NewDeleteRecordsResponseTopic()
			to.Topic = from.Topic
			for _, p := range from.Partitions {
				part := kmsg.NewDeleteRecordsResponseTopicPartition()
				part.Partition = p.Partition
				low, err := s.deleteBelow(w.Ctx, image, from.Topic, p)
				if err != nil {
					low = -1
				}
				part.LowWatermark, part.ErrorCode = int64(low), codeOf(err)
				to.Partitions = append(to.Partitions, part)
			}
			out.Topics = append(out.Topics, to)
		}
		return out, w.Ctx.Err()
	}), nil
}

func (s *Service) deleteBelow(
	ctx context.Context, image Image, name string, p kmsg.DeleteRecordsRequestTopicPartition,
) (batch.Offset, error) {
	topic, err := findTopic(image, false, name, [16]byte{})
	if err != nil {
		return 0, err
	}
	if topic.Internal || isReserved(name) {
		return 0, refusef(kerr.InvalidTopicException,
			"Cannot delete records of internal topic %s", name)
	}
	partition, err := s.o.Replicas.Partition(topic.ID, p.Partition)
	if err != nil {
		return 0, err
	}
	return partition.DeleteRecords(ctx, batch.Offset(p.Offset))
}
