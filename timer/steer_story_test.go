package timer

import "github.com/chronosdb/chronosdb/log/batch"

// An operator in the random histories: see tale.

// steered is what commands have made of a record.
type steered struct {
	epoch   batch.LeaderEpoch
	staged  UnixMs // when it was due by its decision
	isMoved bool
	// moves are where an operator wanted occurrences of a recurring record; whether that came in time
	// is not for the test to say.
	moves map[Occurrence][]UnixMs
	// ended: it was cancelled, and the schedule said that this was done; maybe: or it has not answered.
	ended, maybe bool
}

// ordered is one command.
type ordered struct {
	Command
	st       *Steering
	outcome  Outcome // 0: not known
	followed bool
}

// orders are all commands together.
type orders struct {
	open       []*ordered // without an answer
	keys       []Key      // to choose from, pending or not
	wantsPause bool       // the last one of its kind in the log is a pause
	paused     bool       // and it was followed
	count      map[string]int
}

// allOrders are what must have happened for the histories to mean anything.
var allOrders = []string{
	"cancel done", "cancel not pending", "cancel delivering", "move done", "move not pending",
	"move delivering", "pause done", "resume done",
}

func (a *asked) forgetOrders() {
	if a.isMoved {
		a.due = a.staged
	}
	a.isMoved, a.moves, a.ended, a.maybe = false, nil, false, false
}

// orderRecord cancels or moves a record that waits, or did once.
func (tl *tale) orderRecord() {
	o := &tl.orders
	for _, e := range tl.dump() {
		if len(o.keys) < 40 {
			o.keys = append(o.keys, e.Key)
		} else if tl.rng.IntN(4) == 0 {
			o.keys[tl.rng.IntN(len(o.keys))] = e.Key
		}
	}
	if len(o.keys) == 0 {
		return
	}
	k := o.keys[tl.rng.IntN(len(o.keys))]
	if soon := tl.dump(); len(soon) > 0 && tl.rng.IntN(2) == 0 {
		k = soon[0].Key // it may be on its way
	}
	c := Command{Verb: VerbCancel, Key: k}
	if tl.rng.IntN(3) > 0 {
		c.Verb = VerbMove
		c.Due = tl.now() + UnixMs(tl.rng.IntN(2000)-300)
	}
	if a := tl.target(k); a != nil {
		c.ID = []byte(a.id)
	}
	tl.order(c)
}

func (tl *tale) orderPause() {
	switch {
	case tl.orders.wantsPause:
		tl.order(Command{Verb: VerbResume})
	case tl.rng.IntN(3) == 0:
		tl.order(Command{Verb: VerbPause})
	}
}

// order appends a command.
func (tl *tale) order(c Command) {
	st, base := tl.steer(c)
	tl.pad(base)
	o := &ordered{Command: c, st: st}
	tl.log = append(tl.log, &asked{ordered: o})
	tl.orders.open = append(tl.orders.open, o)
	tl.retell()
}

// target returns the record of a key.
func (tl *tale) target(k Key) *asked {
	if k.Offset >= Offset(len(tl.log)) {
		return nil
	}
	a := tl.log[k.Offset]
	if a == nil || a.ordered != nil || a.epoch != k.Epoch {
		return nil
	}
	return a
}

// obey does to the records what a command of the log says.
func (tl *tale) obey(o *ordered, held map[string]*asked) {
	if o.Verb == VerbPause || o.Verb == VerbResume {
		tl.orders.wantsPause = o.Verb == VerbPause
		tl.orders.paused = tl.orders.wantsPause && o.followed
		return
	}
	a := tl.target(o.Key)
	switch {
	case a == nil || a.killed:
	case a.every > 0 && o.Verb == VerbMove:
		if a.moves == nil {
			a.moves = map[Occurrence][]UnixMs{}
		}
		a.moves[o.Key.Occurrence] = append(a.moves[o.Key.Occurrence], o.Due)
	case a.every > 0:
		a.ended = a.ended || o.outcome == OutcomeDone
		a.maybe = a.maybe || o.outcome == 0
	case a.due != o.Key.Due:
	case o.Verb == VerbMove:
		a.isMoved = a.isMoved || a.due != o.Due
		a.due = o.Due
	default:
		a.killed = true
		if a.id != "" && held[a.id] == a {
			delete(held, a.id)
		}
	}
}

// hear takes the answers that there are.
func (tl *tale) hear() {
	left := tl.orders.open[:0]
	for _, o := range tl.orders.open {
		out := tl.outcomes(o.st)
		if out == nil {
			left = append(left, o)
			continue
		}
		o.outcome, o.followed = out[0], true
		if tl.orders.count == nil {
			tl.orders.count = map[string]int{}
		}
		tl.orders.count[o.Verb.String()+" "+o.outcome.String()]++
	}
	if len(left) != len(tl.orders.open) {
		tl.orders.open = left
		tl.retell()
	}
}

// reopened notes that a start has followed all that the log has. Who waited gets no answer.
func (tl *tale) reopened() {
	tl.orders.open = nil
	for _, a := range tl.log {
		if a != nil && a.ordered != nil {
			a.followed = true
		}
	}
	tl.orders.wantsPause, tl.orders.paused = false, false
	tl.retell()
}
