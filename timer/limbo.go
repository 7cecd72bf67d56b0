package timer

// limbo holds what is in the index and not in the near window, though its time has come: records
// that wait for something that is on its way in the staging log. The turn owns it.
type limbo struct {
	entries map[Position]limboEntry
	low     Key        // no entry of the index that is in limbo is below it
	fenced  int        // entries that wait for the schedule to follow
	due     []Position // recurring records that need a command, and those that need one to expire
}

// limboEntry is one record in limbo.
type limboEntry struct {
	Entry
	special
	until Offset // fenced: the staging offset to follow to; 0: it waits for a command
	verb  Verb   // what it needs, if it is not fenced
	sent  bool   // the command is in the staging log
}

// special is what a record's terms say, kept from its delivery to what comes of it.
type special struct {
	id        string
	recur     Recurrence
	scheduled UnixMs // the time of this occurrence by the rule: not where it was moved to
	known     bool   // false: it has to be read from the staging log
}

func newLimbo() *limbo { return &limbo{entries: map[Position]limboEntry{}, low: maxKey} }

// put takes an entry in.
func (l *limbo) put(e limboEntry) {
	if _, ok := l.entries[e.Position]; ok {
		return
	}
	l.entries[e.Position] = e
	l.low = minOf(l.low, e.Key)
	if e.until > 0 {
		l.fenced++
	} else {
		l.due = append(l.due, e.Position)
	}
}

// has says whether a position is in limbo.
func (l *limbo) has(p Position) bool {
	_, ok := l.entries[p]
	return ok
}

// remove takes an entry out, if it is there.
func (l *limbo) remove(p Position) bool {
	e, ok := l.entries[p]
	if !ok {
		return false
	}
	delete(l.entries, p)
	if e.until > 0 {
		l.fenced--
	}
	if len(l.entries) == 0 {
		l.low, l.due = maxKey, l.due[:0]
	}
	return true
}

// rekey gives the entry of a recurring record that was moved too late its new key.
func (l *limbo) rekey(moved Entry) bool {
	e, ok := l.entries[moved.Position]
	if !ok || e.until > 0 || e.verb != VerbNext {
		return false
	}
	e.Entry = moved
	l.entries[moved.Position] = e
	l.low = minOf(l.low, moved.Key)
	return true
}

// release takes out those that were fenced and were not cancelled after all, once the schedule has
// followed to an offset: ids may share a hash.
func (l *limbo) release(to Offset, fn func(e Entry)) {
	if l.fenced == 0 {
		return
	}
	for p, e := range l.entries {
		if e.until > 0 && e.until <= to {
			l.remove(p)
			fn(e.Entry)
		}
	}
}
