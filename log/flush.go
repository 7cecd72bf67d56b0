package log

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/mutant"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// flushed is what one flush has done.
type flushed struct {
	at     point         // the log's end when the flush began, durable now
	bytes  int64         // bytes made durable
	fsyncs int           // segments synced
	took   time.Duration // time spent in syncs
}

// Flush makes everything durable that was appended before the call, and returns the offset below
// which all is. An error is final: see ErrFailed.
func (l *Log) Flush() (Offset, error) {
	f, err := l.flush(drainHow{vouch: true})
	return f.at.offset, err
}

// drainHow says what one drain does.
type drainHow struct {
	force  bool // sync the active segment even if nothing is new in it
	sealed bool // take only what a commit has sealed, so that the newest chunk can be filled up
	vouch  bool // with a journal: sync the note, which nothing else vouches for
}

// flush drains the log and returns the figures.
func (l *Log) flush(how drainHow) (flushed, error) {
	l.flushing.Lock()
	defer l.flushing.Unlock()
	return l.flushOwned(how)
}

// flushOwned is flush for the owner of flushing.
func (l *Log) flushOwned(how drainHow) (flushed, error) {
	w, err := l.writeOwned(how)
	if err != nil {
		return flushed{}, err
	}
	if err := l.syncOwned(w, how); err != nil {
		return flushed{}, err
	}
	return w.flushed, nil
}

// writeOwned takes what is dirty and writes what of it is in memory. syncOwned follows, by the same
// owner of flushing: in between, others may write and sync, so that a file system can make many
// files durable in one go.
func (l *Log) writeOwned(how drainHow) (*work, error) {
	w, err := l.takeDirty(how)
	if err != nil {
		return nil, err
	}
	if len(w.segments) == 0 && !w.dirDirty && w.at.offset == l.flushing.note.state.flushed {
		w.idle = true // nothing was appended since the last one
		return w, nil
	}
	err = l.noteAhead()
	for i := range w.segments {
		if err == nil {
			err = l.drainSegment(&w.segments[i])
		}
	}
	if err != nil {
		w.release()
		return nil, l.fail(err)
	}
	return w, nil
}

// syncOwned makes durable what writeOwned has taken, and notes it.
func (l *Log) syncOwned(w *work, how drainHow) error {
	defer w.release()
	if w.idle {
		return l.vouchOwned(how)
	}
	began := l.o.Clock.Now()
	for _, s := range w.segments {
		if err := l.syncSegment(s.segment); err != nil {
			// Not retried, ever: the kernel may have dropped the pages and marked them clean, so
			// that the next fdatasync succeeds and proves nothing.
			return l.fail(err)
		}
	}
	if w.dirDirty {
		// Before the first ack that depends on the new segment: a crash could keep the file's
		// bytes and lose its name.
		if err := l.o.FS.SyncDir(l.dir); err != nil {
			return l.fail(err)
		}
	}
	w.took = l.o.Clock.Now().Sub(began)
	if err := l.publishDrained(w); err != nil {
		return err
	}
	return l.vouchOwned(how)
}

// noteAhead is the fault NoteAheadOfSegment.
func (l *Log) noteAhead() error {
	if !mutant.On(mutant.NoteAheadOfSegment) || !l.journaling() {
		return nil
	}
	state := l.flushing.note.state
	state.journalFrom = l.journalEnd()
	return l.flushing.note.write(state, true)
}

// work is the part of the log that one flush makes durable.
type work struct {
	flushed
	segments []drainedSegment // oldest first
	dirDirty bool
	idle     bool  // there is nothing to do
	appended int64 // bytes appended since Open, when the work was taken
}

// drainedSegment is one segment that a drain writes and syncs.
type drainedSegment struct {
	*segment          // pinned
	limit    int64    // position up to which it is drained
	cut      bool     // whether that is its end for good: it is sealed
	chunks   []*chunk // written by this drain
}

func (w *work) release() {
	for _, s := range w.segments {
		s.release()
	}
}

// takeDirty captures the end and what must be synced for it, before any sync begins: what is
// appended during a sync may be missed by it.
func (l *Log) takeDirty(how drainHow) (*work, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writableLocked(); err != nil {
		return nil, err
	}
	if how.force {
		l.markDirtyLocked(l.set.Load().active())
	}
	if !how.sealed {
		if err := l.sealLocked(); err != nil {
			return nil, err
		}
	}
	w := &work{dirDirty: l.mu.dirDirty, appended: l.mu.sealedBytes}
	w.at = l.mu.sealedAt
	dirty := l.mu.dirty
	l.mu.dirty, l.mu.dirDirty = nil, false
	for _, s := range dirty {
		s.tail.dirty = false
		d := drainedSegment{segment: s, limit: s.size.Load()}
		if s.base == w.at.segment {
			d.limit = w.at.pos
		}
		if s.base > w.at.segment || d.limit < s.size.Load() {
			l.markDirtyLocked(s) // there is more, for a later drain
		} else {
			d.cut = Offset(s.end.Load()) != noOffset
		}
		// Retention may have deleted it.
		if s.base <= w.at.segment && s.acquire() {
			w.segments = append(w.segments, d)
		}
	}
	w.bytes = w.appended - l.counters.flushedBytes.Load()
	return w, nil
}

