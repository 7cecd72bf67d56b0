package groups

import (
	"fmt"

	"github.com/chronosdb/chronosdb/timer/clock"
)

// topicPartition names what an offset is committed for.
type topicPartition struct {
	topic     string
	partition int32
}

// noExpiry is the expiry of an offset that follows the server's retention.
const noExpiry clock.UnixMs = -1

// committed is one durable offset.
type committed struct {
	offset      int64
	leaderEpoch int32
	metadata    string
	topicID     TopicID
	at          clock.UnixMs
	expires     clock.UnixMs // noExpiry, or what an old client asked for
}

// offsets are the durable offsets of one group: the fold of its records in log order.
type offsets struct {
	byTopic map[string]map[int32]committed
	count   int
	// undecided counts, per key, commits whose outcome is not known. Tombstones have to
	// cover them too, and retention leaves them alone.
	undecided map[topicPartition]int
}

func newOffsets() offsets {
	return offsets{
		byTopic:   make(map[string]map[int32]committed),
		undecided: make(map[topicPartition]int),
	}
}

func (o *offsets) get(k topicPartition) (committed, bool) {
	c, ok := o.byTopic[k.topic][k.partition]
	return c, ok
}

func (o *offsets) set(k topicPartition, c committed) {
	partitions := o.byTopic[k.topic]
	if partitions == nil {
		partitions = make(map[int32]committed)
		o.byTopic[k.topic] = partitions
	}
	if _, ok := partitions[k.partition]; !ok {
		o.count++
	}
	partitions[k.partition] = c
}

func (o *offsets) remove(k topicPartition) {
	partitions := o.byTopic[k.topic]
	if _, ok := partitions[k.partition]; !ok {
		return
	}
	o.count--
	delete(partitions, k.partition)
	if len(partitions) == 0 {
		delete(o.byTopic, k.topic)
	}
}

func (o *offsets) expect(k topicPartition) { o.undecided[k]++ }

func (o *offsets) decide(k topicPartition) {
	o.undecided[k]--
	if o.undecided[k] == 0 {
		delete(o.undecided, k)
	}
}

// hasRoomFor applies the bound on offsets; a key that is there already always fits.
func (o *offsets) hasRoomFor(k topicPartition, limit int) bool {
	if _, ok := o.get(k); ok || o.undecided[k] > 0 {
		return true
	}
	return o.count+len(o.undecided) < limit
}

// keys returns every key, stored or on its way, that pick accepts.
func (o *offsets) keys(pick func(topicPartition) bool) []topicPartition {
	var all []topicPartition
	for topic, partitions := range o.byTopic {
		for p := range partitions {
			if k := (topicPartition{topic, p}); pick(k) {
				all = append(all, k)
			}
		}
	}
	for k := range o.undecided {
		if _, stored := o.get(k); !stored && pick(k) {
			all = append(all, k)
		}
	}
	return all
}

// checkCommit decides whether the sender may commit (ClassicGroup.java,
// validateOffsetCommit).
func (g *group) checkCommit(fx *effects, r *CommitRequest) error {
	if g.state == Dead {
		return ErrCoordinatorNotAvailable
	}
	if r.Generation < 0 && g.state == Empty {
		return nil // an administrator, or a consumer that assigns partitions itself
	}
	if r.Generation < 0 && r.MemberID == "" && r.InstanceID == nil {
		return ErrUnknownMember // the same, but the group has members
	}
	m, err := g.check(r.MemberID, r.InstanceID)
	if err != nil {
		return err
	}
	if r.Generation != g.generation {
		return ErrIllegalGeneration
	}
	if g.state == CompletingRebalance {
		// The partitions may be somebody else's by now.
		return ErrRebalanceInProgress
	}
	m.deadline = fx.now.Add(m.session) // a commit is as good as a heartbeat
	return nil
}

