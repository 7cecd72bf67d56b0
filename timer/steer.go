package timer

import (
	"context"
	"fmt"
	"sync"
)

// Outcome is what an operator's command came to where it stands in the staging log.
type Outcome uint8

// The outcomes of a command.
const (
	// OutcomeDone: it was done.
	OutcomeDone Outcome = 1 + iota
	// OutcomeNotPending: no record waits under that key: it was delivered, cancelled, replaced or
	// moved before, or it has expired.
	OutcomeNotPending
	// OutcomeDelivering: the record was on its way to the partition log.
	OutcomeDelivering
)

// String returns the outcome's name.
func (o Outcome) String() string {
	switch o {
	case OutcomeDone:
		return "done"
	case OutcomeNotPending:
		return "not pending"
	case OutcomeDelivering:
		return "delivering"
	default:
		return fmt.Sprintf("Outcome(%d)", uint8(o))
	}
}

// steer takes one command of an operator.
func (l *ledger) steer(c *Command) (Outcome, error) {
	if c.Verb == VerbPause || c.Verb == VerbResume {
		l.paused = c.Verb == VerbPause
		return OutcomeDone, nil
	}
	e, ok, err := l.get(c.Key)
	switch {
	case err != nil:
		return 0, err
	case !ok:
		l.count.idle++
		return OutcomeNotPending, nil
	case e.Flags.has(EntryDoomed):
		l.count.idle++
		return OutcomeDelivering, nil
	case c.Verb == VerbMove:
		return l.move(e, c)
	}
	return l.withdraw(e, string(c.ID))
}

// withdraw cancels a record.
func (l *ledger) withdraw(e Entry, id string) (Outcome, error) {
	done := true
	if l.mayDrop(e) {
		l.unowe(e)
		l.drop(e)
	} else {
		// This time it is delivered; of a recurring one the rest is cancelled.
		done = e.Flags.has(EntryRecurs)
		e.Flags |= EntryDoomed
		l.reflag(e)
	}
	if id != "" {
		if err := l.unname(id, e.Position); err != nil {
			return 0, err
		}
	}
	if !done {
		l.count.idle++
		return OutcomeDelivering, nil
	}
	l.count.cancelled++
	return OutcomeDone, nil
}

// move gives a record another due time. One that was delivered, or is on its way, gets it as well:
// whether it was is known to one who follows the logs and not to one who reads the staging log
// alone, and both must come to the same. Then it means nothing, unless a crash takes the delivery
// back.
func (l *ledger) move(e Entry, c *Command) (Outcome, error) {
	if e.Due == c.Due {
		l.count.moved++
		return OutcomeDone, nil
	}
	scheduled := e.Due
	if e.Flags.has(EntryMoved) {
		pl, ok, err := l.place(e.Position)
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, fmt.Errorf("%w: %s was moved and has no place", ErrIndex, e.Position)
		}
		scheduled = pl.Scheduled
	}
	moved := e
	moved.Due = c.Due
	moved.Flags = moved.Flags&^(EntryDueNow|entryHeld) | EntryMoved
	held := l.onMove != nil && l.isInMemory(e) && l.onMove(e, moved)
	if !held {
		l.unowe(e) // what is on its way pays when it lands
	}
	l.drop(e)
	if held {
		moved.Flags |= entryHeld
		l.odd++
	}
	l.hold(moved, string(c.ID))
	l.places[e.first()] = Place{Key: moved.Key, Scheduled: scheduled}
	if held || e.Flags.has(EntryLanded) {
		l.count.idle++
		return OutcomeDelivering, nil
	}
	l.count.moved++
	return OutcomeDone, nil
}

// Steering is an operator's command batch on its way.
type Steering struct {
	done     chan struct{} // closed once the others are set
	outcomes []Outcome
	err      error
}

// Wait returns what each of the commands came to, once the batch is durable and the schedule has
// followed it.
func (w *Steering) Wait(ctx context.Context) ([]Outcome, error) {
	select {
	case <-w.done:
		return w.outcomes, w.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Done is closed when Wait returns at once.
func (w *Steering) Done() <-chan struct{} { return w.done }

// steerings are the command batches that somebody waits for.
type steerings struct {
	mu struct {
		sync.Mutex
		waiting map[Offset]*Steering // by the base offset of the batch
		closed  error                // why there will be no answer
	}
	taken []taken // by the turn, and not in the index yet; the turn's own
}

// taken is a command batch that the ledger has taken.
type taken struct {
	base     Offset
	outcomes []Outcome
}

func newSteerings() *steerings {
	s := &steerings{}
	s.mu.waiting = map[Offset]*Steering{}
	return s
}

// Steered tells the schedule of a batch of an operator's commands that was appended to the staging
// log at base. The owner calls it with the lock held under which it appended it: none of the
// records that the commands name is delivered any more before the schedule has followed.
func (s *Schedule) Steered(base, end Offset, commands []Command) *Steering {
	var hashes []uint64
	for i := range commands {
		if v := commands[i].Verb; v == VerbCancel || v == VerbMove {
			hashes = append(hashes, hashPosition(commands[i].Key.Position))
		}
	}
	s.fence.notePositions(end, hashes)
	return s.steerings.await(base)
}

// await registers a batch.
func (s *steerings) await(base Offset) *Steering {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := &Steering{done: make(chan struct{}), err: s.mu.closed}
	if w.err != nil {
		close(w.done)
		return w
	}
	s.mu.waiting[base] = w
	return w
}

// take notes what a batch came to; answer tells it once the index has it.
func (s *steerings) take(base Offset, outcomes []Outcome) {
	if len(outcomes) > 0 {
		s.taken = append(s.taken, taken{base, outcomes})
	}
}

// answer tells those who wait.
func (s *steerings) answer() {
	if len(s.taken) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.taken {
		if w := s.mu.waiting[t.base]; w != nil {
			delete(s.mu.waiting, t.base)
			w.outcomes = t.outcomes
			close(w.done)
		}
	}
	s.taken = s.taken[:0]
}

// close answers all, now and from now on, with an error.
func (s *steerings) close(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed != nil {
		return
	}
	s.mu.closed = err
	for base, w := range s.mu.waiting {
		delete(s.mu.waiting, base)
		w.err = err
		close(w.done)
	}
}
