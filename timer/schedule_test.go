package timer

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/timer/clock"
)

func TestOneMillisecondBeforeNothingAtDueEverything(t *testing.T) {
	w := newWorld(t, Options{})
	w.stage(5000, 5000, 5000)
	w.stage(5000)
	w.idle()
	w.advance(4999)
	w.idle()
	if got := w.delivered(); len(got) != 0 {
		t.Fatalf("delivered early: %v", got)
	}
	w.check()
	w.advance(1)
	w.idle()
	w.check()
	if got := len(w.delivered()); got != 4 {
		t.Fatalf("%d delivered", got)
	}
	if s := w.s.Stats(); s.Delivered != 4 || s.InFlight != 0 || s.Pending != 0 || s.HasNext {
		t.Fatalf("stats %+v", s)
	}
	w.checkIndex()
}

func TestNothingIsDeliveredBeforeItsStagingIsDurable(t *testing.T) {
	w := newWorld(t, Options{})
	w.stage(0, plainRecord)
	for w.turn() {
	}
	if got := w.delivered(); len(got) != 0 {
		t.Fatalf("delivered %v from an unflushed staging log", got)
	}
	w.idle()
	w.check()
}

// The durable index must not know more than the logs are sure to keep: what is delivered but not
// below the high watermark stays in it, and is not delivered again meanwhile.
func TestTheIndexFollowsTheHighWatermarksOnly(t *testing.T) {
	w := newWorld(t, Options{})
	w.stage(10, 20)
	for w.turn() {
	}
	if a := w.s.Applied(); a.Staging != 0 || len(w.dump()) != 0 {
		t.Fatalf("index has %d entries of an unflushed staging log, applied %+v", len(w.dump()), a)
	}
	w.commit()
	for w.turn() {
	}
	w.advance(10)
	for w.turn() {
	}
	if got := len(w.delivered()); got != 1 {
		t.Fatalf("%d delivered", got)
	}
	if a := w.s.Applied(); a.Visible != 0 || len(w.dump()) != 2 {
		t.Fatalf("index has %d entries with an unflushed delivery, applied %+v", len(w.dump()), a)
	}
	if w.s.Pending() != 1 {
		t.Fatalf("pending = %d", w.s.Pending())
	}
	w.idle()
	if a := w.s.Applied(); a.Visible != 1 || len(w.dump()) != 1 {
		t.Fatalf("index has %d entries, applied %+v", len(w.dump()), a)
	}
	w.check()
}

func TestClockSteppedBackWhileArmed(t *testing.T) {
	for _, step := range []UnixMs{1, 700, 3_600_000} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			w := newWorld(t, Options{})
			w.stage(100, 200, 300, plainRecord)
			w.idle()
			w.advance(150)
			w.idle()
			now := clock.ToMs(w.clock.Now())
			w.stage(0, plainRecord, 10)
			w.clock.Set((now - step).Time())
			w.idle()
			for _, r := range w.delivered() {
				if w.due[r.value] > now {
					t.Fatalf("record %s due %d was delivered at %d", r.value, w.due[r.value],
						now-step)
				}
			}
			w.clock.Set((now + 149).Time())
			w.idle()
			w.check()
			w.clock.Set((now + 150).Time())
			w.idle()
			w.check()
			w.checkIndex()
		})
	}
}

// The clock steps back between the turn's first look at it and the append.
func TestClockSteppedBackJustBeforeTheAppend(t *testing.T) {
	w := newWorld(t, Options{})
	w.stage(100)
	w.idle()
	w.advance(100)
	w.opts.Codec = nil
	w.s.o.Codec = func() (batch.Codec, batch.Level, bool) {
		w.clock.Set((testNow + 99).Time())
		return batch.None, 0, true
	}
	w.idle()
	if got := w.delivered(); len(got) != 0 || w.s.Stats().HeldBack != 1 {
		t.Fatalf("delivered %v, held back %d", got, w.s.Stats().HeldBack)
	}
	w.s.o.Codec = func() (batch.Codec, batch.Level, bool) { return batch.None, 0, true }
	w.advance(1)
	w.idle()
	w.check()
}

