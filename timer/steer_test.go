package timer

import (
	"errors"
	"slices"
	"testing"
)

// values returns what was delivered, in order.
func (w *world) values() (out []string) {
	for _, r := range w.delivered() {
		out = append(out, r.value)
	}
	return out
}

// settled gives the only answer to one batch after everything came to rest.
func (w *world) settled(commands ...Command) Outcome {
	w.t.Helper()
	st, _ := w.steer(commands...)
	w.idle()
	out := w.outcomes(st)
	if len(out) != len(commands) {
		w.t.Fatalf("%d commands have %d outcomes", len(commands), len(out))
	}
	return out[0]
}

func TestSteerCancelsAndMovesPlainRecords(t *testing.T) {
	w := newWorld(t, Options{})
	w.onDeliver = func(Delivered, string) {}
	w.stage2(1000, 2000, 3000, 4000)
	w.idle()
	e := w.dump()
	if got := w.settled(Command{Verb: VerbCancel, Key: e[0].Key}); got != OutcomeDone {
		t.Fatalf("cancel: %v", got)
	}
	if got := w.settled(Command{Verb: VerbCancel, Key: e[0].Key}); got != OutcomeNotPending {
		t.Fatalf("a second cancel: %v", got)
	}
	now := testNow
	moves := []Command{
		{Verb: VerbMove, Key: e[1].Key, Due: now + 5000}, {Verb: VerbMove, Key: e[3].Key, Due: now},
	}
	if got := w.settled(moves...); got != OutcomeDone {
		t.Fatalf("move: %v", got)
	}
	if got := w.settled(moves...); got != OutcomeNotPending {
		t.Fatalf("the same move again: %v", got)
	}
	if got := w.values(); !slices.Equal(got, []string{"3"}) {
		t.Fatalf("delivered %v", got)
	}
	w.checkIndex()
	w.restart()
	w.checkIndex()
	w.advance(4999)
	w.idle()
	if got := w.values(); !slices.Equal(got, []string{"3", "2"}) {
		t.Fatalf("delivered %v", got)
	}
	w.advance(1)
	w.idle()
	if got := w.values(); !slices.Equal(got, []string{"3", "2", "1"}) {
		t.Fatalf("delivered %v", got)
	}
	if s := w.s.Stats(); s.Pending != 0 || len(w.dump()) != 0 || len(w.space(spacePlaces, 5)) != 0 {
		t.Fatalf("stats %+v, index %v, places %x", s, w.dump(), w.space(spacePlaces, 5))
	}
}

// The command is appended while a delivery with the record is being built: the sink sees it.
func TestSteerIsFencedLikeACancel(t *testing.T) {
	w := newWorld(t, Options{})
	w.stage(100, 100, 100)
	w.idle()
	e := w.dump()
	delete(w.due, "1")
	w.advance(100)
	var st *Steering
	w.beforeSend = func() {
		if st == nil {
			st, _ = w.steer(Command{Verb: VerbCancel, Key: e[1].Key})
		}
	}
	for w.turn() {
	}
	if got := w.values(); !slices.Equal(got, []string{"0", "2"}) {
		t.Fatalf("delivered %v", got)
	}
	w.idle()
	if got := w.outcomes(st); !slices.Equal(got, []Outcome{OutcomeDone}) {
		t.Fatalf("outcome %v", got)
	}
	w.check()
	w.checkIndex()
}