// sealLocked ends the newest chunk and remembers the log's end as what a drain reaches now.
func (l *Log) sealLocked() error {
	at, err := l.pointLocked()
	if err != nil {
		return l.failLocked(err)
	}
	l.set.Load().active().tail.chunk = nil
	l.mu.sealedAt, l.mu.sealedBytes = at, l.counters.appendedBytes.Load()
	return nil
}

// pointLocked is the end of the log as a point to recover from.
func (l *Log) pointLocked() (point, error) {
	s := l.set.Load().active()
	index, err := s.index.len()
	if err != nil {
		return point{}, err
	}
	times, err := s.times.len()
	if err != nil {
		return point{}, err
	}
	return point{
		offset: l.End(), segment: s.base, pos: s.size.Load(),
		maxTime: UnixMs(s.maxTime.Load()), firstTime: s.tail.firstTime,
		indexEntries: index, timeEntries: times,
	}, nil
}

// drainSegment writes what is in memory to the file, and cuts a sealed one to its length: direct
// writes end with a block.
func (l *Log) drainSegment(s *drainedSegment) error {
	if l.o.Buffers == nil {
		return nil
	}
	s.chunks = s.undrained(s.limit)
	if len(s.chunks) == 0 && !s.cut {
		return nil
	}
	f, err := s.file()
	if err != nil {
		return err
	}
	if err := writeChunks(s.segment, f, s.chunks); err != nil {
		return err
	}
	if !s.cut {
		return nil
	}
	if err := f.Truncate(s.limit); err != nil {
		return fmt.Errorf("cut segment %s: %w", s.path, err)
	}
	return nil
}

// syncSegment makes the written bytes of a segment durable.
func (l *Log) syncSegment(s *segment) error {
	if mutant.On(mutant.NoFsync) || (l.journaling() && mutant.On(mutant.SegmentUnsynced)) {
		return nil
	}
	f, err := s.file()
	if err != nil {
		return err
	}
	if err := f.SyncData(); err != nil {
		return fmt.Errorf("fdatasync segment %s: %w", s.path, err)
	}
	l.counters.fsyncs.Add(1)
	return nil
}

// publishDrained notes how far the segments are durable. The note is not synced: it survives the
// death of the process, and a power cut makes it understate, which only costs reading.
//
// Without a journal, this is the flushed end as well. With one, nothing that a power cut keeps for
// certain says so yet: the journal's entries vouch, or a note that is synced.
func (l *Log) publishDrained(w *work) error {
	w.fsyncs = len(w.segments)
	journalFrom := l.noteDrained(w.at.mark())
	for _, s := range w.segments {
		for _, c := range s.chunks {
			c.drained = true
			l.undrained.Add(-int64(len(c.buf)))
		}
		if len(s.chunks) > 0 {
			l.o.Buffers.keep(s.segment, s.chunks)
		}
	}
	l.counters.flushes.Add(1)
	l.counters.flushedBytes.Store(w.appended)
	l.counters.fsyncLatency.Observe(w.took)
	if w.at.offset == l.flushing.note.state.flushed {
		return nil
	}
	state := l.flushing.note.state
	state.flushed, state.journalFrom = w.at.offset, journalFrom
	if err := l.flushing.note.write(state, false); err != nil {
		return l.fail(err)
	}
	if !l.journaling() {
		l.raiseFlushed(w.at.offset)
	}
	return nil
}

// noteDrained notes how far the segments are durable, and returns the first sequence of the journal
// that may say more. No chunk is let go of before: a commit takes from memory what lies above.
func (l *Log) noteDrained(at mark) journal.Sequence {
	l.mu.Lock()
	l.mu.drainedAt = at
	l.mu.Unlock()
	return l.journalFrom()
}

// journalFrom returns the first sequence of the journal that may say more than the segments.
func (l *Log) journalFrom() journal.Sequence {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.journaled.drainedTo(l.mu.drainedAt.offset)
	return firstBehind(l.flushing.note.state.journalFrom, l.mu.journaled.drained)
}