func TestDeliveryOrderIsDueThenPosition(t *testing.T) {
	w := newWorld(t, Options{})
	w.stage(30, 10, 20, 10)
	w.stage(20, 10, 5)
	w.idle()
	w.advance(30)
	w.idle()
	w.check()
	var last Key
	for i, r := range w.delivered() {
		k := Key{w.due[r.value], r.position}
		if i > 0 && k.Less(last) {
			t.Fatalf("%v was delivered after %v", k, last)
		}
		last = k
	}
}

func TestDeliveryTimestampsNeverGoBack(t *testing.T) {
	w := newWorld(t, Options{LastDeliveryMs: testNow + 50})
	w.stage(10, 60)
	w.idle()
	w.advance(10)
	w.idle()
	w.advance(50)
	w.idle()
	got := w.delivered()
	if len(got) != 2 || got[0].at != testNow+50 || got[1].at != testNow+60 {
		t.Fatalf("delivered %+v", got)
	}
	if w.s.LastDeliveryMs() != testNow+60 {
		t.Fatalf("last delivery %d", w.s.LastDeliveryMs())
	}
}

func TestAFullDiskLeavesRecordsArmed(t *testing.T) {
	w := newWorld(t, Options{})
	w.stage(10)
	w.idle()
	w.advance(10)
	w.deliverErr = errDiskFull
	w.idle()
	w.idle() // no retry before its time
	if s := w.s.Stats(); s.Retries != 1 || s.Delivered != 0 || s.Pending != 1 {
		t.Fatalf("stats %+v", s)
	}
	if got := w.s.wakeAt(); got != testNow+10+retryFirstMs {
		t.Fatalf("wakes at %d", got)
	}
	w.advance(retryFirstMs)
	w.deliverErr = errDiskFull
	w.idle()
	if got := w.s.wakeAt(); got != testNow+10+3*retryFirstMs {
		t.Fatalf("wakes at %d", got)
	}
	w.advance(2 * retryFirstMs)
	w.idle()
	w.check()
}

func TestAnyOtherDeliveryErrorIsFinal(t *testing.T) {
	w := newWorld(t, Options{})
	w.stage(0)
	w.commit()
	w.deliverErr = errBroken
	if _, err := w.s.RunOnce(); !errors.Is(err, errBroken) {
		t.Fatalf("err = %v", err)
	}
	if _, err := w.s.RunOnce(); !errors.Is(err, errBroken) {
		t.Fatalf("the next turn: err = %v", err)
	}
}

func TestNowDoneWaitsForWhatIsOwed(t *testing.T) {
	w := newWorld(t, Options{})
	w.stage(1000)           // 0: later
	w.stage(0, plainRecord) // 1, 2: now
	w.deliverErr = errDiskFull
	w.commit()
	w.turn()
	if got := w.s.NowDone(); got != 1 {
		t.Fatalf("NowDone = %d while the batch at 1 is not delivered", got)
	}
	w.stage(plainRecord) // 3
	w.idle()
	if got := w.s.NowDone(); got != 1 {
		t.Fatalf("NowDone = %d", got)
	}
	w.advance(retryFirstMs)
	w.turn()
	if got := w.s.NowDone(); got != 4 {
		t.Fatalf("NowDone = %d", got)
	}
	if last := w.done[len(w.done)-1]; last != 4 {
		t.Fatalf("OnNowDone heard %v", w.done)
	}
}

// Records that were due at their append are owed even if the clock steps back behind them.
func TestNowDoneDoesNotPassRecordsThatTheClockHoldsBack(t *testing.T) {
	w := newWorld(t, Options{})
	w.idle()
	w.advance(10)
	w.idle()
	w.stage(plainRecord)
	w.clock.Set((testNow + 9).Time())
	w.idle()
	if got := w.s.NowDone(); got != 0 || len(w.delivered()) != 0 {
		t.Fatalf("NowDone = %d, delivered %v", got, w.delivered())
	}
	w.advance(1)
	w.idle()
	if got := w.s.NowDone(); got != 1 {
		t.Fatalf("NowDone = %d", got)
	}
}

