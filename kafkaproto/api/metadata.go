package api

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// autoCreateMax bounds the topics that one request may create: each costs several fsyncs. The rest
// get LEADER_NOT_AVAILABLE, on which clients ask again.
const autoCreateMax = 100

// What a client may do when it asks and nobody is refused anything: one bit for each operation that
// Kafka knows of the resource (org.apache.kafka.common.acl.AclOperation).
const (
	topicOperations   = 1<<3 | 1<<4 | 1<<5 | 1<<6 | 1<<7 | 1<<8 | 1<<10 | 1<<11
	clusterOperations = 1<<5 | 1<<7 | 1<<8 | 1<<9 | 1<<10 | 1<<11 | 1<<12
	// operationsNotAsked stands for "not asked".
	operationsNotAsked = math.MinInt32
)

// Metadata (key 3): the node, and topics with their ids, partitions and leaders.
//
// Behavior:
//   - null topics are all topics, an empty list is none (in version 0 it is all).
//   - A topic that does not exist is created if the server and, from version 4, the request allow
//     it. It is durable and ready when the answer says so, where Kafka would first answer
//     LEADER_NOT_AVAILABLE; names that only the server may use are not created.
//   - Topics come in the order of the request, each once, or by name.
//   - An offline partition has no leader, LEADER_NOT_AVAILABLE and its replica among the offline
//     ones, as after a failed log directory in Kafka.
//
// Version notes:
//   - v1: controller, internal; v2: cluster id; v5: offline replicas; v7: leader epoch
//   - v8: authorized operations, computed as if everything is allowed, which it is
//   - v9: flexible; v10: topic ids in the response; v12: in the request; v13: top-level error
func (s *Service) metadata(c *call, r *kmsg.MetadataRequest) (Reply, error) {
	// In turn, because it may create topics, and because a client expects to see what its own
	// earlier requests have created.
	answer := inTurn(func(*Waiter) (kmsg.Response, error) {
		out := s.cluster(c.Version)
		if r.IncludeClusterAuthorizedOperations {
			out.AuthorizedOperations = clusterOperations
		}
		if err := checkMetadata(r); err != nil {
			refuseMetadata(out, r, err)
			return out, nil
		}
		if r.Topics == nil || c.Version == 0 && len(r.Topics) == 0 {
			for _, t := range s.o.Replicas.Image().Topics() {
				out.Topics = append(out.Topics, s.describeTopic(t))
			}
		} else {
			s.appendTopics(out, r)
		}
		for i := range out.Topics {
			if r.IncludeTopicAuthorizedOperations && out.Topics[i].ErrorCode == 0 {
				out.Topics[i].AuthorizedOperations = topicOperations
			}
		}
		return out, nil
	})
	if s.mayCreate(r) {
		return topicChange{answer}, nil
	}
	return answer, nil
}

// createsTopics reports whether the server and the request allow missing topics to be made.
func (s *Service) createsTopics(r *kmsg.MetadataRequest) bool {
	return s.o.AutoCreate && (r.Version < 4 || r.AllowAutoTopicCreation)
}

// mayCreate reports whether a request would create topics now.
func (s *Service) mayCreate(r *kmsg.MetadataRequest) bool {
	if !s.createsTopics(r) {
		return false
	}
	image := s.o.Replicas.Image()
	for i := range r.Topics {
		if name := r.Topics[i].Topic; name != nil && image.Topic(*name) == nil {
			return true
		}
	}
	return false
}

// cluster returns a response without topics.
func (s *Service) cluster(version int16) *kmsg.MetadataResponse {
	out := kmsg.NewPtrMetadataResponse()
	out.Version = version
	id := s.o.Replicas.Image().ClusterID()
	out.ClusterID = &id
	out.ControllerID = s.o.Replicas.NodeID()
	b := kmsg.NewMetadataResponseBroker()
	b.NodeID, b.Host, b.Port = s.o.Replicas.NodeID(), s.o.AdvertisedHost, s.o.AdvertisedPort
	out.Brokers = append(out.Brokers, b)
	out.AuthorizedOperations = operationsNotAsked
	return out
}

// checkMetadata refuses what the version does not allow.
func checkMetadata(r *kmsg.MetadataRequest) error {
	for i := range r.Topics {
		t := &r.Topics[i]
		if r.Version >= 12 {
			continue
		}
		if t.Topic == nil {
			return fmt.Errorf("%w: topic name is null in version %d", errInvalidRequest, r.Version)
		}
		if t.TopicID != [16]byte{} {
			return fmt.Errorf("%w: topic id in version %d", errInvalidRequest, r.Version)
		}
	}
	return nil
}

