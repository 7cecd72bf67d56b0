package metadata

import (
	"maps"
	"slices"
	"strings"

	"github.com/chronosdb/chronosdb/log/batch"
)

// Image is one immutable state of the metadata. Nothing in it may be changed by a reader.
type Image struct {
	clusterID      string
	node           int32 // whose data directory this is
	byName         map[string]*Topic
	byID           map[TopicID]*Topic
	byCollision    map[string]string  // collision key -> topic name
	deleted        map[TopicID]*Topic // deleted, but perhaps still on disk
	nextPartition  PartitionNumber
	nextProducerID batch.ProducerID
}

func newImage() *Image {
	return &Image{
		byName:        map[string]*Topic{},
		byID:          map[TopicID]*Topic{},
		byCollision:   map[string]string{},
		deleted:       map[TopicID]*Topic{},
		nextPartition: 1,
	}
}

// ClusterID is chosen at the first start of a data directory and never changes.
func (m *Image) ClusterID() string { return m.clusterID }

// Node returns the id of the node that the data directory was made for.
func (m *Image) Node() int32 { return m.node }

// Topic returns the topic of that name, or nil.
func (m *Image) Topic(name string) *Topic { return m.byName[name] }

// TopicByID returns the topic of that id, or nil.
func (m *Image) TopicByID(id TopicID) *Topic { return m.byID[id] }

// Topics returns all topics, ordered by name.
func (m *Image) Topics() []*Topic {
	return slices.SortedFunc(maps.Values(m.byName), func(a, b *Topic) int {
		return strings.Compare(a.Name, b.Name)
	})
}

// Deleted returns the topics whose files may still be on disk, in no order.
func (m *Image) Deleted() []*Topic { return slices.Collect(maps.Values(m.deleted)) }

// clone copies the maps, not the topics, which are immutable themselves.
func (m *Image) clone() *Image {
	c := *m
	c.byName = maps.Clone(m.byName)
	c.byID = maps.Clone(m.byID)
	c.byCollision = maps.Clone(m.byCollision)
	c.deleted = maps.Clone(m.deleted)
	return &c
}

func (m *Image) put(t *Topic) {
	m.byName[t.Name] = t
	m.byID[t.ID] = t
	m.byCollision[collisionKey(t.Name)] = t.Name
}

func (m *Image) remove(t *Topic) {
	delete(m.byName, t.Name)
	delete(m.byID, t.ID)
	delete(m.byCollision, collisionKey(t.Name))
}