func TestNowDoneAfterARestart(t *testing.T) {
	w := newWorld(t, Options{})
	w.stage(plainRecord, 60_000)
	_, err := w.staging.Flush()
	w.must(err)
	w.crash(0, rand.New(rand.NewPCG(1, 1)))
	if got := w.s.NowDone(); got != 0 {
		t.Fatalf("NowDone = %d before the first turn", got)
	}
	w.idle()
	if got := w.s.NowDone(); got != 2 {
		t.Fatalf("NowDone = %d", got)
	}
	w.restart()
	w.idle()
	if got := w.s.NowDone(); got != 2 {
		t.Fatalf("NowDone = %d after a restart with nothing due", got)
	}
}

// What is owed is found again exactly, whatever the clock did in between and however much the index
// had written out: neither an overdue backlog nor a clock that stepped back hides or invents it.
func TestNowDoneAfterAPowerCut(t *testing.T) {
	for _, checkpoint := range []int{0, 1, 2, 3} {
		w := newWorld(t, Options{})
		full := true
		w.beforeSend = func() {
			if full {
				w.deliverErr = errDiskFull
			}
		}
		mark := func(n int) {
			if checkpoint == n {
				w.idle()
				w.must(w.s.Checkpoint(true))
			}
		}
		w.stage(50_000, -5) // 0, 1: the second is owed
		mark(1)
		w.advance(1)
		w.stage(plainRecord) // 2: owed
		mark(2)
		w.clock.Set((testNow - 10_000).Time())
		w.stage(60_000, 1) // 3, 4: not owed
		mark(3)
		_, err := w.staging.Flush()
		w.must(err)
		w.crash(0, rand.New(rand.NewPCG(1, 1)))
		if got := w.s.NowDone(); got != 0 {
			t.Fatalf("checkpoint %d: NowDone = %d while record 1 is owed", checkpoint, got)
		}
		full = false
		w.clock.Set(testNow.Time())
		w.idle()
		if got := w.s.NowDone(); got != 2 {
			t.Fatalf("checkpoint %d: NowDone = %d while record 2 is owed", checkpoint, got)
		}
		w.advance(1)
		w.turn() // delivers it, but not below the high watermark
		if got := w.s.NowDone(); got != 5 {
			t.Fatalf("checkpoint %d: NowDone = %d", checkpoint, got)
		}
		w.must(w.s.Checkpoint(true))
		w.crash(0, rand.New(rand.NewPCG(1, 1)))
		if got := w.s.NowDone(); got != 2 {
			t.Fatalf("checkpoint %d: NowDone = %d after the delivery was lost", checkpoint, got)
		}
		w.idle()
		w.must(w.s.Checkpoint(true))
		w.crash(0, rand.New(rand.NewPCG(1, 1)))
		if got := w.s.NowDone(); got != 5 {
			t.Fatalf("checkpoint %d: NowDone = %d with nothing owed", checkpoint, got)
		}
		w.idle()
		w.check()
	}
}

func TestOwedIsBounded(t *testing.T) {
	var o owed
	for i := range owedMax + 10 {
		o.add(Offset(i), 1)
	}
	if n := len(o.batches); n != owedMax {
		t.Fatalf("%d batches", n)
	}
	for i := range owedMax + 9 {
		o.paid(Offset(i))
		if got := o.done(1 << 40); got != min(Offset(i+1), owedMax-1) {
			t.Fatalf("after %d: done = %d", i, got)
		}
	}
	o.paid(owedMax + 9)
	if got := o.done(1 << 40); got != 1<<40 {
		t.Fatalf("done = %d with nothing owed", got)
	}
}

