package groups

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/invariant"
)

// errClosing stops a replay that nobody waits for any more.
var errClosing = errors.New("coordinator closes")

// loadAll loads the shards it receives until there are none, or the coordinator closes.
func (c *Coordinator) loadAll(queue <-chan *shard) {
	for s := range queue {
		if !c.loadOne(s) {
			return
		}
		if c.loadingLeft.Add(-1) == 0 {
			close(c.ready)
		}
	}
}

// loadOne tries until the shard is loaded, with growing pauses: a disk that is full may
// be emptied. It reports false when the coordinator closes first.
func (c *Coordinator) loadOne(s *shard) bool {
	for pause := loadRetryMin; ; pause = min(2*pause, loadRetryMax) {
		err := s.load()
		switch {
		case err == nil:
			return true
		case errors.Is(err, errClosing):
			return false
		}
		c.env.log.Error("groups cannot be loaded", zap.Int32("shard", s.partition),
			zap.Duration("again in", pause), zap.Error(err))
		timer := c.o.Clock.NewTimer(pause)
		select {
		case <-timer.C():
		case <-c.closing:
			timer.Stop()
			return false
		}
	}
}

// load opens and replays the log, then lets requests in.
func (s *shard) load() error {
	began := s.env.o.Clock.Now()
	groups, log, err := s.replay()
	fx := effects{now: s.env.o.Clock.Now()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return errClosing
	}
	s.mu.loadErr = err
	if err != nil {
		return err
	}
	s.mu.log = log
	for id, g := range groups {
		s.mu.slots[id] = &slot{group: g}
		g.loaded(&fx)
	}
	s.settleLocked(&fx)
	invariant.Check(len(fx.answers) == 0,
		"a replayed group has %d parked requests", len(fx.answers))
	s.env.log.Debug("groups loaded", zap.Int32("shard", s.partition),
		zap.Int("groups", len(groups)), zap.Duration("took", fx.now.Sub(began)))
	return nil
}

func (s *shard) replay() (map[string]*group, OffsetsLog, error) {
	log, err := s.env.o.OpenLog(s.partition)
	if err != nil {
		return nil, nil, fmt.Errorf("open partition %d of the offsets topic: %w", s.partition, err)
	}
	r := replayer{env: s.env, groups: make(map[string]*group)}
	err = log.Replay(func(key, value []byte) error {
		select {
		case <-s.closing:
			return errClosing
		default:
			return r.apply(key, value)
		}
	})
	if err != nil {
		return nil, nil, fmt.Errorf("replay partition %d of the offsets topic: %w",
			s.partition, err)
	}
	return r.finish(), log, nil
}

// replayer rebuilds groups from records.
type replayer struct {
	env    *env
	groups map[string]*group
	// unknown counts records of kinds this version does not know.
	unknown int
}

func (r *replayer) apply(key, value []byte) error {
	rec, err := decodeRecord(key, value)
	if err != nil {
		return err
	}
	if !rec.known {
		r.unknown++
		return nil
	}
	g := r.groups[rec.groupID]
	if g == nil {
		if rec.tombstone {
			return nil
		}
		g = newGroup(r.env, rec.groupID, 0)
		r.groups[rec.groupID] = g
	}
	switch {
	case rec.isOffset && rec.tombstone:
		g.offsets.remove(rec.key)
	case rec.isOffset:
		g.offsets.set(rec.key, *rec.offset)
	case rec.tombstone:
		kept := g.offsets
		*g = *newGroup(r.env, rec.groupID, 0)
		g.offsets = kept
	default:
		g.restore(rec.metadata, 0)
	}
	if g.isVoid() {
		delete(r.groups, rec.groupID)
	}
	return nil
}

func (r *replayer) finish() map[string]*group {
	if r.unknown > 0 {
		r.env.log.Warn("records of unknown kinds were skipped", zap.Int("records", r.unknown))
	}
	return r.groups
}
