package log

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/journal"
)

// dirPerm is the mode of the folders made here: like the files, for the owner and its group.
const dirPerm = 0o750

// Open opens the log in dir, which it makes when missing, and recovers it: see DESIGN.md. Damage
// below the recorded flushed end is a CorruptError, and changes nothing on disk.
func Open(dir string, o Options) (*Log, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	l := &Log{dir: dir, o: o}
	l.mu.segmentBytes, l.mu.segmentMs = o.SegmentBytes, o.SegmentMs
	l.mu.indexBytes = o.IndexIntervalBytes
	l.set.Store(&segmentSet{})
	l.epochs.Store(&epochs{})
	r := &recovery{l: l}
	if err := r.run(); err != nil {
		return nil, fmt.Errorf("open log %s: %w", dir, errors.Join(err, r.abandon()))
	}
	return l, nil
}

// Replay brings a log's segments up to what the journal has of it, durably, and opens nothing. It
// is for the logs of an owner that may find reasons not to open some of them: the journal must be
// recycled all the same. What it has of a log that cannot be read, or of whose note nothing is
// intact, is put aside in the log's folder: Open replays it, or says why it cannot. Every error is
// ErrNotReplayed.
func Replay(dir string, o Options) error {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return err
	}
	l := &Log{dir: dir, o: o}
	r := &recovery{l: l}
	err := r.replayOnly()
	if isUnreadable(err) {
		err = r.setAside(err)
	}
	if err = errors.Join(err, r.abandon()); err != nil && !errors.Is(err, ErrNotReplayed) {
		err = replayError(err)
	}
	if err != nil {
		return fmt.Errorf("replay log %s: %w", dir, err)
	}
	return nil
}

// replayOnly is a Replay without what it does about a log that cannot be read.
func (r *recovery) replayOnly() error {
	if err := r.load(); err != nil {
		return err
	}
	if !r.noted {
		if len(r.segments) == 0 && !r.rotten {
			return nil // nothing was ever written here
		}
		// Only Open, which reads it all, can tell what is missing, and the entries are needed for it.
		return &CorruptError{File: r.l.o.FS.PathJoin(r.l.dir, noteName), Err: r.noNote()}
	}
	found := r.note.seq
	if err := r.replayJournal(); err != nil || r.l.flushing.note.state.seq != found {
		return err
	}
	return r.keepNote()
}

// noNote says why there is no note.
func (r *recovery) noNote() error {
	if r.rotten {
		return errors.New("no slot of the note is intact: it is damaged")
	}
	return errors.New("the note is missing: it was deleted")
}

// keepNote makes the note durable on whose word entries of the journal are not needed. A process
// that was killed leaves a note that is read and that a power cut still takes back; the entries
// are recycled before anybody opens the log, and then nothing would vouch for what they held.
func (r *recovery) keepNote() error {
	if err := r.l.flushing.note.write(r.note, true); err != nil {
		return replayError(err)
	}
	if err := r.l.o.FS.SyncDir(r.l.dir); err != nil {
		return replayError(err)
	}
	return nil
}

// recovery is one Open. It is the only user of the log until it returns.
type recovery struct {
	l        *Log
	segments []*segment

	note  noteState
	noted bool // whether there was an intact note: without one nothing is known to be flushed
	// rotten says that there is a note, and no slot of it is intact. A crash leaves that only before
	// the log's first append.
	rotten bool
	// fresh says that there is neither note nor segment: the log is new, and entries of its name in
	// the journal are those of one that is gone.
	fresh bool
	aside bool // whether there is a file with what was put aside
	// asideBad says that it cannot be read.
	asideBad bool
	// confirmed is up to where all that the journal's entries refer to was durable.
	confirmed journal.Sequence

	epochs      epochs
	epochsKnown bool // whether the epochs file was intact
	newEpochs   bool // whether the file must be written

	next    Offset // the offset that must come next in the scan
	changed bool   // whether files were cut or removed
	// redo is the first place of each segment, by base, from which bytes are written again.
	redo map[Offset]int64
}

func (r *recovery) run() error {
	if err := r.load(); err != nil {
		return err
	}
	if err := r.replayJournal(); err != nil {
		return err
	}
	if len(r.segments) == 0 {
		return r.create()
	}
	if err := r.dropBelowStart(); err != nil {
		return err
	}
	first, err := r.beginScan()
	if err != nil {
		return err
	}
	if err := r.scan(first); err != nil {
		return err
	}
	if err := r.recoverEpochs(); err != nil {
		return err
	}
	return r.finish()
}

// abandon closes what a failed Open has opened.
func (r *recovery) abandon() error {
	for _, s := range r.segments {
		s.release()
	}
	if r.l.flushing.note == nil {
		return nil
	}
	return r.l.flushing.note.file.Close()
}

