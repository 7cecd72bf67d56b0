package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// DeleteTopics (key 20): delete topics with everything in them, pending records included.
//
// Behavior:
//   - A topic is gone for every client when the answer says so; the timeout is never waited for.
//   - Offsets that groups have committed for it go, too.
//   - Internal topics are refused with INVALID_TOPIC_EXCEPTION.
//   - A topic that stands twice in one request, by name or by id, gets INVALID_REQUEST twice.
//
// Version notes:
//   - v4: flexible; v5: error message; v6: by name or by id
func (s *Service) deleteTopics(c *call, r *kmsg.DeleteTopicsRequest) (Reply, error) {
	return topicChange{func(*Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrDeleteTopicsResponse()
		out.Version = c.Version
		asked := r.Topics
		if c.Version < 6 {
			asked = make([]kmsg.DeleteTopicsRequestTopic, len(r.TopicNames))
			for i := range r.TopicNames {
				asked[i].Topic = &r.TopicNames[i]
			}
		}
		found := s.findDoomed(asked)
		for i := range asked {
			to := kmsg.NewDeleteTopicsResponseTopic()
			to.Topic, to.TopicID = asked[i].Topic, asked[i].TopicID
			err := found[i].err
			if err == nil {
				to.TopicID = found[i].topic.ID
				to.Topic = kmsg.StringPtr(found[i].topic.Name)
				err = s.deleteTopic(found[i].topic)
			}
			to.ErrorCode, to.ErrorMessage = codeOf(err), textOf(err)
			out.Topics = append(out.Topics, to)
		}
		return out, nil
	}}, nil
}

// doomed is a topic to delete, or why not.
type doomed struct {
	topic *metadata.Topic
	err   error
}

// findDoomed looks all topics of a request up before any is deleted.
func (s *Service) findDoomed(asked []kmsg.DeleteTopicsRequestTopic) []doomed {
	image := s.o.Replicas.Image()
	found := make([]doomed, len(asked))
	times := map[metadata.TopicID]int{}
	for i := range asked {
		found[i].topic, found[i].err = findOneDoomed(image, &asked[i])
		if found[i].err == nil {
			times[found[i].topic.ID]++
		}
	}
	for i := range found {
		if t := found[i].topic; t != nil && times[t.ID] > 1 {
			found[i].err = fmt.Errorf("%w: topic %s is named twice", errInvalidRequest, t.Name)
		}
	}
	return found
}

func findOneDoomed(
	image Image, t *kmsg.DeleteTopicsRequestTopic,
) (*metadata.Topic, error) {
	byID := t.TopicID != [16]byte{}
	if byID && t.Topic != nil {
		return nil, fmt.Errorf("%w: you may not specify both topic name and topic id", errInvalidRequest)
	}
	if !byID && t.Topic == nil {
		return nil, fmt.Errorf("%w: neither topic name nor id were specified", errInvalidRequest)
	}
	name := ""
	if t.Topic != nil {
		name = *t.Topic
	}
	return findTopic(image, byID, name, t.TopicID)
}

func (s *Service) deleteTopic(t *metadata.Topic) error {
	if t.Internal || isReserved(t.Name) {
		return fmt.Errorf("%w: %s is internal and cannot be deleted", errInvalidTopic, t.Name)
	}
	if err := s.o.Replicas.DeleteTopic(t.ID); err != nil {
		return err
	}
	if err := s.o.Groups.ForgetTopic(t.Name, groups.TopicID(t.ID)); err != nil {
		// The topic is gone all the same, and its offsets expire.
		s.log.Warn("offsets of a deleted topic remain", zap.String("topic", t.Name), zap.Error(err))
	}
	return nil
}
