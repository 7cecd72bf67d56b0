package timer

import (
	"fmt"

	"github.com/chronosdb/chronosdb/log/batch"
)

// ledger takes the batches of a staging log in their order and collects what they change in the
// index: records come, cancels and replacements take earlier ones away, commands move recurring
// ones on. What it does depends on the log alone: a rebuild comes to the same.
//
// A change is looked up before the index, so that what one batch did is seen by the next.
type ledger struct {
	index Index
	p     PartitionNumber

	add     []Entry
	odd     int                 // entries of add with a flag that is never stored
	update  map[Position]Entry  // of the index: other flags
	remove  []Key               // of the index
	removed map[Position]bool   // the same, of those with terms
	names   map[string]heldName // what the change says of ids
	places  map[Position]Place  // what it says of places, by the position of the first occurrence
	added   map[Position]int    // where in add those with terms are, and those that were moved
	count   settledCount
	paused  bool // by the commands so far

	// unseen says that there are entries in add or remove that get does not know of: they have no
	// terms, and so many come that each would cost. An operator's command must not be taken then.
	unseen bool

	// isDelivered says that a rebuild knows of a delivery; nil: it is not a rebuild.
	isDelivered func(p Position) bool
	// onDrop is called for each entry of the index that goes without a delivery, or whose time
	// changes, and returns whether it may: one on its way to the partition log stays until it
	// lands. nil: yes.
	onDrop func(e Entry) bool
	// onMove is called for each entry of the index that an operator gives another time, and returns
	// whether it stays where it is in memory: on its way, or in limbo. nil: no.
	onMove func(e, moved Entry) bool
	// onUnowed is called for a record of an earlier batch that was due at its append and will not
	// be delivered.
	onUnowed func(o Offset)

	base   Offset // of the staged batch that is being taken; -1: none
	dueNow int    // its records that are owed to a producer
}

// heldName is what a change says of an id.
type heldName struct {
	key  Key
	gone bool
}

// settledCount counts what became of records other than a delivery.
type settledCount struct {
	cancelled, replaced, expired int64
	idle                         int64 // cancels, and an operator's moves, of what was not there
	moved                        int64
}

func newLedger(index Index, p PartitionNumber) *ledger {
	l := &ledger{index: index, p: p, base: noBase}
	l.update, l.removed = map[Position]Entry{}, map[Position]bool{}
	l.names, l.added = map[string]heldName{}, map[Position]int{}
	l.places = map[Position]Place{}
	return l
}

// staged takes a staged batch and returns how many of its records are owed to a producer.
func (l *ledger) staged(b batch.Batch) (dueNow int, err error) {
	l.base, l.dueNow = b.BaseOffset(), 0
	defer func() { l.base = noBase }()
	w := walkStaged(b)
	for {
		e, d, ok, err := w.next()
		if err != nil || !ok {
			return l.dueNow, err
		}
		switch {
		case d.Action == ActionCancel:
			err = l.cancel(&d)
		case e.Flags.has(EntryTerms):
			err = l.special(e, &d)
		case l.isDelivered == nil || !l.isDelivered(e.Position):
			l.append(e)
			l.unseen = true
		}
		if err != nil {
			return l.dueNow, fmt.Errorf("staging offset %d: %w", e.Offset, err)
		}
	}
}

// noBase is the base offset of no batch.
const noBase Offset = -1

// append adds an entry.
func (l *ledger) append(e Entry) {
	l.add = append(l.add, e)
	if e.Flags.has(EntryDueNow) {
		l.dueNow++
	}
}

// cancel takes a record that cancels another.
func (l *ledger) cancel(d *Decision) error {
	terms, err := d.Terms()
	if err != nil {
		return err
	}
	killed, err := l.kill(string(terms.Cancel))
	if killed {
		l.count.cancelled++
	} else {
		l.count.idle++
	}
	return err
}

// special takes a record whose decision has terms.
func (l *ledger) special(e Entry, d *Decision) error {
	terms, err := d.Terms()
	if err != nil {
		return err
	}
	if e.Flags.has(EntryNamed) {
		killed, err := l.kill(string(terms.ID))
		if err != nil {
			return err
		}
		if killed {
			l.count.replaced++
		}
	}
	if l.isDelivered != nil && l.isDelivered(e.Position) {
		if !e.Flags.has(EntryRecurs) {
			return nil // a name that it took is gone
		}
		e.Flags |= EntryLanded
		e.Flags &^= EntryDueNow
	}
	l.hold(e, string(terms.ID))
	return nil
}

