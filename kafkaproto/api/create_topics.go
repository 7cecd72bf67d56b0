package api

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// CreateTopics (key 19): make topics.
//
// Behavior:
//   - A topic is durable and ready when the answer says so; the timeout is never waited for.
//   - Names that only the server may use are refused with INVALID_TOPIC_EXCEPTION.
//   - A name that stands twice in one request gets INVALID_REQUEST, and is not created.
//   - More than 10,000 partitions in one request get POLICY_VIOLATION, as in Kafka.
//   - validate_only says what would happen and changes nothing.
//
// Version notes:
//   - v4: -1 partitions or replicas mean the defaults; v5: flexible, answers with the configs
//   - v7: answers with the topic id
func (s *Service) createTopics(c *call, r *kmsg.CreateTopicsRequest) (Reply, error) {
	return topicChange{func(*Waiter) (kmsg.Response, error) {
		out := kmsg.NewPtrCreateTopicsResponse()
		out.Version = c.Version
		named := map[string]int{}
		for i := range r.Topics {
			named[r.Topics[i].Topic]++
		}
		tooMany := checkTotal(r)
		for i := range r.Topics {
			t := &r.Topics[i]
			to := kmsg.NewCreateTopicsResponseTopic()
			to.Topic = t.Topic
			var topic *metadata.Topic
			err := tooMany
			if err == nil {
				topic, err = s.createTopic(r, t, named[t.Topic])
			}
			if err != nil {
				to.ErrorCode, to.ErrorMessage = codeOf(err), textOf(err)
				to.NumPartitions, to.ReplicationFactor = -1, -1
			} else {
				s.describeCreated(&to, topic)
			}
			out.Topics = append(out.Topics, to)
		}
		return out, nil
	}}, nil
}

// createdPartitionsMax is Kafka's ReplicationControlManager.MAX_PARTITIONS_PER_BATCH.
const createdPartitionsMax = 10_000

// checkTotal bounds the partitions of one request; those of a default count as one.
func checkTotal(r *kmsg.CreateTopicsRequest) error {
	total := int64(0)
	for i := range r.Topics {
		t := &r.Topics[i]
		total += max(int64(t.NumPartitions), int64(len(t.ReplicaAssignment)), 1)
	}
	if total > createdPartitionsMax {
		return fmt.Errorf("%w: %d partitions in one request; at most %d are created at a time",
			errPolicy, total, createdPartitionsMax)
	}
	return nil
}

func (s *Service) createTopic(
	r *kmsg.CreateTopicsRequest, t *kmsg.CreateTopicsRequestTopic, named int,
) (*metadata.Topic, error) {
	if named > 1 {
		return nil, fmt.Errorf("%w: duplicate topic name %s", errInvalidRequest, t.Topic)
	}
	if isReserved(t.Topic) {
		return nil, fmt.Errorf("%w: %s is a name of the server's own", errInvalidTopic, t.Topic)
	}
	spec, err := topicSpec(r.Version, t)
	if err != nil {
		return nil, err
	}
	return s.o.Replicas.CreateTopic(spec, r.ValidateOnly)
}

// defaultsVersion is the first version in which -1 means the default.
const defaultsVersion = 4

func topicSpec(version int16, t *kmsg.CreateTopicsRequestTopic) (replication.TopicSpec, error) {
	spec := replication.TopicSpec{
		Name: t.Topic, Partitions: t.NumPartitions, ReplicationFactor: t.ReplicationFactor,
	}
	if len(t.ReplicaAssignment) > 0 {
		if t.NumPartitions != -1 || t.ReplicationFactor != -1 {
			return spec, fmt.Errorf("%w: both numPartitions or replicationFactor and "+
				"replicasAssignments were set; both cannot be used at the same time", errInvalidRequest)
		}
		spec.Assignment = map[int32][]int32{}
		for _, a := range t.ReplicaAssignment {
			if _, again := spec.Assignment[a.Partition]; again {
				return spec, fmt.Errorf("%w: partition %d is assigned twice",
					metadata.ErrInvalidReplicaAssignment, a.Partition)
			}
			spec.Assignment[a.Partition] = a.Replicas
		}
	} else if version < defaultsVersion && (spec.Partitions < 1 || spec.ReplicationFactor < 1) {
		return spec, fmt.Errorf("%w: %d partitions, %d replicas; -1 means the default from version %d on",
			errInvalidPartitions, spec.Partitions, spec.ReplicationFactor, defaultsVersion)
	}
	var err error
	spec.Configs, err = topicConfigsOf(t)
	return spec, err
}

// topicConfigsOf are the configs that a topic is to have; of a name that stands twice the last one
// counts, as in Kafka (ReplicationControlManager.computeConfigChanges).
func topicConfigsOf(t *kmsg.CreateTopicsRequestTopic) (map[string]string, error) {
	var null []string
	set := make(map[string]string, len(t.Configs))
	for _, config := range t.Configs {
		if config.Value == nil {
			null = append(null, config.Name)
			continue
		}
		set[config.Name] = *config.Value
	}
	if len(null) > 0 {
		return nil, refusef(kerr.InvalidConfig,
			"Null value not supported for topic configs: %s", strings.Join(null, ","))
	}
	return set, nil
}

func (s *Service) describeCreated(out *kmsg.CreateTopicsResponseTopic, t *metadata.Topic) {
	out.TopicID = t.ID
	out.NumPartitions = int32(len(t.Partitions))
	if len(t.Partitions) > 0 {
		out.ReplicationFactor = int16(len(t.Partitions[0].Replicas))
	}
	for _, c := range s.topicConfigs(t) {
		config := kmsg.NewCreateTopicsResponseTopicConfig()
		config.Name, config.Value, config.Source = c.name, &c.value, int8(c.source)
		config.ReadOnly = c.readOnly
		out.Configs = append(out.Configs, config)
	}
}