// commit is the OffsetCommit transition.
func (g *group) commit(fx *effects, r *CommitRequest, reply func(CommitResponse)) {
	fx.touch(g)
	if err := g.checkCommit(fx, r); err != nil {
		fx.answer(func() { reply(refuseCommit(r, err)) })
		return
	}
	plan := g.planCommit(fx, r)
	if plan.bytes > appendBytesMax {
		err := fmt.Errorf("%d bytes in one request, allowed are %d: %w",
			plan.bytes, appendBytesMax, ErrCommitTooLarge)
		fx.answer(func() { reply(refuseCommit(r, err)) })
		return
	}
	if len(plan.keys) == 0 {
		fx.answer(func() { reply(plan.response) })
		return
	}
	for _, k := range plan.keys {
		g.offsets.expect(k)
	}
	fx.store(write{group: g, records: plan.records, decided: func(fx *effects, err error) {
		fx.touch(g)
		for i, k := range plan.keys {
			g.offsets.decide(k)
			if err == nil {
				g.offsets.set(k, plan.values[i])
			}
		}
		if err != nil {
			g.env.count.commitFailures.Add(int64(len(plan.keys)))
			fx.answer(func() { reply(refuseCommit(r, err)) })
			return
		}
		g.env.count.commits.Add(int64(len(plan.keys)))
		fx.answer(func() { reply(plan.response) })
	}})
}

// commitPlan is what a commit will store, and the answer once it has.
type commitPlan struct {
	keys     []topicPartition
	values   []committed // as many as keys
	records  []Record    // as many as keys
	bytes    int
	response CommitResponse
}

func (g *group) planCommit(fx *effects, r *CommitRequest) *commitPlan {
	now := fx.nowMs()
	expires := noExpiry
	if r.RetentionMs >= 0 {
		expires = now + clock.UnixMs(r.RetentionMs)
	}
	plan := &commitPlan{response: refuseCommit(r, nil)}
	for i := range r.Topics {
		t := &r.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			k := topicPartition{t.Topic, p.Partition}
			if err := g.checkOffset(k, p.Metadata); err != nil {
				plan.response.Topics[i].Partitions[j].Err = err
				continue
			}
			plan.add(g.id, k, committed{
				offset: p.Offset, leaderEpoch: p.LeaderEpoch, metadata: p.Metadata,
				topicID: t.TopicID, at: now, expires: expires,
			})
		}
	}
	return plan
}

func (p *commitPlan) add(groupID string, k topicPartition, c committed) {
	record := offsetRecord(groupID, k, &c)
	p.keys = append(p.keys, k)
	p.values = append(p.values, c)
	p.records = append(p.records, record)
	p.bytes += record.size()
}

func (g *group) checkOffset(k topicPartition, metadata string) error {
	if len(metadata) > g.env.o.OffsetMetadataMaxBytes {
		return fmt.Errorf("%d bytes beside the offset of %s-%d, allowed are %d: %w",
			len(metadata), k.topic, k.partition, g.env.o.OffsetMetadataMaxBytes,
			ErrOffsetMetadataTooLarge)
	}
	if len(k.topic) > storedStringBytesMax ||
		!g.offsets.hasRoomFor(k, g.env.o.OffsetsPerGroupMax) {
		return fmt.Errorf("group %q has %d offsets, allowed are %d: %w",
			g.id, g.offsets.count, g.env.o.OffsetsPerGroupMax, ErrLimit)
	}
	return nil
}

// refuseCommit mirrors the request with the same outcome for every partition.
func refuseCommit(r *CommitRequest, err error) CommitResponse {
	resp := CommitResponse{Err: err, Topics: make([]CommitTopicResult, len(r.Topics))}
	for i := range r.Topics {
		t := &r.Topics[i]
		partitions := make([]CommitPartitionResult, len(t.Partitions))
		for j := range t.Partitions {
			partitions[j] = CommitPartitionResult{Partition: t.Partitions[j].Partition, Err: err}
		}
		resp.Topics[i] = CommitTopicResult{
			Topic: t.Topic, TopicID: t.TopicID, Partitions: partitions,
		}
	}
	return resp
}
