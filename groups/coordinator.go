package groups

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Coordinator serves all classic groups. Its methods may be called from any goroutine;
// those that take a reply function call it exactly once, from any goroutine, possibly
// before they return, and never under a lock.
//
// Byte slices of requests are copied where they are kept; those of answers belong to
// the coordinator and must not be changed.
type Coordinator struct {
	o       Options
	env     *env
	count   counters
	shards  []*shard
	closing chan struct{} // closed by Close
	close   sync.Once

	ready       chan struct{} // closed by the loader of the last shard
	loadingLeft atomic.Int32
	running     sync.WaitGroup // loaders and settlers
}

// Open validates the options and starts loading every shard in the background. A shard
// answers ErrCoordinatorLoading until its log is replayed; Ready tells when all are.
func Open(o Options) (*Coordinator, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	c := &Coordinator{o: o, closing: make(chan struct{}), ready: make(chan struct{})}
	c.env = &env{
		o: &c.o, log: o.Logger.Named("groups"), count: &c.count, newMemberID: newMemberID,
	}
	queue := make(chan *shard, o.Partitions)
	for p := range o.Partitions {
		s := newShard(c.env, p, c.closing)
		c.shards = append(c.shards, s)
		queue <- s
		// The settler is stopped by Close, which waits for it.
		c.running.Go(s.settle)
	}
	close(queue)
	c.loadingLeft.Store(o.Partitions)
	for range min(loadersMax, o.Partitions) {
		// A loader ends with its work or is stopped by Close, which waits for it.
		c.running.Go(func() { c.loadAll(queue) })
	}
	return c, nil
}

// Close answers every waiting request with ErrCoordinatorNotAvailable, stops all timers
// and waits for the goroutines. The logs stay with their owner, and must still answer:
// close the coordinator before them.
func (c *Coordinator) Close() error {
	c.close.Do(func() {
		for _, s := range c.shards {
			s.close()
		}
		close(c.closing)
	})
	c.running.Wait()
	return nil
}

// Ready is closed once every shard is loaded.
func (c *Coordinator) Ready() <-chan struct{} { return c.ready }

// PartitionFor returns the partition of the offsets topic that holds the group.
func (c *Coordinator) PartitionFor(groupID string) int32 {
	return PartitionFor(groupID, c.o.Partitions)
}

func (c *Coordinator) shardFor(groupID string) *shard {
	return c.shards[c.PartitionFor(groupID)]
}

// checkGroupID refuses what cannot be a group. Only offsets may be kept under the empty
// id, as very old clients do.
func checkGroupID(groupID string, mayBeEmpty bool) error {
	if (groupID == "" && !mayBeEmpty) || len(groupID) > groupIDBytesMax {
		return fmt.Errorf("group id of %d bytes, allowed are 1 to %d: %w",
			len(groupID), groupIDBytesMax, ErrInvalidGroupID)
	}
	return nil
}

// Join adds or keeps a member; the answer comes when the rebalance is complete.
func (c *Coordinator) Join(r JoinRequest, reply func(JoinResponse)) {
	refuse := func(err error) {
		reply(JoinResponse{Err: err, Generation: -1, MemberID: r.MemberID})
	}
	if err := checkGroupID(r.GroupID, false); err != nil {
		refuse(err)
		return
	}
	if err := c.o.checkJoin(&r); err != nil {
		refuse(err)
		return
	}
	r.InstanceID = ownString(r.InstanceID)
	r.Protocols = ownProtocols(r.Protocols)
	call := &joinCall{JoinRequest: r, reply: reply}
	s := c.shardFor(r.GroupID)
	err := s.update(func(fx *effects) {
		g, err := s.groupLocked(r.GroupID), error(nil)
		if g == nil {
			if r.MemberID != "" {
				call.refuse(fx, r.MemberID, ErrUnknownMember)
				return
			}
			if g, err = s.createLocked(fx, r.GroupID); err != nil {
				call.refuse(fx, "", err)
				return
			}
		}
		g.join(fx, call)
	})
	if err != nil {
		refuse(err)
	}
}

func ownString(s *string) *string {
	if s == nil {
		return nil
	}
	own := strings.Clone(*s)
	return &own
}

// Sync hands out a member's assignment, once the leader has brought it and it is
// durable.
func (c *Coordinator) Sync(r SyncRequest, reply func(SyncResponse)) {
	if err := checkGroupID(r.GroupID, false); err != nil {
		reply(SyncResponse{Err: err})
		return
	}
	s := c.shardFor(r.GroupID)
	err := s.update(func(fx *effects) {
		g := s.groupLocked(r.GroupID)
		if g == nil {
			fx.answer(func() { reply(SyncResponse{Err: ErrUnknownMember}) })
			return
		}
		g.sync(fx, &r, reply)
	})
	if err != nil {
		reply(SyncResponse{Err: err})
	}
}

// Heartbeat keeps a member alive and tells it whether it has to join again.
func (c *Coordinator) Heartbeat(r HeartbeatRequest) error {
	if err := checkGroupID(r.GroupID, false); err != nil {
		return err
	}
	s := c.shardFor(r.GroupID)
	result := ErrUnknownMember
	if err := s.update(func(fx *effects) {
		if g := s.groupLocked(r.GroupID); g != nil {
			result = g.heartbeat(fx, &r)
		}
	}); err != nil {
		return err
	}
	return result
}

