package timer

import (
	"flag"
	"math/rand/v2"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/clock"
)

var crashSeed = flag.Uint64("timer.seed", 0, "seed of the one random history to run; 0 runs many")

// story is a random history of one partition with restarts, power cuts, retention and clock steps.
// It keeps for itself what was acknowledged.
type story struct {
	*world
	rng *rand.Rand

	durable   map[string]UnixMs // staged and flushed: must be delivered once
	staged    map[string]UnixMs // staged, not flushed: may be lost by a crash
	aged      map[string]bool   // deliveries that retention took away
	crashes   int
	rebuilds  int
	agedTimes int
}

func newStory(t *testing.T, seed uint64) *story {
	rng := rand.New(rand.NewPCG(seed, 99))
	nearMax := []int{0, 50, 500}[rng.IntN(3)]
	return &story{
		world: newWorld(t, Options{NearMax: nearMax}), rng: rng,
		durable: make(map[string]UnixMs), staged: make(map[string]UnixMs),
		aged: make(map[string]bool),
	}
}

// step makes one random step.
func (s *story) step() {
	switch p := s.rng.IntN(100); {
	case p < 30:
		s.write()
	case p < 45:
		s.turn()
	case p < 60:
		s.flush()
	case p < 80:
		s.advance(UnixMs(s.rng.IntN(200)))
	case p < 83:
		s.clock.Set(s.clock.Now().Add(-UnixMs(s.rng.IntN(3000)).Sub(0)))
	case p < 85:
		s.plain()
	case p < 90:
		s.settle()
	case p < 94:
		s.retain()
	case p < 95:
		s.must(s.s.Checkpoint(s.rng.IntN(2) == 0))
	case p < 97:
		s.powerCut([]float64{0, 0.5, 1}[s.rng.IntN(3)])
	case p < 98:
		s.flush()
		s.restart()
		s.checkNowDone()
	default:
		s.rebuildIndex()
	}
}

func (s *story) write() {
	waits := make([]UnixMs, 1+s.rng.IntN(20))
	for i := range waits {
		switch s.rng.IntN(5) {
		case 0:
			waits[i] = plainRecord
		case 1:
			waits[i] = -UnixMs(s.rng.IntN(1000))
		case 2:
			waits[i] = UnixMs(s.rng.IntN(200_000))
		default:
			waits[i] = UnixMs(s.rng.IntN(1000))
		}
	}
	now := clock.ToMs(s.clock.Now())
	first := s.nextValue
	s.stageIn(allCodecs[s.rng.IntN(len(allCodecs))], waits...)
	for v := first; v < s.nextValue; v++ {
		s.staged[valueOf(v)] = max(s.due[valueOf(v)], now) // A past time is due now.
	}
}

// flush makes both logs durable, with turns in between.
func (s *story) flush() {
	s.commit()
	s.acknowledge()
	s.turn()
}

// acknowledge takes what was staged as durable.
func (s *story) acknowledge() {
	for v, due := range s.staged {
		s.durable[v] = due
	}
	clear(s.staged)
}

func (s *story) settle() {
	b, _, err := s.s.Settle(s.visible.FlushedEnd())
	s.must(err)
	if b != nil {
		_, _, err = s.staging.Append(b, s.epoch)
		s.must(err)
	}
}

// retain lets retention take what is settled, to whole segments.
func (s *story) retain() {
	s.must(s.visible.Roll())
	to := s.s.SettledTo()
	if to <= s.visible.Start() || to > s.visible.FlushedEnd() {
		return
	}
	before := make(map[string]bool)
	for _, r := range s.delivered() {
		before[r.value] = true
	}
	s.must(s.visible.AdvanceStart(to))
	for _, r := range s.delivered() {
		delete(before, r.value)
	}
	for v := range before {
		if s.aged[v] {
			s.t.Fatalf("record %s was delivered again after its delivery aged out", v)
		}
		s.aged[v] = true
	}
	s.agedTimes++
}

