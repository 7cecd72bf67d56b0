package timer

import (
	"errors"
	"fmt"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log"
)

// Records with terms: those that have an id, expire or recur. All others pass by this file, but for
// those that an operator touches.

// flyingRecord is a delivery in flight of a record with terms, or of one that was moved since.
type flyingRecord struct {
	Entry     // as the index has it
	flown Key // as the flight has it
	special
	doomed bool // cancelled or replaced since
}

// specialRecord is a record with terms in the delivery that is built.
type specialRecord struct {
	at int // its place in the delivery
	special
	hash  uint64 // of its id
	until Offset // fenced: the staging offset to follow to
}

// commandsMax bounds the commands of one batch, and of one turn.
const commandsMax = 16_384

// forget takes an entry that goes without a delivery, or whose time changes, out of memory. It
// returns false for one that is on its way to the partition log: it stays in the index until it
// lands.
func (s *Schedule) forget(e Entry) bool {
	t := &s.turn
	if t.limbo.remove(e.Position) {
		return true
	}
	if f := t.flying[e.Position]; f != nil {
		f.doomed = true
		return false
	}
	if !e.Flags.has(EntryTerms) && t.near.flightOf(e.Key) != nil {
		return false
	}
	if e.Key.Less(t.near.frontier) {
		t.near.kill(e.Key)
	}
	return true
}

// rekey takes note that an operator has moved a record, and returns whether it stays where it is in
// memory: on its way, or in limbo until it is due again.
func (s *Schedule) rekey(e, moved Entry) bool {
	t := &s.turn
	if t.limbo.rekey(moved) {
		return true
	}
	if t.limbo.remove(e.Position) {
		return false
	}
	if f := t.flying[e.Position]; f != nil {
		f.Entry = moved
		t.near.rekey(f.flown, moved.Key)
		return true
	}
	if !e.Flags.has(EntryTerms) && t.near.flightOf(e.Key) != nil {
		t.flying[e.Position] = &flyingRecord{Entry: moved, flown: e.Key}
		t.near.rekey(e.Key, moved.Key)
		return true
	}
	if e.Key.Less(t.near.frontier) {
		t.near.kill(e.Key)
	}
	return false
}

// unowe takes note that a record which was due at its append will not be delivered.
func (s *Schedule) unowe(o Offset) {
	s.turn.owed.paid(o)
	s.turn.aloft.paid(o)
}

// landSpecial takes the landing of a record that is in flying.
func (s *Schedule) landSpecial(k Key) error {
	t := &s.turn
	f := t.flying[k.Position]
	if f == nil {
		return fmt.Errorf("%w: %s has landed and was not in flight", ErrIndex, k.Position)
	}
	delete(t.flying, k.Position)
	if f.Flags.has(EntryRecurs) && !f.doomed {
		t.limbo.put(limboEntry{Entry: f.Entry, special: f.special, verb: VerbNext})
	}
	return t.ledger.landed(f.Entry, f.id, f.doomed)
}

// loaded takes an entry that a load has met in the index. After a start, or a clock that stepped
// back, it may be one whose delivery has landed.
func (s *Schedule) loaded(e Entry) {
	t := &s.turn
	switch {
	case e.Flags.has(EntryMoved) && t.flying[e.Position] != nil:
		// It was moved while it was on its way, past what is in memory.
	case e.Flags.has(EntryDoomed):
		t.drops = append(t.drops, e)
	case t.limbo.has(e.Position):
	case !e.Flags.has(EntryTerms):
		t.near.hold(e)
	case e.Flags.has(EntryLanded):
		t.limbo.put(limboEntry{Entry: e, verb: VerbNext})
	default:
		t.near.hold(e)
	}
}

// arrive takes an entry that has just come into the index.
func (s *Schedule) arrive(e Entry) {
	if e.Flags.has(EntryLanded) && e.Key.Less(s.turn.near.frontier) {
		s.turn.limbo.put(limboEntry{Entry: e, verb: VerbNext})
		return
	}
	s.turn.near.arrive(e)
}

// judge says what is to be done with a record with terms that is due.
func (s *Schedule) judge(e Entry, d *Decision, now UnixMs) (r specialRecord, v verdict, err error) {
	terms, err := d.Terms()
	if err != nil {
		return r, deliverIt, err
	}
	r.special = special{id: string(terms.ID), recur: terms.Recur, known: true}
	if r.scheduled, err = s.scheduledFor(e, d); err != nil {
		return r, deliverIt, err
	}
	if e.Flags.has(EntryNamed) {
		r.hash = HashID(terms.ID)
		if until, blocked := s.fence.blocked(r.hash); blocked {
			r.until = until
			return r, fenceIt, nil
		}
	}
	if now > terms.Expire {
		return r, expireIt, nil
	}
	return r, deliverIt, nil
}

