package api

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// gathering is one look at all partitions of a fetch: it encodes a whole response.
type gathering struct {
	f     *fetchReply
	w     *Waiter
	e     fetchEncoder
	image Image
	nodes []endpoint
	bytes int  // of records
	left  int  // of the response's limit
	short bool // of memory: there may be more than what is answered
	final bool // there is something to answer at once beside records
	err   error
	// counted is what counts for min_bytes: bytes, but of a full partition as many as its limit.
	counted int
}

// gather appends the response to dst as it would be now.
func gather(f *fetchReply, w *Waiter, dst []byte) *gathering {
	g := &gathering{f: f, w: w, e: newFetchEncoder(dst, f.version), left: f.maxBytes}
	g.final = f.err != nil || len(f.partitions) == 0
	if f.err != nil {
		g.e.begin(codeOf(f.err), noSession, 0)
		g.e.end(nil)
		return g
	}
	g.image = f.s.o.Replicas.Image()
	topics := g.e.begin(0, noSession, len(f.topics))
	listed, next := 0, 0
	for i := range f.topics {
		t := &f.topics[i]
		if g.topic(t, f.partitions[next:next+t.count]) > 0 {
			listed++
		}
		if g.err != nil {
			return g
		}
		next += t.count
	}
	g.e.closeArray(topics, listed)
	// What memory there was for is not given back to wait for more.
	g.final = g.final || g.short && g.bytes > 0
	g.e.end(g.nodes)
	return g
}

// topic encodes one topic and returns how many of its partitions the answer names. One without
// any is not named itself.
func (g *gathering) topic(t *fetchTopic, partitions []fetchPartition) (listed int) {
	topic, err := findTopic(g.image, g.f.version >= fetchTopicIDs, t.name, t.id)
	at := len(g.e.dst)
	length := g.e.topic(t.name, t.id, t.count)
	for i := range partitions {
		p := &partitions[i]
		g.partition(p, topic, err)
		if g.err != nil {
			return listed
		}
		if p.outcome.listed {
			listed++
		}
	}
	if listed == 0 {
		g.e.dst = g.e.dst[:at]
		return 0
	}
	g.e.endTopic(length, listed)
	return listed
}

// partition encodes one partition, unless the client of a session knows all that there is to say.
func (g *gathering) partition(p *fetchPartition, topic *metadata.Topic, err error) {
	p.found, p.records, p.full = nil, 0, false
	limit := min(p.read.MaxBytes, g.left)
	at := g.e.reserve(p.told.bytes)
	recordsAt := len(g.e.dst)
	out := fetchedPartition{
		index: p.index, highWatermark: -1, lastStable: -1, logStart: -1, preferred: -1,
	}
	var state replication.FetchState
	if err == nil {
		state, err = g.read(p, topic)
	}
	if g.err != nil {
		return
	}
	if err != nil {
		g.e.dst = g.e.dst[:recordsAt]
		g.refuse(&out, topic, err)
	} else {
		out.highWatermark = int64(state.HighWatermark)
		out.lastStable = int64(state.LastStable)
		out.logStart = int64(state.LogStart)
		if d := state.Diverging; d != nil {
			out.diverging = &epochOffset{int32(d.Epoch), int64(d.End)}
			g.final = true
		}
		if g.f.committed {
			out.aborted = []abortedTxn{} // There are no transactions; asked for is not null.
		}
	}
	n := len(g.e.dst) - recordsAt
	g.bytes += n
	g.left = max(g.left-n, 0)
	g.counted += n
	if p.full {
		g.counted += max(limit-n, 0)
		p.above = noOffset
	}
	p.outcome = fetchOutcome{
		highWatermark: out.highWatermark, logStart: out.logStart, code: out.code, bytes: n,
		diverging: out.diverging != nil,
	}
	if g.f.context.session != nil && !p.outcome.news(p.told) {
		g.e.dst = g.e.dst[:at]
		return
	}
	p.outcome.listed = true
	g.e.finish(at, recordsAt, out)
}

// refuse fills an error in.
func (g *gathering) refuse(out *fetchedPartition, topic *metadata.Topic, err error) {
	g.final = true
	out.code = codeOf(err)
	hint := out.code == kerr.NotLeaderForPartition.Code || out.code == kerr.FencedLeaderEpoch.Code
	if !hint || g.f.version < fetchLeaderHint || topic == nil {
		return
	}
	meta := partitionMeta(g.image, topic.Name, topic.ID, out.index)
	out.leader = &leaderEpoch{meta.Leader, int32(meta.LeaderEpoch)}
	if len(g.nodes) == 0 {
		o := &g.f.s.o
		g.nodes = []endpoint{{o.Replicas.NodeID(), o.AdvertisedHost, o.AdvertisedPort}}
	}
}

