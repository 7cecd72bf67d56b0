package log

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/chronosdb/chronosdb/log/journal"
)

// recordBytesMax bounds one commit record, so that the journal's memory stays small. Beyond it,
// another one is written.
const recordBytesMax = 4 << 20

// fullRetriesMax bounds how often a commit tries again after the journal was full. Each time a file
// was given back, which only this committer uses up again.
const fullRetriesMax = 1000

// commitJournaled makes a queue durable through the journal. In EveryEvent mode each event is a
// record of its own.
func (c *Committer) commitJournaled(queue []event) (int, error) {
	if c.o.Manual {
		c.drainDue() // nobody else would, and a full journal would wait for it
	}
	told := 0
	for len(queue) > 0 {
		n := len(queue)
		if c.o.Mode == EveryEvent {
			n = 1
		}
		done, err := c.commitRound(queue[:n])
		told += done
		if err != nil {
			return told, err
		}
		queue = queue[n:]
		if c.o.Manual {
			c.drainDue()
		}
	}
	return told, nil
}

// round is one commit of several logs.
type round struct {
	c      *Committer
	inline []*commitPart // whole in the journal
	direct []*commitPart // in their segments; the journal refers to them
	told   int
	// drained has the outcome of each direct part, by index.
	drained chan drainOutcome
	writers sync.WaitGroup
}

// drainOutcome is what came of a direct part's write.
type drainOutcome struct {
	part   *commitPart
	fsyncs int
	err    error
}

// commitRound commits what the members of some events have appended. The journal and the segments
// of logs with much to write are written at the same time; a member is told as soon as what it
// needs is durable.
func (c *Committer) commitRound(events []event) (int, error) {
	r := &round{c: c}
	if err := r.gather(events); err != nil {
		return r.told, r.abandon(err, append(r.inline, r.direct...))
	}
	// Without goroutines, which of the two comes first changes from commit to commit, so that tests
	// see both.
	late := c.o.Manual && c.stats.commits.Load()%2 == 0
	if !late {
		r.startDirect()
	}
	left, err := r.writeRecords()
	if err != nil {
		r.writers.Wait()
		return r.told, r.abandon(err, append(left, r.direct...))
	}
	if late {
		r.startDirect()
	}
	return r.told, r.finishDirect()
}

// gather takes what there is of each log. It holds the members' busy locks until they are told.
func (r *round) gather(events []event) error {
	for _, e := range events {
		m := e.member
		m.busy.Lock()
		if m.left.Load() {
			m.busy.Unlock()
			continue
		}
		var upTo *endMark
		if r.c.o.Mode == EveryEvent {
			upTo = &e.to
		}
		p, err := m.log.beginCommit(upTo, partLimits{
			directBytes: r.c.o.DirectBytes, recordBytes: r.c.o.Journal.CommitBytesMax() / 2,
		})
		switch {
		case errors.Is(err, ErrClosed): // the owner has closed the log, which flushed it
			m.busy.Unlock()
		case err != nil:
			m.busy.Unlock()
			return err
		case p == nil: // a checkpoint was faster
			r.tell(m, r.reported(e, m.log.FlushedEnd()))
			m.busy.Unlock()
		default:
			p.member, p.tell = m, r.reported(e, p.to.offset)
			if p.partial {
				m.Dirty()
			}
			if p.direct {
				r.direct = append(r.direct, p)
			} else {
				r.inline = append(r.inline, p)
			}
		}
	}
	return nil
}

// reported is what an event may report: in EveryEvent mode no more than its own append.
func (r *round) reported(e event, end Offset) Offset {
	if r.c.o.Mode == EveryEvent {
		return min(end, e.end)
	}
	return end
}

func (r *round) tell(m *Member, end Offset) {
	if r.c.tell(m, end) {
		r.told++
	}
}

