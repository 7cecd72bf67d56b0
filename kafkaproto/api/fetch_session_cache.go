package api

import (
	"container/list"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// FetchSessionSlots bounds the fetch sessions: Kafka's max.incremental.fetch.session.cache.slots.
	// A consumer that gets none sends full fetches.
	FetchSessionSlots = 1000
	// fetchSessionPartitionsMax bounds the partitions of all sessions together, and so their memory.
	// A session that would go beyond is not made, or ended.
	fetchSessionPartitionsMax = 100_000
	// fetchSessionIdle is how long a session that is not used is safe from those who want its slot
	// (Kafka's MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS).
	fetchSessionIdle = 2 * time.Minute
)

// fetchSessions are the sessions of a node. They are forgotten when it stops.
type fetchSessions struct {
	slots         int
	partitionsMax int

	mu struct { // short: whoever holds it takes no session's
		sync.Mutex
		byID       map[int32]*fetchSession
		byUse      *list.List // of *fetchSession, the one not used for longest first
		partitions int
		evictions  int64
	}
}

// FetchSessionStats are figures of the sessions.
type FetchSessionStats struct {
	Sessions   int   // Sessions is how many there are.
	Partitions int   // Partitions is how many they remember together.
	Evictions  int64 // Evictions counts those that lost their slot to another.
}

func newFetchSessions(slots, partitionsMax int) *fetchSessions {
	c := &fetchSessions{slots: slots, partitionsMax: partitionsMax}
	c.mu.byID = map[int32]*fetchSession{}
	c.mu.byUse = list.New()
	return c
}

// stats returns the figures now.
func (c *fetchSessions) stats() FetchSessionStats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return FetchSessionStats{
		Sessions: len(c.mu.byID), Partitions: c.mu.partitions, Evictions: c.mu.evictions,
	}
}

// create makes a session of so many partitions, or returns nil if there is no slot for it. fill
// runs when it has one, and with the session's lock alone: many partitions keep no other session
// waiting.
func (c *fetchSessions) create(
	usesIDs bool, size int, now time.Time, fill func(s *fetchSession),
) *fetchSession {
	s := newFetchSession(usesIDs, now)
	s.mu.Lock()
	defer s.mu.Unlock()
	if !c.insert(s, size, now) {
		return nil
	}
	fill(s)
	return s
}

// insert gives a new session an id and a slot, if there is one.
func (c *fetchSessions) insert(s *fetchSession, size int, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size > c.partitionsMax {
		return false
	}
	for len(c.mu.byID) >= c.slots || c.mu.partitions+size > c.partitionsMax {
		if !c.evictLocked(size, now) {
			return false
		}
	}
	for s.id == noSession || c.mu.byID[s.id] != nil {
		s.id = 1 + rand.Int32N(1<<31-1)
	}
	s.size, s.lastUsed = size, now
	s.place = c.mu.byUse.PushBack(s)
	c.mu.byID[s.id] = s
	c.mu.partitions += size
	return true
}

// evictLocked frees a slot for a session of that size, if one may go: one that has not been used
// for a while, else the smallest of those that have lived for a while, if it is smaller than what
// comes. That is Kafka's rule, which keeps the sessions that save most.
func (c *fetchSessions) evictLocked(size int, now time.Time) bool {
	front := c.mu.byUse.Front()
	if front == nil {
		return false
	}
	victim := sessionAt(front)
	if now.Sub(victim.lastUsed) <= fetchSessionIdle {
		victim = nil
		for at := front; at != nil; at = at.Next() {
			s := sessionAt(at)
			if now.Sub(s.created) > fetchSessionIdle && (victim == nil || s.size < victim.size) {
				victim = s
			}
		}
		if victim == nil || victim.size >= size {
			return false
		}
	}
	c.removeLocked(victim)
	c.mu.evictions++
	return true
}

// find returns a session, or nil.
func (c *fetchSessions) find(id int32) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.byID[id]
}

// use notes a use of a session, which now has so many partitions. It is false if the session has
// gone, or goes because that are too many.
func (c *fetchSessions) use(s *fetchSession, size int, now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.byID[s.id] != s {
		return false
	}
	if c.mu.partitions+size-s.size > c.partitionsMax {
		c.removeLocked(s)
		return false
	}
	c.mu.partitions += size - s.size
	s.size, s.lastUsed = size, now
	c.mu.byUse.MoveToBack(s.place)
	return true
}

// remove ends a session, if there is one of that id.
func (c *fetchSessions) remove(id int32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s := c.mu.byID[id]; s != nil {
		c.removeLocked(s)
	}
}

func (c *fetchSessions) removeLocked(s *fetchSession) {
	delete(c.mu.byID, s.id)
	c.mu.byUse.Remove(s.place)
	c.mu.partitions -= s.size
}

func sessionAt(at *list.Element) *fetchSession {
	s, _ := at.Value.(*fetchSession) // Nothing else is ever put into the list.
	return s
}
