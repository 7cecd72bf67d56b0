package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// Special timestamps of ListOffsets, and the versions that brought them.
const (
	timestampLatest               = -1
	timestampEarliest             = -2
	timestampMax                  = -3 // v7
	timestampEarliestLocal        = -4 // v8
	timestampLatestTiered         = -5 // v9
	timestampEarliestPendingLoad  = -6 // v11
	timestampMaxVersion           = 7
	timestampEarliestLocalVersion = 8
	timestampLatestTieredVersion  = 9
	timestampPendingLoadVersion   = 11
)

// ListOffsets (key 2): the offset at a time, or at an end of a partition.
//
// Behavior:
//   - The latest offset is the high watermark, or the last stable offset for read_committed.
//   - A time gives the first record at or after it; none gives offset -1 without an error.
//   - There is no tiered storage: the earliest local offset is the earliest, and the tiered ones
//     are -1.
//   - A partition that is asked twice in one request gets INVALID_REQUEST.
//   - The replica id is not looked at: there are no followers.
//
// Version notes:
//   - v2: isolation level; v4: leader epochs; v6: flexible; v10: timeout (an answer never waits)
//   - A special timestamp in a version before its own gets UNSUPPORTED_VERSION
func (s *Service) listOffsets(c *call, r *kmsg.ListOffsetsRequest) (Reply, error) {
	return inTurn(func(*Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrListOffsetsResponse()
		out.Version = c.Version
		image := s.o.Replicas.Image()
		asked := countAsked(r)
		for i := range r.Topics {
			t := &r.Topics[i]
			topic, topicErr := findTopic(image, false, t.Topic, [16]byte{})
			to := kmsg.NewListOffsetsResponseTopic()
			to.Topic = t.Topic
			for j := range t.Partitions {
				p := &t.Partitions[j]
				err := topicErr
				if asked[askedPartition{t.Topic, p.Partition}] > 1 {
					err = fmt.Errorf("%w: partition %d is asked twice", errInvalidRequest, p.Partition)
				}
				found := replication.FoundOffset{Offset: -1, Timestamp: -1, Epoch: -1}
				if err == nil {
					found, err = s.listOffset(r, topic, p)
				}
				po := kmsg.NewListOffsetsResponseTopicPartition()
				po.Partition = p.Partition
				po.ErrorCode = codeOf(err)
				po.Offset, po.Timestamp = int64(found.Offset), int64(found.Timestamp)
				po.LeaderEpoch = int32(found.Epoch)
				to.Partitions = append(to.Partitions, po)
			}
			out.Topics = append(out.Topics, to)
		}
		return out, nil
	}), nil
}

type askedPartition struct {
	topic string
	index int32
}

func countAsked(r *kmsg.ListOffsetsRequest) map[askedPartition]int {
	asked := map[askedPartition]int{}
	for i := range r.Topics {
		for j := range r.Topics[i].Partitions {
			asked[askedPartition{r.Topics[i].Topic, r.Topics[i].Partitions[j].Partition}]++
		}
	}
	return asked
}

// checkTimestamp refuses special timestamps that the version does not have.
func checkTimestamp(version int16, ts int64) error {
	since := int16(-1)
	switch ts {
	case timestampLatest, timestampEarliest:
		return nil
	case timestampMax:
		since = timestampMaxVersion
	case timestampEarliestLocal:
		since = timestampEarliestLocalVersion
	case timestampLatestTiered:
		since = timestampLatestTieredVersion
	case timestampEarliestPendingLoad:
		since = timestampPendingLoadVersion
	default:
		if ts >= 0 {
			return nil
		}
	}
	if since < 0 || version < since {
		return fmt.Errorf("%w: timestamp %d in version %d", errUnsupportedVersion, ts, version)
	}
	return nil
}

func (s *Service) listOffset(
	r *kmsg.ListOffsetsRequest, topic *metadata.Topic, p *kmsg.ListOffsetsRequestTopicPartition,
) (replication.FoundOffset, error) {
	nothing := replication.FoundOffset{Offset: -1, Timestamp: -1, Epoch: -1}
	if err := checkTimestamp(r.Version, p.Timestamp); err != nil {
		return nothing, err
	}
	part, err := s.o.Replicas.Partition(topic.ID, p.Partition)
	if err != nil {
		return nothing, err
	}
	if err := part.CheckEpoch(batch.LeaderEpoch(p.CurrentLeaderEpoch)); err != nil {
		return nothing, err
	}
	ts := p.Timestamp
	switch ts {
	case timestampLatestTiered, timestampEarliestPendingLoad:
		return nothing, nil
	case timestampEarliestLocal:
		ts = timestampEarliest
	}
	return part.OffsetForTime(ts, r.IsolationLevel == 1)
}
