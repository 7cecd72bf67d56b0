package timer

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/clock"
)

var termsSeed = flag.Uint64("timer.terms.seed", 0, "run this one history of records with terms; 0 runs many")

var termsHistories = flag.Int("timer.terms.histories", 120, "how many histories of records with terms are run")

// asked is what one staged record asked for, as the test remembers it.
type asked struct {
	value  string
	due    UnixMs // not before it was there; commands change it
	id     string
	cancel string
	expire UnixMs // 0: none
	every  UnixMs // 0: it does not recur
	first  UnixMs // what it asked for; of the recurring: where its grid begins
	count  int
	killed bool // a later record, or command, of the staging log took it away
	steered
	*ordered // it is no record, but an operator's command
}

// tale is a random history of records that have ids, cancel, expire and recur. All it believes is
// what it has staged, in the order of the log, and what a consumer reads.
type tale struct {
	*world
	rng    *rand.Rand
	log    []*asked // by staging offset; nil: not a record of ours
	byName map[string]*asked
	aged   map[Position]string
	orders orders
	count  struct{ crashes, rebuilds, expired, repeated, aged int }

	doubted bool // the clock is not trusted
}

func newTale(t *testing.T, seed uint64) *tale {
	rng := rand.New(rand.NewPCG(seed, 7))
	tl := &tale{rng: rng, byName: map[string]*asked{}, aged: map[Position]string{}}
	tl.world = newWorld(t, Options{
		NearMax: []int{0, 20, 200}[rng.IntN(3)], Trusts: func() bool { return !tl.doubted },
	})
	tl.world.onDeliver = tl.judgeDelivery
	return tl
}

func (tl *tale) now() UnixMs { return clock.ToMs(tl.clock.Now()) }

// judgeDelivery is called for each delivered record when it is appended.
func (tl *tale) judgeDelivery(d Delivered, value string) {
	now := tl.now()
	a := tl.byName[value]
	switch {
	case a == nil:
		tl.t.Fatalf("record %q was never staged", value)
	case tl.doubted:
		tl.t.Fatalf("record %q is delivered while the clock is not trusted", value)
	case tl.orders.paused:
		tl.t.Fatalf("record %q is delivered during a pause", value)
	case a.killed || a.ended:
		tl.t.Fatalf("record %q is delivered after it was cancelled or replaced", value)
	case d.Due > now:
		tl.t.Fatalf("record %q due %d is delivered at %d", value, d.Due, now)
	case a.expire > 0 && now > a.expire:
		tl.t.Fatalf("record %q expired at %d and is delivered at %d", value, a.expire, now)
	case a.every == 0 && d.Position.Occurrence > 0:
		tl.t.Fatalf("record %q does not recur, this is occurrence %d", value, d.Position.Occurrence)
	case a.every == 0 && a.isMoved && d.HasDue && d.Due != a.due:
		tl.t.Fatalf("record %q was moved to %d and is delivered as due at %d", value, a.due, d.Due)
	case a.every == 0 && now < a.due:
		tl.t.Fatalf("record %q due %d is delivered at %d", value, a.due, now)
	case a.every > 0 && slices.Contains(a.moves[d.Position.Occurrence], d.Due):
	case a.every > 0 && (d.Due < a.first || (d.Due-a.first)%a.every != 0):
		tl.t.Fatalf("pos %v: record %q is due at %d, which is not on its grid %d + n*%d", d.Position, value, d.Due,
			a.first, a.every)
	}
}

// write stages a batch.
func (tl *tale) write() {
	now := tl.now()
	var records []clientRecord
	var all []*asked
	for range 1 + tl.rng.IntN(6) {
		a := &asked{value: valueOf(tl.nextValue), due: now}
		tl.nextValue++
		var headers []batch.Header
		add := func(key, format string, args ...any) {
			headers = append(headers, header(key, fmt.Sprintf(format, args...)))
		}
		if tl.rng.IntN(6) == 0 {
			a.cancel = tl.anID()
			add(batch.HeaderScheduleCancel, "%s", a.cancel)
			all = append(all, a)
			records = append(records, clientRecord{value: a.value, headers: headers})
			continue
		}
		wait := UnixMs(tl.rng.IntN(1500))
		timed := tl.rng.IntN(5) > 0
		if timed {
			if tl.rng.IntN(8) == 0 {
				wait = -wait
			}
			a.due = now + wait
			add(batch.HeaderScheduleTs, "%d", a.due)
		}
		if tl.rng.IntN(3) > 0 {
			a.id = tl.anID()
			add(batch.HeaderScheduleID, "%s", a.id)
		}
		switch tl.rng.IntN(5) {
		case 0:
			a.every = UnixMs(100 + tl.rng.IntN(900))
			add(batch.HeaderScheduleEvery, "%d", a.every)
			if !timed {
				a.due += a.every
			}
			a.count = 1 + tl.rng.IntN(4)
			add(batch.HeaderScheduleCount, "%d", a.count)
		case 1:
			a.expire = max(a.due, now) + 1 + UnixMs(tl.rng.IntN(300))
			add(batch.HeaderScheduleExpireTs, "%d", a.expire)
		}
		a.first = a.due
		a.due = max(a.due, now)
		a.staged, a.epoch = a.due, tl.epoch
		all = append(all, a)
		records = append(records, clientRecord{value: a.value, headers: headers})
	}
	p := plan()
	p.Now = now
	b, info, err := Stage(nil, clientBatch(tl.t, allCodecs[tl.rng.IntN(len(allCodecs))], records...), p)
	tl.must(err)
	base, end, err := tl.staging.Append(b, tl.epoch)
	tl.must(err)
	tl.s.Fence(end, info.IDs)
	tl.pad(base)
	tl.log = append(tl.log, all...)
	tl.retell()
}