// refuseMetadata refuses a whole request: at its top if there is a place, and in every topic.
func refuseMetadata(out *kmsg.MetadataResponse, r *kmsg.MetadataRequest, err error) {
	out.ErrorCode = codeOf(err)
	for i := range r.Topics {
		name := r.Topics[i].Topic
		if name == nil {
			name = kmsg.StringPtr("") // It may be null from version 12 on only.
		}
		t := newTopic(name, r.Topics[i].TopicID)
		t.ErrorCode = out.ErrorCode
		out.Topics = append(out.Topics, t)
	}
}

// appendTopics answers for the topics of a request, each once.
func (s *Service) appendTopics(out *kmsg.MetadataResponse, r *kmsg.MetadataRequest) {
	create := creator{s: s, allowed: s.createsTopics(r)}
	seenName := map[string]bool{}
	seenID := map[[16]byte]bool{}
	for i := range r.Topics {
		t := &r.Topics[i]
		if t.Topic == nil || t.TopicID != [16]byte{} {
			if !seenID[t.TopicID] {
				seenID[t.TopicID] = true
				out.Topics = append(out.Topics, s.topicByID(t.TopicID))
			}
			continue
		}
		if seenName[*t.Topic] {
			continue
		}
		seenName[*t.Topic] = true
		topic, err := create.find(*t.Topic)
		if err != nil {
			refused := newTopic(t.Topic, [16]byte{})
			refused.ErrorCode = codeOf(err)
			refused.IsInternal = isReserved(*t.Topic)
			out.Topics = append(out.Topics, refused)
			continue
		}
		out.Topics = append(out.Topics, s.describeTopic(topic))
	}
}

func (s *Service) topicByID(id [16]byte) kmsg.MetadataResponseTopic {
	topic := s.o.Replicas.Image().TopicByID(id)
	if topic == nil {
		out := newTopic(nil, id)
		out.ErrorCode = codeOf(errUnknownTopicID)
		return out
	}
	return s.describeTopic(topic)
}

// creator finds topics, and makes the missing ones if that is allowed.
type creator struct {
	s       *Service
	allowed bool
	created int
}

func (c *creator) find(name string) (*metadata.Topic, error) {
	if topic := c.s.o.Replicas.Image().Topic(name); topic != nil {
		return topic, nil
	}
	if err := metadata.ValidTopicName(name); err != nil {
		return nil, err
	}
	if !c.allowed || isReserved(name) {
		return nil, fmt.Errorf("%w: topic %s", errUnknownTopic, name)
	}
	if c.created >= autoCreateMax {
		return nil, fmt.Errorf("%w: %d topics were created for this request", errLater, c.created)
	}
	c.created++
	spec := replication.TopicSpec{Name: name, Partitions: -1, ReplicationFactor: -1}
	topic, err := c.s.o.Replicas.CreateTopic(spec, false)
	if errors.Is(err, metadata.ErrTopicExists) {
		// Somebody else was quicker.
		if topic = c.s.o.Replicas.Image().Topic(name); topic != nil {
			return topic, nil
		}
	}
	return topic, err
}

// isReserved reports names that clients may not create: Kafka's internal topics, and ours.
func isReserved(name string) bool {
	switch name {
	case "__consumer_offsets", "__transaction_state", "__share_group_state", "__cluster_metadata":
		return true
	}
	return strings.HasPrefix(name, "__chronos_")
}

func newTopic(name *string, id [16]byte) kmsg.MetadataResponseTopic {
	out := kmsg.NewMetadataResponseTopic()
	out.Topic, out.TopicID = name, id
	out.AuthorizedOperations = operationsNotAsked
	return out
}

func (s *Service) describeTopic(t *metadata.Topic) kmsg.MetadataResponseTopic {
	out := newTopic(kmsg.StringPtr(t.Name), t.ID)
	out.IsInternal = t.Internal
	out.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i := range t.Partitions {
		meta, p := &t.Partitions[i], &out.Partitions[i]
		p.Default()
		p.Partition = int32(i)
		p.Leader, p.LeaderEpoch = meta.Leader, int32(meta.LeaderEpoch)
		p.Replicas, p.ISR = meta.Replicas, meta.ISR
		if _, err := s.o.Replicas.Partition(t.ID, int32(i)); err != nil {
			p.ErrorCode = codeOf(errLater)
			p.Leader, p.ISR = -1, nil
			p.OfflineReplicas = meta.Replicas
		}
	}
	return out
}
