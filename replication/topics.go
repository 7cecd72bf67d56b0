package replication

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer"
)

// TopicSpec is a topic to create.
type TopicSpec struct {
	Name              string
	Partitions        int32 // -1 for the server's default
	ReplicationFactor int16 // -1 for the default; on one node that is 1, and nothing else is possible
	Assignment        map[int32][]int32
	Configs           map[string]string
	Internal          bool
}

// CreateTopic makes a topic, durable and open when it returns. With validateOnly it says what would
// happen and changes nothing.
func (m *Manager) CreateTopic(spec TopicSpec, validateOnly bool) (*metadata.Topic, error) {
	m.admin.Lock()
	defer m.admin.Unlock()
	assignment, err := m.assign(spec)
	if err != nil {
		return nil, err
	}
	create := metadata.CreateTopic{
		Name: spec.Name, Internal: spec.Internal, Assignment: assignment, Configs: spec.Configs,
	}
	if _, err := rand.Read(create.ID[:]); err != nil {
		return nil, fmt.Errorf("choose a topic id: %w", err)
	}
	c := metadata.Command{CreateTopic: &create}
	_, would, err := metadata.Apply(m.store.Image(), c)
	if err != nil || validateOnly {
		return would.Topic, err
	}
	// The folders come first, durable: a topic whose folder is missing at a later start has been
	// tampered with, and is not quietly begun anew. A crash before the command leaves empty
	// folders.
	if err := m.makeFolders(create.ID, len(assignment)); err != nil {
		return nil, err
	}
	r, err := m.propose(c)
	if err != nil {
		return nil, err
	}
	warnIgnored(m, spec.Name, spec.Configs)
	// A leader's first epoch is the one it would have had if the topic had been there at its start.
	slots := make([]slot, len(r.Topic.Partitions))
	for i := range slots {
		slots[i] = m.openSlot(r.Topic, int32(i), nil)
	}
	m.mu.Lock()
	m.mu.tally.admit(r.Topic)
	m.mu.slots[r.Topic.ID] = slots
	m.mu.Unlock()
	m.image.Store(m.store.Image())
	for _, s := range slots {
		if s.offline != nil {
			return r.Topic, s.offline
		}
	}
	return r.Topic, nil
}

// assign chooses the replicas of each partition.
func (m *Manager) assign(spec TopicSpec) ([][]int32, error) {
	if len(spec.Assignment) > 0 {
		return m.assignAsTold(spec)
	}
	n := spec.Partitions
	if n == -1 {
		n = m.o.NumPartitions
	}
	if n < 1 || n > metadata.MaxPartitionsPerTopic {
		return nil, fmt.Errorf("%w: %d; ask for 1 to %d, or -1 for the default",
			metadata.ErrInvalidPartitions, n, metadata.MaxPartitionsPerTopic)
	}
	if spec.ReplicationFactor != -1 && spec.ReplicationFactor != 1 {
		return nil, fmt.Errorf("%w: %d; there is 1 node",
			metadata.ErrInvalidReplicationFactor, spec.ReplicationFactor)
	}
	out := make([][]int32, n)
	for i := range out {
		out[i] = []int32{m.o.NodeID}
	}
	return out, nil
}

func (m *Manager) assignAsTold(spec TopicSpec) ([][]int32, error) {
	refuse := func(format string, args ...any) ([][]int32, error) {
		return nil, fmt.Errorf("%w: %s",
			metadata.ErrInvalidReplicaAssignment, fmt.Sprintf(format, args...))
	}
	if spec.Partitions != -1 || spec.ReplicationFactor != -1 {
		return refuse("with an assignment, partitions and replication factor must both be -1")
	}
	out := make([][]int32, len(spec.Assignment))
	for _, index := range slices.Sorted(maps.Keys(spec.Assignment)) {
		if index < 0 || int(index) >= len(out) {
			return refuse("partitions must be numbered from 0 without a gap, found %d", index)
		}
		replicas := spec.Assignment[index]
		if len(replicas) != 1 || replicas[0] != m.o.NodeID {
			return refuse("partition %d names nodes %v; the only node is %d", index, replicas, m.o.NodeID)
		}
		out[index] = slices.Clone(replicas)
	}
	return out, nil
}

func (m *Manager) makeFolders(id metadata.TopicID, partitions int) error {
	for i := range partitions {
		dir := m.partitionDir(id, int32(i))
		if err := m.o.FS.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("%w: make %s: %w", ErrStorage, dir, err)
		}
	}
	dir := m.o.FS.PathJoin(m.o.DataDir, topicsDir)
	if err := m.o.FS.SyncDir(dir); err != nil {
		m.fail(err)
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}

// SetConfigs changes configs of a topic, from the next append or check on. A nil value returns a
// config to its default. What is pending already keeps the due time that it was accepted with.
func (m *Manager) SetConfigs(id metadata.TopicID, set map[string]*string) error {
	return m.ChangeConfigs(id, func(map[string]string) (map[string]*string, error) {
		return set, nil
	}, false)
}