// A record on its way to the partition log stays there, unless a crash takes the delivery back: then
// the command counts.
func TestSteerOfWhatIsOnItsWay(t *testing.T) {
	for _, verb := range []Verb{VerbCancel, VerbMove} {
		for _, lost := range []bool{false, true} {
			t.Run(verb.String(), func(t *testing.T) {
				w := newWorld(t, Options{})
				w.due = nil
				w.onDeliver = func(Delivered, string) {}
				w.stage2(100, 100)
				w.idle()
				e := w.dump()
				w.advance(100)
				for w.turn() {
				}
				st, _ := w.steer(Command{Verb: verb, Key: e[0].Key, Due: testNow + 500})
				end, err := w.staging.Flush()
				w.must(err)
				w.s.Advance(end, 0)
				for w.turn() {
				}
				if got := w.outcomes(st); !slices.Equal(got, []Outcome{OutcomeDelivering}) {
					t.Fatalf("outcome %v", got)
				}
				want := []string{"0", "1"}
				if lost {
					w.must(w.s.Checkpoint(true))
					w.crash(0, nil)
					w.idle()
					want = []string{"1"}
				} else {
					w.idle()
				}
				if got := w.values(); !slices.Equal(got, want) {
					t.Fatalf("delivered %v, want %v", got, want)
				}
				w.checkIndex()
				if verb == VerbMove {
					w.advance(500)
					w.idle()
					if got := w.values(); len(got) != 2 {
						t.Fatalf("delivered %v", got)
					}
				}
				if n := w.s.Pending(); n != 0 || len(w.dump()) != 0 {
					t.Fatalf("%d pending, index %v", n, w.dump())
				}
				w.checkIndex()
			})
		}
	}
}

// More comes due during a pause than the window holds: the schedule follows to the end of it.
func TestPauseHoldsEverythingBackAndSurvives(t *testing.T) {
	w := newWorld(t, Options{NearMax: 16})
	w.stage(10, 20, 30)
	w.idle()
	if got := w.settled(Command{Verb: VerbPause}); got != OutcomeDone || !w.s.Stats().Paused {
		t.Fatalf("pause: %v", got)
	}
	for range 10 {
		w.stage(0, 5, 10, 15, plainRecord)
		w.idle()
		if done, end := w.s.NowDone(), w.staging.End(); done != end {
			t.Fatalf("producers wait for %d of %d", done, end)
		}
	}
	w.advance(1000)
	w.idle()
	w.checkIndex()
	if at := w.s.wakeAt(); at != never {
		t.Fatalf("a paused schedule wakes at %d", at)
	}
	w.restart()
	w.idle()
	w.must(w.s.Close())
	w.must(w.index.Drop(5))
	w.openSchedule()
	w.idle()
	if got := w.values(); len(got) > 0 {
		t.Fatalf("delivered %v", got)
	}
	w.crash(0, nil)
	w.idle()
	if got := w.values(); len(got) > 0 || !w.s.Stats().Paused {
		t.Fatalf("delivered %v", got)
	}
	w.settled(Command{Verb: VerbResume})
	w.check()
	w.checkIndex()
}

// A record that was due at its append is moved: its producer does not wait for it any more.
func TestMoveOfADueNowRecordFreesItsProducer(t *testing.T) {
	w := newWorld(t, Options{})
	w.due = nil
	w.onDeliver = func(Delivered, string) {}
	w.stage2(0, 0)
	w.deliverErr = errDiskFull
	w.commit()
	w.turn()
	e := w.dump()
	w.steer(
		Command{Verb: VerbMove, Key: e[0].Key, Due: testNow + 100_000},
		Command{Verb: VerbCancel, Key: e[1].Key},
	)
	w.deliverErr = errDiskFull
	w.idle()
	if done := w.s.NowDone(); done != w.staging.End() {
		t.Fatalf("NowDone is %d, want %d", done, w.staging.End())
	}
	w.checkIndex()
}

func TestSteeringEndsWithTheSchedule(t *testing.T) {
	w := newWorld(t, Options{})
	st, _ := w.steer(Command{Verb: VerbPause})
	w.must(w.s.Close())
	if _, err := st.Wait(t.Context()); !errors.Is(err, ErrClosed) {
		t.Fatalf("answer %v", err)
	}
	if _, err := w.s.Steered(9, 9, nil).Wait(t.Context()); !errors.Is(err, ErrClosed) {
		t.Fatalf("answer %v", err)
	}
	w.openSchedule()
}

// stage2 is stage for a test that does not use the world's own check.
func (w *world) stage2(waits ...UnixMs) {
	w.due = map[string]UnixMs{}
	w.stage(waits...)
	w.due = nil
}
