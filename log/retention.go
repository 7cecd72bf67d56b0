package log

import (
	"errors"
	"fmt"

	"go.uber.org/zap"
)

// RetentionPoint returns the start that the policy asks for: the end of the newest segment that
// may go with all before it. It decides and changes nothing; AdvanceStart does it. Nothing at or
// above bound goes, nor the active segment, unless all of it has expired: then the point is the
// log's end, and AdvanceStart rolls first.
//
// A segment expires when its greatest timestamp is older than the policy's time. One without any
// timestamp never does: there is nothing that says how old it is.
func (l *Log) RetentionPoint(p RetentionPolicy, now UnixMs, bound Offset) Offset {
	set := l.set.Load()
	point, excess := l.Start(), set.sizeBytes()-p.Bytes
	expiring, shrinking := p.Ms >= 0, p.Bytes >= 0
	for i, s := range set.list {
		active := i == len(set.list)-1
		end := l.endOf(s)
		if end > bound || end == s.base || !s.acquire() {
			break
		}
		expiring = expiring && l.expired(s, p.Ms, now)
		s.release()
		shrinking = shrinking && !active && excess >= s.size.Load()
		if !expiring && !shrinking {
			break
		}
		excess -= s.size.Load()
		point = max(point, end)
	}
	return point
}

// expired says whether all records of a pinned segment are older than keepMs. What cannot be read
// is kept.
func (l *Log) expired(s *segment, keepMs int64, now UnixMs) bool {
	t, err := l.maxTimeOf(s)
	if errors.Is(err, errReplaced) { // by a compaction that runs now: the next look will tell
		return false
	}
	if err != nil {
		l.o.Logger.Warn("retention keeps a segment whose timestamps cannot be read",
			zap.String("segment", s.path), zap.Error(err))
		return false
	}
	return t >= 0 && now > t && int64(now-t) > keepMs
}

// AdvanceStart makes to the first offset that can be read, durably, and then deletes the segments
// that lie wholly below it. If that is all of them, the active one is sealed first. An offset at
// or below the start changes nothing.
func (l *Log) AdvanceStart(to Offset) error {
	// Owned until the files have gone, which takes as long as the disk likes; a commit does not wait
	// for it.
	l.swapping.Lock()
	defer l.swapping.Unlock()
	gone, err := l.raiseStartOwned(to)
	if err != nil {
		return err
	}
	return l.removeSegments(gone)
}

// raiseStartOwned makes the start durable and returns the segments that lie wholly below it, of
// which the log knows nothing any more. The caller owns swapping.
func (l *Log) raiseStartOwned(to Offset) ([]*segment, error) {
	l.committing.Lock()
	defer l.committing.Unlock()
	l.flushing.Lock()
	defer l.flushing.Unlock()
	if to <= l.Start() {
		return nil, nil
	}
	if to > l.End() {
		return nil, l.outOfRange(to)
	}
	if to == l.End() {
		if err := l.Roll(); err != nil {
			return nil, err
		}
	}
	// What remains must be there, by name too, before what goes may go.
	// So must what the journal's entries hold, or they would bring back what goes.
	if to > l.FlushedEnd() || l.namesPending() || l.journaling() {
		if _, err := l.flushOwned(drainHow{}); err != nil {
			return nil, err
		}
	}
	state := l.flushing.note.state
	state.start, state.journalFrom = to, l.journalEnd()
	set := l.set.Load()
	gone := set.find(to)
	if first := set.list[gone].base; state.recovery.segment < first {
		state.recovery = point{offset: first, segment: first, maxTime: noTime, firstTime: noTime}
	}
	if err := l.replaceNoteOwned(state); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.set.Store(l.set.Load().from(gone))
	return set.list[:gone], nil
}

// namesPending says whether a segment's name is not durable yet.
func (l *Log) namesPending() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.dirDirty
}

// removeSegments deletes the files of segments that the log has let go of. A crash before all are
// gone leaves some wholly below the start, which the next Open removes.
func (l *Log) removeSegments(gone []*segment) error {
	if len(gone) == 0 {
		return nil
	}
	var err error
	for _, s := range gone {
		if removeErr := s.removeFiles(); removeErr != nil && err == nil {
			err = fmt.Errorf("delete old segments of log %s: %w", l.dir, removeErr)
		}
		s.release()
	}
	l.o.Logger.Info("deleted segments below the log's start", zap.String("dir", l.dir),
		zap.Int64("start", int64(l.Start())), zap.Int("segments", len(gone)), zap.Error(err))
	return err
}