// hold adds an entry with terms, or one that was moved.
func (l *ledger) hold(e Entry, id string) {
	if e.isPlaced() {
		l.places[e.first()] = Place{Key: e.Key, Scheduled: e.Due}
	}
	l.added[e.Position] = len(l.add)
	l.append(e)
	if id != "" {
		l.names[id] = heldName{key: e.Key}
	}
}

// named returns the entry that has an id.
func (l *ledger) named(id string) (e Entry, ok bool, err error) {
	held, known := l.names[id]
	if !known {
		if held.key, ok, err = l.index.Named(l.p, id); err != nil || !ok {
			return Entry{}, false, err
		}
	}
	if held.gone {
		return Entry{}, false, nil
	}
	return l.get(held.key)
}

// get returns an entry as the change leaves it.
func (l *ledger) get(k Key) (e Entry, ok bool, err error) {
	if i, ok := l.added[k.Position]; ok {
		return l.add[i], l.add[i].Key == k, nil
	}
	if l.removed[k.Position] {
		return Entry{}, false, nil
	}
	if e, ok := l.update[k.Position]; ok {
		return e, e.Key == k, nil
	}
	return l.index.Get(l.p, k)
}

// place returns the place of a record as the change leaves it.
func (l *ledger) place(p Position) (pl Place, ok bool, err error) {
	if pl, ok := l.places[p.first()]; ok {
		return pl, !pl.Gone, nil
	}
	return l.index.Place(l.p, p.first())
}

// find is get for a key whose due time may be one that the record had before it was moved.
func (l *ledger) find(k Key) (e Entry, ok bool, err error) {
	if e, ok, err = l.get(k); err != nil || ok {
		return e, ok, err
	}
	pl, ok, err := l.place(k.Position)
	if err != nil || !ok || pl.Key.Position != k.Position {
		return Entry{}, false, err
	}
	return l.get(pl.Key)
}

// kill takes the pending record of an id away, if there is one.
func (l *ledger) kill(id string) (killed bool, err error) {
	e, ok, err := l.named(id)
	if err != nil || !ok {
		return false, err
	}
	l.names[id] = heldName{gone: true}
	if !l.mayDrop(e) {
		e.Flags |= EntryDoomed
		l.reflag(e)
		return e.Flags.has(EntryRecurs), nil // this time it is delivered
	}
	l.unowe(e)
	l.drop(e)
	return true, nil
}

// isInMemory says whether an entry may be in the schedule's memory: it is in the index, or was and
// has another key now.
func (l *ledger) isInMemory(e Entry) bool {
	_, fresh := l.added[e.Position]
	return !fresh || e.Flags.has(entryHeld)
}

// mayDrop says whether an entry may go: one that is on its way to the partition log may not.
func (l *ledger) mayDrop(e Entry) bool {
	return l.onDrop == nil || !l.isInMemory(e) || l.onDrop(e)
}

// reflag gives an entry other flags.
func (l *ledger) reflag(e Entry) {
	if i, ok := l.added[e.Position]; ok {
		l.add[i].Flags = e.Flags
		return
	}
	l.update[e.Position] = e
}

// unowe takes note that an entry will not be delivered.
func (l *ledger) unowe(e Entry) {
	switch {
	case !e.Flags.has(EntryDueNow):
	case e.base() == l.base:
		l.dueNow--
	case l.onUnowed != nil:
		l.onUnowed(e.Offset)
	}
}

// drop takes an entry out.
func (l *ledger) drop(e Entry) {
	if e.isPlaced() {
		l.places[e.first()] = Place{Key: Key{Position: e.first()}, Gone: true}
	}
	if i, ok := l.added[e.Position]; ok {
		l.add[i].Flags |= entryGone
		l.odd++
		delete(l.added, e.Position)
		return
	}
	delete(l.update, e.Position)
	l.remove = append(l.remove, e.Key)
	l.removed[e.Position] = true
}

