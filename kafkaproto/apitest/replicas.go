package apitest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/chronosdb/chronosdb/kafkaproto/api"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/invariant"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// Node is this node's id.
const Node = 7

// ClusterID is the cluster's id.
const ClusterID = "apitest-cluster-id-abc"

// Replicas holds topics in memory.
type Replicas struct {
	// Auto makes every append durable at once; otherwise Commit does.
	Auto bool

	mu struct {
		sync.Mutex
		topics map[string]*metadata.Topic
		parts  map[metadata.TopicID][]*Partition
		next   batch.ProducerID
		nextID byte
	}
}

// NewReplicas returns a node without topics, whose appends are durable at once.
func NewReplicas() *Replicas {
	r := &Replicas{Auto: true}
	r.mu.topics = map[string]*metadata.Topic{}
	r.mu.parts = map[metadata.TopicID][]*Partition{}
	r.mu.next = 1000
	return r
}

// image is the topics at one moment.
type image []*metadata.Topic

func (m image) ClusterID() string { return ClusterID }

func (m image) Topics() []*metadata.Topic { return m }

func (m image) Topic(name string) *metadata.Topic {
	for _, t := range m {
		if t.Name == name {
			return t
		}
	}
	return nil
}

func (m image) TopicByID(id metadata.TopicID) *metadata.Topic {
	for _, t := range m {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// Image implements api.Replicas.
func (r *Replicas) Image() api.Image {
	r.mu.Lock()
	defer r.mu.Unlock()
	var m image
	for _, t := range r.mu.topics {
		m = append(m, t)
	}
	slices.SortFunc(m, func(a, b *metadata.Topic) int { return strings.Compare(a.Name, b.Name) })
	return m
}

// NodeID implements api.Replicas.
func (r *Replicas) NodeID() int32 { return Node }

// CreateTopic implements api.Replicas.
func (r *Replicas) CreateTopic(
	spec replication.TopicSpec, validateOnly bool,
) (*metadata.Topic, error) {
	if err := metadata.ValidTopicName(spec.Name); err != nil {
		return nil, err
	}
	config, err := metadata.ParseConfigs(spec.Configs)
	if err != nil {
		return nil, err
	}
	n := spec.Partitions
	if n == -1 {
		n = 1
	}
	if len(spec.Assignment) > 0 {
		n = int32(len(spec.Assignment))
	}
	if n < 1 {
		return nil, fmt.Errorf("%w: %d", metadata.ErrInvalidPartitions, n)
	}
	if spec.ReplicationFactor > 1 {
		return nil, fmt.Errorf("%w: %d", metadata.ErrInvalidReplicationFactor, spec.ReplicationFactor)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.mu.topics[spec.Name] != nil {
		return nil, fmt.Errorf("%w: %s", metadata.ErrTopicExists, spec.Name)
	}
	t := &metadata.Topic{
		Name: spec.Name, Internal: spec.Internal, Configs: spec.Configs, Config: config,
	}
	for range n {
		t.Partitions = append(t.Partitions, metadata.PartitionMeta{
			Leader: Node, LeaderEpoch: 3, Replicas: []int32{Node}, ISR: []int32{Node},
		})
	}
	if validateOnly {
		return t, nil
	}
	r.mu.nextID++
	t.ID = metadata.TopicID{0xAA, 15: r.mu.nextID}
	r.mu.topics[t.Name] = t
	for range n {
		r.mu.parts[t.ID] = append(r.mu.parts[t.ID], newPartition(r.Auto, config))
	}
	return t, nil
}

// DeleteTopic implements api.Replicas.
func (r *Replicas) DeleteTopic(id metadata.TopicID) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, t := range r.mu.topics {
		if t.ID == id {
			for _, p := range r.mu.parts[id] {
				p.close()
			}
			delete(r.mu.topics, name)
			delete(r.mu.parts, id)
			return nil
		}
	}
	return fmt.Errorf("%w: %s", metadata.ErrUnknownTopicID, id)
}

// ChangeConfigs implements api.Replicas.
func (r *Replicas) ChangeConfigs(
	id metadata.TopicID, change replication.ConfigChange, validateOnly bool,
) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for name, t := range r.mu.topics {
		if t.ID != id {
			continue
		}
		set, err := change(t.Configs)
		if err != nil {
			return err
		}
		next := *t
		next.Configs = map[string]string{}
		maps.Copy(next.Configs, t.Configs)
		for name, value := range set {
			delete(next.Configs, name)
			if value != nil {
				next.Configs[name] = *value
			}
		}
		if next.Config, err = metadata.ParseConfigs(next.Configs); err != nil || validateOnly {
			return err
		}
		r.mu.topics[name] = &next
		return nil
	}
	return fmt.Errorf("%w: %s", metadata.ErrUnknownTopicID, id)
}

// LogDir implements api.Replicas: a partition takes a hundred bytes for each offset.
func (r *Replicas) LogDir(wanted func(topic string, index int32) bool) replication.LogDir {
	d := replication.LogDir{Path: "/data", TotalBytes: 1 << 40, UsableBytes: 1 << 39}
	for _, t := range r.Image().Topics() {
		for i := range t.Partitions {
			if !wanted(t.Name, int32(i)) {
				continue
			}
			p := r.Of(t.Name, int32(i))
			f := replication.PartitionFiles{
				Topic: t.Name, Index: int32(i), Path: fmt.Sprintf("/data/%s-%d", t.Name, i),
				Bytes: 100 * int64(p.HighWatermark()-p.LogStart()),
			}
			if err := p.offlineError(); errors.As(err, &f.Offline) {
				f.Bytes = -1
			}
			d.Partitions = append(d.Partitions, f)
		}
	}
	return d
}

// Partition implements api.Replicas.
func (r *Replicas) Partition(id metadata.TopicID, index int32) (api.Partition, error) {
	p, err := r.find(id, index)
	if err != nil {
		return nil, err
	}
	if offline := p.offlineError(); offline != nil {
		return nil, offline
	}
	return p, nil
}

func (r *Replicas) find(id metadata.TopicID, index int32) (*Partition, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	parts := r.mu.parts[id]
	if index < 0 || int(index) >= len(parts) {
		return nil, fmt.Errorf("%w: %d", replication.ErrUnknownPartition, index)
	}
	return parts[index], nil
}

// NextProducerID implements api.Replicas.
func (r *Replicas) NextProducerID() (batch.ProducerID, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.next++
	return r.mu.next, nil
}

// NewWatcher implements api.Replicas.
func (r *Replicas) NewWatcher() api.Watcher { return &watcher{c: make(chan struct{}, 1)} }

// Of returns a partition of a topic that exists.
func (r *Replicas) Of(name string, index int32) *Partition {
	t := r.Image().Topic(name)
	p, err := r.find(t.ID, index)
	invariant.Check(err == nil, "the test made no partition %d of topic %s", index, name)
	return p
}