func TestSettlement(t *testing.T) {
	w := newWorld(t, Options{})
	w.plain()
	w.stage(10, 20, 60_000)
	w.idle()
	w.advance(20)
	w.turn()
	if b, _, err := w.s.Settle(w.visible.FlushedEnd()); err != nil || b != nil {
		t.Fatalf("a delivery in flight was settled: %v", err)
	}
	// Settle does not depend on a turn having seen the high watermark.
	end, err := w.visible.Flush()
	w.must(err)
	b, settledTo, err := w.s.Settle(end)
	if err != nil || b == nil || settledTo != end {
		t.Fatalf("Settle = %v, %d, %v", b, settledTo, err)
	}
	if got := w.s.SettledTo(); got != 1 {
		t.Fatalf("SettledTo = %d before the settlement is durable", got)
	}
	_, _, err = w.staging.Append(b, w.epoch)
	w.must(err)
	w.turn()
	if got := w.s.SettledTo(); got != 1 {
		t.Fatalf("SettledTo = %d before the settlement is durable", got)
	}
	w.idle()
	if got := w.s.SettledTo(); got != end {
		t.Fatalf("SettledTo = %d, want %d", got, end)
	}
	w.plain()
	w.idle()
	w.must(w.s.Checkpoint(false))
	b, settledTo, err = w.s.Settle(w.visible.End())
	if err != nil || b != nil || settledTo != end+1 {
		t.Fatalf("nothing to settle, but %v, %d, %v", b, settledTo, err)
	}
	if got := w.s.SettledTo(); got != end+1 {
		t.Fatalf("SettledTo = %d, want %d", got, end+1)
	}
	w.restart()
	if got := w.s.SettledTo(); got < end {
		t.Fatalf("SettledTo = %d after a restart, want %d", got, end)
	}
	w.checkIndex()
	w.idle()
	w.check()
}

// Retention takes deliveries away that the durable index does not know of: only the settlement
// tells that they were delivered.
func TestADeliveryThatAgedOutIsNotRepeated(t *testing.T) {
	for _, rebuild := range []bool{false, true} {
		w := newWorld(t, Options{})
		w.stage(10, 20, 60_000)
		w.idle()
		w.must(w.s.Checkpoint(true)) // the durable index has all three
		w.advance(20)
		w.idle()
		w.plain()
		w.idle()
		b, settledTo, err := w.s.Settle(w.visible.End())
		w.must(err)
		_, _, err = w.staging.Append(b, w.epoch)
		w.must(err)
		w.idle()
		if w.s.SettledTo() != settledTo || settledTo < 2 {
			t.Fatalf("settled to %d", w.s.SettledTo())
		}
		w.must(w.visible.Roll())
		w.plain()
		w.idle()
		w.must(w.visible.AdvanceStart(settledTo))
		if len(w.delivered()) != 0 {
			t.Fatal("retention left deliveries")
		}
		w.crash(0, rand.New(rand.NewPCG(1, 1)))
		if rebuild {
			w.must(w.index.Drop(5))
			w.openSchedule()
		}
		w.idle()
		if got := w.delivered(); len(got) != 0 {
			t.Fatalf("rebuild=%v: delivered again: %v", rebuild, got)
		}
		if w.s.Pending() != 1 {
			t.Fatalf("rebuild=%v: pending %d", rebuild, w.s.Pending())
		}
		w.checkIndex()
		w.advance(60_000)
		w.idle()
		if got := w.delivered(); len(got) != 1 {
			t.Fatalf("rebuild=%v: delivered %v", rebuild, got)
		}
	}
}

func TestTheNearWindowIsBounded(t *testing.T) {
	const nearMax = 1000
	w := newWorld(t, Options{NearMax: nearMax})
	rng := rand.New(rand.NewPCG(7, 7))
	waits := make([]UnixMs, 500)
	for range 40 {
		for i := range waits {
			waits[i] = 1 + UnixMs(rng.IntN(50_000))
		}
		w.stage(waits...)
		w.idle()
		if n := w.s.Stats().NearLength; n > nearMax {
			t.Fatalf("%d entries in memory", n)
		}
	}
	for i := range 100 {
		w.advance(500)
		w.idle()
		if i%20 == 0 {
			w.check()
		}
	}
	w.check()
	w.checkIndex()
}