// startDirect writes the direct parts' segments, a few at a time.
func (r *round) startDirect() {
	if len(r.direct) == 0 {
		return
	}
	r.drained = make(chan drainOutcome, len(r.direct))
	work := make(chan *commitPart, len(r.direct))
	for _, p := range r.direct {
		work <- p
	}
	close(work)
	write := func() {
		for p := range work {
			f, err := p.log.flush(drainHow{sealed: true})
			r.drained <- drainOutcome{part: p, fsyncs: f.fsyncs, err: err}
		}
	}
	if r.c.o.Manual {
		write()
		return
	}
	for range min(commitParallelMax, len(r.direct)) {
		r.writers.Go(write) // ends when the work is used up; commitRound waits for it
	}
}

// writeRecords puts all entries into the journal, and tells the members that need nothing else. It
// returns the inline parts that are not told.
func (r *round) writeRecords() ([]*commitPart, error) {
	limit := min(recordBytesMax, r.c.o.Journal.CommitBytesMax())
	// References first: they are short, and the writes that they speak of take longest.
	left := append(slices.Clone(r.direct), r.inline...)
	for len(left) > 0 {
		n, bytes := 0, 0
		for n < len(left) && (n == 0 || bytes+left[n].entryBytes() <= limit) {
			bytes += left[n].entryBytes()
			n++
		}
		seq, err := r.writeRecord(left[:n])
		if err != nil {
			return slices.DeleteFunc(left, func(p *commitPart) bool { return p.direct }), err
		}
		for _, p := range left[:n] {
			p.journaled(seq)
			if !p.direct {
				r.c.stats.inlineBytes.Add(p.bytes)
				r.finish(p)
			}
		}
		left = left[n:]
	}
	return nil, nil
}

func (r *round) writeRecord(parts []*commitPart) (journal.Sequence, error) {
	c := r.c
	var entries []journal.Entry
	seq := c.o.Journal.Next()
	for _, p := range parts {
		entries = append(entries, p.entries...)
		p.began(seq)
	}
	began := c.o.Clock.Now()
	_, err := c.o.Journal.Commit(entries)
	if errors.Is(err, journal.ErrFull) {
		err = c.commitAfterDrain(entries)
	}
	if err != nil {
		return 0, fmt.Errorf("commit: %w: %w", ErrFailed, err)
	}
	c.stats.records.Add(1)
	c.stats.fsyncs.Add(1)
	c.stats.latency.Observe(c.o.Clock.Now().Sub(began))
	return seq, nil
}

// finish shows that a part is durable.
func (r *round) finish(p *commitPart) {
	r.c.stats.flushes.Add(1)
	r.c.stats.flushedBytes.Add(p.bytes)
	p.finish()
	r.tell(p.member, p.tell)
	p.member.busy.Unlock()
}

// finishDirect waits for the direct writes and tells their members.
func (r *round) finishDirect() error {
	var failed []*commitPart
	var err error
	for range r.direct {
		o := <-r.drained
		if o.err != nil && err == nil {
			err = fmt.Errorf("commit: %w", o.err)
		}
		if err != nil {
			failed = append(failed, o.part)
			continue
		}
		r.c.stats.fsyncs.Add(int64(o.fsyncs))
		r.c.stats.directBytes.Add(o.part.bytes)
		r.finish(o.part)
	}
	r.writers.Wait()
	if err != nil {
		return r.abandon(err, failed)
	}
	return r.c.failure()
}

// abandon ends a round that has failed: nobody is told anything any more.
func (r *round) abandon(err error, parts []*commitPart) error {
	r.c.fail(err)
	for _, p := range parts {
		p.abandon(err)
		p.member.busy.Unlock()
	}
	return r.c.failure()
}

// commitAfterDrain commits what the journal had no room for. The drainer was told long ago; it has
// not kept up with what comes in. A file that it gives back meanwhile is as good as one that is
// given back here.
func (c *Committer) commitAfterDrain(entries []journal.Entry) error {
	err := journal.ErrFull
	for range fullRetriesMax {
		if !errors.Is(err, journal.ErrFull) || c.o.Journal.OldestFileEnd() > 0 && !c.drainForJournal() {
			break
		}
		_, err = c.o.Journal.Commit(entries)
	}
	return err
}