// Leave takes members out of their group at once.
func (c *Coordinator) Leave(r LeaveRequest) LeaveResponse {
	if err := checkGroupID(r.GroupID, false); err != nil {
		return LeaveResponse{Err: err}
	}
	s := c.shardFor(r.GroupID)
	// A group that does not exist has no members to leave; Kafka says so for the whole
	// request.
	resp := LeaveResponse{Err: ErrUnknownMember}
	if err := s.update(func(fx *effects) {
		if g := s.groupLocked(r.GroupID); g != nil {
			resp = g.leave(fx, r.Members)
		}
	}); err != nil {
		return LeaveResponse{Err: err}
	}
	return resp
}

// Commit stores offsets and answers when they are durable.
func (c *Coordinator) Commit(r CommitRequest, reply func(CommitResponse)) {
	if err := checkGroupID(r.GroupID, true); err != nil {
		reply(refuseCommit(&r, err))
		return
	}
	s := c.shardFor(r.GroupID)
	err := s.update(func(fx *effects) {
		g, err := s.groupLocked(r.GroupID), error(nil)
		if g == nil {
			g, err = s.createForCommitLocked(fx, &r)
		}
		if err != nil {
			fx.answer(func() { reply(refuseCommit(&r, err)) })
			return
		}
		g.commit(fx, &r, reply)
	})
	if err != nil {
		reply(refuseCommit(&r, err))
	}
}

// createForCommitLocked makes a group for a commit to an unknown one: a client without
// membership may, a member of a generation that is gone may not.
func (s *shard) createForCommitLocked(fx *effects, r *CommitRequest) (*group, error) {
	switch {
	case r.Generation < 0:
		return s.createLocked(fx, r.GroupID)
	case r.CanTellGroupNotFound:
		return nil, ErrGroupNotFound
	default:
		return nil, ErrIllegalGeneration
	}
}

// Fetch returns committed, durable offsets.
func (c *Coordinator) Fetch(r FetchRequest) FetchResponse {
	if err := checkGroupID(r.GroupID, true); err != nil {
		return FetchResponse{Err: err}
	}
	s := c.shardFor(r.GroupID)
	var resp FetchResponse
	if err := s.update(func(*effects) {
		resp = s.groupLocked(r.GroupID).fetch(&r)
	}); err != nil {
		return FetchResponse{Err: err}
	}
	return resp
}

// List returns the groups that pass the filter, by id. It fails with
// ErrCoordinatorLoading while any shard is still loading.
func (c *Coordinator) List(f ListFilter) ([]Listing, error) {
	var all []Listing
	for _, s := range c.shards {
		if err := s.update(func(*effects) {
			for id, sl := range s.mu.slots {
				l := Listing{
					GroupID: id, ProtocolType: sl.group.protocolType,
					State: sl.group.state.String(), Type: groupType,
				}
				if f.passes(&l) {
					all = append(all, l)
				}
			}
		}); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(all, func(a, b Listing) int { return strings.Compare(a.GroupID, b.GroupID) })
	return all, nil
}

// groupType is Kafka's name for the groups of this package.
const groupType = "classic"

func (f *ListFilter) passes(l *Listing) bool {
	return holdsFold(f.States, l.State) && holdsFold(f.Types, l.Type)
}

func holdsFold(list []string, s string) bool {
	return len(list) == 0 ||
		slices.ContainsFunc(list, func(e string) bool { return strings.EqualFold(e, s) })
}

// Describe returns a group's state, or ErrGroupNotFound.
func (c *Coordinator) Describe(groupID string) (Description, error) {
	s := c.shardFor(groupID)
	var d Description
	result := fmt.Errorf("group %q: %w", groupID, ErrGroupNotFound)
	if err := s.update(func(*effects) {
		if g := s.groupLocked(groupID); g != nil {
			d, result = g.describe(), nil
		}
	}); err != nil {
		return Description{}, err
	}
	return d, result
}

// DeleteGroup removes a group without members and its offsets; the answer comes when
// the tombstones are durable. ErrNonEmptyGroup, ErrGroupNotFound.
func (c *Coordinator) DeleteGroup(groupID string, reply func(error)) {
	s := c.shardFor(groupID)
	err := s.update(func(fx *effects) {
		g, err := s.groupLocked(groupID), ErrGroupNotFound
		if g != nil {
			err = g.checkDelete()
		}
		if err != nil {
			fx.answer(func() { reply(err) })
			return
		}
		clear(g.pending) // nobody who has an id yet is a member
		g.die(fx, func(fx *effects, err error) { fx.answer(func() { reply(err) }) })
	})
	if err != nil {
		reply(err)
	}
}

// DeleteOffsets removes committed offsets and answers when that is durable.
// ErrGroupSubscribed for topics the group consumes.
func (c *Coordinator) DeleteOffsets(r DeleteOffsetsRequest, reply func(CommitResponse)) {
	s := c.shardFor(r.GroupID)
	err := s.update(func(fx *effects) {
		g := s.groupLocked(r.GroupID)
		if g == nil {
			fx.answer(func() { reply(refuseDelete(&r, ErrGroupNotFound)) })
			return
		}
		g.deleteOffsets(fx, &r, reply)
	})
	if err != nil {
		reply(refuseDelete(&r, err))
	}
}

// ForgetTopic removes the offsets that any group committed for a deleted topic. A zero
// id means every topic of that name. It fails if a shard is not loaded, and does not
// wait for the disk: what a crash brings back, retention removes.
func (c *Coordinator) ForgetTopic(name string, id TopicID) error {
	var first error
	for _, s := range c.shards {
		if err := s.update(func(fx *effects) {
			for _, sl := range s.mu.slots {
				sl.group.forgetTopic(fx, name, id)
			}
		}); err != nil && first == nil {
			first = err
		}
	}
	return first
}