// ConfigChange says, from the configs that a topic sets, which of them to set to what; a nil value
// returns one to its default. It must not keep or change the map.
type ConfigChange func(now map[string]string) (map[string]*string, error)

// ChangeConfigs is SetConfigs with a change that depends on what is set, which nobody else changes
// meanwhile. With validateOnly it says what would happen and changes nothing.
func (m *Manager) ChangeConfigs(
	id metadata.TopicID, change ConfigChange, validateOnly bool,
) error {
	m.admin.Lock()
	defer m.admin.Unlock()
	t := m.store.Image().TopicByID(id)
	if t == nil {
		return fmt.Errorf("%w: %s", metadata.ErrUnknownTopicID, id)
	}
	set, err := change(t.Configs)
	if err != nil {
		return err
	}
	c := metadata.Command{SetConfigs: &metadata.SetConfigs{ID: id, Set: set}}
	if validateOnly {
		_, _, err := metadata.Apply(m.store.Image(), c)
		return err
	}
	r, err := m.propose(c)
	if err != nil {
		return err
	}
	warnIgnored(m, t.Name, set)
	for i := range r.Topic.Partitions {
		if p, err := m.Partition(id, int32(i)); err == nil {
			p.setConfig(r.Topic.Config)
		}
	}
	m.image.Store(m.store.Image())
	return nil
}

// warnIgnored tells the operator of configs that have no meaning any more. They are accepted, so
// that tools which still send them go on working.
func warnIgnored[V any](m *Manager, topic string, set map[string]V) {
	for _, name := range metadata.IgnoredConfigs(set) {
		m.o.Logger.Warn("this topic config was removed in Kafka 4.0 and is ignored",
			zap.String("topic", topic), zap.String("config", name))
	}
}

// DeleteTopic deletes a topic with everything that is stored or pending in it.
func (m *Manager) DeleteTopic(id metadata.TopicID) error {
	m.admin.Lock()
	defer m.admin.Unlock()
	if _, err := m.propose(metadata.Command{DeleteTopic: &metadata.DeleteTopic{ID: id}}); err != nil {
		return err
	}
	m.mu.Lock()
	// Together, so that no scrape in between misses what the topic has counted.
	m.image.Store(m.store.Image())
	slots := m.mu.slots[id]
	delete(m.mu.slots, id)
	for _, s := range slots {
		if s.offline == nil {
			m.mu.tally.retire(id, s.partition)
		}
	}
	m.mu.tally.forget(id)
	m.mu.Unlock()
	for _, s := range slots {
		if s.partition == nil {
			continue
		}
		if err := s.partition.close(); err != nil {
			m.o.Logger.Warn("close partition of a deleted topic", zap.Error(err))
			if errors.Is(err, log.ErrFailed) {
				// A write error like any other. Also, nobody would drain the log any more, and the commit
				// journal would wait for it.
				m.fail(err)
			}
		}
	}
	return m.purgeDeleted()
}

// purgeDeleted removes what deleted topics have left on disk. It runs after each deletion, and at
// each start for what a crash in between has left.
func (m *Manager) purgeDeleted() error {
	for _, t := range m.store.Image().Deleted() {
		var errs []error
		for i, meta := range t.Partitions {
			errs = append(errs,
				m.index.Drop(timer.PartitionNumber(meta.Number)),
				m.o.FS.RemoveAll(m.partitionDir(t.ID, int32(i))))
		}
		errs = append(errs, m.index.Flush(), m.o.FS.SyncDir(m.o.FS.PathJoin(m.o.DataDir, topicsDir)))
		if err := errors.Join(errs...); err != nil {
			// The topic is gone for clients all the same; the next start tries again.
			m.o.Logger.Warn("files of a deleted topic remain",
				zap.String("topic", t.Name), zap.Error(err))
			continue
		}
		purged := metadata.Command{PurgedTopic: &metadata.PurgedTopic{ID: t.ID}}
		if _, err := m.propose(purged); err != nil {
			return err
		}
	}
	return nil
}

// sweepStrays removes the empty folders that a crash left between making them and the command that
// creates their topic. A folder with something in it is never removed unless a topic was deleted.
func (m *Manager) sweepStrays() error {
	dir := m.o.FS.PathJoin(m.o.DataDir, topicsDir)
	names, err := m.o.FS.List(dir)
	if err != nil {
		return fmt.Errorf("list %s: %w", dir, err)
	}
	known := map[string]bool{}
	for _, t := range m.store.Image().Topics() {
		for i := range t.Partitions {
			known[m.partitionDir(t.ID, int32(i))] = true
		}
	}
	for _, name := range names {
		path := m.o.FS.PathJoin(dir, name)
		if known[path] {
			continue
		}
		if err := m.o.FS.Remove(path); err != nil {
			m.o.Logger.Warn("this folder belongs to no topic and is left alone",
				zap.String("folder", path), zap.Error(err))
		}
	}
	return nil
}