// firstBehind moves the first sequence that is needed behind one that is not.
func firstBehind(from, done journal.Sequence) journal.Sequence {
	if done == 0 {
		return from // there was none
	}
	return max(from, done+1)
}

// journalEnd is journalFrom for one who owns committing and has drained the log: no entry so far
// says more.
func (l *Log) journalEnd() journal.Sequence {
	l.mu.Lock()
	defer l.mu.Unlock()
	return firstBehind(l.flushing.note.state.journalFrom, l.mu.journaled.begun)
}

// vouchOwned makes the newest note durable, if that is what the drain is for. After that, no entry
// of the journal is needed to say what it says.
func (l *Log) vouchOwned(how drainHow) error {
	if !l.journaling() || !how.vouch {
		return nil
	}
	state := l.flushing.note.state
	state.journalFrom = l.journalFrom()
	if same := l.flushing.note.synced; same == state {
		return nil
	}
	return l.storeNoteOwned(state)
}

// raiseFlushed moves the flushed end up.
func (l *Log) raiseFlushed(end Offset) {
	for {
		old := l.flushed.Load()
		if old >= int64(end) || l.flushed.CompareAndSwap(old, int64(end)) {
			return
		}
	}
}

// Checkpoint is CheckpointTo for an owner whose snapshot covers everything appended so far.
func (l *Log) Checkpoint() error { return l.checkpoint(nil) }

// CheckpointTo flushes the log and moves the recovery point to the batch boundary at or below
// upTo: up to which the owner has made its own state durable. The next Open, crash or not, reads
// and hands to OnRecover only what lies at or past it. It never moves the point down.
//
// The log never checkpoints by itself, but for Close: only the owner knows what its snapshot
// covers.
func (l *Log) CheckpointTo(upTo Offset) error { return l.checkpoint(&upTo) }

func (l *Log) checkpoint(upTo *Offset) error {
	defer l.CloseUnused() // what is sealed is durable now
	l.flushing.Lock()
	defer l.flushing.Unlock()
	f, err := l.flushOwned(drainHow{})
	if err != nil {
		return err
	}
	to := f.at
	state := l.flushing.note.state
	switch {
	case upTo == nil || *upTo >= to.offset:
	case *upTo <= state.recovery.offset:
		to = state.recovery
	default:
		if to, err = l.pointAt(*upTo); err != nil {
			return err
		}
	}
	state.journalFrom = l.journalFrom()
	if to.offset > state.recovery.offset || to.segment > state.recovery.segment {
		state.recovery = to
	}
	if same := l.flushing.note.synced; state.start == same.start && state.flushed == same.flushed &&
		state.recovery == same.recovery && state.journalFrom == same.journalFrom {
		return nil
	}
	if err := l.syncTables(); err != nil {
		return err
	}
	return l.storeNoteOwned(state)
}

// syncTables makes the indexes durable up to the recovery point to be: what lies below it is not
// read by the next Open, so its entries must be there.
func (l *Log) syncTables() error {
	set := l.set.Load()
	synced := false
	for _, s := range set.list[max(0, set.find(l.RecoveryPoint())):] {
		for _, t := range []*table{s.index, s.times} {
			did, err := t.sync()
			if vfs.IsShortage(err) {
				return fmt.Errorf("checkpoint log %s: %w: %w", l.dir, ErrNoSpace, err)
			}
			if err != nil {
				return l.fail(err)
			}
			synced = synced || did
		}
	}
	if !synced {
		return nil
	}
	if err := l.o.FS.SyncDir(l.dir); err != nil { // an index file may be new
		return l.fail(err)
	}
	return nil
}

// replaceNoteOwned is storeNoteOwned for a state that makes older ones untrue: it goes into both
// slots of the checkpoints, so that the damage of one sector does not bring an older one back.
func (l *Log) replaceNoteOwned(state noteState) error {
	if err := l.storeNoteOwned(state); err != nil {
		return err
	}
	return l.storeNoteOwned(state)
}

// storeNoteOwned makes the state durable and shows it. The caller owns flushing.
func (l *Log) storeNoteOwned(state noteState) error {
	if err := l.flushing.note.write(state, true); err != nil {
		return l.fail(err)
	}
	l.mu.Lock()
	l.mu.journaled.vouchedBelow(state.journalFrom)
	l.mu.Unlock()
	l.raiseFlushed(state.flushed)
	l.start.Store(int64(state.start))
	l.recovery.Store(&state.recovery)
	l.o.Logger.Debug("checkpoint", zap.String("dir", l.dir),
		zap.Int64("recovery_point", int64(state.recovery.offset)))
	return nil
}
