package log

import (
	"fmt"
	"slices"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log/journal"
)

// replay brings the segments up to what the commit journal has of the log, before they are scanned.
type replay struct {
	r       *recovery
	entries int
	last    journal.Sequence
	vouched Offset // below it everything was flushed, as far as note and journal say
	// refs are the newest record's references, if it has any: their bytes went to the segments while
	// the record was written, and may not be there.
	refs  []journal.Entry
	wrote map[Offset]*segment // by base: must be synced
	// newest is the newest entry, and lengths has, by base, those of segments that are sealed.
	newest  journal.Entry
	lengths map[Offset]int64
	// later has, without a note, the lowest offset that is in an entry or in one behind it.
	later []Offset
}

// replayJournal does what the journal asks for and makes it durable, with a note that says so: from
// here on, nothing of the journal is needed.
func (r *recovery) replayJournal() error {
	p := &replay{
		r: r, vouched: r.note.flushed, wrote: map[Offset]*segment{}, lengths: map[Offset]int64{},
	}
	if !r.noted {
		if err := p.lookAhead(); err != nil || len(r.segments) == 0 {
			return err
		}
	}
	if err := r.replayEntries(p.entry); err != nil {
		return replayError(err)
	}
	if p.entries > 0 {
		if err := p.judgeRefs(); err != nil {
			return replayError(err)
		}
		if err := p.sync(); err != nil {
			return replayError(err)
		}
		r.l.counters.replayedEntries.Add(int64(p.entries))
		r.note.flushed, r.note.journalFrom = p.vouched, p.last+1
	}
	if !r.noted || p.entries == 0 && !r.aside {
		return nil // without a note beginScan reads it all
	}
	if err := r.l.flushing.note.write(r.note, true); err != nil {
		return replayError(err)
	}
	r.note = r.l.flushing.note.state
	if err := r.dropAside(); err != nil {
		return replayError(err)
	}
	return nil
}

// lookAhead reads all entries before they are replayed, when there is no note. It refuses a log
// whose segments are gone: its first note was durable before its first entry was written, and so
// were the names in its folder.
func (p *replay) lookAhead() error {
	r := p.r
	r.fresh = len(r.segments) == 0 && !r.rotten
	err := r.replayEntries(func(_ journal.Sequence, e journal.Entry) error {
		p.later = append(p.later, Offset(e.First))
		return nil
	})
	if err != nil {
		return replayError(err)
	}
	if len(p.later) > 0 && len(r.segments) == 0 {
		path := r.l.o.FS.PathJoin(r.l.dir, noteName)
		return replayError(&CorruptError{File: path, Err: fmt.Errorf("%w, and the segments are missing",
			r.noNote())})
	}
	for i := len(p.later) - 2; i >= 0; i-- {
		p.later[i] = min(p.later[i], p.later[i+1])
	}
	return nil
}

// replayError marks what keeps the journal from being recycled.
func replayError(err error) error { return fmt.Errorf("%w: %w", ErrNotReplayed, err) }

// entry takes one entry. That there is a record says that everything below it was flushed: a log's
// next commit begins when the one before is durable. It has an entry for each segment.
func (p *replay) entry(seq journal.Sequence, e journal.Entry) error {
	if seq != p.last {
		p.refs = nil
		p.flushedTo(Offset(e.First))
	}
	p.entries++
	p.last = seq
	// An entry that begins a segment where the one before ends says that the one before is sealed. One
	// that begins elsewhere speaks of more segments than its own, which were drained.
	if e.Segment == e.First && e.First == p.newest.End && e.Segment > p.newest.Segment &&
		p.newest.Kind != 0 && !p.has(p.newest) {
		p.lengths[Offset(p.newest.Segment)] = p.newest.Position + int64(p.newest.Length)
	}
	p.newest = e
	p.newest.Payload = nil
	if e.Kind == journal.Ref {
		p.refs = append(p.refs, e)
		return nil
	}
	if p.has(e) {
		return nil
	}
	if err := p.write(e); err != nil {
		return err
	}
	p.flushedTo(Offset(e.End))
	return nil
}

// has says whether the segment has an entry's bytes already, and perhaps compacted. Without a note
// that is believed of segments that retention may have deleted, of those that may be compacted, as
// to write into them would spoil them, and of what a later entry says again from a lower offset: a
// truncation came between, which drains first. What is missing all the same the scan finds.
func (p *replay) has(e journal.Entry) bool {
	if p.r.noted {
		return Offset(e.End) <= p.r.note.flushed
	}
	first, last := p.r.segments[0], p.r.segments[len(p.r.segments)-1]
	base, gapsBelow := Offset(e.Segment), p.r.l.swapping.state.gapsBelow
	return base < first.base || base < last.base && Offset(e.First) < gapsBelow ||
		p.entries < len(p.later) && p.later[p.entries] < Offset(e.End)
}

