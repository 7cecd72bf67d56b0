package api

import (
	"slices"

	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// fetchContext is what a fetch is with regard to sessions.
type fetchContext struct {
	id, epoch int32        // of the request
	forgotten []sessionKey // partitions that the client wants no more

	opens   bool          // a full fetch that would like a session
	session *fetchSession // of an incremental fetch
}

// enter finds out what the request is, in its turn, and makes the list of partitions to look at:
// those of the request, or those of the session that it goes on with. What is wrong with the
// session is the answer.
func (f *fetchReply) enter(w *Waiter) {
	c := &f.context
	if c.epoch == sessionOpens || c.epoch == sessionNone {
		if c.id != noSession {
			f.s.sessions.remove(c.id) // A full fetch ends the session that it comes from.
		}
		c.opens = c.epoch == sessionOpens && len(f.partitions) > 0 && f.isMemorable()
		return
	}
	if f.err = f.resume(w); f.err != nil {
		f.topics, f.partitions = nil, nil
	}
}

// isMemorable reports whether a session may remember what the request names. A name that no topic
// can have is as long as its client likes, and a session counts partitions, not bytes.
func (f *fetchReply) isMemorable() bool {
	return !slices.ContainsFunc(f.topics, func(t fetchTopic) bool {
		return len(t.name) > metadata.MaxTopicNameBytes
	})
}

// resume goes on with a session: FetchManager.newContext in Kafka.
func (f *fetchReply) resume(w *Waiter) error {
	c := &f.context
	s := f.s.sessions.find(c.id)
	if s == nil {
		return errSessionNotFound
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.epoch != c.epoch {
		return errSessionEpoch
	}
	if s.usesIDs != (f.version >= fetchTopicIDs) {
		return errSessionTopicID
	}
	if !f.isMemorable() {
		return f.endSession(s)
	}
	f.eachAsked(func(key sessionKey, read replication.FetchRead) { s.setLocked(key, read) })
	for _, key := range c.forgotten {
		s.forgetLocked(key)
	}
	size := s.mu.order.Len()
	if size == 0 {
		f.s.sessions.remove(s.id)
		return nil // This is a full fetch of what it names, as in Kafka.
	}
	if _, ok := w.tryReserve(int64(size) * fetchPartitionBytes); !ok ||
		!f.s.sessions.use(s, size, f.s.o.Clock.Now()) {
		return f.endSession(s)
	}
	s.mu.epoch = nextSessionEpoch(s.mu.epoch)
	c.session = s
	f.lookAt(s, size)
	return nil
}

// endSession ends a session that is not to be remembered. Kafka knows no code for a want of memory.
// On this one the client sends a full fetch, which pays for what it names.
func (f *fetchReply) endSession(s *fetchSession) error {
	f.s.sessions.remove(s.id)
	return errSessionNotFound
}

// eachAsked passes on what the request names.
func (f *fetchReply) eachAsked(fn func(key sessionKey, read replication.FetchRead)) {
	next := 0
	for i := range f.topics {
		t := &f.topics[i]
		for range t.count {
			p := &f.partitions[next]
			fn(sessionKey{t.name, t.id, p.index}, p.read)
			next++
		}
	}
}

// lookAt makes the session's partitions the ones to look at, in its order. Neighbours of one topic
// share its entry.
func (f *fetchReply) lookAt(s *fetchSession, size int) {
	f.topics, f.partitions = f.topics[:0], make([]fetchPartition, 0, size)
	s.eachLocked(func(p *sessionPartition) {
		last := len(f.topics) - 1
		if last < 0 || f.topics[last].name != p.key.name || f.topics[last].id != p.key.id {
			f.topics = append(f.topics, fetchTopic{name: p.key.name, id: p.key.id})
			last++
		}
		f.topics[last].count++
		read := p.read
		read.ReadCommitted = f.committed // That of this request, as in Kafka.
		f.partitions = append(f.partitions, fetchPartition{
			index: p.key.index, read: read, told: p.told,
		})
	})
}

// leave notes in the session what the answer says, and returns the session id that it carries.
func (f *fetchReply) leave() (id int32, err error) {
	c := &f.context
	switch {
	case f.err != nil:
		return noSession, nil
	case c.session != nil:
		s := c.session
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.mu.epoch != nextSessionEpoch(c.epoch) {
			return noSession, errSessionEpoch // Another request has gone on with it meanwhile.
		}
		f.eachOutcome(s.toldLocked)
		return s.id, nil
	case c.opens:
		now := f.s.o.Clock.Now()
		s := f.s.sessions.create(f.version >= fetchTopicIDs, len(f.partitions), now,
			func(s *fetchSession) {
				f.eachAsked(func(key sessionKey, read replication.FetchRead) { s.setLocked(key, read) })
				f.eachOutcome(s.toldLocked)
			})
		if s != nil {
			return s.id, nil
		}
	}
	return noSession, nil
}

// eachOutcome passes on what the answer says of each partition that it names.
func (f *fetchReply) eachOutcome(fn func(key sessionKey, out fetchOutcome)) {
	next := 0
	for i := range f.topics {
		t := &f.topics[i]
		for range t.count {
			p := &f.partitions[next]
			if p.outcome.listed {
				fn(sessionKey{t.name, t.id, p.index}, p.outcome)
			}
			next++
		}
	}
}