// load makes the folder, and reads the note, the epochs and the names in it.
func (r *recovery) load() error {
	fs, dir := r.l.o.FS, r.l.dir
	if err := makeDir(fs, dir); err != nil {
		return err
	}
	var err error
	if r.l.flushing.note, r.noted, err = loadNote(fs, dir); err != nil {
		return err
	}
	r.note, r.rotten = r.l.flushing.note.state, r.l.flushing.note.rotten
	if r.epochs, r.epochsKnown, err = loadEpochs(fs, dir); err != nil {
		return err
	}
	if err := r.loadCompaction(); err != nil {
		return err
	}
	names, err := fs.List(dir)
	if err != nil {
		return fmt.Errorf("list: %w", refused(err))
	}
	for _, name := range names {
		if base, ok := parseSegmentName(name); ok {
			s := newSegment(fs, dir, base)
			s.gapsBelow = r.l.swapping.state.gapsBelow
			r.segments = append(r.segments, s)
		}
	}
	slices.SortFunc(r.segments, func(a, b *segment) int { return int(min(max(a.base-b.base, -1), 1)) })
	return r.removeStrays(names)
}

// loadCompaction reads how far the log is compacted, and ends what a crash has interrupted of it.
func (r *recovery) loadCompaction() error {
	l := r.l
	state, known, err := loadCompaction(l.o.FS, l.dir)
	if err != nil {
		return err
	}
	if !known {
		// It was replaced atomically, so no crash leads here. There may be gaps everywhere, and what
		// is compacted is compacted again.
		l.o.Logger.Warn("the note of compaction is damaged; the log counts as not compacted",
			zap.String("dir", l.dir))
		state.gapsBelow = math.MaxInt64
	}
	l.swapping.state, l.swapping.stored = state, known
	l.cleanTo.Store(int64(state.cleanTo))
	return r.finishSwaps()
}

// removeStrays deletes what a crash has left behind: an atomic write that did not finish, the
// index of a segment whose log file was deleted first by retention.
func (r *recovery) removeStrays(names []string) error {
	has := map[string]bool{}
	for _, s := range r.segments {
		has[r.l.o.FS.PathBase(s.path)] = true
	}
	for _, name := range names {
		stray := strings.HasSuffix(name, ".tmp")
		for _, suffix := range []string{indexSuffix, timesSuffix} {
			if stem, ok := strings.CutSuffix(name, suffix); ok && !has[stem+logSuffix] {
				_, stray = parseSegmentName(stem + logSuffix)
			}
		}
		if !stray {
			continue
		}
		if err := r.l.o.FS.Remove(r.l.o.FS.PathJoin(r.l.dir, name)); err != nil {
			return fmt.Errorf("remove what a crash left: %w", err)
		}
	}
	return nil
}

// create makes the first segment of an empty log.
//
// A crash within an earlier create leads here too: it can keep the note and lose the name of the
// segment, or the other way round. The note then says that nothing was flushed.
func (r *recovery) create() error {
	l := r.l
	if r.noted && r.note.flushed > r.note.start {
		path := segmentPath(l.o.FS, l.dir, r.note.recovery.segment)
		return &CorruptError{File: path, Err: fmt.Errorf("the segment is missing; the log had flushed"+
			" offsets %d to %d", r.note.start, r.note.flushed)}
	}
	s := newSegment(l.o.FS, l.dir, r.note.start)
	r.segments = []*segment{s}
	if _, err := s.file(); err != nil {
		return err
	}
	s.maxKnown.Store(true)
	r.next = s.base
	r.note.flushed = s.base
	r.note.recovery = point{offset: s.base, segment: s.base, maxTime: noTime, firstTime: noTime}
	if err := r.recoverEpochs(); err != nil {
		return err
	}
	if err := r.createNote(); err != nil {
		return err
	}
	r.publish()
	return nil
}

// createNote makes the log's folder durable, the names in it and its own name in the folders
// above, and then writes a new note. While there is no note, an end of the process or of the
// machine leads here again. In the other order, a process that died in between would leave a note
// that is read and names that a power cut can still take away, with all that was acknowledged in
// them.
func (r *recovery) createNote() error {
	l := r.l
	fs, above := l.o.FS, l.o.FS.PathDir(l.dir)
	for _, dir := range []string{l.dir, above, fs.PathDir(above)} {
		if err := fs.SyncDir(dir); err != nil {
			return err
		}
	}
	r.setMode()
	if err := l.flushing.note.create(r.note, r.noted); err != nil {
		return err
	}
	return fs.SyncDir(l.dir) // the note's own name; without it the log is read whole
}