// powerCut crashes. What was staged and not flushed may be gone or not.
func (s *story) powerCut(keep float64) {
	s.crash(keep, s.rng)
	s.crashes++
	kept := make(map[string]bool)
	err := s.staging.Batches(s.staging.Start(), s.staging.End(), func(b batch.Batch) error {
		if b.Kind() == batch.KindStaged {
			for _, r := range readAll(s.t, b) {
				kept[r.value] = true
			}
		}
		return nil
	})
	s.must(err)
	for v := range s.staged {
		if !kept[v] {
			delete(s.due, v)
			delete(s.staged, v)
		}
	}
	s.acknowledge()
	for v := range s.durable {
		if !kept[v] {
			s.t.Fatalf("acknowledged record %s is lost", v)
		}
	}
	s.checkNowDone()
}

// rebuildIndex loses the index.
func (s *story) rebuildIndex() {
	s.flush()
	s.must(s.s.Close())
	s.must(s.index.Drop(5))
	s.openSchedule()
	s.rebuilds++
	s.checkNowDone()
}

func (s *story) lastDue() (last UnixMs) {
	for _, due := range s.durable {
		last = max(last, due)
	}
	return last
}

// checkNowDone demands that what was due at its append is delivered below NowDone, and that NowDone
// stops only at what is not.
func (s *story) checkNowDone() {
	shown := make(map[Position]bool)
	for _, r := range s.delivered() {
		shown[r.position] = true
	}
	owes, done := Offset(-1), s.s.NowDone()
	err := s.staging.Batches(s.staging.Start(), s.s.Applied().Staging, func(b batch.Batch) error {
		if b.Kind() != batch.KindStaged {
			return nil
		}
		entries, _, err := appendEntries(nil, b)
		for i, r := range readAll(s.t, b) {
			e := entries[i]
			if !e.Flags.has(EntryDueNow) || shown[e.Position] || s.aged[r.value] {
				continue
			}
			if e.Offset < done {
				s.t.Fatalf("NowDone is %d, %s was due at its append and is not delivered", done,
					e.Position)
			}
			if owes < 0 {
				owes = e.base()
			}
		}
		return err
	})
	s.must(err)
	if owes >= 0 && done < owes {
		s.t.Fatalf("NowDone is %d, the first batch that owes is %d", done, owes)
	}
}

// judge checks everything at rest: each durable record that is due was delivered once, nothing else
// was, and the index is what a rebuild makes.
func (s *story) judge() {
	now := clock.ToMs(s.clock.Now())
	seen := make(map[string]bool)
	for _, r := range s.delivered() {
		if seen[r.value] || s.aged[r.value] {
			s.t.Fatalf("record %s was delivered twice", r.value)
		}
		seen[r.value] = true
		if _, ok := s.durable[r.value]; !ok {
			s.t.Fatalf("record %s was delivered and never acknowledged", r.value)
		}
	}
	for v, due := range s.durable {
		if due <= now && !seen[v] && !s.aged[v] {
			s.t.Fatalf("record %s due %d is not delivered at %d", v, due, now)
		}
	}
	s.checkNowDone()
	s.checkIndex()
}

func TestRandomHistories(t *testing.T) {
	seeds := []uint64{*crashSeed}
	if *crashSeed == 0 {
		seeds = nil
		for range 60 {
			seeds = append(seeds, rand.Uint64())
		}
	}
	var crashes, rebuilds, aged, delivered int
	for _, seed := range seeds {
		ok := t.Run("", func(t *testing.T) {
			t.Logf("seed %d (run it alone with -timer.seed)", seed)
			s := newStory(t, seed)
			for range 300 {
				s.step()
			}
			s.flush()
			s.idle()
			s.judge()
			s.clock.Set(max(clock.ToMs(s.clock.Now()), s.lastDue()).Time())
			s.idle()
			s.judge()
			if n := s.s.Pending(); n != 0 {
				t.Fatalf("%d pending at the end", n)
			}
			crashes += s.crashes
			rebuilds += s.rebuilds
			aged += len(s.aged)
			delivered += len(s.durable)
		})
		if !ok {
			return
		}
	}
	t.Logf("%d crashes, %d rebuilds, %d delivered, %d of them aged out", crashes, rebuilds,
		delivered, aged)
	if *crashSeed == 0 && (crashes < 100 || aged < 1000 || delivered < 20_000) {
		t.Fatal("the histories were too quiet to mean anything")
	}
}