// read appends a partition's records to the response.
func (g *gathering) read(
	p *fetchPartition, topic *metadata.Topic,
) (state replication.FetchState, err error) {
	if g.f.follower {
		return state, fmt.Errorf("%w: there are no followers", errNotLeader)
	}
	part, err := g.f.s.o.Replicas.Partition(topic.ID, p.index)
	if err != nil {
		return state, err
	}
	// Read before anything else: whatever is added later passes this, and wakes the watcher.
	highWatermark := part.HighWatermark()
	p.found, p.above = part, max(p.read.From, highWatermark)
	r := p.read
	r.MaxBytes, r.MinOne = min(r.MaxBytes, g.left), g.bytes == 0
	var reserved reservation
	if highWatermark > r.From {
		reserved = g.room(&r, p.told.bytes)
	} else {
		r.MaxBytes, r.MinOne = 0, false
	}
	if g.err != nil {
		return state, nil
	}
	before := len(g.e.dst)
	state, err = g.readReal(p, r)
	g.w.settle(reserved, int64(len(g.e.dst)-before))
	// What has come since was not asked for: the watcher tells of it.
	p.full = p.full && highWatermark > p.read.From
	return state, err
}

// room reserves memory for a partition's records and makes room in the buffer: all that is asked,
// or as much as is free. Without memory a later partition gets nothing this time; the first one
// waits for a piece. Who reads a long log gets about as much each time, so that much is expected.
func (g *gathering) room(r *replication.FetchRead, expected int) reservation {
	want := int64(r.MaxBytes)
	if r.MinOne {
		want = max(want, FetchPieceBytes) // A batch comes whatever the limit.
	}
	if want == 0 {
		return reservation{}
	}
	piece := min(want, FetchPieceBytes)
	got, ok := g.w.tryReserve(want)
	for !ok && want/2 >= fetchAskBytesMin {
		want /= 2
		got, ok = g.w.tryReserve(want)
	}
	if !ok {
		if g.bytes > 0 {
			g.short = true
			r.MaxBytes, r.MinOne = 0, false
			return reservation{}
		}
		want = piece
		if got, g.err = g.w.reservePiece(want); g.err != nil {
			return reservation{}
		}
	}
	g.short = g.short || int(want) < r.MaxBytes
	r.MaxBytes = min(r.MaxBytes, int(want))
	expected = int(min(want, int64(max(expected, fetchGrowBytes))))
	g.e.dst = g.w.Grow(g.e.dst, expected+fetchPartitionBytes)
	return got
}

// readReal reads until there is a batch with records, or nothing more, and notes what it found.
func (g *gathering) readReal(
	p *fetchPartition, r replication.FetchRead,
) (state replication.FetchState, err error) {
	before := len(g.e.dst)
	for range emptyRunsMax {
		g.e.dst, state, err = p.found.Read(g.e.dst, r)
		if err != nil {
			return state, err
		}
		bound := state.HighWatermark
		if r.ReadCommitted {
			bound = state.LastStable
		}
		records := g.e.dst[before:]
		if len(records) == 0 {
			// With MinOne there is no batch with records at all.
			p.full = r.From < bound && !r.MinOne
			return state, nil
		}
		seen, err := inspect(records, g.f.version < fetchZstdVersionMin)
		if err != nil {
			return state, err
		}
		g.e.dst = g.e.dst[:before+seen.realBytes]
		if seen.realBytes > 0 {
			p.records, p.full = seen.records, seen.next < bound
			return state, nil
		}
		// The client's own position was checked by the first read.
		r.From, r.CurrentEpoch, r.LastFetchedEpoch = seen.next, -1, -1
	}
	return state, nil
}

// inspected is what a look at the headers of some batches shows.
type inspected struct {
	realBytes int          // up to the end of the last batch that has records
	next      batch.Offset // after the last batch
	records   int          // of all batches, as their headers say
}

// inspect walks the headers of whole batches.
func inspect(records []byte, noZstd bool) (seen inspected, err error) {
	for rest := records; len(rest) > 0; {
		b, after, err := batch.Next(rest)
		if err != nil {
			return seen, fmt.Errorf("read gave no whole batches: %w", err)
		}
		if noZstd && b.Codec() == batch.Zstd {
			return seen, fmt.Errorf("%w: zstd needs fetch version %d",
				errUnsupportedCodec, fetchZstdVersionMin)
		}
		rest = after
		seen.next = b.LastOffset() + 1
		if b.Count() > 0 {
			seen.realBytes = len(records) - len(rest)
			seen.records += b.Count()
		}
	}
	return seen, nil
}
