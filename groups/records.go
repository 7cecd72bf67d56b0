package groups

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/timer/clock"
)

// The versions of Kafka's record formats that are written. Older ones are read too.
const (
	offsetKeyVersion    = 1
	metadataKeyVersion  = 2
	offsetValueExpiring = 1 // the only version with an expiry of its own
	offsetValuePlain    = 3
	offsetValueTopicID  = 4 // the first one that can carry a topic id
	metadataValue       = 3
)

// errRecord is wrapped by everything that is wrong with a stored record.
var errRecord = errors.New("bad record in the offsets topic")

// size is what the record takes in a batch, at most.
func (r *Record) size() int { return len(r.Key) + len(r.Value) + recordOverheadBytes }

func offsetKey(groupID string, k topicPartition) []byte {
	key := kmsg.OffsetCommitKey{
		Version: offsetKeyVersion, Group: groupID, Topic: k.topic, Partition: k.partition,
	}
	return key.AppendTo(make([]byte, 0, 10+len(groupID)+len(k.topic)))
}

func offsetRecord(groupID string, k topicPartition, c *committed) Record {
	value := kmsg.NewOffsetCommitValue()
	value.Version = offsetValuePlain
	value.Offset, value.LeaderEpoch = c.offset, c.leaderEpoch
	value.Metadata, value.CommitTimestamp = c.metadata, int64(c.at)
	switch {
	case c.expires != noExpiry:
		value.Version = offsetValueExpiring
		value.ExpireTimestamp = int64(c.expires)
	case c.topicID != TopicID{}:
		value.Version = offsetValueTopicID
		value.TopicID = c.topicID
	}
	return Record{
		Key: offsetKey(groupID, k), Timestamp: c.at,
		Value: value.AppendTo(make([]byte, 0, 64+len(c.metadata))),
	}
}

func metadataKey(groupID string) []byte {
	key := kmsg.GroupMetadataKey{Version: metadataKeyVersion, Group: groupID}
	return key.AppendTo(make([]byte, 0, 4+len(groupID)))
}

// storeMetadata stores the group as it is, with other assignments if they are given.
// decided may be called before it returns.
func (g *group) storeMetadata(
	fx *effects, assignments map[string][]byte, decided func(fx *effects, err error),
) {
	g.revision++
	revision := g.revision
	record, err := g.metadataRecord(fx.nowMs(), assignments)
	if err != nil {
		decided(fx, err)
		return
	}
	fx.store(write{group: g, records: []Record{record}, decided: func(fx *effects, err error) {
		if err == nil {
			g.stored = true
			g.saved = max(g.saved, revision)
		}
		decided(fx, err)
	}})
}

// saveAgain stores what an earlier write should have: the disk was full, maybe.
func (g *group) saveAgain(fx *effects) {
	if g.saved == g.revision || g.undecided > 0 || (g.state != Empty && g.state != Stable) {
		return
	}
	g.storeMetadata(fx, nil, func(_ *effects, err error) {
		if err != nil {
			g.env.log.Warn("group still not stored", zap.String("group", g.id), zap.Error(err))
		}
	})
}

func (g *group) metadataRecord(
	now clock.UnixMs, assignments map[string][]byte,
) (Record, error) {
	value := kmsg.NewGroupMetadataValue()
	value.Version = metadataValue
	value.ProtocolType, value.Generation = g.protocolType, g.generation
	value.CurrentStateTimestamp = int64(g.stateSince)
	if len(g.members) > 0 {
		protocol, leader := g.protocol, g.leader
		value.Protocol, value.Leader = &protocol, &leader
	}
	for _, m := range g.members {
		assignment := m.assignment
		if assignments != nil {
			assignment = assignments[m.id]
		}
		v := kmsg.NewGroupMetadataValueMember()
		v.MemberID, v.InstanceID = m.id, m.instanceID
		v.ClientID, v.ClientHost = m.clientID, m.clientHost
		v.RebalanceTimeoutMillis = toMillis(m.rebalance)
		v.SessionTimeoutMillis = toMillis(m.session)
		v.Subscription, v.Assignment = m.metadata(g.protocol), assignment
		value.Members = append(value.Members, v)
	}
	record := Record{Key: metadataKey(g.id), Value: value.AppendTo(nil), Timestamp: now}
	if record.size() > appendBytesMax {
		return Record{}, fmt.Errorf("group %q with %d members takes %d bytes, allowed are %d; "+
			"use fewer members or smaller subscriptions: %w",
			g.id, len(g.members), record.size(), appendBytesMax, ErrLimit)
	}
	return record, nil
}

func toMillis(d time.Duration) int32 {
	return int32(min(d.Milliseconds(), math.MaxInt32))
}