func (tl *tale) anID() string { return fmt.Sprintf("id-%d", tl.rng.IntN(8)) }

// pad makes tl.log reach to an offset: settlements and commands lie between.
func (tl *tale) pad(to Offset) {
	for Offset(len(tl.log)) < to {
		tl.log = append(tl.log, nil)
	}
}

// retell goes through what the staging log has, from its beginning.
func (tl *tale) retell() {
	clear(tl.byName)
	held := map[string]*asked{}
	for _, a := range tl.log {
		if a == nil {
			continue
		}
		a.forgetOrders()
		if a.ordered != nil {
			tl.obey(a.ordered, held)
			continue
		}
		a.killed = false
		tl.byName[a.value] = a
		if id := a.id + a.cancel; id != "" {
			if before := held[id]; before != nil {
				before.killed = true
			}
			delete(held, id)
			if a.id != "" {
				held[a.id] = a
			}
		}
	}
}

func (tl *tale) step() {
	defer tl.hear()
	switch p := tl.rng.IntN(120); {
	case p >= 116:
		tl.doubted = !tl.doubted && tl.rng.IntN(2) == 0
	case p >= 104:
		tl.orderRecord()
	case p >= 100:
		tl.orderPause()
	case p < 30:
		tl.write()
	case p < 50:
		tl.turn()
	case p < 62:
		if tl.rng.IntN(3) > 0 {
			tl.commit()
		} else { // what is delivered is on its way for longer
			end, err := tl.staging.Flush()
			tl.must(err)
			tl.s.Advance(end, 0)
		}
		tl.turn()
	case p < 80:
		tl.advance(UnixMs(tl.rng.IntN(250)))
	case p < 82:
		tl.clock.Set(tl.clock.Now().Add(-UnixMs(tl.rng.IntN(2500)).Sub(0)))
	case p < 84:
		tl.plain()
	case p < 88:
		tl.settle()
	case p < 91:
		tl.retain()
	case p < 92:
		tl.must(tl.s.Checkpoint(tl.rng.IntN(2) == 0))
	case p < 93:
		tl.commandErr = errDiskFull
	case p < 94:
		tl.deliverErr = errDiskFull
	case p < 97:
		tl.powerCut([]float64{0, 0.5, 1}[tl.rng.IntN(3)])
	case p < 98:
		tl.commit()
		tl.restart()
		tl.reopened()
	default:
		tl.rebuild()
	}
}

func (tl *tale) settle() {
	b, _, err := tl.s.Settle(tl.visible.FlushedEnd())
	tl.must(err)
	if b != nil {
		_, _, err = tl.staging.Append(b, tl.epoch)
		tl.must(err)
	}
}

// retain lets retention take what is settled.
func (tl *tale) retain() {
	tl.must(tl.visible.Roll())
	to := tl.s.SettledTo()
	if to <= tl.visible.Start() || to > tl.visible.FlushedEnd() {
		return
	}
	before := tl.read()
	tl.must(tl.visible.AdvanceStart(to))
	after := tl.read()
	for p, r := range before {
		if _, ok := after[p]; !ok {
			tl.aged[p] = r.value
			tl.count.aged++
		}
	}
}

// told is a delivery as a consumer reads it.
type told struct {
	value string
	due   UnixMs
}

// read returns all deliveries in the partition log.
func (tl *tale) read() map[Position]told {
	out := map[Position]told{}
	err := eachMarked(tl.visible, tl.visible.Start(), tl.visible.End(), func(b batch.Batch) error {
		records := readAll(tl.t, b)
		i := 0
		return EachDelivered(b, func(d Delivered) error {
			if _, twice := out[d.Position]; twice || tl.aged[d.Position] != "" {
				tl.t.Fatalf("position %s was delivered twice", d.Position)
			}
			out[d.Position] = told{records[i].value, d.Due}
			i++
			return nil
		})
	})
	tl.must(err)
	return out
}

// powerCut crashes. What was not flushed may be gone or not.
func (tl *tale) powerCut(keep float64) {
	tl.crash(keep, tl.rng)
	tl.count.crashes++
	tl.pad(tl.staging.End())
	tl.log = tl.log[:tl.staging.End()]
	tl.retell()
	tl.reopened()
}

