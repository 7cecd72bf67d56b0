package log

import "github.com/chronosdb/chronosdb/log/journal"

// mark is a batch boundary in a log.
type mark struct {
	offset  Offset
	segment Offset // base offset of the segment
	pos     int64  // position in it
}

// mark returns the place of a point.
func (p point) mark() mark { return mark{offset: p.offset, segment: p.segment, pos: p.pos} }

// journaled is what a log has in the commit journal. It decides what the journal must keep: an
// entry whose bytes are not in their segment, and the newest entry of a log, which says how far the
// log is flushed, until a note says so durably.
type journaled struct {
	pending []journalEntry   // entries whose bytes are not drained, by sequence
	drained journal.Sequence // newest entry that is drained
	begun   journal.Sequence // newest entry, perhaps on its way to the disk
	durable journal.Sequence // newest entry that is on the disk
	vouched journal.Sequence // newest entry that a synced note makes unnecessary
}

// journalEntry is an entry with the log's bytes below an offset.
type journalEntry struct {
	seq journal.Sequence
	end Offset
}

// began notes an entry that goes to the journal now.
func (j *journaled) began(seq journal.Sequence, end Offset) {
	j.begun = seq
	j.pending = append(j.pending, journalEntry{seq: seq, end: end})
}

// drainedTo forgets the entries whose bytes the segments have below an offset.
func (j *journaled) drainedTo(end Offset) {
	n := 0
	for n < len(j.pending) && j.pending[n].end <= end {
		j.drained = j.pending[n].seq
		n++
	}
	if n == len(j.pending) {
		j.pending = nil
		return
	}
	j.pending = j.pending[n:]
}

// vouchedBelow notes that a synced note says all that entries below a sequence say.
func (j *journaled) vouchedBelow(seq journal.Sequence) {
	if seq > j.vouched+1 {
		j.vouched = seq - 1
	}
	n := 0
	for n < len(j.pending) && j.pending[n].seq < seq {
		n++
	}
	j.pending = j.pending[n:]
}

// needs says whether the journal must keep an entry with a sequence at or below upTo.
func (j *journaled) needs(upTo journal.Sequence) bool {
	return j.needsDrain(upTo) || j.needsNote(upTo)
}

// needsDrain says that bytes of such an entry are in the journal only.
func (j *journaled) needsDrain(upTo journal.Sequence) bool {
	return len(j.pending) > 0 && j.pending[0].seq <= upTo
}

// needsNote says that no entry above upTo is known to be on the disk, which would say that the log
// is flushed below it, and neither does a synced note.
func (j *journaled) needsNote(upTo journal.Sequence) bool {
	if j.durable > upTo {
		return false
	}
	return j.durable > j.vouched || (j.begun <= upTo && j.begun > j.vouched)
}

// journalNeeds is needs for a log that may be closed: a clean close has made all entries
// unnecessary.
func (l *Log) journalNeeds(upTo journal.Sequence) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.mu.settled && l.mu.journaled.needs(upTo)
}

// drainFor is the first half of a drain: what is in memory is written. With upTo, it is only if the
// journal has an entry at or below it that is needed. It locks flushing; finish unlocks it.
func (l *Log) drainFor(upTo journal.Sequence) (*logDrain, error) {
	l.flushing.Lock()
	d := &logDrain{log: l, upTo: upTo, before: l.undrained.Load()}
	if upTo > 0 {
		l.mu.Lock()
		needed := l.mu.journaled.needsDrain(upTo)
		l.mu.Unlock()
		if !needed {
			return d, nil // it may need a note
		}
	}
	var err error
	if d.work, err = l.writeOwned(drainHow{}); err != nil {
		l.flushing.Unlock()
		return nil, err
	}
	return d, nil
}

// logDrain is a drain under way.
type logDrain struct {
	log    *Log
	upTo   journal.Sequence
	work   *work // nil if nothing has to be drained
	before int64 // undrained memory
}

// finish makes durable what was written. With upTo, no entry at or below it is needed after it: if
// need be the note is synced.
func (d *logDrain) finish() error {
	l := d.log
	defer l.flushing.Unlock()
	if d.work != nil {
		if err := l.syncOwned(d.work, drainHow{}); err != nil {
			return err
		}
	}
	l.mu.Lock()
	note := d.upTo > 0 && l.mu.journaled.needsNote(d.upTo)
	l.mu.Unlock()
	if !note {
		return nil
	}
	// The newest entry may have been drained, or said nothing that had to be.
	_, err := l.flushOwned(drainHow{vouch: true})
	return err
}
