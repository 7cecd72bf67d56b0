package timer

import (
	"fmt"
	"testing"

	"github.com/chronosdb/chronosdb/log/batch"
)

// stageWith stages records with headers, in one batch.
func (w *world) stageWith(now UnixMs, records ...clientRecord) {
	w.t.Helper()
	p := plan()
	p.Now = now
	b, info, err := Stage(nil, clientBatch(w.t, batch.None, records...), p)
	w.must(err)
	_, end, err := w.staging.Append(b, w.epoch)
	w.must(err)
	w.s.Fence(end, info.IDs)
}

// TestLimboThatIsFullLetsGo: more records that recur, or have expired, are due at once than memory
// has room for. What they wait for lies behind others in the staging log.
func TestLimboThatIsFullLetsGo(t *testing.T) {
	for _, expire := range []bool{false, true} {
		t.Run(fmt.Sprint(expire), func(t *testing.T) {
			w := newWorld(t, Options{NearMax: 16})
			w.onDeliver = func(Delivered, string) {}
			var records []clientRecord
			for i := range 64 {
				headers := []batch.Header{tsHeader(testNow + 100), header(batch.HeaderScheduleEvery, "60000")}
				if expire {
					headers[1] = header(batch.HeaderScheduleExpireTs, fmt.Sprint(int64(testNow+101)))
				}
				records = append(records, clientRecord{value: fmt.Sprint(i), headers: headers})
			}
			w.stageWith(testNow, records...)
			w.idle()
			w.advance(100)
			if expire {
				w.advance(1000)
			}
			w.idle()
			if at := w.s.Applied().Staging; at != w.staging.End() {
				t.Errorf("it follows to %d of %d", at, w.staging.End())
			}
			if n := w.s.Stats().Expired + int64(len(w.delivered())); n != 64 {
				t.Errorf("%d were delivered or have expired", n)
			}
		})
	}
}

// TestAFencedRecordIsNotLoadedAgain: the clock steps back while a record waits for the command that
// an operator has given for it.
func TestAFencedRecordIsNotLoadedAgain(t *testing.T) {
	for _, verb := range []Verb{VerbCancel, VerbMove} {
		t.Run(verb.String(), func(t *testing.T) {
			w := newWorld(t, Options{})
			w.onDeliver = func(Delivered, string) {}
			w.stage(3000)
			w.idle()
			e := w.dump()
			w.advance(3000)
			w.steer(Command{Verb: verb, Key: e[0].Key, Due: testNow + 20_000})
			for w.turn() { // into limbo: the command is not durable yet
			}
			w.clock.Set((testNow + 1000).Time())
			for w.turn() {
			}
			w.idle()
			w.advance(2000)
			w.idle()
			if n := len(w.delivered()); n != 0 {
				t.Errorf("%d delivered at the old time", n)
			}
			w.advance(30_000)
			w.idle()
			want := 0
			if verb == VerbMove {
				want = 1
			}
			if n := len(w.delivered()); n != want || w.s.Pending() != 0 {
				t.Errorf("%d delivered in all, %d pending", n, w.s.Pending())
			}
		})
	}
}

// TestExpiryGoesByTheClock: a delivery was made while the clock was ahead. The next ones have its
// timestamp, and no record expires by that.
func TestExpiryGoesByTheClock(t *testing.T) {
	w := newWorld(t, Options{})
	w.onDeliver = func(Delivered, string) {}
	w.stage(3_600_000)
	w.idle()
	w.advance(3_600_000)
	w.idle()
	w.clock.Set(testNow.Time())
	w.stageWith(testNow, clientRecord{value: "x", headers: []batch.Header{
		tsHeader(testNow + 1000), header(batch.HeaderScheduleExpireTs, fmt.Sprint(int64(testNow+600_000))),
	}})
	w.idle()
	w.advance(1000)
	w.idle()
	if n := len(w.delivered()); n != 2 || w.s.Stats().Expired != 0 {
		t.Errorf("%d delivered, %d expired", n, w.s.Stats().Expired)
	}
}
