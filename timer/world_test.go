package timer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/cockroachdb/pebble/v2"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// world is one partition over a file system in memory: two real logs, a real index, a schedule
// without a runner, and a clock that the test owns. It is its own sink.
type world struct {
	t     testing.TB
	fs    *vfs.Crash
	clock *clock.Manual
	opts  Options
	epoch batch.LeaderEpoch

	staging, visible *log.Log
	index            *PebbleIndex
	s                *Schedule

	deliverErr error // what the next Deliver returns, if not nil
	commandErr error // what the next Command returns, if not nil
	beforeSend func()
	onDeliver  func(d Delivered, value string) // instead of the check by due
	latestMs   UnixMs
	done       []Offset
	nextValue  int
	due        map[string]UnixMs // by value: everything staged
}

func newWorld(t testing.TB, opts Options) *world {
	t.Helper()
	w := &world{
		t: t, fs: vfs.NewCrash(1), clock: clock.NewManual(testNow.Time()), opts: opts,
		due: make(map[string]UnixMs),
	}
	w.open()
	t.Cleanup(func() { w.close() })
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// open opens everything, as a new leader.
func (w *world) open() {
	w.t.Helper()
	w.epoch++
	for _, dir := range []string{"/p", "/p/staging"} {
		w.must(w.fs.MkdirAll(dir, 0o755))
		w.must(w.fs.SyncDir(w.fs.PathDir(dir)))
	}
	var err error
	o := log.Options{FS: w.fs, Clock: w.clock, SegmentBytes: 64 << 10}
	w.visible, err = log.Open("/p", o)
	w.must(err)
	w.staging, err = log.Open("/p/staging", o)
	w.must(err)
	w.index, err = OpenIndex(w.fs, "/index", nil)
	w.must(err)
	w.openSchedule()
}

func (w *world) openSchedule() {
	w.t.Helper()
	o := w.opts
	o.Partition, o.Staging, o.Visible, o.Index = 5, w.staging, w.visible, w.index
	o.Clock, o.Sink, o.Manual = w.clock, w, true
	o.OnNowDone = func(done, _ Offset) { w.done = append(w.done, done) }
	if w.s != nil {
		o.LastDeliveryMs = w.s.LastDeliveryMs()
	}
	s, err := Open(o)
	w.must(err)
	w.s = s
}

func (w *world) close() {
	if w.s == nil {
		return
	}
	_ = w.s.Close()
	_ = w.index.Close()
	_ = w.staging.Close()
	_ = w.visible.Close()
}

// restart closes everything cleanly and opens it again.
func (w *world) restart() {
	w.t.Helper()
	w.must(w.s.Close())
	w.must(w.index.Close())
	w.must(w.staging.Close())
	w.must(w.visible.Close())
	w.open()
}

// crash cuts the power, keeping unsynced operations with the given probability, and opens again.
func (w *world) crash(keep float64, rng *rand.Rand) {
	w.t.Helper()
	w.fs = w.fs.Crash(keep, rng)
	w.open()
}

// Command appends a command.
func (w *world) Command(b batch.Batch) (Offset, error) {
	if err := w.commandErr; err != nil {
		w.commandErr = nil
		return 0, err
	}
	_, end, err := w.staging.Append(b, w.epoch)
	return end, err
}

// Deliver appends a delivery. None may be early, by the clock at this moment.
func (w *world) Deliver(b batch.Batch, allowed func() bool) (Offset, error) {
	if w.beforeSend != nil {
		w.beforeSend()
	}
	if !allowed() {
		return 0, ErrFenced
	}
	if err := w.deliverErr; err != nil {
		w.deliverErr = nil
		return 0, err
	}
	now := clock.ToMs(w.clock.Now())
	records := readAll(w.t, b)
	if w.onDeliver != nil {
		i := 0
		w.must(EachDelivered(b, func(d Delivered) error {
			w.onDeliver(d, records[i].value)
			i++
			return nil
		}))
	}
	for _, r := range records {
		if w.due[r.value] > now {
			w.t.Fatalf("record %s due %d is appended at %d", r.value, w.due[r.value], now)
		}
	}
	_, end, err := w.visible.Append(b, w.epoch)
	return end, err
}

// waiting is one record to be staged: how long it waits from now, in ms; none is a plain record.
const plainRecord UnixMs = -1 << 60

// stage appends one staged batch with a record for each wait, without making it durable.
func (w *world) stage(waits ...UnixMs) {
	w.t.Helper()
	w.stageIn(batch.None, waits...)
}

func (w *world) stageIn(c batch.Codec, waits ...UnixMs) {
	w.t.Helper()
	now := clock.ToMs(w.clock.Now())
	var records []clientRecord
	for _, wait := range waits {
		r := clientRecord{value: valueOf(w.nextValue)}
		w.nextValue++
		w.due[r.value] = now
		if wait != plainRecord {
			r.headers = []batch.Header{tsHeader(now + wait)}
			w.due[r.value] = now + wait
		}
		records = append(records, r)
	}
	p := plan()
	p.Now = now
	b, _, err := Stage(nil, clientBatch(w.t, c, records...), p)
	w.must(err)
	_, _, err = w.staging.Append(b, w.epoch)
	w.must(err)
}

func valueOf(n int) string { return strconv.Itoa(n) }

// plain appends a batch of a client to the partition log.
func (w *world) plain() {
	w.t.Helper()
	b := clientBatch(w.t, batch.None, clientRecord{value: "plain"})
	_, _, err := w.visible.Append(b, w.epoch)
	w.must(err)
}

// commit makes both logs durable and tells the schedule.
func (w *world) commit() {
	w.t.Helper()
	staging, err := w.staging.Flush()
	w.must(err)
	visible, err := w.visible.Flush()
	w.must(err)
	w.s.Advance(staging, visible)
}

// turn makes one turn.
func (w *world) turn() bool {
	w.t.Helper()
	worked, err := w.s.RunOnce()
	w.must(err)
	return worked
}

// idle commits and turns until nothing is left to do.
func (w *world) idle() {
	w.t.Helper()
	for i := 0; ; i++ {
		w.commit()
		if !w.turn() {
			return
		}
		if i > 10_000 {
			w.t.Fatal("the schedule never comes to rest")
		}
	}
}

// shown is a delivered record, as a consumer reads it.
type shown struct {
	value    string
	offset   Offset
	at       UnixMs // timestamp
	position Position
}

// delivered reads all deliveries of the partition log.
func (w *world) delivered() (out []shown) {
	w.t.Helper()
	err := eachMarked(w.visible, w.visible.Start(), w.visible.End(), func(b batch.Batch) error {
		records := readAll(w.t, b)
		i := 0
		return EachDelivered(b, func(d Delivered) error {
			out = append(out, shown{
				records[i].value, b.BaseOffset() + Offset(i), records[i].timestamp, d.Position,
			})
			i++
			return nil
		})
	})
	w.must(err)
	return out
}

// check demands that exactly what is due was delivered, each once, and nothing early.
func (w *world) check() {
	w.t.Helper()
	now := clock.ToMs(w.clock.Now())
	seen := make(map[string]int)
	for _, r := range w.delivered() {
		seen[r.value]++
		if seen[r.value] > 1 {
			w.t.Fatalf("record %s was delivered twice", r.value)
		}
		if w.due[r.value] > now {
			w.t.Fatalf("record %s due %d was delivered at %d", r.value, w.due[r.value], now)
		}
	}
	pending := 0
	for value, due := range w.due {
		if due > now {
			pending++
		} else if seen[value] == 0 {
			w.t.Fatalf("record %s due %d is not delivered at %d", value, due, now)
		}
	}
	if got := w.s.Pending(); got != int64(pending) {
		w.t.Fatalf("pending = %d, want %d", got, pending)
	}
}

// dump returns the schedule's index.
func (w *world) dump() (entries []Entry) {
	w.t.Helper()
	w.must(w.s.Dump(func(e Entry) bool { entries = append(entries, e); return true }))
	return entries
}

// checkIndex demands that the index is what a rebuild makes of the logs.
func (w *world) checkIndex() {
	w.t.Helper()
	got := w.dump()
	if n := w.s.Applied().Pending; n != int64(len(got)) {
		w.t.Fatalf("the index says %d are pending, it has %d entries", n, len(got))
	}
	low := w.s.Applied().Low
	if len(got) > 0 && got[0].Key.Less(low) {
		w.t.Fatalf("low bound %v is above the first entry %v", low, got[0].Key)
	}
	other := &world{
		t: w.t, fs: w.fs, clock: w.clock, opts: w.opts,
		staging: w.staging, visible: w.visible, index: w.index,
	}
	o := w.s.o
	o.Partition, o.Sink = 6, other
	w.must(w.index.Drop(6))
	s, err := Open(o)
	w.must(err)
	other.s = s
	if want := other.dump(); !slices.Equal(got, want) {
		w.t.Fatalf("index has %d entries, a rebuilt one %d: %v", len(got), len(want),
			firstDifference(got, want))
	}
	for _, space := range []byte{spaceNames, spacePlaces} {
		got, want := w.space(space, 5), w.space(space, 6)
		if !maps.Equal(got, want) {
			w.t.Fatalf("space %d of the index is %x, a rebuilt one %x", space, got, want)
		}
	}
	if got, want := w.s.Applied().Paused, s.Applied().Paused; got != want {
		w.t.Fatalf("paused is %v, a rebuild says %v", got, want)
	}
	w.must(w.index.Drop(6))
	for _, space := range []byte{spaceNames, spacePlaces, spaceApplied} {
		if left := w.space(space, 6); len(left) > 0 {
			w.t.Fatalf("a dropped partition has left %x in space %d", left, space)
		}
	}
}

// space returns what a space of the index has of a partition.
func (w *world) space(space byte, p PartitionNumber) map[string]string {
	w.t.Helper()
	out := map[string]string{}
	it, err := w.index.db.NewIter(&pebble.IterOptions{
		LowerBound: spaceKey(space, p), UpperBound: spaceKey(space, p+1),
	})
	w.must(err)
	for ok := it.First(); ok; ok = it.Next() {
		out[string(it.Key()[spaceKeyBytes:])] = string(it.Value())
	}
	w.must(it.Close())
	return out
}

// steer appends a batch of an operator's commands.
func (w *world) steer(commands ...Command) (*Steering, Offset) {
	w.t.Helper()
	b := BuildCommands(clock.ToMs(w.clock.Now()), commands)
	base, end, err := w.staging.Append(b, w.epoch)
	w.must(err)
	return w.s.Steered(base, end, commands), base
}

// outcomes returns what commands came to; nil if there is no answer yet.
func (w *world) outcomes(st *Steering) []Outcome {
	w.t.Helper()
	select {
	case <-st.Done():
	default:
		return nil
	}
	out, err := st.Wait(context.Background())
	w.must(err)
	return out
}

func firstDifference(got, want []Entry) string {
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			return fmt.Sprintf("entry %d is %+v, want %+v", i, got[i], want[i])
		}
	}
	return "one is a prefix of the other"
}

// advance moves the clock.
func (w *world) advance(ms UnixMs) { w.clock.Advance(ms.Sub(0)) }

var errDiskFull = fmt.Errorf("append: %w", log.ErrNoSpace)

var errBroken = errors.New("broken")
