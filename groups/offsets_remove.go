package groups

import (
	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/timer/clock"
)

// expire removes the offsets whose retention is over and, when an Empty group has none
// left, the group (OffsetMetadataManager.java, cleanupExpiredOffsets).
func (g *group) expire(fx *effects) {
	now := fx.nowMs()
	if g.state == Dead || !g.mayExpire() {
		return
	}
	keys := g.offsets.keys(func(k topicPartition) bool {
		return g.offsets.undecided[k] == 0 && !g.subscribedTo(k.topic) && g.isExpired(k, now)
	})
	if g.state == Empty && len(keys) == g.offsets.count && len(g.offsets.undecided) == 0 &&
		len(g.pending) == 0 {
		g.env.count.expired.Add(int64(len(keys)))
		g.die(fx, func(*effects, error) {})
		return
	}
	if len(keys) == 0 {
		return
	}
	g.env.log.Info("offsets expire", zap.String("group", g.id), zap.Int("offsets", len(keys)))
	g.env.count.expired.Add(int64(len(keys)))
	g.removeOffsets(fx, keys, func(*effects, error) {})
}

// mayExpire says whether the group's state lets offsets expire at all: not while it
// rebalances, and not while we do not know what it consumes.
func (g *group) mayExpire() bool {
	return g.state == Empty ||
		(g.state == Stable && g.protocolType == consumerProtocolType && g.topics != nil)
}

// isExpired applies the retention. It counts from the commit, or, in a group that has
// lost its members, from that moment if it is later.
func (g *group) isExpired(k topicPartition, now clock.UnixMs) bool {
	c, ok := g.offsets.get(k)
	switch {
	case !ok:
		return false
	case c.expires != noExpiry:
		return now >= c.expires
	case g.state == Empty && g.protocolType != "":
		return now.Sub(max(c.at, g.stateSince)) >= g.env.o.OffsetRetention
	default:
		return now.Sub(c.at) >= g.env.o.OffsetRetention
	}
}

// die writes the tombstones of an Empty group. It stays visible, but refuses changes,
// until they are durable; then it is gone, or, if they could not be written, Empty.
func (g *group) die(fx *effects, then func(fx *effects, err error)) {
	since := g.stateSince
	g.transition(Dead, fx.nowMs())
	fx.touch(g)
	every := func(topicPartition) bool { return true }
	records := g.offsetTombstones(g.offsets.keys(every))
	if g.stored || g.undecided > 0 { // its record may be on its way to the disk
		records = append(records, groupTombstone(g.id, fx.nowMs()))
	}
	g.storeTombstones(fx, records, func(fx *effects, err error) {
		fx.touch(g)
		if err == nil {
			g.stored, g.saved = false, g.revision
		}
		// Without a record and without offsets an Empty group is forgotten by its shard.
		g.transition(Empty, since)
		then(fx, err)
	})
}

// removeOffsets writes tombstones and forgets the offsets when they are durable.
func (g *group) removeOffsets(
	fx *effects, keys []topicPartition, then func(fx *effects, err error),
) {
	g.storeTombstones(fx, g.offsetTombstones(keys), then)
}

// tombstone is a record that removes something, and the offset it removes, if any.
type tombstone struct {
	Record
	offset   topicPartition
	isOffset bool
}

func (g *group) offsetTombstones(keys []topicPartition) []tombstone {
	all := make([]tombstone, 0, len(keys)+1)
	for _, k := range keys {
		all = append(all, tombstone{
			Record: Record{Key: offsetKey(g.id, k)}, offset: k, isOffset: true,
		})
	}
	return all
}

func groupTombstone(id string, now clock.UnixMs) tombstone {
	return tombstone{Record: Record{Key: metadataKey(id), Timestamp: now}}
}

// storeTombstones writes them in as few appends as their size allows, and calls then
// after the last one with the first error.
func (g *group) storeTombstones(
	fx *effects, all []tombstone, then func(fx *effects, err error),
) {
	var first error
	for {
		n, bytes := 0, 0
		for n < len(all) && (n == 0 || bytes+all[n].size() <= appendBytesMax) {
			bytes += all[n].size()
			n++
		}
		part, isLast := all[:n], n == len(all)
		all = all[n:]
		if n == 0 {
			then(fx, nil) // nothing to remove
			return
		}
		fx.store(write{
			group: g, records: tombstoneRecords(part, fx.nowMs()),
			decided: func(fx *effects, err error) {
				fx.touch(g)
				if first == nil {
					first = err
				}
				if err == nil {
					g.forget(part)
				}
				if isLast {
					then(fx, first)
				}
			},
		})
		if isLast {
			return
		}
	}
}

func tombstoneRecords(part []tombstone, now clock.UnixMs) []Record {
	records := make([]Record, len(part))
	for i := range part {
		records[i] = part[i].Record
		records[i].Timestamp = now
	}
	return records
}

func (g *group) forget(part []tombstone) {
	for i := range part {
		if part[i].isOffset {
			g.offsets.remove(part[i].offset)
		}
	}
}

// checkDelete says whether the whole group may be deleted.
func (g *group) checkDelete() error {
	switch g.state {
	case Dead:
		return ErrGroupNotFound
	case Empty:
		return nil
	default:
		return ErrNonEmptyGroup
	}
}

// deleteOffsets is the OffsetDelete transition.
func (g *group) deleteOffsets(
	fx *effects, r *DeleteOffsetsRequest, reply func(CommitResponse),
) {
	resp := refuseDelete(r, nil)
	switch {
	case g.state == Dead:
		fx.answer(func() { reply(refuseDelete(r, ErrGroupNotFound)) })
		return
	case g.state != Empty && g.protocolType != consumerProtocolType:
		// We cannot know what such a group consumes.
		fx.answer(func() { reply(refuseDelete(r, ErrNonEmptyGroup)) })
		return
	}
	var keys []topicPartition
	for i := range r.Topics {
		t := &r.Topics[i]
		subscribed := g.subscribedTo(t.Topic)
		for j, p := range t.Partitions {
			k := topicPartition{t.Topic, p}
			_, stored := g.offsets.get(k)
			switch {
			case subscribed:
				resp.Topics[i].Partitions[j].Err = ErrGroupSubscribed
			case stored || g.offsets.undecided[k] > 0:
				keys = append(keys, k)
			}
		}
	}
	g.removeOffsets(fx, keys, func(fx *effects, err error) {
		if err != nil {
			resp = refuseDelete(r, err)
		}
		fx.answer(func() { reply(resp) })
	})
}

func refuseDelete(r *DeleteOffsetsRequest, err error) CommitResponse {
	resp := CommitResponse{Err: err, Topics: make([]CommitTopicResult, len(r.Topics))}
	for i := range r.Topics {
		t := &r.Topics[i]
		partitions := make([]CommitPartitionResult, len(t.Partitions))
		for j, p := range t.Partitions {
			partitions[j] = CommitPartitionResult{Partition: p, Err: err}
		}
		resp.Topics[i] = CommitTopicResult{
			Topic: t.Topic, TopicID: t.TopicID, Partitions: partitions,
		}
	}
	return resp
}

// forgetTopic removes the offsets of a deleted topic.
func (g *group) forgetTopic(fx *effects, name string, id TopicID) {
	if g.state == Dead {
		return
	}
	keys := g.offsets.keys(func(k topicPartition) bool {
		c, ok := g.offsets.get(k)
		return k.topic == name && (!ok || isSameTopic(c.topicID, id))
	})
	if len(keys) > 0 {
		g.removeOffsets(fx, keys, func(*effects, error) {})
	}
}
