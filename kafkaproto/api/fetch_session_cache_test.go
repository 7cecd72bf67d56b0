package api

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

// modelSession is what the model knows of a session.
type modelSession struct {
	created, used time.Time
	size          int
	order         int // of the last use
}

// cacheModel is Kafka's rules, written down the simplest way, beside a cache.
type cacheModel struct {
	c        *fetchSessions
	rng      *rand.Rand
	now      time.Time
	order    int
	sessions map[*fetchSession]*modelSession
	refusals int
}

func (m *cacheModel) partitions() (n int) {
	for _, s := range m.sessions {
		n += s.size
	}
	return n
}

// evict frees a slot for a session of that size, if one may go.
func (m *cacheModel) evict(size int) bool {
	var idle, small *fetchSession
	for s, was := range m.sessions {
		if m.now.Sub(was.used) > 2*time.Minute && (idle == nil || was.order < m.sessions[idle].order) {
			idle = s
		}
		smaller := small == nil || was.size < m.sessions[small].size ||
			was.size == m.sessions[small].size && was.order < m.sessions[small].order
		if m.now.Sub(was.created) > 2*time.Minute && smaller {
			small = s
		}
	}
	switch {
	case idle != nil:
		delete(m.sessions, idle)
	case small != nil && m.sessions[small].size < size:
		delete(m.sessions, small)
	default:
		return false
	}
	return true
}

// step does one thing to both and reports what went apart.
func (m *cacheModel) step() string {
	m.order++
	m.now = m.now.Add(time.Duration(m.rng.IntN(40)) * time.Second)
	size := 1 + m.rng.IntN(25)
	var known *fetchSession
	for s := range m.sessions {
		known = s
		break
	}
	switch {
	case known == nil || m.rng.IntN(3) == 0:
		room := true
		for room && (len(m.sessions) >= 4 || m.partitions()+size > 60) {
			room = m.evict(size)
		}
		s := m.c.create(false, size, m.now, func(*fetchSession) {})
		if (s != nil) != room {
			return fmt.Sprintf("made %v, want %v", s != nil, room)
		}
		if s == nil {
			m.refusals++
		} else {
			m.sessions[s] = &modelSession{m.now, m.now, size, m.order}
		}
	case m.rng.IntN(8) == 0:
		m.c.remove(known.id)
		delete(m.sessions, known)
	default:
		was := m.sessions[known]
		fits := m.partitions()+size-was.size <= 60
		if m.c.use(known, size, m.now) != fits {
			return fmt.Sprintf("a use must succeed: %v", fits)
		}
		m.sessions[known] = &modelSession{was.created, m.now, size, m.order}
		if !fits {
			delete(m.sessions, known)
		}
	}
	return m.compare()
}

func (m *cacheModel) compare() string {
	got := m.c.stats()
	if got.Sessions != len(m.sessions) || got.Partitions != m.partitions() {
		return fmt.Sprintf("%+v, want %d of %d", got, len(m.sessions), m.partitions())
	}
	for s := range m.sessions {
		if m.c.find(s.id) != s {
			return fmt.Sprintf("session %d has gone", s.id)
		}
	}
	return ""
}

// TestFetchSessionCacheModel compares random histories with the model.
func TestFetchSessionCacheModel(t *testing.T) {
	evictions, refusals := int64(0), 0
	for seed := range uint64(200) {
		m := &cacheModel{
			c: newFetchSessions(4, 60), rng: rand.New(rand.NewPCG(seed, 9)), now: time.Unix(1000, 0),
			sessions: map[*fetchSession]*modelSession{},
		}
		for step := range 200 {
			if bad := m.step(); bad != "" {
				t.Fatalf("seed %d, step %d: %s", seed, step, bad)
			}
		}
		evictions += m.c.stats().Evictions
		refusals += m.refusals
	}
	if evictions < 500 || refusals < 100 {
		t.Errorf("%d evictions, %d refusals: the test has lost its teeth", evictions, refusals)
	}
}

// TestFetchSessionFilledOutsideTheCache: a session of many partitions keeps no other one waiting while
// it is filled, and nobody sees it before it is.
func TestFetchSessionFilledOutsideTheCache(t *testing.T) {
	c := newFetchSessions(4, 60)
	filled := false
	c.create(false, 5, time.Unix(1000, 0), func(s *fetchSession) {
		filled = true
		if !c.mu.TryLock() {
			t.Fatal("the cache is locked")
		}
		c.mu.Unlock()
		if s.mu.TryLock() {
			t.Error("the session can be used")
		}
	})
	if !filled {
		t.Error("the session was not filled")
	}
	if c.create(false, 61, time.Unix(1000, 0), func(*fetchSession) { t.Error("filled without a slot") }) != nil {
		t.Error("a session has more partitions than all may have")
	}
}

func TestFetchSessionEpochWraps(t *testing.T) {
	for epoch, want := range map[int32]int32{0: 1, 1: 2, 1<<31 - 2: 1<<31 - 1, 1<<31 - 1: 1} {
		if got := nextSessionEpoch(epoch); got != want {
			t.Errorf("after %d comes %d, want %d", epoch, got, want)
		}
	}
}
