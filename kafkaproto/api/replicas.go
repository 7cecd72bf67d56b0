package api

import (
	"context"

	"github.com/chronosdb/chronosdb/groups"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// Origin is the producer without an id that a connection is.
type Origin = replication.Origin

// NewOrigin returns the origin of a new connection.
func NewOrigin() *Origin { return replication.NewOrigin() }

// Replicas is the node's topics and partitions: what this package needs of a replication.Manager.
type Replicas interface {
	// Image is the metadata now; its topics are open.
	Image() Image
	// NodeID is this node.
	NodeID() int32
	// CreateTopic makes a topic, durable when it returns.
	CreateTopic(spec replication.TopicSpec, validateOnly bool) (*metadata.Topic, error)
	// DeleteTopic deletes a topic and all that is in it.
	DeleteTopic(id metadata.TopicID) error
	// ChangeConfigs changes a topic's configs, durable when it returns.
	ChangeConfigs(id metadata.TopicID, change replication.ConfigChange, validateOnly bool) error
	// LogDir is the data directory with those partitions in it that are wanted.
	LogDir(wanted func(topic string, index int32) bool) replication.LogDir
	// Partition finds a partition.
	Partition(id metadata.TopicID, index int32) (Partition, error)
	// NextProducerID hands out an id that was never handed out before.
	NextProducerID() (batch.ProducerID, error)
	// NewWatcher returns a watcher that Partition.Watch accepts.
	NewWatcher() Watcher
}

// Image is one immutable state of the metadata: a metadata.Image.
type Image interface {
	ClusterID() string
	// Topic and TopicByID return nil for a topic that does not exist; Topics is ordered by name.
	Topic(name string) *metadata.Topic
	TopicByID(id metadata.TopicID) *metadata.Topic
	Topics() []*metadata.Topic
}

// Partition is what this package needs of a replication.Partition.
type Partition interface {
	// Append takes one batch; the frame it lies in may be used again when it returns.
	Append(ctx context.Context, raw batch.Batch, o replication.AppendOptions) (Ack, error)
	// Read appends whole batches to dst.
	Read(dst []byte, r replication.FetchRead) ([]byte, replication.FetchState, error)
	// Served counts what an answer holds of the partition.
	Served(bytes, records int)
	// Watch tells w of the bytes that the high watermark passes above the offset, and wakes it at
	// once if some are there already; Unwatch ends that.
	Watch(w Watcher, above batch.Offset)
	Unwatch(w Watcher)
	// DeleteRecords moves the start forward, and returns the start that there is then.
	DeleteRecords(ctx context.Context, before batch.Offset) (batch.Offset, error)
	HighWatermark() batch.Offset
	LogStart() batch.Offset
	LeaderEpoch() batch.LeaderEpoch
	// CheckEpoch compares the leader epoch that a client knows; -1 is not compared.
	CheckEpoch(current batch.LeaderEpoch) error
	// OffsetForTime answers ListOffsets: -1, -2, -3, or a time in Unix milliseconds.
	OffsetForTime(ts int64, readCommitted bool) (replication.FoundOffset, error)
	// EpochEnd answers OffsetForLeaderEpoch.
	EpochEnd(e batch.LeaderEpoch) (batch.LeaderEpoch, batch.Offset)
}

// Ack is the promise of a produce answer: a replication.Ack.
type Ack interface {
	Done() <-chan struct{}
	// IsDone reports whether Done is closed, and makes no channel for it.
	IsDone() bool
	Result() (replication.AppendResult, error)
}

// Watcher tells that watched high watermarks have passed enough bytes: a replication.Watcher.
type Watcher interface {
	// Need says how many more bytes are to come before the watcher is woken; called before Watch.
	Need(bytes int64)
	C() <-chan struct{}
}

// Groups is what this package needs of a groups.Coordinator.
type Groups interface {
	Join(r groups.JoinRequest, reply func(groups.JoinResponse))
	Sync(r groups.SyncRequest, reply func(groups.SyncResponse))
	Heartbeat(r groups.HeartbeatRequest) error
	Leave(r groups.LeaveRequest) groups.LeaveResponse
	Commit(r groups.CommitRequest, reply func(groups.CommitResponse))
	Fetch(r groups.FetchRequest) groups.FetchResponse
	List(f groups.ListFilter) ([]groups.Listing, error)
	ForgetTopic(name string, id groups.TopicID) error
}

// ReplicasOf makes a manager fit Replicas.
func ReplicasOf(m *replication.Manager) Replicas { return manager{m} }

// manager narrows a replication.Manager. It and partition are one pointer wide, so that passing
// them as interfaces allocates nothing.
type manager struct{ *replication.Manager }

func (m manager) Image() Image { return m.Manager.Image() }

func (m manager) Partition(id metadata.TopicID, index int32) (Partition, error) {
	p, err := m.Manager.Partition(id, index)
	if err != nil {
		return nil, err
	}
	return partition{p}, nil
}

func (m manager) NewWatcher() Watcher { return replication.NewWatcher() }

// partition narrows a replication.Partition.
type partition struct{ *replication.Partition }

func (p partition) Append(
	ctx context.Context, raw batch.Batch, o replication.AppendOptions,
) (Ack, error) {
	a, err := p.Partition.Append(ctx, raw, o)
	if err != nil {
		return nil, err // Not a nil *Ack in an interface, which would not be nil.
	}
	return a, nil
}

// Watch accepts what NewWatcher made, as its doc says.
func (p partition) Watch(w Watcher, above batch.Offset) {
	if own, ok := w.(*replication.Watcher); ok {
		p.Partition.Watch(own, above)
	}
}

func (p partition) Unwatch(w Watcher) {
	if own, ok := w.(*replication.Watcher); ok {
		p.Partition.Unwatch(own)
	}
}
