package api

import (
	"container/list"
	"math"
	"sync"
	"time"

	"github.com/chronosdb/chronosdb/replication"
)

// Fetch sessions (KIP-227): the server remembers which partitions a consumer asks for, so that a
// request names only what has changed for the client, and an answer only what has changed here.
// What is told when, and how epochs go on, is as in Kafka's FetchSession.scala.

const (
	// sessionOpens is the epoch of a full fetch that would like a session.
	sessionOpens = 0
	// sessionNone is the epoch of a full fetch that wants none, and ends the one that it names.
	sessionNone = -1
	// noSession is the session id of an answer without a session.
	noSession = 0
)

// sessionKey names a partition in a session: by topic name or id, as the session's requests do.
type sessionKey struct {
	name  string
	id    [16]byte
	index int32
}

// sessionPartition is a partition of a session: what the client asked for last, and what it was
// told last.
type sessionPartition struct {
	key  sessionKey
	read replication.FetchRead
	told toldPartition
}

// toldPartition is what a client knows of a partition. -1 is what it cannot know: the next answer
// then names the partition.
type toldPartition struct {
	highWatermark, logStart int64
	bytes                   int // of records in the last answer that named the partition
}

// fetchSession is the memory of one consumer's fetches. Connections may come and go.
type fetchSession struct {
	id      int32 // set when it gets its slot
	usesIDs bool  // its requests name topics by id
	created time.Time

	// Owned by the cache's mutex.
	place    *list.Element // in the order of use
	lastUsed time.Time
	size     int // partitions, as counted there

	mu struct {
		sync.Mutex
		epoch int32      // that the next request must have
		order *list.List // of *sessionPartition; who got data goes to the end
		byKey map[sessionKey]*list.Element
	}
}

func newFetchSession(usesIDs bool, now time.Time) *fetchSession {
	s := &fetchSession{usesIDs: usesIDs, created: now}
	s.mu.epoch = nextSessionEpoch(sessionOpens)
	s.mu.order = list.New()
	s.mu.byKey = map[sessionKey]*list.Element{}
	return s
}

// nextSessionEpoch follows an epoch. It wraps past the two that mean something else.
func nextSessionEpoch(epoch int32) int32 {
	if epoch == math.MaxInt32 {
		return 1
	}
	return epoch + 1
}

// setLocked adds a partition, or changes what is asked of it.
func (s *fetchSession) setLocked(key sessionKey, read replication.FetchRead) {
	if at := s.mu.byKey[key]; at != nil {
		partitionAt(at).read = read
		return
	}
	s.mu.byKey[key] = s.mu.order.PushBack(&sessionPartition{
		key: key, read: read, told: toldPartition{highWatermark: -1, logStart: -1},
	})
}

// forgetLocked removes a partition, if it is there.
func (s *fetchSession) forgetLocked(key sessionKey) {
	if at := s.mu.byKey[key]; at != nil {
		s.mu.order.Remove(at)
		delete(s.mu.byKey, key)
	}
}

// toldLocked notes what an answer said of a partition. One with data goes to the end, so that one
// that always has some does not keep the others from their share of an answer.
func (s *fetchSession) toldLocked(key sessionKey, out fetchOutcome) {
	at := s.mu.byKey[key]
	if at == nil {
		return
	}
	told := &partitionAt(at).told
	told.highWatermark, told.logStart, told.bytes = out.highWatermark, out.logStart, out.bytes
	if out.code != 0 {
		// When the error has gone, the partition is named again whatever has become of it.
		told.highWatermark = -1
	}
	if out.bytes > 0 {
		s.mu.order.MoveToBack(at)
	}
}

// eachLocked passes the partitions on in their order.
func (s *fetchSession) eachLocked(fn func(p *sessionPartition)) {
	for at := s.mu.order.Front(); at != nil; at = at.Next() {
		fn(partitionAt(at))
	}
}

func partitionAt(at *list.Element) *sessionPartition {
	p, _ := at.Value.(*sessionPartition) // Nothing else is ever put into the list.
	return p
}

// fetchOutcome is what a look has shown of a partition.
type fetchOutcome struct {
	highWatermark, logStart int64
	code                    int16
	bytes                   int  // of records
	diverging               bool // the client's log parts from this one
	listed                  bool // the answer names the partition
}

// news reports whether a client that was told that must be told of the outcome: Kafka's
// CachedPartition.maybeUpdateResponseData.
func (o *fetchOutcome) news(told toldPartition) bool {
	return o.bytes > 0 || o.code != 0 || o.diverging ||
		o.highWatermark != told.highWatermark || o.logStart != told.logStart
}