// dropBelowStart removes the segments that lie wholly below the start: a crash came after
// AdvanceStart had made the start durable, before it had deleted them all.
func (r *recovery) dropBelowStart() error {
	if !r.noted {
		return nil
	}
	if r.segments[0].base < r.note.start {
		// The new start may be in the page cache only: the process died before the note was
		// synced, or its sync failed. A power cut after the deletion would bring the old note
		// back, which names segments that are gone.
		if err := r.l.flushing.note.write(r.note, true); err != nil {
			return err
		}
		r.note = r.l.flushing.note.state
	}
	// Not from the recovery point's segment on, which AdvanceStart keeps: it may be wholly below
	// the start as well when a roll began behind it, and then nothing says that the new name was
	// synced.
	for len(r.segments) > 1 && r.segments[1].base <= r.note.start &&
		r.segments[0].base < r.note.recovery.segment {
		if err := r.segments[0].removeFiles(); err != nil {
			return err
		}
		r.segments[0].release()
		r.segments = r.segments[1:]
		r.changed = true
	}
	if first := r.segments[0]; first.base > r.note.start {
		path := segmentPath(r.l.o.FS, r.l.dir, r.note.start)
		return &CorruptError{File: path, Err: fmt.Errorf("the segment with offset %d is missing; the"+
			" first one is %s", r.note.start, first.path)}
	}
	return nil
}

// recoverEpochs takes the history of epochs from the file, or from the batches if it is damaged,
// and lowers what begins beyond the end.
func (r *recovery) recoverEpochs() error {
	l := r.l
	if !r.epochsKnown && len(r.segments) > 0 && r.next > r.segments[0].base {
		// The file was replaced atomically before the first append of each epoch, so no crash
		// leads here: it was deleted or has rotted. Epochs without records are lost with it.
		l.o.Logger.Warn("rebuilding damaged leader epochs from the batches", zap.String("dir", l.dir))
		if err := r.epochsFromBatches(); err != nil {
			return err
		}
		r.newEpochs = true
	}
	r.epochs = r.epochs.lowerTo(r.next)
	l.epochs.Store(&r.epochs)
	if !r.newEpochs {
		return r.keepEpochs()
	}
	path := l.o.FS.PathJoin(l.dir, epochsName)
	if err := l.o.FS.WriteFileAtomic(path, r.epochs.encode()); err != nil {
		return fmt.Errorf("store leader epochs: %w", err)
	}
	return nil
}

// keepEpochs makes the name of the epochs file durable. A process that died between its rename and
// the directory's sync leaves an epoch that is read and that a power cut can still take away; the
// next append in that epoch would find it known, and not write it again.
func (r *recovery) keepEpochs() error {
	if !r.epochsKnown {
		return nil
	}
	return r.l.o.FS.SyncDir(r.l.dir)
}

// epochsFromBatches walks all headers of the recovered segments.
func (r *recovery) epochsFromBatches() error {
	r.epochs = nil
	for i, s := range r.segments {
		end := r.next
		if i+1 < len(r.segments) {
			end = r.segments[i+1].base
		}
		c := newCursor(s, place{offset: s.base}, end)
		for {
			h, _, ok, err := c.next()
			if err != nil {
				return err
			}
			if !ok {
				break
			}
			if e := h.LeaderEpoch(); e > r.epochs.last() {
				r.epochs = r.epochs.with(e, h.BaseOffset())
			}
		}
	}
	return nil
}

// finish makes durable what was recovered and shows the log.
func (r *recovery) finish() error {
	if err := r.makeDurable(); err != nil {
		return err
	}
	r.note.flushed = r.next
	if !r.noted {
		if err := r.createNote(); err != nil {
			return err
		}
	} else if err := r.noteRecovered(); err != nil {
		return err
	}
	if err := r.dropAside(); err != nil {
		return err
	}
	r.publish()
	return nil
}

// noteRecovered notes what was recovered, in the mode in which the log goes on.
func (r *recovery) noteRecovered() error {
	note := r.l.flushing.note
	times := 0
	if r.l.journaling() {
		if err := r.l.o.FS.SyncDir(r.l.dir); err != nil { // a roll may have been killed before it
			return err
		}
		// The entries that vouch for the log are recycled now, and the newest note may be in the
		// page cache only. It must be durable before anybody reads up to the recovered end.
		times = 1
	}
	if r.setMode() {
		times = noteSyncedSlots // it makes older notes untrue
	}
	if times == 0 && r.note.flushed != note.state.flushed {
		return note.write(r.note, false)
	}
	for range times {
		if err := note.write(r.note, true); err != nil {
			return err
		}
	}
	return nil
}

