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
	gone    int                 // entries of add that went again: their flag is entryGone
	update  map[Position]Entry  // of the index: other flags
	remove  []Key               // of the index
	removed map[Position]bool   // the same, of those with terms
	names   map[string]heldName // what the change says of ids
	added   map[Position]int    // where in add those with terms are
	count   settledCount

	// isDelivered says that a rebuild knows of a delivery; nil: it is not a rebuild.
	isDelivered func(p Position) bool
	// onDrop is called for each entry of the index that goes without a delivery, or whose time
	// changes, and returns whether it may: one on its way to the partition log stays until it lands.
	// nil: yes.
	onDrop func(e Entry) bool
	// onUnowed is called for a record of an earlier batch that was due at its append and will not be
	// delivered.
	onUnowed func(o Offset)

	base   Offset // of the staged batch that is being taken; -1: none
	dueNow int    // its records that are owed to a producer
}

// entryGone marks an entry of ledger.add that is not added after all. It is never stored.
const entryGone EntryFlags = 1 << 7

// heldName is what a change says of an id.
type heldName struct {
	key  Key
	gone bool
}

// settledCount counts what became of records other than a delivery.
type settledCount struct {
	cancelled, replaced, expired int64
	idle                         int64 // cancels of what was not there
}

func newLedger(index Index, p PartitionNumber) *ledger {
	l := &ledger{index: index, p: p, base: noBase}
	l.update, l.removed = map[Position]Entry{}, map[Position]bool{}
	l.names, l.added = map[string]heldName{}, map[Position]int{}
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

// hold adds an entry with terms.
func (l *ledger) hold(e Entry, id string) {
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
		return e, true, nil
	}
	return l.index.Get(l.p, k)
}

// kill takes the pending record of an id away, if there is one.
func (l *ledger) kill(id string) (killed bool, err error) {
	e, ok, err := l.named(id)
	if err != nil || !ok {
		return false, err
	}
	l.names[id] = heldName{gone: true}
	if _, fresh := l.added[e.Position]; !fresh && l.onDrop != nil && !l.onDrop(e) {
		e.Flags |= EntryDoomed
		l.update[e.Position] = e
		return e.Flags.has(EntryRecurs), nil // this time it is delivered
	}
	l.unowe(e)
	l.drop(e)
	return true, nil
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
	if i, ok := l.added[e.Position]; ok {
		l.add[i].Flags |= entryGone
		l.gone++
		delete(l.added, e.Position)
		return
	}
	delete(l.update, e.Position)
	l.remove = append(l.remove, e.Key)
	l.removed[e.Position] = true
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

// commands takes a command batch.
func (l *ledger) commands(b batch.Batch) error {
	commands, err := commandsOf(b)
	if err != nil {
		return err
	}
	for i := range commands {
		if err := l.command(&commands[i]); err != nil {
			return err
		}
	}
	return nil
}

// command takes one command.
func (l *ledger) command(c *Command) error {
	e, ok, err := l.get(c.Key)
	if err != nil || !ok {
		return err // cancelled or replaced meanwhile
	}
	id := string(c.ID)
	if _, fresh := l.added[e.Position]; !fresh && l.onDrop != nil {
		l.onDrop(e)
	}
	l.drop(e)
	if c.Verb == VerbNext {
		e.Due, e.Occurrence = c.Due, e.Occurrence+1
		e.Flags &^= EntryLanded | EntryDueNow
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
		l.update[e.Position] = e
		return nil
	}
	l.drop(e)
	if id == "" {
		return nil
	}
	return l.unname(id, e.Position)
}

// length is how much has been collected.
func (l *ledger) length() int { return len(l.add) + len(l.remove) + len(l.update) + len(l.names) }

// take moves what was collected into a change and returns by how much it changes what is pending.
// The ledger is then empty.
func (l *ledger) take(c *Change) (pending int64) {
	if l.gone > 0 {
		kept := l.add[:0]
		for _, e := range l.add {
			if !e.Flags.has(entryGone) {
				kept = append(kept, e)
			}
		}
		l.add, l.gone = kept, 0
	}
	pending = int64(len(l.add)) - int64(len(l.remove))
	c.Add = append(c.Add, l.add...)
	c.Remove = append(c.Remove, l.remove...)
	for _, e := range l.update {
		c.Update = append(c.Update, e)
	}
	for id, held := range l.names {
		c.Names = append(c.Names, Name{ID: id, Key: held.key, Gone: held.gone})
	}
	l.add, l.remove = l.add[:0], l.remove[:0]
	clear(l.update)
	clear(l.removed)
	clear(l.names)
	clear(l.added)
	return pending
}
