package api

import (
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
)

const (
	// FetchBytesMax bounds one Fetch response, as Kafka's fetch.max.bytes of a broker.
	FetchBytesMax = 55 << 20
	// fetchWaitMax bounds how long a fetch may be parked; Kafka takes any time.
	fetchWaitMax = 5 * time.Minute
	// fetchGrowBytes is how much of a partition's limit the buffer is grown by before the read, if
	// the last answer had no more.
	fetchGrowBytes = 1 << 20
	// fetchAskBytesMin is the least that is asked of the memory which all answers share, before
	// one piece is waited for.
	fetchAskBytesMin = 64 << 10
	// FetchPieceBytes is the most that an answer gets of the memory kept for pieces.
	FetchPieceBytes = 1 << 20
	// fetchTopicBytes and fetchPartitionBytes are what a parked fetch keeps.
	fetchTopicBytes     = 96
	fetchPartitionBytes = 184
	// fetchSlackFactor bounds how many times as large as an answer its buffer may be while it waits
	// for the socket. It is charged for the whole, which others could have.
	fetchSlackFactor = 4
	// noOffset is above every high watermark.
	noOffset batch.Offset = math.MaxInt64
	// emptyRunsMax bounds how many reads that gave only empty batches are followed by another.
	emptyRunsMax = 64
)

// Fetch (key 1): read batches from partitions.
//
// Behavior:
//   - Runs in its turn on the connection's writer, and reads batches straight into the response.
//   - Answers at once if max_wait is not positive, nothing is asked, min_bytes are there, or a
//     partition has an error or parts from the client's log; else it is parked on a channel until
//     data comes, max_wait is over, or the server goes down. A partition with more than its limit
//     counts as its limit, however whole batches fill it: that is how Kafka counts min_bytes.
//   - The first partition with data gives one batch even if that is above every limit; the limits
//     hold for the rest. The whole response is bounded by 55 MiB. When memory for answers is
//     short, it is as large as there is memory free, and one batch at least.
//   - Batches are whole: the first may begin before the asked offset. Records are never null. A
//     partition is never answered with empty batches only, and an empty batch never comes last:
//     kafkajs, kafka-go and librdkafka each go wrong on them (protocol.md, section 5).
//   - Fetch sessions (KIP-227): an incremental request adds, changes and forgets partitions, and
//     its answer names those with data, an error, or a moved high watermark or log start. A
//     partition that gave data goes to the end of the session's order. Sessions outlive their
//     connection, not the server; a slot goes by Kafka's rules of eviction.
//   - There are no followers: a fetch with a replica id gets NOT_LEADER_OR_FOLLOWER.
//
// Version notes:
//   - v5: log start offset; v7: sessions; v9: leader epoch; v10: zstd
//   - v11: rack, which means nothing on one node
//   - v12: flexible, diverging epoch; v13: topic ids; v15: replica state as a tag
//   - v16: current leader and its node with NOT_LEADER_OR_FOLLOWER and FENCED_LEADER_EPOCH
func (s *Service) fetch(c *call, r *kmsg.FetchRequest) (Reply, error) {
	maxBytes := min(max(r.MaxBytes, 0), FetchBytesMax)
	f := &fetchReply{
		s:        s,
		version:  c.Version,
		maxBytes: int(maxBytes),
		// More than may come is not waited for, as in Kafka.
		minBytes: int(min(r.MinBytes, maxBytes)),
		wait:     min(time.Duration(r.MaxWaitMillis)*time.Millisecond, fetchWaitMax),
		follower: r.ReplicaID >= 0 || r.ReplicaState.ID >= 0,
		// Anything but read_committed reads what is below the high watermark.
		committed: r.IsolationLevel == 1,
	}
	f.context = fetchContext{id: r.SessionID, epoch: r.SessionEpoch}
	if c.Version < fetchSessionsSince {
		f.context.epoch = sessionNone
	}
	for i := range r.Topics {
		t := &r.Topics[i]
		f.topics = append(f.topics, fetchTopic{name: t.Topic, id: t.TopicID, count: len(t.Partitions)})
		for j := range t.Partitions {
			p := &t.Partitions[j]
			f.partitions = append(f.partitions, fetchPartition{
				index: p.Partition,
				read: replication.FetchRead{
					From:             batch.Offset(p.FetchOffset),
					MaxBytes:         int(max(p.PartitionMaxBytes, 0)),
					CurrentEpoch:     batch.LeaderEpoch(p.CurrentLeaderEpoch),
					LastFetchedEpoch: batch.LeaderEpoch(p.LastFetchedEpoch),
					ReadCommitted:    f.committed,
				},
			})
		}
	}
	for i := range r.ForgottenTopics {
		t := &r.ForgottenTopics[i]
		for _, index := range t.Partitions {
			f.context.forgotten = append(f.context.forgotten, sessionKey{t.Topic, t.TopicID, index})
		}
	}
	return f, nil
}