// scheduledFor returns the time of an occurrence by its rule.
func (s *Schedule) scheduledFor(e Entry, d *Decision) (UnixMs, error) {
	switch {
	case e.Occurrence == 0:
		return d.Due, nil
	case !e.Flags.has(EntryMoved):
		return e.Due, nil
	}
	pl, ok, err := s.o.Index.Place(s.o.Partition, e.first())
	if err == nil && !ok {
		err = fmt.Errorf("%w: %s was moved and has no place", ErrIndex, e.Position)
	}
	return pl.Scheduled, err
}

// verdict says what is to be done with a record that is due.
type verdict uint8

const (
	deliverIt verdict = iota
	fenceIt           // it was cancelled or replaced where the schedule has not followed yet
	expireIt
)

// setAside moves the first ready entry to limbo.
func (s *Schedule) setAside(e Entry, r specialRecord, v verdict) {
	t := &s.turn
	l := limboEntry{Entry: e, special: r.special, verb: VerbExpire}
	if v == fenceIt {
		l.until = r.until
	}
	t.near.skip()
	t.limbo.put(l)
}

// allowed says whether no record of the delivery that was built has been cancelled or replaced
// since. The Sink calls it with the lock held under which cancels are appended.
func (s *Schedule) allowed() bool {
	if s.fence.hasPositions() {
		for i := range s.turn.sending {
			if _, blocked := s.fence.blocked(hashPosition(s.turn.sending[i].Position)); blocked {
				return false
			}
		}
	}
	for i := range s.turn.special {
		r := &s.turn.special[i]
		if r.id == "" {
			continue
		}
		if _, blocked := s.fence.blocked(r.hash); blocked {
			return false
		}
	}
	return true
}

// takenOff notes which records with terms are in the delivery of due that is on its way.
func (s *Schedule) takenOff(due []Entry) {
	for i := range s.turn.special {
		r := &s.turn.special[i]
		e := due[r.at]
		s.turn.flying[e.Position] = &flyingRecord{Entry: e, flown: e.Key, special: r.special}
	}
}

// sendCommands appends the commands that records in limbo wait for.
func (s *Schedule) sendCommands() (worked bool, err error) {
	t := &s.turn
	now := s.wall()
	if len(t.limbo.due) == 0 || s.mustWait(now) {
		return false, nil
	}
	t.command = t.command[:0]
	n := min(len(t.limbo.due), commandsMax)
	for _, p := range t.limbo.due[:n] {
		e, ok := t.limbo.entries[p]
		if !ok || e.sent {
			continue // cancelled or replaced meanwhile
		}
		c, err := s.commandFor(&e, now)
		if log.IsTransient(err) {
			s.retryLater(now, err)
			return false, nil
		}
		if err != nil {
			return false, err
		}
		t.command = append(t.command, c)
	}
	if len(t.command) > 0 {
		_, err := s.o.Sink.Command(BuildCommands(now, t.command))
		if errors.Is(err, log.ErrNoSpace) {
			s.retryLater(now, err)
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("append %d commands: %w", len(t.command), err)
		}
		for i := range t.command {
			p := t.command[i].Key.Position
			e := t.limbo.entries[p]
			e.sent = true
			t.limbo.entries[p] = e
		}
	}
	t.limbo.due = t.limbo.due[:copy(t.limbo.due, t.limbo.due[n:])]
	return true, nil
}

// commandFor decides what becomes of a record in limbo.
func (s *Schedule) commandFor(e *limboEntry, now UnixMs) (Command, error) {
	if !e.known {
		if err := s.recall(e); err != nil {
			return Command{}, err
		}
	}
	c := Command{Verb: e.verb, Key: e.Key, ID: []byte(e.id)}
	if c.Verb != VerbNext {
		return c, nil
	}
	due, ok, err := e.recur.next(e.Occurrence+1, e.scheduled, now)
	if err != nil {
		// The rule was sound when the record was accepted: the zone's data is another one.
		s.logger.Error("a recurring record ends, because its next time cannot be computed",
			zap.Stringer("position", e.Position), zap.Error(err))
	}
	if !ok {
		c.Verb = VerbEnd
	}
	c.Due = due
	return c, nil
}

// recall reads from the staging log what a start does not know of a record in limbo.
func (s *Schedule) recall(e *limboEntry) error {
	d, err := s.decisionAt(e.Entry)
	if err != nil {
		return err
	}
	terms, err := d.Terms()
	if err != nil {
		return err
	}
	e.special = special{id: string(terms.ID), recur: terms.Recur}
	e.scheduled, err = s.scheduledFor(e.Entry, &d)
	e.known = err == nil
	return err
}

// decisionAt reads the decision about an entry's record from the staging log.
func (s *Schedule) decisionAt(e Entry) (Decision, error) {
	rec, err := s.o.Staging.ReadWithin(nil, e.base(), int(e.At), int(e.Length))
	if err != nil {
		return Decision{}, fmt.Errorf("read staging offset %d: %w", e.Offset, err)
	}
	if len(rec) != int(e.Length) {
		return Decision{}, badEntry(&e)
	}
	return checkRecord(rec)
}