func TestABurstInOneMillisecond(t *testing.T) {
	const nearMax, records = 1000, 10_000
	w := newWorld(t, Options{NearMax: nearMax})
	waits := make([]UnixMs, 100)
	for i := range waits {
		waits[i] = 70_000 // beyond the wheel at first
	}
	for range records / len(waits) {
		w.stage(waits...)
	}
	w.idle()
	w.advance(69_999)
	w.idle()
	w.check()
	w.advance(1)
	for w.s.Stats().Delivered < records {
		w.idle()
		if n := w.s.Stats().NearLength; n > 2*nearMax {
			t.Fatalf("%d entries in memory", n)
		}
	}
	w.check()
	w.checkIndex()
}

// While the disk is full, due records wait in the staging log once memory is full of them.
func TestAFullDiskBoundsMemory(t *testing.T) {
	const nearMax = 100
	w := newWorld(t, Options{NearMax: nearMax})
	full := true
	w.beforeSend = func() {
		if full {
			w.deliverErr = errDiskFull
		}
	}
	for range 50 {
		w.stage(0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		w.idle()
		w.advance(10)
		if n := w.s.Stats().NearLength; n > nearMax+10 {
			t.Fatalf("%d entries in memory", n)
		}
	}
	if w.s.Applied().Staging >= w.staging.End() {
		t.Fatal("the staging log was taken in whole")
	}
	full = false
	w.advance(retryMaxMs)
	w.idle()
	w.check()
}

func TestLatenessIsObservedAtTheHighWatermark(t *testing.T) {
	w := newWorld(t, Options{})
	w.stage(10, plainRecord)
	w.idle()
	w.advance(13)
	w.turn()
	w.advance(4)
	w.idle()
	s := w.s.Stats()
	if s.LatenessSumMs != 7 || s.LatenessCount[4] != 1 {
		t.Fatalf("lateness %v, sum %v", s.LatenessCount, s.LatenessSumMs)
	}
}

func TestNothingPendingNeedsNoTimer(t *testing.T) {
	w := newWorld(t, Options{})
	w.idle()
	if at := w.s.wakeAt(); at != never {
		t.Fatalf("wakes at %d with nothing pending", at)
	}
	w.stage(24 * 3_600_000)
	w.idle()
	day := testNow + 24*3_600_000
	if at := w.s.wakeAt(); at < day-WheelSlotsDefault || at > day {
		t.Fatalf("wakes at %d for a record due %d", at, day)
	}
	if due, ok := w.s.NextDue(); !ok || due != day {
		t.Fatalf("next due %d %v", due, ok)
	}
	w.advance(24 * 3_600_000)
	w.idle()
	if at := w.s.wakeAt(); at != never {
		t.Fatalf("wakes at %d with nothing pending", at)
	}
	w.check()
}

func TestTicksRoundWakesUp(t *testing.T) {
	w := newWorld(t, Options{TickMs: 50})
	w.stage(120)
	w.idle()
	if at := w.s.wakeAt(); at != testNow+150 {
		t.Fatalf("wakes at +%d", at-testNow)
	}
	w.advance(150)
	w.idle()
	w.check()
}

// The runner sleeps until the due time, delivers, and goes to sleep without a timer.
func TestRunner(t *testing.T) {
	w := newWorld(t, Options{})
	w.must(w.s.Close())
	o := w.s.o
	o.Manual = false
	sent := make(chan UnixMs, 1)
	w.beforeSend = func() { sent <- clock.ToMs(w.clock.Now()) }
	taken := make(chan Offset, 1)
	o.OnNowDone = func(done, _ Offset) { taken <- done }
	s, err := Open(o)
	w.must(err)
	w.s = s
	s.Start()
	w.stage(1000)
	w.commit()
	<-taken
	w.advance(999)
	w.advance(1)
	if at := <-sent; at != testNow+1000 {
		t.Fatalf("delivered at %d", at)
	}
	w.must(s.Close())
	if _, err := s.RunOnce(); !errors.Is(err, ErrClosed) {
		t.Fatalf("err = %v", err)
	}
}
