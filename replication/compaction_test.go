package replication

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// compacted makes the node's topic a compacted one.
func (n *node) compacted() {
	n.t.Helper()
	n.set(metadata.ConfigCleanupPolicy, "compact")
}

// keyedFrom builds a batch of one record of a producer, due after a delay if there is one.
func (n *node) keyedFrom(
	id batch.ProducerID, seq batch.Sequence, key, value string, delay *int,
) batch.Batch {
	n.t.Helper()
	now := clock.ToMs(n.clock.Now())
	o := batch.BuilderOptions{BaseTimestamp: now, ProducerID: id, BaseSequence: seq}
	if id < 0 {
		o = o.NoProducer()
	}
	b := batch.NewBuilder(o)
	f := batch.RecordFields{TimestampMs: now, Key: []byte(key)}
	if value != "" {
		f.Value = []byte(value)
	}
	if delay != nil {
		due := fmt.Sprint(int64(now) + int64(*delay))
		f.Headers = []batch.Header{{Key: "chronos-schedule-ts", Value: []byte(due)}}
	}
	if err := b.Append(f); err != nil {
		n.t.Fatal(err)
	}
	out, err := b.Build(nil)
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

var filler = strings.Repeat("x", 4000)

// fill appends records of few keys, several segments long, and returns what is left of them when
// only the last of each key is.
func (n *node) fill(rounds int) {
	n.t.Helper()
	for i := range rounds {
		for k := range 3 {
			n.append(n.keyedFrom(-1, -1, fmt.Sprint("k", k), fmt.Sprint(i, "/", k, filler), nil))
		}
		n.clock.Advance(time.Second)
	}
	n.idle()
}

// short is what consumers see, without the filler.
func (n *node) short() string {
	n.t.Helper()
	var out []string
	for _, v := range n.values() {
		out = append(out, strings.TrimSuffix(v, filler))
	}
	return strings.Join(out, " ")
}

func TestCompactionKeepsTheLastOfEachKey(t *testing.T) {
	n := startNode(t)
	n.fill(10)
	n.CompactAll()
	if n.Metrics().Compaction.Passes != 0 {
		t.Fatal("a topic that is only deleted from was compacted")
	}
	n.compacted()
	n.append(n.keyedFrom(-1, -1, "k0", "", nil)) // a tombstone, in the active segment
	n.idle()
	n.CompactAll()
	m := n.Metrics()
	if m.Compaction.Passes != 1 || m.Compaction.RemovedRecords == 0 || m.Compaction.ReadBytes == 0 {
		t.Fatalf("%+v", m.Compaction)
	}
	// The last of each key, and what the active segment holds.
	if got := n.short(); got != "8/1 8/2 9/0 9/1 9/2 " {
		t.Fatalf("consumers see %q", got)
	}
	seen := n.short()
	end := n.part().LogEnd()
	n.powerCut()
	if got := n.short(); got != seen || n.part().LogEnd() != end {
		t.Fatalf("after a power cut consumers see %q, before %q", got, seen)
	}
	n.CompactAll()
	if got := n.Metrics().Compaction.Passes; got != 0 {
		t.Errorf("%d passes with nothing new", got)
	}
	n.fill(10)
	n.CompactAll()
	if got := n.short(); strings.Count(got, "/") > 7 {
		t.Errorf("consumers see %q", got)
	}
}

func TestCompactionObeysTheRatio(t *testing.T) {
	n := startNode(t)
	n.compacted()
	n.set(metadata.ConfigMinCleanableRatio, "0.9")
	n.fill(10)
	n.CompactAll() // all is dirty
	if got := n.Metrics().Compaction.Passes; got != 1 {
		t.Fatalf("%d passes", got)
	}
	for i := range 20 { // other keys, so that the clean part is large
		n.append(n.keyedFrom(-1, -1, fmt.Sprint("other", i), filler, nil))
	}
	n.idle()
	n.set(metadata.ConfigMinCleanableRatio, "0")
	n.CompactAll()
	n.set(metadata.ConfigMinCleanableRatio, "0.9")
	before := n.Metrics().Compaction.Passes
	n.fill(4)
	n.CompactAll()
	if got := n.Metrics().Compaction.Passes; got != before {
		t.Errorf("%d passes, before %d, although little is dirty", got, before)
	}
	// But not for longer than that.
	n.set(metadata.ConfigMaxCompactionLag, "1000")
	n.clock.Advance(time.Hour)
	n.CompactAll()
	if got := n.Metrics().Compaction.Passes; got != before+1 {
		t.Errorf("%d passes, want %d, although the lag has passed", got, before+1)
	}
}

// TestCompactionKeepsWhatTheProducerWindowNeeds loses the snapshot of the window after a compaction
// that has removed all records of a producer's last batch.
func TestCompactionKeepsWhatTheProducerWindowNeeds(t *testing.T) {
	n := startNode(t)
	n.compacted()
	b := n.keyedFrom(5, 0, "k0", "from a producer", nil)
	n.append(b)
	n.fill(10)
	n.CompactAll()
	if got := n.short(); strings.Contains(got, "from a producer") {
		t.Fatalf("consumers see %q", got)
	}
	p := n.part()
	path := n.fs.PathJoin(p.dir, producerFile)
	n.restart()
	n.wantAck(n.append(b), 0)
	for _, wipe := range []bool{false, true} {
		if wipe {
			n.fs = n.fs.Crash(0, nil)
			if err := n.fs.Remove(path); err != nil {
				t.Fatal(err)
			}
			n.open()
		}
		n.wantAck(n.append(b), 0)
		gap := n.keyedFrom(5, 7, "k0", "gap", nil)
		if _, err := n.try(gap, nil); !errors.Is(err, ErrOutOfOrderSequence) {
			t.Fatalf("snapshot lost %v: a gap gave %v", wipe, err)
		}
	}
	n.append(n.keyedFrom(5, 1, "k9", "next", nil))
	n.idle()
	if got := n.short(); !strings.HasSuffix(got, "next") {
		t.Fatalf("consumers see %q", got)
	}
}

// TestDeleteRecordsOfACompactedTopic deletes up to every offset in turn, most of which compaction has
// taken, and compacts again between, until nothing is left.
func TestDeleteRecordsOfACompactedTopic(t *testing.T) {
	n := startNode(t)
	n.set(metadata.ConfigCleanupPolicy, "compact,delete")
	n.append(n.keyedFrom(5, 0, "once", "from a producer", nil))
	n.fill(8)
	n.append(n.keyedFrom(-1, -1, "other", "stays", nil))
	n.fill(8)
	n.CompactAll()
	if n.Metrics().Compaction.RemovedRecords < 20 {
		t.Fatalf("%+v", n.Metrics().Compaction)
	}
	left := map[batch.Offset]string{}
	var end batch.Offset
	see := func() {
		t.Helper()
		clear(left)
		end = n.part().LogEnd()
		err := n.part().ReadAll(n.part().LogStart(), func(b batch.Batch) error {
			r, err := batch.NewReader(b, 1<<20)
			if err != nil {
				return err
			}
			defer r.Close()
			for {
				rec, ok, err := r.Next()
				if err != nil || !ok {
					return err
				}
				left[b.BaseOffset()+batch.Offset(rec.OffsetDelta)] = strings.TrimSuffix(string(rec.Value), filler)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	see()
	for o := batch.Offset(1); o <= end; o++ {
		n.deleteBelow(o, o)
		if o%9 == 0 {
			n.powerCut()
		}
		if o == 20 {
			n.fill(8)
			n.CompactAll()
			see()
		}
		var want []string
		for at := o; at < end; at++ {
			if v, ok := left[at]; ok {
				want = append(want, v)
			}
		}
		if got := n.short(); got != strings.Join(want, " ") {
			t.Fatalf("from %d of %d on consumers see %q, want %q", o, end, got, want)
		}
	}
	n.fill(1)
	if got := strings.Count(n.short(), "/"); got != 3 {
		t.Errorf("consumers see %q", n.short())
	}
}

// TestCompactedDeliveriesStayDelivered compacts deliveries away and makes the schedule index anew.
func TestCompactedDeliveriesStayDelivered(t *testing.T) {
	n := startNode(t)
	n.compacted()
	for i := range 20 {
		n.append(n.keyedFrom(-1, -1, fmt.Sprint("k", i%2), "due"+filler, at(i)))
	}
	n.append(n.keyedFrom(-1, -1, "k9", "pending", at(100_000)))
	for range 20 {
		n.clock.Advance(time.Millisecond)
		n.idle()
	}
	n.fill(6)
	n.CompactAll()
	n.idle()
	if got := strings.Count(n.short(), "due"); got != 0 {
		t.Fatalf("%d deliveries are left, so the test shows little", got)
	}
	end := n.part().LogEnd()
	for _, wipe := range []bool{false, true} {
		n.fs = n.fs.Crash(0, nil)
		if wipe {
			if err := n.fs.RemoveAll("/data/index"); err != nil {
				t.Fatal(err)
			}
		}
		n.open()
		n.idle()
		if got := n.part().LogEnd(); got != end {
			t.Fatalf("index wiped %v: the log grew from %d to %d", wipe, end, got)
		}
		if err := n.CheckIndex("/scratch"); err != nil {
			t.Fatal(err)
		}
		if got := n.Metrics().Pending; got != 1 {
			t.Fatalf("index wiped %v: %d records are pending", wipe, got)
		}
	}
}

// TestCompactionWithoutFileHandles lacks what it must open, at one file after the other. It is put
// off each time, and the partition is served.
func TestCompactionWithoutFileHandles(t *testing.T) {
	for nth := 1; ; nth++ {
		n := startNode(t)
		n.compacted()
		n.fill(10)
		if err := n.Manager.Close(); err != nil {
			t.Fatal(err)
		}
		disk := vfs.NewFaulty(n.fs)
		var err error
		n.Manager, err = Open(Options{
			DataDir: "/data", FS: disk, Clock: n.clock, Manual: true,
			OnFailure: func(err error) { t.Errorf("without a handle for open %d: %v", nth, err) },
		})
		if err != nil {
			t.Fatal(err)
		}
		missed := false
		disk.Add(vfs.Fault{
			Op: vfs.OpOpen, Nth: nth, Times: 1, Err: unix.EMFILE, Before: func(string) { missed = true },
		})
		n.CompactAll()
		disk.Clear()
		n.CompactAll()
		if got := n.Metrics().Compaction.RemovedRecords; got == 0 {
			t.Errorf("open %d: nothing was removed later", nth)
		}
		n.fill(1)
		if got := n.short(); !strings.HasSuffix(got, "0/0 0/1 0/2") {
			t.Errorf("open %d: consumers see %q", nth, got)
		}
		if err := n.Manager.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() || !missed {
			t.Logf("%d opens", nth)
			return
		}
	}
}

// TestCleanerLooksAgain runs the cleaner's goroutine.
func TestCleanerLooksAgain(t *testing.T) {
	n := startNode(t)
	n.compacted()
	c := n.cleaner
	c.done.Go(c.run) // stopped and waited for by Close
	for i := range 3 {
		n.fill(10)
		n.clock.WaitArmed(1)
		n.clock.Advance(n.o.CompactionInterval)
		n.clock.WaitArmed(1) // it waits again, so it is through
		if got := n.Metrics().Compaction.Passes; got < int64(i)+1 {
			t.Fatalf("%d passes after look %d", got, i+1)
		}
	}
	n.restart()
}

// TestCloseEndsACompaction closes the partition, and the node, while it is compacted.
func TestCloseEndsACompaction(t *testing.T) {
	n := startNode(t)
	n.compacted()
	n.fill(10)
	p := n.part()
	plan, due := p.planCompaction(clock.ToMs(n.clock.Now()))
	if !due {
		t.Fatal("nothing to do")
	}
	closed := make(chan error, 1)
	calls := 0
	progress, err := p.compact(plan.To, compactionOrder{pace: func(int, <-chan struct{}) error {
		if calls++; calls == 3 {
			p.shut(ErrClosed) // as close does first
			go func() { closed <- p.close() }()
		}
		return nil
	}})
	if progress || err != nil {
		t.Fatalf("progress %v, %v", progress, err)
	}
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if calls > 4 {
		t.Errorf("it went on for %d steps", calls)
	}
}

// TestCloseEndsAWait closes the partition while its compaction waits for its bytes to be paid for,
// at a rate at which that takes hours. Nobody moves the clock.
func TestCloseEndsAWait(t *testing.T) {
	n := startNode(t)
	n.compacted()
	n.fill(10)
	n.cleaner.pace.bytesPerSecond = 1
	p := n.part()
	plan, _ := p.planCompaction(clock.ToMs(n.clock.Now()))
	ended := make(chan error, 1)
	go func() {
		_, err := p.compact(plan.To, compactionOrder{pace: n.cleaner.pace.wait})
		ended <- err
	}()
	n.clock.WaitArmed(1)
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestPacer(t *testing.T) {
	manual := clock.NewManual(time.UnixMilli(1_000_000))
	quit := make(chan struct{})
	p := &pacer{clock: manual, bytesPerSecond: 1000, quit: quit}
	if err := p.wait(10, nil); err != nil { // 10 ms: too short to wait for
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- p.wait(990, nil) }()
	manual.WaitArmed(1)
	manual.Advance(999 * time.Millisecond)
	select {
	case <-done:
		t.Fatal("1000 bytes took less than a second")
	default:
	}
	manual.Advance(time.Millisecond)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	go func() { done <- p.wait(1<<30, nil) }()
	manual.WaitArmed(1)
	close(quit)
	if err := <-done; !errors.Is(err, errCompactionEnded) {
		t.Fatalf("quit gave %v", err)
	}
	free := &pacer{clock: manual, quit: make(chan struct{})}
	if err := free.wait(1<<40, nil); err != nil {
		t.Fatal(err)
	}
}