// stored is one decoded record: an offset or a group's metadata, or neither when the
// record is of a kind this version does not know.
type stored struct {
	groupID  string
	offset   *committed // set with isOffset, unless tombstone
	key      topicPartition
	metadata *kmsg.GroupMetadataValue // set without isOffset, unless tombstone

	known, isOffset, tombstone bool
}

// decodeRecord reads one record of the offsets topic. A key version it does not know
// is no error: later versions of the coordinator add kinds of records.
func decodeRecord(key, value []byte) (stored, error) {
	if len(key) < 2 {
		return stored{}, fmt.Errorf("key of %d bytes: %w", len(key), errRecord)
	}
	switch version := int16(binary.BigEndian.Uint16(key)); version {
	case 0, offsetKeyVersion:
		return decodeOffset(key, value)
	case metadataKeyVersion:
		return decodeMetadata(key, value)
	default:
		return stored{}, nil
	}
}

func decodeOffset(key, value []byte) (stored, error) {
	var k kmsg.OffsetCommitKey
	if err := k.ReadFrom(key); err != nil {
		return stored{}, fmt.Errorf("offset key: %w: %w", errRecord, err)
	}
	s := stored{
		groupID: k.Group, key: topicPartition{k.Topic, k.Partition},
		known: true, isOffset: true, tombstone: value == nil,
	}
	if value == nil {
		return s, nil
	}
	v := kmsg.NewOffsetCommitValue()
	if err := v.ReadFrom(value); err != nil {
		return stored{}, fmt.Errorf("offset of group %q for %s-%d: %w: %w",
			k.Group, k.Topic, k.Partition, errRecord, err)
	}
	c := committed{
		offset: v.Offset, leaderEpoch: v.LeaderEpoch, metadata: v.Metadata,
		topicID: v.TopicID, at: clock.UnixMs(v.CommitTimestamp), expires: noExpiry,
	}
	if v.Version == offsetValueExpiring && v.ExpireTimestamp >= 0 {
		c.expires = clock.UnixMs(v.ExpireTimestamp)
	}
	if v.Version < offsetValuePlain {
		c.leaderEpoch = -1
	}
	s.offset = &c
	return s, nil
}

func decodeMetadata(key, value []byte) (stored, error) {
	var k kmsg.GroupMetadataKey
	if err := k.ReadFrom(key); err != nil {
		return stored{}, fmt.Errorf("group key: %w: %w", errRecord, err)
	}
	s := stored{groupID: k.Group, known: true, tombstone: value == nil}
	if value == nil {
		return s, nil
	}
	v := kmsg.NewGroupMetadataValue()
	if err := v.ReadFrom(value); err != nil {
		return stored{}, fmt.Errorf("metadata of group %q: %w: %w", k.Group, errRecord, err)
	}
	s.metadata = &v
	return s, nil
}

// restore makes the group what the record says: Stable with its members, or Empty.
func (g *group) restore(v *kmsg.GroupMetadataValue, now clock.UnixMs) {
	kept := g.offsets
	*g = *newGroup(g.env, g.id, now)
	g.offsets = kept
	g.stored = true
	g.generation, g.protocolType = v.Generation, v.ProtocolType
	if v.CurrentStateTimestamp >= 0 {
		g.stateSince = clock.UnixMs(v.CurrentStateTimestamp)
	}
	if v.Protocol != nil {
		g.protocol = *v.Protocol
	}
	for i := range v.Members {
		if m := restoreMember(&v.Members[i], g.protocol); g.byID[m.id] == nil {
			g.add(m, v.ProtocolType)
		}
	}
	if len(g.members) == 0 {
		return
	}
	g.state = Stable
	if v.Leader != nil && g.byID[*v.Leader] != nil {
		g.leader = *v.Leader
	}
	g.topics = g.subscribedTopics()
}

func restoreMember(v *kmsg.GroupMetadataValueMember, protocol string) *member {
	m := &member{
		id: v.MemberID, instanceID: v.InstanceID, clientID: v.ClientID, clientHost: v.ClientHost,
		session:    time.Duration(v.SessionTimeoutMillis) * time.Millisecond,
		rebalance:  time.Duration(v.RebalanceTimeoutMillis) * time.Millisecond,
		protocols:  []Protocol{{Name: protocol, Metadata: bytes.Clone(v.Subscription)}},
		assignment: bytes.Clone(v.Assignment),
	}
	if m.rebalance <= 0 {
		m.rebalance = m.session
	}
	return m
}

// loaded is called once after the replay: the members have a session timeout from now
// to find us again (GroupMetadataManager.java, onLoaded).
func (g *group) loaded(fx *effects) {
	fx.touch(g)
	for _, m := range g.members {
		m.deadline = fx.now.Add(m.session)
	}
	if len(g.members) > g.env.o.GroupMaxSize {
		g.prepareRebalance(fx, "the group is larger than allowed after a restart")
	}
}