// flushedTo moves the flushed end. Without a note, an entry that begins lower than those before was
// written after a truncation, of which the note would have told.
func (p *replay) flushedTo(end Offset) {
	if p.r.noted {
		end = max(end, p.vouched)
	}
	p.vouched = end
}

// write puts an entry's batches where they belong.
func (p *replay) write(e journal.Entry) error {
	s, err := p.segment(Offset(e.Segment))
	if err != nil {
		return err
	}
	f, err := s.file()
	if err != nil {
		return refused(err)
	}
	pos := e.Position
	for _, piece := range e.Payload {
		if _, err := f.WriteAt(piece, pos); err != nil {
			return fmt.Errorf("write segment %s from the journal: %w", s.path, err)
		}
		pos += int64(len(piece))
	}
	p.wrote[s.base] = s
	return nil
}

// segment finds a segment, or makes it: a crash can lose the name of a new one.
func (p *replay) segment(base Offset) (*segment, error) {
	r := p.r
	i, ok := slices.BinarySearchFunc(r.segments, base, func(s *segment, base Offset) int {
		return int(min(max(s.base-base, -1), 1))
	})
	if ok {
		return r.segments[i], nil
	}
	s := newSegment(r.l.o.FS, r.l.dir, base)
	if _, err := s.file(); err != nil {
		return nil, refused(err)
	}
	r.segments = slices.Insert(r.segments, i, s)
	return s, nil
}

// judgeRefs decides whether the newest commit was acknowledged, if its bytes went to the segments:
// then they are there, whole. If not, nobody was told.
func (p *replay) judgeRefs() error {
	if len(p.refs) == 0 || Offset(p.refs[len(p.refs)-1].End) <= p.vouched {
		return nil
	}
	if p.last <= p.r.confirmed {
		// If the bytes are not there they have rotted. The scan finds that.
		p.flushedTo(Offset(p.refs[len(p.refs)-1].End))
		return nil
	}
	for _, e := range p.refs {
		whole, err := p.isWhole(e)
		if err != nil {
			return err
		}
		if !whole {
			p.r.l.o.Logger.Info("the last write to the log was not finished and never acknowledged",
				zap.String("dir", p.r.l.dir), zap.Int64("offset", e.First))
			return nil
		}
	}
	for _, e := range p.refs {
		s, err := p.segment(Offset(e.Segment))
		if err != nil {
			return err
		}
		// The fdatasync may not have come, or failed; see makeDurable.
		if err := rewriteRange(s, e.Position, e.Position+int64(e.Length)); err != nil {
			return err
		}
		p.wrote[s.base] = s
		p.flushedTo(Offset(e.End))
	}
	return nil
}

// isWhole says whether the segment holds exactly the batches that an entry refers to, intact.
func (p *replay) isWhole(e journal.Entry) (bool, error) {
	if e.Length == 0 {
		return true, nil
	}
	i := (&segmentSet{list: p.r.segments}).find(Offset(e.Segment))
	if i < 0 || p.r.segments[i].base != Offset(e.Segment) {
		return false, nil
	}
	return holdsRef(p.r.segments[i], e)
}

// sync makes durable what was written, and the names of the segments: a process that was killed may
// have made some that it had not synced.
func (p *replay) sync() error {
	if err := p.cut(); err != nil {
		return err
	}
	for _, s := range p.wrote {
		f, err := s.file()
		if err != nil {
			return err
		}
		if err := f.SyncData(); err != nil {
			return fmt.Errorf("fdatasync segment %s: %w", s.path, err)
		}
	}
	if len(p.wrote) == 0 {
		return nil
	}
	// Also for a segment that was there: a process that was killed after a roll leaves a name that a
	// power cut can still take, and the note is about to say that the journal is not needed for it.
	return p.r.l.o.FS.SyncDir(p.r.l.dir)
}

// cut ends the sealed segments with their last batch. What lies behind was never the log's: a crash
// can give a file blocks with the bytes of another one.
func (p *replay) cut() error {
	for _, s := range p.r.segments {
		length, sealed := p.lengths[s.base]
		if !sealed {
			continue
		}
		f, err := s.file()
		if err != nil {
			return err
		}
		size, err := f.Size()
		if err != nil {
			return err
		}
		if size <= length {
			continue
		}
		if err := f.Truncate(length); err != nil {
			return fmt.Errorf("cut segment %s: %w", s.path, err)
		}
		p.wrote[s.base] = s
	}
	return nil
}