// setMode makes the note that of a log with or without a journal, and reports whether that makes an
// older one untrue.
func (r *recovery) setMode() bool {
	was := r.note
	r.note.vouched = r.l.journaling()
	if j := r.l.o.Journal; j != nil && (!r.noted || r.note.journalFrom > j.Next()) {
		// The journal was deleted and begins anew, or the note was. A drain beside a commit that a crash
		// has ended notes one record that never was.
		if r.noted && r.note.journalFrom > j.Next()+1 {
			r.l.o.Logger.Error("the commit journal is older than the log: it was deleted or replaced, and"+
				" what only it held is lost", zap.String("dir", r.l.dir),
				zap.Uint64("journal_next", uint64(j.Next())),
				zap.Uint64("expected_at_least", uint64(r.note.journalFrom)))
		}
		r.note.journalFrom = j.Next()
	}
	return was.vouched != r.note.vouched || was.journalFrom != r.note.journalFrom
}

// makeDurable writes what was recovered past the recorded flushed end once more, and syncs it.
//
// The bytes may be in the page cache only, because the process was killed. Or worse: an fdatasync
// had failed, which ended the process, and Linux has marked the pages clean although they are not
// on the disk. Then a sync alone would succeed and prove nothing; pages written again are dirty.
func (r *recovery) makeDurable() error {
	for _, s := range r.segments {
		from, ok := r.redo[s.base]
		if !ok {
			continue
		}
		if err := rewrite(s, from); err != nil {
			return err
		}
		r.changed = true
	}
	if !r.l.journaling() {
		// Nothing vouches for the end of such a log: what comes back behind it would be believed.
		if err := r.keepLength(); err != nil {
			return err
		}
	}
	if !r.changed {
		return nil
	}
	return r.l.o.FS.SyncDir(r.l.dir)
}

// keepLength makes the length of the last segment durable, and that nothing follows it. A process
// that died within a truncation, or whose sync of it failed, leaves a log that looks cut and that a
// power cut makes longer again, by records that others were to replace.
func (r *recovery) keepLength() error {
	s := r.segments[len(r.segments)-1]
	f, err := s.file()
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		return err
	}
	if err := f.Truncate(size); err != nil {
		return fmt.Errorf("cut segment %s again: %w", s.path, err)
	}
	if err := f.SyncData(); err != nil {
		return fmt.Errorf("fdatasync segment %s: %w", s.path, err)
	}
	r.changed = true
	return nil
}

// rewrite writes the bytes of a segment from a position on over themselves, and syncs.
func rewrite(s *segment, from int64) error {
	if err := rewriteRange(s, from, s.size.Load()); err != nil {
		return err
	}
	f, err := s.file()
	if err != nil {
		return err
	}
	if err := f.SyncData(); err != nil {
		return fmt.Errorf("fdatasync segment %s: %w", s.path, err)
	}
	return nil
}

// rewriteRange is rewrite of some bytes, without the sync.
func rewriteRange(s *segment, from, size int64) error {
	f, err := s.file()
	if err != nil {
		return err
	}
	buf := make([]byte, min(scanBlockBytes, size-from))
	for pos := from; pos < size; pos += int64(len(buf)) {
		p := buf[:min(int64(len(buf)), size-pos)]
		if err := readFull(s, p, pos); err != nil {
			return err
		}
		if _, err := f.WriteAt(p, pos); err != nil {
			return fmt.Errorf("write segment %s again: %w", s.path, err)
		}
	}
	return nil
}

// publish shows what was recovered.
func (r *recovery) publish() {
	l := r.l
	l.swapping.state.gapsBelow = min(l.swapping.state.gapsBelow, r.next)
	l.start.Store(int64(r.note.start))
	l.flushed.Store(int64(r.next))
	l.end.Store(int64(r.next))
	l.recovery.Store(&r.note.recovery)
	l.set.Store(&segmentSet{list: r.segments})
	last := r.segments[len(r.segments)-1]
	end := mark{offset: r.next, segment: last.base, pos: last.size.Load()}
	l.committing.at, l.mu.drainedAt = end, end
	if at := r.note.journalFrom; l.journaling() && at > 0 {
		l.mu.journaled.vouchedBelow(at)
	}
	// A roll may have been killed before the directory was synced; the next flush makes sure.
	l.mu.dirDirty = r.noted && !l.journaling() && last.base != r.note.recovery.segment
}

// removeFrom deletes the segments from index i on: none of their records was flushed.
func (r *recovery) removeFrom(i int) error {
	for k := len(r.segments) - 1; k >= i; k-- {
		s := r.segments[k]
		if f, err := s.file(); err == nil {
			if n, err := f.Size(); err == nil {
				r.l.counters.cutBytes.Add(n)
			}
		}
		if err := s.removeFiles(); err != nil {
			return err
		}
		s.release()
		r.changed = true
	}
	r.segments = r.segments[:i]
	return nil
}