func (tl *tale) rebuild() {
	tl.commit()
	tl.turn()
	tl.must(tl.s.Close())
	tl.must(tl.index.Drop(5))
	tl.openSchedule()
	tl.reopened()
	tl.count.rebuilds++
}

// judge checks everything at rest.
func (tl *tale) judge() {
	tl.t.Helper()
	now := tl.now()
	times := map[string]int{}
	shown := tl.read()
	for p, value := range tl.aged {
		shown[p] = told{value: value}
	}
	for p, r := range shown {
		times[r.value]++
		if tl.byName[r.value] == nil {
			tl.t.Fatalf("record %q at %s is not in the staging log", r.value, p)
		}
		for n := range p.Occurrence {
			if _, ok := shown[Position{p.Epoch, p.Offset, n}]; !ok {
				tl.t.Fatalf("record %q has occurrence %d and no %d", r.value, p.Occurrence, n)
			}
		}
	}
	pending := 0
	waits := map[Offset]*asked{}
	for o, a := range tl.log {
		if a == nil || a.cancel != "" || a.ordered != nil {
			continue
		}
		switch n := times[a.value]; {
		case a.every == 0 && n > 1, a.every > 0 && n > a.count:
			tl.t.Fatalf("record %q was delivered %d times", a.value, n)
		case a.killed || a.ended:
		case a.every > 0 && n < a.count && a.maybe && !tl.isPending(Offset(o)):
		case a.every > 0 && n == a.count:
			tl.count.repeated++
		case a.every > 0:
			pending++
			waits[Offset(o)] = a
			if n == 0 && a.due <= now && len(a.moves) == 0 {
				tl.t.Fatalf("record %q due %d was not delivered at %d", a.value, a.due, now)
			}
		case n == 1:
		case a.expire > 0 && a.expire < tl.latestMs:
			tl.count.expired++ // or it is about to be
			if a.due > now && tl.isPending(Offset(o)) {
				pending++
			}
		case a.due > now:
			pending++
			waits[Offset(o)] = a
		default:
			tl.t.Fatalf("record %q due %d was not delivered at %d", a.value, a.due, now)
		}
	}
	if got := tl.s.Pending(); got != int64(pending) {
		for _, e := range tl.dump() {
			if waits[e.Offset] == nil {
				tl.t.Errorf("the index has %+v, which does not wait: %+v", e, tl.log[e.Offset])
			}
			delete(waits, e.Offset)
		}
		for o, a := range waits {
			tl.t.Errorf("the index has not got %d: %+v", o, a)
		}
		tl.t.Fatalf("%d are pending, want %d", got, pending)
	}
	tl.checkIndex()
}

// isPending says whether the index has a record.
func (tl *tale) isPending(o Offset) (found bool) {
	for _, e := range tl.dump() {
		found = found || e.Offset == o
	}
	return found
}

func (tl *tale) rest() {
	tl.deliverErr, tl.commandErr, tl.doubted = nil, nil, false
	if tl.orders.wantsPause {
		tl.order(Command{Verb: VerbResume})
	}
	tl.advance(10_000) // past every retry
	tl.idle()
	tl.hear()
	tl.judge()
}

func TestRandomTermsHistories(t *testing.T) {
	seeds := []uint64{*termsSeed}
	if *termsSeed == 0 {
		seeds = nil
		for range *termsHistories {
			seeds = append(seeds, rand.Uint64()|1)
		}
	}
	var sum struct{ crashes, rebuilds, expired, repeated, aged, delivered int }
	orders := map[string]int{}
	for _, seed := range seeds {
		ok := t.Run("", func(t *testing.T) {
			t.Logf("seed %d (run it alone with -timer.terms.seed)", seed)
			tl := newTale(t, seed)
			for range 250 {
				tl.step()
				tl.latestMs = max(tl.latestMs, tl.now())
			}
			tl.latestMs = max(tl.latestMs, tl.now()+10_000)
			tl.rest()
			tl.clock.Set(max(tl.now(), tl.latestMs).Time())
			for range 8 { // every recurring record has its last delivery
				tl.latestMs = max(tl.latestMs, tl.now()+10_000)
				tl.rest()
			}
			if n := tl.s.Pending(); n != 0 {
				t.Fatalf("%d pending at the end", n)
			}
			sum.crashes += tl.count.crashes
			sum.rebuilds += tl.count.rebuilds
			sum.expired += tl.count.expired
			sum.repeated += tl.count.repeated
			sum.aged += tl.count.aged
			sum.delivered += len(tl.read())
			for what, n := range tl.orders.count {
				orders[what] += n
			}
		})
		if !ok {
			return
		}
	}
	t.Logf("%+v %v", sum, orders)
	for _, what := range allOrders {
		if *termsSeed == 0 && orders[what] < 4 {
			t.Errorf("%q happened %d times", what, orders[what])
		}
	}
	if *termsSeed == 0 && (sum.crashes < 300 || sum.expired < 50 || sum.repeated < 500 || sum.aged < 500) {
		t.Fatal("the histories were too quiet to mean anything")
	}
}
