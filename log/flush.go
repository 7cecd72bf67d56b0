package log

import (
	"fmt"
	"time"

	"go.uber.org/zap"

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
	f, err := l.flush(false)
	return f.at.offset, err
}

// flush is Flush with its figures. force syncs the active segment even if nothing is new in it.
func (l *Log) flush(force bool) (flushed, error) {
	l.flushing.Lock()
	defer l.flushing.Unlock()
	return l.flushOwned(force)
}

// flushOwned is flush for the owner of flushing.
func (l *Log) flushOwned(force bool) (flushed, error) {
	w, err := l.takeDirty(force)
	if err != nil {
		return flushed{}, err
	}
	defer w.release()
	if len(w.segments) == 0 && !w.dirDirty && w.at.offset == l.FlushedEnd() {
		return w.flushed, nil // nothing was appended since the last one
	}
	began := l.o.Clock.Now()
	for _, s := range w.segments {
		if err := l.syncSegment(s); err != nil {
			// Not retried, ever: the kernel may have dropped the pages and marked them clean, so
			// that the next fdatasync succeeds and proves nothing.
			return flushed{}, l.fail(err)
		}
	}
	if w.dirDirty {
		// Before the first ack that depends on the new segment: a crash could keep the file's
		// bytes and lose its name.
		if err := l.o.FS.SyncDir(l.dir); err != nil {
			return flushed{}, l.fail(err)
		}
	}
	w.took = l.o.Clock.Now().Sub(began)
	return w.flushed, l.publishFlushed(w)
}

// work is the part of the log that one flush makes durable.
type work struct {
	flushed
	segments []*segment // pinned
	dirDirty bool
	appended int64 // bytes appended since Open, when the work was taken
}

func (w *work) release() {
	for _, s := range w.segments {
		s.release()
	}
}

// takeDirty captures the end and what must be synced for it, before any sync begins: what is
// appended during a sync may be missed by it.
func (l *Log) takeDirty(force bool) (*work, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.writableLocked(); err != nil {
		return nil, err
	}
	if force {
		l.markDirtyLocked(l.set.Load().active())
	}
	w := &work{dirDirty: l.mu.dirDirty, appended: l.counters.appendedBytes.Load()}
	var err error
	if w.at, err = l.pointLocked(); err != nil {
		return nil, l.failLocked(err)
	}
	for _, s := range l.mu.dirty {
		s.tail.dirty = false
		if s.acquire() { // else retention has deleted it
			w.segments = append(w.segments, s)
		}
	}
	l.mu.dirty, l.mu.dirDirty = nil, false
	w.bytes = w.appended - l.counters.flushedBytes.Load()
	return w, nil
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

// syncSegment makes the written bytes of a segment durable.
func (l *Log) syncSegment(s *segment) error {
	if mutant.On(mutant.NoFsync) {
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

// publishFlushed moves the flushed end and notes it. The note is not synced: it survives the
// death of the process, and a power cut makes it understate, which only costs reading.
func (l *Log) publishFlushed(w *work) error {
	w.fsyncs = len(w.segments)
	l.counters.flushes.Add(1)
	l.counters.flushedBytes.Store(w.appended)
	l.counters.fsyncLatency.Observe(w.took)
	if w.at.offset == l.FlushedEnd() {
		return nil
	}
	state := l.flushing.note.state
	state.flushed = w.at.offset
	if err := l.flushing.note.write(state, false); err != nil {
		return l.fail(err)
	}
	l.flushed.Store(int64(w.at.offset))
	return nil
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
	l.flushing.Lock()
	defer l.flushing.Unlock()
	f, err := l.flushOwned(false)
	if err != nil {
		return err
	}
	to := f.at
	if upTo != nil && *upTo < to.offset {
		if to, err = l.pointAt(*upTo); err != nil {
			return err
		}
	}
	state := l.flushing.note.state
	if to.offset > state.recovery.offset || to.segment > state.recovery.segment {
		state.recovery = to
	}
	if same := l.flushing.note.synced; state.start == same.start && state.flushed == same.flushed &&
		state.recovery == same.recovery {
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
	l.start.Store(int64(state.start))
	l.recovery.Store(&state.recovery)
	l.o.Logger.Debug("checkpoint", zap.String("dir", l.dir),
		zap.Int64("recovery_point", int64(state.recovery.offset)))
	return nil
}
