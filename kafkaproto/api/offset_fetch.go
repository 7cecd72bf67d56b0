package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/groups"
)

// First versions in which something changed for fetched offsets.
const (
	offsetFetchAll      = 2 // null topics are all topics; an error of the whole answer
	offsetFetchManyFrom = 8
)

// offsetFetchBytesMax bounds an answer: each of many groups, named in a few bytes, may have very
// many offsets, and each offset some kilobytes of metadata.
const offsetFetchBytesMax = 64 << 20

// fetchedSize is about what an answer takes.
type fetchedSize int

func (n *fetchedSize) add(metadata *string) {
	*n += fetchedSize(scalarBytes + len(orEmpty(metadata)))
}

func (n *fetchedSize) check() error {
	if *n > offsetFetchBytesMax {
		return fmt.Errorf("%w: the answer would pass %d bytes; ask for less at a time",
			ErrRefused, offsetFetchBytesMax)
	}
	return nil
}

// OffsetFetch (key 9): the committed offsets of groups.
//
// Behavior:
//   - Null topics are all topics that the group has committed (from version 2). From version 10,
//     which names topics by id, those that exist no more are left out.
//   - A partition without an offset has offset -1 and no error.
//   - There are no transactions, so every offset is stable. The member id and epoch of the new
//     group protocol are not looked at: a classic group has none, as in Kafka.
//
// Version notes:
//   - v5: leader epoch; v6: flexible; v7: require stable; v8: many groups; v10: topic ids
func (s *Service) offsetFetch(c *call, r *kmsg.OffsetFetchRequest) (Reply, error) {
	return inTurn(func(*Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrOffsetFetchResponse()
		out.Version = c.Version
		if c.Version < offsetFetchManyFrom {
			return out, s.fetchOneGroup(out, r)
		}
		size := fetchedSize(0)
		for i := range r.Groups {
			g := s.fetchGroup(r, &r.Groups[i])
			for j := range g.Topics {
				t := &g.Topics[j]
				for k := range t.Partitions {
					size.add(t.Partitions[k].Metadata)
				}
			}
			if err := size.check(); err != nil {
				return nil, err
			}
			out.Groups = append(out.Groups, g)
		}
		return out, nil
	}), nil
}

// fetchOneGroup answers the versions that ask for one group.
func (s *Service) fetchOneGroup(out *kmsg.OffsetFetchResponse, r *kmsg.OffsetFetchRequest) error {
	in := groups.FetchRequest{GroupID: r.Group, RequireStable: r.RequireStable}
	if r.Topics != nil || r.Version < offsetFetchAll {
		in.Topics = []groups.FetchTopic{}
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		in.Topics = append(in.Topics, groups.FetchTopic{Topic: t.Topic, Partitions: t.Partitions})
	}
	a := s.o.Groups.Fetch(in)
	if a.Err != nil && r.Version >= offsetFetchAll {
		out.ErrorCode = codeOf(a.Err)
		return nil
	}
	size := fetchedSize(0)
	if a.Err != nil {
		a.Topics = noOffsets(in.Topics)
	}
	for _, t := range a.Topics {
		to := kmsg.NewOffsetFetchResponseTopic()
		to.Topic = t.Topic
		for _, p := range t.Partitions {
			po := kmsg.NewOffsetFetchResponseTopicPartition()
			po.Partition, po.Offset, po.LeaderEpoch = p.Partition, p.Offset, p.LeaderEpoch
			po.Metadata, po.ErrorCode = kmsg.StringPtr(p.Metadata), codeOf(a.Err)
			size.add(po.Metadata)
			to.Partitions = append(to.Partitions, po)
		}
		out.Topics = append(out.Topics, to)
	}
	return size.check()
}

// noOffsets answers every partition with nothing.
func noOffsets(asked []groups.FetchTopic) []groups.FetchTopicResult {
	out := make([]groups.FetchTopicResult, len(asked))
	for i, t := range asked {
		out[i].Topic, out[i].TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			out[i].Partitions = append(out[i].Partitions,
				groups.FetchedOffset{Partition: p, Offset: -1, LeaderEpoch: -1})
		}
	}
	return out
}

// fetchGroup answers one of many groups.
func (s *Service) fetchGroup(
	r *kmsg.OffsetFetchRequest, g *kmsg.OffsetFetchRequestGroup,
) kmsg.OffsetFetchResponseGroup {
	out := kmsg.NewOffsetFetchResponseGroup()
	out.Group = g.Group
	byID := r.Version >= offsetTopicIDs
	image := s.o.Replicas.Image()
	in := groups.FetchRequest{GroupID: g.Group, RequireStable: r.RequireStable}
	if g.Topics != nil {
		in.Topics = []groups.FetchTopic{}
	}
	for i := range g.Topics {
		t := &g.Topics[i]
		if !byID {
			in.Topics = append(in.Topics, groups.FetchTopic{Topic: t.Topic, Partitions: t.Partitions})
			continue
		}
		topic := image.TopicByID(t.TopicID)
		if topic == nil {
			unknown := noOffsets([]groups.FetchTopic{{TopicID: t.TopicID, Partitions: t.Partitions}})
			out.Topics = append(out.Topics, fetchedTopic(unknown[0], errUnknownTopicID))
			continue
		}
		in.Topics = append(in.Topics, groups.FetchTopic{
			Topic: topic.Name, TopicID: t.TopicID, Partitions: t.Partitions,
		})
	}
	a := s.o.Groups.Fetch(in)
	if a.Err != nil {
		out.ErrorCode, out.Topics = codeOf(a.Err), nil
		return out
	}
	for _, t := range a.Topics {
		if byID && !nameToID(image, &t) {
			continue
		}
		out.Topics = append(out.Topics, fetchedTopic(t, nil))
	}
	return out
}

// nameToID fills a topic's id in if only its name is known, and reports whether there is one.
func nameToID(image Image, t *groups.FetchTopicResult) bool {
	if t.TopicID != (groups.TopicID{}) {
		return true
	}
	topic := image.Topic(t.Topic)
	if topic == nil {
		return false
	}
	t.TopicID = groups.TopicID(topic.ID)
	return true
}

func fetchedTopic(t groups.FetchTopicResult, err error) kmsg.OffsetFetchResponseGroupTopic {
	out := kmsg.NewOffsetFetchResponseGroupTopic()
	out.Topic, out.TopicID = t.Topic, t.TopicID
	for _, p := range t.Partitions {
		po := kmsg.NewOffsetFetchResponseGroupTopicPartition()
		po.Partition, po.Offset, po.LeaderEpoch = p.Partition, p.Offset, p.LeaderEpoch
		po.Metadata, po.ErrorCode = kmsg.StringPtr(p.Metadata), codeOf(err)
		out.Partitions = append(out.Partitions, po)
	}
	return out
}