// fetchReply is a fetch, parked or not.
type fetchReply struct {
	s                  *Service
	version            int16
	maxBytes, minBytes int
	wait               time.Duration
	follower           bool
	committed          bool
	err                error // of the whole request
	topics             []fetchTopic
	partitions         []fetchPartition // of all topics, in order
	context            fetchContext
}

type fetchTopic struct {
	name  string
	id    [16]byte
	count int // of its partitions
}

type fetchPartition struct {
	index int32
	read  replication.FetchRead
	// found is the partition at the last look, or nil; above is the offset that its high
	// watermark must pass before another look can show more, noOffset if none will.
	found Partition
	above batch.Offset
	// full says that there was more at the last look than the limits let in.
	full bool
	// watched is where the watcher is registered.
	watched Partition
	// told is what the client of a session knows; outcome is what the last look has shown.
	told    toldPartition
	outcome fetchOutcome
	// records is how many the last look has found.
	records int
}

// Ready implements Reply.
func (f *fetchReply) Ready() bool { return false }

// Held implements Reply.
func (f *fetchReply) Held() int64 {
	n := int64(len(f.partitions)+len(f.context.forgotten)) * fetchPartitionBytes
	for i := range f.topics {
		n += fetchTopicBytes + int64(len(f.topics[i].name))
	}
	return n
}

// AppendBody implements Reply: it looks, and parks until another look may show more.
func (f *fetchReply) AppendBody(w *Waiter, dst []byte) ([]byte, error) {
	start := len(dst)
	f.enter(w)
	p := parking{f: f, w: w}
	defer p.end()
	for {
		reserved := w.reserved
		g := gather(f, w, dst)
		dst = g.e.dst
		if g.err != nil {
			return dst, g.err
		}
		if g.final || g.counted >= f.minBytes || p.over || f.wait <= 0 {
			return f.answer(g, w, start, reserved), nil
		}
		w.backTo(reserved)
		dst = w.Shrink(dst[:start])
		if err := p.park(f.minBytes - g.counted); err != nil {
			return dst, err
		}
	}
}

// answer completes the response of the last look, which begins at start.
func (f *fetchReply) answer(g *gathering, w *Waiter, start int, reserved reservation) []byte {
	id, err := f.leave()
	if err != nil {
		w.backTo(reserved)
		f.err = err
		return w.fit(gather(f, w, g.e.dst[:start]).e.dst, reserved)
	}
	g.e.setSession(start, id)
	f.count()
	return w.fit(g.e.dst, reserved)
}

// count tells each partition what the answer holds of it.
func (f *fetchReply) count() {
	for i := range f.partitions {
		if p := &f.partitions[i]; p.outcome.listed && p.outcome.bytes > 0 {
			p.found.Served(p.outcome.bytes, p.records)
		}
	}
}

// parking is where a fetch waits.
type parking struct {
	f       *fetchReply
	w       *Waiter
	watcher Watcher
	up      <-chan time.Time // max_wait
	over    bool             // whatever the next look shows is the answer
}

// park waits until the partitions have so many bytes more than at the last look, or the wait is
// over. The appends themselves count: what is there already is not read again before it is enough.
func (p *parking) park(missing int) error {
	began := p.w.Clock.Now()
	defer func() { p.w.parked += p.w.Clock.Now().Sub(began) }()
	if p.watcher == nil {
		p.watcher = p.f.s.o.Replicas.NewWatcher()
		p.up = p.w.arm(p.f.wait)
	}
	p.watcher.Need(int64(missing))
	for i := range p.f.partitions {
		part := &p.f.partitions[i]
		if part.watched != nil && part.watched != part.found {
			part.watched.Unwatch(p.watcher)
		}
		part.watched = part.found
		if part.watched != nil {
			part.watched.Watch(p.watcher, part.above)
		}
	}
	select {
	case <-p.watcher.C():
		return nil
	case <-p.up:
		p.over = true
		return nil
	case <-p.w.Drain:
		p.over = true
		return nil
	case <-p.w.Ctx.Done():
		return p.w.Ctx.Err()
	}
}

// end takes the watcher off.
func (p *parking) end() {
	if p.watcher == nil {
		return
	}
	p.w.disarm()
	for i := range p.f.partitions {
		if part := p.f.partitions[i].watched; part != nil {
			part.Unwatch(p.watcher)
		}
	}
}
