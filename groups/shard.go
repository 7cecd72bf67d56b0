package groups

import (
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/invariant"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// shard owns the groups of one partition of the offsets topic.
type shard struct {
	env       *env
	partition int32
	closing   chan struct{} // closed by the coordinator's Close
	// writes are the appends whose outcome is awaited, in the order of the log. Only
	// appendLocked sends, and only if there is room; the settler goroutine receives.
	writes chan undecided

	mu struct { // held across OffsetsLog.Append, which does not wait for the disk
		sync.Mutex
		log     OffsetsLog // nil until loaded
		loadErr error      // why the last attempt to load failed
		closed  bool
		slots   map[string]*slot
		// retention fires the next look for expired offsets; armed while there are groups.
		retention      clock.Timer
		retentionArmed bool
	}
}

// slot is a group with its one timer.
type slot struct {
	group   *group
	timer   clock.Timer
	armedAt time.Time // the deadline the timer is armed for, or zero
}

// undecided is an append on its way to the disk.
type undecided struct {
	pending Pending
	write   write
}

func newShard(e *env, partition int32, closing chan struct{}) *shard {
	s := &shard{
		env: e, partition: partition, closing: closing,
		writes: make(chan undecided, e.o.WritesMax),
	}
	s.mu.slots = make(map[string]*slot)
	return s
}

// update runs a transition under the lock, carries out its effects and gives its
// answers. It fails, without running the transition, while the shard cannot serve.
func (s *shard) update(transition func(fx *effects)) error {
	fx := effects{now: s.env.o.Clock.Now()}
	s.mu.Lock()
	if err := s.availableLocked(); err != nil {
		s.mu.Unlock()
		return err
	}
	transition(&fx)
	s.settleLocked(&fx)
	s.mu.Unlock()
	fx.deliver()
	return nil
}

func (s *shard) availableLocked() error {
	switch {
	case s.mu.closed:
		return fmt.Errorf("coordinator is closed: %w", ErrCoordinatorNotAvailable)
	case s.mu.log != nil:
		return nil
	case s.mu.loadErr != nil:
		return fmt.Errorf("shard %d cannot load, it is tried again: %w: %w",
			s.partition, ErrCoordinatorNotAvailable, s.mu.loadErr)
	default:
		return fmt.Errorf("shard %d: %w", s.partition, ErrCoordinatorLoading)
	}
}

func (s *shard) groupLocked(id string) *group {
	if sl := s.mu.slots[id]; sl != nil {
		return sl.group
	}
	return nil
}

// createLocked makes a group unless there are too many. If nothing comes of it,
// settleLocked forgets it again.
func (s *shard) createLocked(fx *effects, id string) (*group, error) {
	if len(s.mu.slots) >= s.env.o.GroupsMax {
		return nil, fmt.Errorf("shard %d has %d groups: %w",
			s.partition, len(s.mu.slots), ErrLimit)
	}
	g := newGroup(s.env, id, fx.nowMs())
	s.mu.slots[id] = &slot{group: g}
	fx.touch(g)
	return g, nil
}

// settleLocked carries out everything but the answers. A write that is refused at once
// is decided at once, which may lead to further effects, so it goes on until there are
// none; each refusal makes the groups it concerns poorer in things to write.
func (s *shard) settleLocked(fx *effects) {
	for len(fx.writes) > 0 {
		w := fx.writes[0]
		fx.writes = fx.writes[1:]
		s.appendLocked(fx, w)
	}
	for _, g := range fx.touched {
		s.tendLocked(fx, g)
	}
	s.armRetentionLocked()
}

func (s *shard) appendLocked(fx *effects, w write) {
	if len(s.writes) == cap(s.writes) {
		w.decided(fx, fmt.Errorf("shard %d waits for %d writes to reach the disk: %w",
			s.partition, len(s.writes), ErrCoordinatorNotAvailable))
		return
	}
	pending, err := s.mu.log.Append(w.records)
	if err != nil {
		s.env.log.Warn("append failed", zap.Int32("shard", s.partition), zap.Error(err))
		w.decided(fx, fmt.Errorf("shard %d: %w: %w", s.partition,
			ErrCoordinatorNotAvailable, err))
		return
	}
	w.group.undecided++
	s.writes <- undecided{pending: pending, write: w}
}

// tendLocked forgets a group that holds nothing, and sees to the timer of any other.
func (s *shard) tendLocked(fx *effects, g *group) {
	sl := s.mu.slots[g.id]
	if sl == nil || sl.group != g {
		return
	}
	if g.isVoid() {
		sl.disarm()
		delete(s.mu.slots, g.id)
		return
	}
	next := g.nextDeadline()
	switch {
	case next.IsZero():
		sl.disarm()
	case !sl.armedAt.IsZero() && !next.Before(sl.armedAt):
		// The timer fires early and looks again: cheaper than moving it every time.
	default:
		sl.armedAt = next
		if sl.timer == nil {
			sl.timer = s.env.o.Clock.AfterFunc(next.Sub(fx.now), func() { s.tick(sl) })
		} else {
			sl.timer.Reset(next.Sub(fx.now))
		}
	}
}

func (sl *slot) disarm() {
	if sl.timer != nil {
		sl.timer.Stop()
	}
	sl.armedAt = time.Time{}
}

// tick is the timer of one slot.
func (s *shard) tick(sl *slot) {
	_ = s.update(func(fx *effects) { // fails only after Close, when nothing is left to do
		if s.mu.slots[sl.group.id] != sl {
			return // the group was forgotten while the timer fired
		}
		sl.armedAt = time.Time{}
		sl.group.tick(fx)
	})
}

// armRetentionLocked keeps the timer of the retention running while there are groups.
func (s *shard) armRetentionLocked() {
	if s.mu.retentionArmed || len(s.mu.slots) == 0 {
		return
	}
	s.mu.retentionArmed = true
	if s.mu.retention == nil {
		s.mu.retention = s.env.o.Clock.AfterFunc(s.env.o.OffsetRetentionCheck, s.expire)
	} else {
		s.mu.retention.Reset(s.env.o.OffsetRetentionCheck)
	}
}

// expire is the timer of the retention.
func (s *shard) expire() {
	_ = s.update(func(fx *effects) { // fails only after Close, when nothing is left to do
		s.mu.retentionArmed = false
		for _, sl := range s.mu.slots {
			sl.group.expire(fx)
			sl.group.saveAgain(fx)
		}
	})
}

// settle waits for writes and tells their groups. It is the only goroutine of the
// shard after loading; it ends when the coordinator closes.
func (s *shard) settle() {
	for {
		select {
		case u := <-s.writes:
			s.await(u)
		case <-s.closing:
			// No write is sent after closing: take what is left and go.
			for len(s.writes) > 0 {
				s.await(<-s.writes)
			}
			return
		}
	}
}

// await waits for one write, or, when the coordinator closes, gives it up.
func (s *shard) await(u undecided) {
	var err error
	select {
	case <-u.pending.Done():
		err = u.pending.Err()
	default:
		select {
		case <-u.pending.Done():
			err = u.pending.Err()
		case <-s.closing:
			err = fmt.Errorf("coordinator closed before the write was durable")
		}
	}
	if err != nil {
		err = fmt.Errorf("shard %d: %w: %w", s.partition, ErrCoordinatorNotAvailable, err)
	}
	fx := effects{now: s.env.o.Clock.Now()}
	s.mu.Lock()
	u.write.group.undecided--
	invariant.Check(u.write.group.undecided >= 0, "group %q: more writes decided than made",
		u.write.group.id)
	fx.touch(u.write.group)
	u.write.decided(&fx, err)
	if !s.mu.closed {
		s.settleLocked(&fx)
	}
	s.mu.Unlock()
	fx.deliver()
}

// close stops the timers and answers everything that is parked. Writes that wait are
// decided by the settler, which sees closing.
func (s *shard) close() {
	var fx effects
	s.mu.Lock()
	if !s.mu.closed {
		s.mu.closed = true
		for _, sl := range s.mu.slots {
			sl.disarm()
			sl.group.abandon(&fx)
		}
		if s.mu.retention != nil {
			s.mu.retention.Stop()
		}
	}
	s.mu.Unlock()
	fx.deliver()
}
