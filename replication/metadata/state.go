package metadata

import (
	"fmt"
	"maps"
	"slices"

	"github.com/chronosdb/chronosdb/log/batch"
)

// MaxPartitionsPerTopic bounds one CreateTopics entry; a request beyond it is refused.
const MaxPartitionsPerTopic = 10_000

// Apply returns the image after a command, and what the command gave. It reads nothing but its two
// arguments. An error leaves the image as it was; it is as deterministic as a success, so a refused
// command that is in a log is refused again by every replay.
func Apply(m *Image, c Command) (*Image, Result, error) {
	switch {
	case c.FormatCluster != nil:
		return applyFormat(m, *c.FormatCluster)
	case c.CreateTopic != nil:
		return applyCreate(m, *c.CreateTopic)
	case c.DeleteTopic != nil:
		return applyDelete(m, *c.DeleteTopic)
	case c.PurgedTopic != nil:
		return applyPurged(m, *c.PurgedTopic)
	case c.SetConfigs != nil:
		return applyConfigs(m, *c.SetConfigs)
	case c.RaiseEpochs != nil:
		return applyRaise(m, *c.RaiseEpochs)
	case c.TakeIDs != nil:
		return applyTakeIDs(m, *c.TakeIDs)
	default:
		return m, Result{}, fmt.Errorf("%w: it holds no known change", ErrCorruptCommand)
	}
}

func applyFormat(m *Image, c FormatCluster) (*Image, Result, error) {
	if m.clusterID != "" {
		return m, Result{}, fmt.Errorf("the cluster is formatted already, as %s", m.clusterID)
	}
	next := m.clone()
	next.clusterID, next.node = c.ClusterID, c.Node
	return next, Result{}, nil
}

// checkCreate refuses a topic by the rules that Kafka's CreateTopics has.
func checkCreate(m *Image, c CreateTopic) error {
	if err := ValidTopicName(c.Name); err != nil {
		return err
	}
	if m.Topic(c.Name) != nil {
		return fmt.Errorf("%w: %s", ErrTopicExists, c.Name)
	}
	if other, ok := m.byCollision[collisionKey(c.Name)]; ok {
		return fmt.Errorf("%w: %s collides with topic %s: they differ only in '.' and '_'",
			ErrInvalidTopic, c.Name, other)
	}
	if len(c.Assignment) == 0 || len(c.Assignment) > MaxPartitionsPerTopic {
		return fmt.Errorf("%w: %d; a topic has 1 to %d partitions",
			ErrInvalidPartitions, len(c.Assignment), MaxPartitionsPerTopic)
	}
	for i, replicas := range c.Assignment {
		if len(replicas) == 0 {
			return fmt.Errorf("%w: partition %d has no replica", ErrInvalidReplicaAssignment, i)
		}
	}
	return nil
}

func applyCreate(m *Image, c CreateTopic) (*Image, Result, error) {
	if err := checkCreate(m, c); err != nil {
		return m, Result{}, err
	}
	config, err := ParseConfigs(c.Configs)
	if err != nil {
		return m, Result{}, err
	}
	next := m.clone()
	t := &Topic{
		Name: c.Name, ID: c.ID, Internal: c.Internal,
		Configs: canonical(c.Configs), Config: config,
	}
	for _, replicas := range c.Assignment {
		t.Partitions = append(t.Partitions, PartitionMeta{
			Number:   next.nextPartition,
			Leader:   replicas[0],
			Replicas: slices.Clone(replicas),
			ISR:      slices.Clone(replicas),
		})
		next.nextPartition++
	}
	next.put(t)
	return next, Result{Topic: t}, nil
}

func applyDelete(m *Image, c DeleteTopic) (*Image, Result, error) {
	t := m.TopicByID(c.ID)
	if t == nil {
		return m, Result{}, fmt.Errorf("%w: %s", ErrUnknownTopicID, c.ID)
	}
	next := m.clone()
	next.remove(t)
	next.deleted[t.ID] = t
	return next, Result{Topic: t}, nil
}

func applyPurged(m *Image, c PurgedTopic) (*Image, Result, error) {
	next := m.clone()
	delete(next.deleted, c.ID)
	return next, Result{}, nil
}

func applyConfigs(m *Image, c SetConfigs) (*Image, Result, error) {
	old := m.TopicByID(c.ID)
	if old == nil {
		return m, Result{}, fmt.Errorf("%w: %s", ErrUnknownTopicID, c.ID)
	}
	configs := maps.Clone(old.Configs)
	if configs == nil {
		configs = map[string]string{}
	}
	for name, value := range c.Set {
		if value == nil {
			delete(configs, name)
		} else {
			configs[name] = *value
		}
	}
	parsed, err := ParseConfigs(configs)
	if err != nil {
		return m, Result{}, err
	}
	t := *old
	t.Configs, t.Config = canonical(configs), parsed
	next := m.clone()
	next.put(&t)
	return next, Result{Topic: &t}, nil
}

func applyRaise(m *Image, c RaiseEpochs) (*Image, Result, error) {
	next := m.clone()
	raised := 0
	for _, old := range m.byName {
		t := *old
		t.Partitions = slices.Clone(old.Partitions)
		for i := range t.Partitions {
			if t.Partitions[i].Leader == c.Node {
				t.Partitions[i].LeaderEpoch++
				raised++
			}
		}
		next.put(&t)
	}
	return next, Result{EpochsRaised: raised}, nil
}

func applyTakeIDs(m *Image, c TakeIDs) (*Image, Result, error) {
	if c.Count <= 0 {
		return m, Result{}, fmt.Errorf("a block of %d producer ids cannot be taken", c.Count)
	}
	next := m.clone()
	next.nextProducerID += batch.ProducerID(c.Count)
	return next, Result{FirstID: m.nextProducerID, LastIDPlus: next.nextProducerID}, nil
}