// land takes out an entry without terms that was delivered.
func (l *ledger) land(k Key, flags EntryFlags) {
	if flags.has(EntryMoved) {
		l.drop(Entry{Key: k, Flags: flags})
		return
	}
	l.remove = append(l.remove, k)
	l.unseen = true
}

// unname forgets an id, if it is that of the entry with the given position.
func (l *ledger) unname(id string, p Position) error {
	held, known := l.names[id]
	if !known {
		var ok bool
		var err error
		if held.key, ok, err = l.index.Named(l.p, id); err != nil || !ok {
			return err
		}
	}
	if !held.gone && held.key.Position == p {
		l.names[id] = heldName{gone: true}
	}
	return nil
}

// mustApply says whether what was collected must be in the index before a command batch is taken.
func (l *ledger) mustApply(b batch.Batch) (bool, error) {
	if !l.unseen || b.Kind() != batch.KindCommand {
		return false, nil
	}
	return hasSteering(b)
}

// commands takes a command batch, and returns what an operator's commands came to.
func (l *ledger) commands(b batch.Batch) (outcomes []Outcome, err error) {
	commands, err := commandsOf(b)
	if err != nil {
		return nil, err
	}
	for i := range commands {
		if !commands[i].Verb.isSteering() {
			if err := l.command(&commands[i]); err != nil {
				return nil, err
			}
			continue
		}
		one, err := l.steer(&commands[i])
		if err != nil {
			return nil, err
		}
		outcomes = append(outcomes, one)
	}
	return outcomes, nil
}

// command takes one command of the leader.
func (l *ledger) command(c *Command) error {
	find := l.find // that it was delivered is true of it whatever its time is now
	if c.Verb == VerbExpire {
		find = l.get
	}
	e, ok, err := find(c.Key)
	if err != nil || !ok {
		return err // cancelled or replaced meanwhile
	}
	id := string(c.ID)
	l.mayDrop(e)
	l.drop(e)
	if c.Verb == VerbNext {
		e.Due, e.Occurrence = c.Due, e.Occurrence+1
		e.Flags &^= EntryLanded | EntryDueNow | EntryMoved | entryHeld
		if l.isDelivered != nil && l.isDelivered(e.Position) {
			e.Flags |= EntryLanded
		}
		l.hold(e, id)
		return nil
	}
	if c.Verb == VerbExpire {
		l.count.expired++
		l.unowe(e)
	}
	if id == "" {
		return nil
	}
	return l.unname(id, c.Key.Position)
}

// landed takes a delivery that the partition log's high watermark has passed: an entry of the index
// that has an id or recurs. doomed says that it was cancelled or replaced on its way.
func (l *ledger) landed(e Entry, id string, doomed bool) error {
	if e.Flags.has(EntryRecurs) && !doomed {
		e.Flags |= EntryLanded
		e.Flags &^= EntryDueNow
		l.reflag(e)
		return nil
	}
	l.drop(e)
	if id == "" {
		return nil
	}
	return l.unname(id, e.Position)
}

// length is how much has been collected.
func (l *ledger) length() int {
	return len(l.add) + len(l.remove) + len(l.update) + len(l.names) + len(l.places)
}

// take moves what was collected into a change and returns by how much it changes what is pending.
// The ledger is then empty.
func (l *ledger) take(c *Change) (pending int64) {
	held := 0
	if l.odd > 0 {
		kept := l.add[:0]
		for _, e := range l.add {
			switch {
			case e.Flags.has(entryGone):
			case e.Flags.has(entryHeld):
				e.Flags &^= entryHeld
				c.Update = append(c.Update, e)
				held++
			default:
				kept = append(kept, e)
			}
		}
		l.add, l.odd = kept, 0
	}
	pending = int64(len(l.add)+held) - int64(len(l.remove))
	c.Add = append(c.Add, l.add...)
	c.Remove = append(c.Remove, l.remove...)
	for _, e := range l.update {
		c.Update = append(c.Update, e)
	}
	for id, held := range l.names {
		c.Names = append(c.Names, Name{ID: id, Key: held.key, Gone: held.gone})
	}
	for _, pl := range l.places {
		c.Places = append(c.Places, pl)
	}
	l.add, l.remove, l.unseen = l.add[:0], l.remove[:0], false
	clear(l.places)
	clear(l.update)
	clear(l.removed)
	clear(l.names)
	clear(l.added)
	return pending
}
