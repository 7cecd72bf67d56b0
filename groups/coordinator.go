package groups

import (
	"errors"

	"go.uber.org/zap"
)

// Coordinator serves all classic groups. Its methods may be called from any
// goroutine; those that take a reply function call it exactly once, from any
// goroutine, possibly before they return, and never under a lock.
type Coordinator struct {
	o   Options
	log *zap.Logger
}

// Open validates the options and starts loading every shard in the background. A
// shard answers ErrCoordinatorLoading until its log is replayed; Ready tells when
// all are.
func Open(o Options) (*Coordinator, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	return &Coordinator{o: o, log: o.Logger.Named("groups")}, nil
}

// Close answers every waiting request with ErrCoordinatorNotAvailable, stops all
// timers and waits for the goroutines. The logs stay with their owner.
func (c *Coordinator) Close() error { return nil }

// Ready is closed once every shard is loaded.
func (c *Coordinator) Ready() <-chan struct{} { return nil }

// PartitionFor returns the partition of the offsets topic that holds the group.
func (c *Coordinator) PartitionFor(groupID string) int32 {
	return PartitionFor(groupID, c.o.Partitions)
}

// PartitionFor returns the partition, of so many, that holds the group: Java's
// String.hashCode (over UTF-16 units) without its sign, modulo partitions, as every
// Kafka client and tool expects.
func PartitionFor(groupID string, partitions int32) int32 { return 0 }

var errSkeleton = errors.New("not built yet")

// Join adds or keeps a member; the answer comes when the rebalance is complete.
func (c *Coordinator) Join(r JoinRequest, reply func(JoinResponse)) {
	reply(JoinResponse{Err: errSkeleton})
}

// Sync hands out a member's assignment, once the leader has brought it and it is
// durable.
func (c *Coordinator) Sync(r SyncRequest, reply func(SyncResponse)) {
	reply(SyncResponse{Err: errSkeleton})
}

// Heartbeat keeps a member alive and tells it whether it has to join again.
func (c *Coordinator) Heartbeat(r HeartbeatRequest) error { return errSkeleton }

// Leave takes members out of their group at once.
func (c *Coordinator) Leave(r LeaveRequest) LeaveResponse { return LeaveResponse{Err: errSkeleton} }

// Commit stores offsets and answers when they are durable.
func (c *Coordinator) Commit(r CommitRequest, reply func(CommitResponse)) {
	reply(CommitResponse{Err: errSkeleton})
}

// Fetch returns committed, durable offsets.
func (c *Coordinator) Fetch(r FetchRequest) FetchResponse {
	return FetchResponse{Err: errSkeleton}
}

// List returns the groups that pass the filter, by id. It fails with
// ErrCoordinatorLoading while any shard is still loading.
func (c *Coordinator) List(f ListFilter) ([]Listing, error) { return nil, errSkeleton }

// Describe returns a group's state, or ErrGroupNotFound.
func (c *Coordinator) Describe(groupID string) (Description, error) {
	return Description{}, errSkeleton
}

// DeleteGroup removes a group without members and its offsets; the answer comes
// when the tombstones are durable. ErrNonEmptyGroup, ErrGroupNotFound.
func (c *Coordinator) DeleteGroup(groupID string, reply func(error)) { reply(errSkeleton) }

// DeleteOffsets removes committed offsets and answers when that is durable.
// ErrGroupSubscribed for topics the group consumes.
func (c *Coordinator) DeleteOffsets(r DeleteOffsetsRequest, reply func(CommitResponse)) {
	reply(CommitResponse{Err: errSkeleton})
}

// ForgetTopic removes the offsets that any group committed for a deleted topic. A
// zero id means every topic of that name.
func (c *Coordinator) ForgetTopic(name string, id TopicID) {}

// Metrics returns a snapshot of the counters.
func (c *Coordinator) Metrics() Metrics { return Metrics{} }
