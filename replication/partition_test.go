package replication

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// node is a manager without goroutines over a file system whose power can be cut.
type node struct {
	*Manager
	t     *testing.T
	fs    *vfs.Crash
	clock *clock.Manual
	topic *metadata.Topic
}

func startNode(t *testing.T) *node {
	t.Helper()
	n := &node{t: t, fs: vfs.NewCrash(1), clock: clock.NewManual(time.UnixMilli(1_700_000_000_000))}
	n.open()
	topic, err := n.CreateTopic(TopicSpec{
		Name: "t", Partitions: 1, ReplicationFactor: -1,
		Configs: map[string]string{metadata.ConfigInternalSegmentBytes: "16384"},
	}, false)
	if err != nil {
		t.Fatal(err)
	}
	n.topic = topic
	return n
}

func (n *node) open() {
	n.t.Helper()
	m, err := Open(Options{DataDir: "/data", FS: n.fs, Clock: n.clock, Manual: true})
	if err != nil {
		n.t.Fatalf("open: %v", err)
	}
	n.Manager = m
}

// powerCut loses everything that was not synced, and starts again.
func (n *node) powerCut() {
	n.t.Helper()
	n.fs = n.fs.Crash(0, rand.New(rand.NewPCG(1, 2)))
	n.open()
}

func (n *node) restart() {
	n.t.Helper()
	if err := n.Manager.Close(); err != nil {
		n.t.Fatalf("close: %v", err)
	}
	n.open()
}

func (n *node) part() *Partition {
	n.t.Helper()
	p, err := n.Partition(n.topic.ID, 0)
	if err != nil {
		n.t.Fatal(err)
	}
	return p
}

func (n *node) idle() {
	n.t.Helper()
	if err := n.RunUntilIdle(); err != nil {
		n.t.Fatal(err)
	}
}

// rec is a record to send: a value, and a due time relative to now in ms if it has one.
type rec struct {
	value string
	delay *int
}

func at(ms int) *int { return &ms }

func (n *node) batch(id batch.ProducerID, seq batch.Sequence, recs ...rec) batch.Batch {
	n.t.Helper()
	return stamped(n.t, n.clock.Now(), id, seq, recs...)
}

// stamped builds a batch as of a time.
func stamped(
	t *testing.T, at time.Time, id batch.ProducerID, seq batch.Sequence, recs ...rec,
) batch.Batch {
	t.Helper()
	now := clock.ToMs(at)
	o := batch.BuilderOptions{BaseTimestamp: now, ProducerID: id, ProducerEpoch: 0, BaseSequence: seq}
	if id < 0 {
		o.ProducerEpoch, o.BaseSequence = -1, -1
	}
	builder := batch.NewBuilder(o)
	for _, r := range recs {
		f := batch.RecordFields{TimestampMs: now, Value: []byte(r.value)}
		if r.delay != nil {
			due := int64(now) + int64(*r.delay)
			f.Headers = []batch.Header{{
				Key: "chronos-schedule-ts", Value: strconv.AppendInt(nil, due, 10),
			}}
		}
		if err := builder.Append(f); err != nil {
			t.Fatal(err)
		}
	}
	b, err := builder.Build(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var errGate = context.Canceled

// try appends without waiting at the gate: a closed one is errGate.
func (n *node) try(b batch.Batch, o *Origin) (*Ack, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return n.part().Append(ctx, append(batch.Batch(nil), b...), AppendOptions{Origin: o})
}

func (n *node) append(b batch.Batch) *Ack {
	n.t.Helper()
	ack, err := n.try(b, nil)
	if err != nil {
		n.t.Fatalf("append: %v", err)
	}
	return ack
}

func (n *node) wantAck(a *Ack, base batch.Offset) {
	n.t.Helper()
	if !a.IsDone() {
		n.t.Fatal("the batch is not acknowledged")
	}
	if r, err := a.Result(); err != nil || r.BaseOffset != base {
		n.t.Fatalf("ack is %+v, %v; want base offset %d", r, err, base)
	}
}

// values reads everything that a consumer can see.
func (n *node) values() []string {
	n.t.Helper()
	var out []string
	p := n.part()
	err := p.ReadAll(p.LogStart(), func(b batch.Batch) error {
		r, err := batch.NewReader(b, 1<<20)
		if err != nil {
			return err
		}
		defer r.Close()
		for {
			record, ok, err := r.Next()
			if err != nil || !ok {
				return err
			}
			out = append(out, string(record.Value))
		}
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

func (n *node) wantValues(want ...string) {
	n.t.Helper()
	if got := n.values(); fmt.Sprint(got) != fmt.Sprint(want) {
		n.t.Fatalf("consumers see %v, want %v", got, want)
	}
}

func TestAckWaitsForTheFlush(t *testing.T) {
	n := startNode(t)
	b := n.batch(5, 0, rec{value: "a"}, rec{value: "b"})
	first := n.append(b)
	again := n.append(b)
	if first.IsDone() || again.IsDone() {
		t.Fatal("a batch was acknowledged before it was flushed")
	}
	n.wantValues()
	n.idle()
	n.wantAck(first, 0)
	n.wantAck(again, 0)
	n.wantAck(n.append(b), 0) // And so is a duplicate of what is done.
	n.wantValues("a", "b")
	n.powerCut()
	n.wantValues("a", "b")
	n.wantAck(n.append(b), 0) // The window survives.
	n.wantAck(n.append(b), 0)
	if _, err := n.try(n.batch(5, 7, rec{value: "gap"}), nil); !errors.Is(err, ErrOutOfOrderSequence) {
		t.Fatalf("a gap after a restart gave %v", err)
	}
}

func TestScheduledRecordAppearsWhenDue(t *testing.T) {
	n := startNode(t)
	ack := n.append(n.batch(5, 0, rec{"later", at(1000)}, rec{"sooner", at(500)}))
	n.idle()
	n.wantAck(ack, -1)
	n.wantValues()
	n.clock.Advance(499 * time.Millisecond)
	n.idle()
	n.wantValues()
	n.clock.Advance(time.Millisecond)
	n.idle()
	n.wantValues("sooner")
	n.powerCut()
	n.idle()
	n.wantValues("sooner")
	n.clock.Advance(499 * time.Millisecond)
	n.idle()
	n.wantValues("sooner")
	n.clock.Advance(time.Millisecond)
	n.idle()
	n.wantValues("sooner", "later")
	n.restart()
	n.idle()
	n.wantValues("sooner", "later")
	n.wantAck(n.append(n.batch(5, 0, rec{"later", at(0)}, rec{"sooner", at(0)})), -1)
	n.idle()
	n.wantValues("sooner", "later")
}

func TestClockStepsBack(t *testing.T) {
	n := startNode(t)
	n.append(n.batch(5, 0, rec{"a", at(100)}, rec{"b", at(200)}))
	n.idle()
	n.clock.Advance(150 * time.Millisecond)
	n.idle()
	n.clock.Set(n.clock.Now().Add(-140 * time.Millisecond))
	n.idle()
	n.clock.Advance(100 * time.Millisecond)
	n.idle()
	n.wantValues("a")
	n.clock.Advance(90 * time.Millisecond)
	n.idle()
	n.wantValues("a", "b")
}

func TestDueNowIsAnsweredWhenReadable(t *testing.T) {
	n := startNode(t)
	ack := n.append(n.batch(5, 0, rec{"past", at(-5)}, rec{"future", at(50)}, rec{value: "plain"}))
	if err := n.CommitOnce(); err != nil { // The staging log is durable now.
		t.Fatal(err)
	}
	if ack.IsDone() {
		t.Fatal("answered before the due-now records were delivered")
	}
	if _, err := n.DeliverOnce(); err != nil {
		t.Fatal(err)
	}
	if ack.IsDone() {
		t.Fatal("answered before the due-now records were durable in the partition log")
	}
	n.idle()
	n.wantAck(ack, -1)
	n.wantValues("past", "plain")
}

func TestGateHoldsAProducerThatChangesLogs(t *testing.T) {
	for _, id := range []batch.ProducerID{5, -1} {
		t.Run(fmt.Sprintf("producer %d", id), func(t *testing.T) {
			n := startNode(t)
			o := NewOrigin()
			must := func(b batch.Batch) {
				t.Helper()
				if _, err := n.try(b, o); err != nil {
					t.Fatal(err)
				}
			}
			closed := func(b batch.Batch) {
				t.Helper()
				if _, err := n.try(b, o); !errors.Is(err, errGate) {
					t.Fatalf("the gate let a batch pass: %v", err)
				}
			}
			must(n.batch(id, 0, rec{value: "0"}))
			closed(n.batch(id, 1, rec{"1", at(0)}))
			n.idle()
			must(n.batch(id, 1, rec{"1", at(0)}))
			must(n.batch(id, 2, rec{"2", at(10)})) // The same log does not wait.
			closed(n.batch(id, 3, rec{value: "3"}))
			if err := n.CommitOnce(); err != nil {
				t.Fatal(err)
			}
			closed(n.batch(id, 3, rec{value: "3"})) // Record 1 is not delivered yet.
			if _, err := n.DeliverOnce(); err != nil {
				t.Fatal(err)
			}
			must(n.batch(id, 3, rec{value: "3"}))
			n.idle()
			n.wantValues("0", "1", "3")
			// Another producer never waits.
			if _, err := n.try(n.batch(77, 0, rec{"x", at(10)}), NewOrigin()); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestGateStaysShutAfterARestartUntilOverdueRecordsAreDelivered(t *testing.T) {
	n := startNode(t)
	n.append(n.batch(5, 0, rec{"1", at(0)}))
	if err := n.CommitOnce(); err != nil {
		t.Fatal(err)
	}
	n.powerCut()
	if _, err := n.try(n.batch(5, 1, rec{value: "2"}), nil); !errors.Is(err, errGate) {
		t.Fatalf("a plain batch overtook a due-now record after a restart: %v", err)
	}
	n.idle()
	n.append(n.batch(5, 1, rec{value: "2"}))
	n.idle()
	n.wantValues("1", "2")
}

// TestDeliveriesThatAgedOutStayDelivered deletes deliveries by retention, then the index as well.
func TestDeliveriesThatAgedOutStayDelivered(t *testing.T) {
	n := startNode(t)
	set := map[string]*string{metadata.ConfigRetentionBytes: new("20000")}
	if err := n.SetConfigs(n.topic.ID, set); err != nil {
		t.Fatal(err)
	}
	fill := string(make([]byte, 1000))
	seq := batch.Sequence(0)
	for i := range 60 {
		n.append(n.batch(5, seq, rec{"due" + fill, at(i)}))
		seq++
	}
	n.append(n.batch(5, seq, rec{"pending", at(100_000)}))
	for range 60 { // One delivery batch each, so that there are segments to delete.
		n.clock.Advance(time.Millisecond)
		n.idle()
	}
	if err := n.Retain(); err != nil {
		t.Fatal(err)
	}
	n.idle()
	p := n.part()
	if p.LogStart() == 0 {
		t.Fatal("retention deleted nothing, so the test shows nothing")
	}
	end := p.LogEnd()
	for _, wipe := range []bool{false, true} {
		n.fs = n.fs.Crash(0, rand.New(rand.NewPCG(1, 2)))
		if wipe {
			if err := n.fs.RemoveAll("/data/index"); err != nil {
				t.Fatal(err)
			}
		}
		n.open()
		n.idle()
		if got := n.part().LogEnd(); got != end {
			t.Fatalf("index wiped %v: the log grew from %d to %d: records were delivered again", wipe, end, got)
		}
		if err := n.CheckIndex("/scratch"); err != nil {
			t.Fatal(err)
		}
		if got := n.Metrics().Pending; got != 1 {
			t.Fatalf("index wiped %v: %d records are pending, want 1", wipe, got)
		}
	}
}

func TestDeletedTopicLeavesNothing(t *testing.T) {
	n := startNode(t)
	n.append(n.batch(5, 0, rec{"pending", at(100)}))
	n.idle()
	if err := n.DeleteTopic(n.topic.ID); err != nil {
		t.Fatal(err)
	}
	names, err := n.fs.List("/data/topics")
	if err != nil || len(names) != 0 {
		t.Fatalf("files remain: %v, %v", names, err)
	}
	n.powerCut()
	n.clock.Advance(time.Second)
	n.idle()
	if n.Image().Topic("t") != nil || n.Metrics().Pending != 0 {
		t.Fatal("the deleted topic came back")
	}
}

func TestDamageTakesOnePartitionOffline(t *testing.T) {
	n := startNode(t)
	other, err := n.CreateTopic(TopicSpec{Name: "other", Partitions: 1, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	n.append(n.batch(5, 0, rec{value: "precious"}))
	n.idle()
	file := n.partitionDir(n.topic.ID, 0) + "/00000000000000000000.log"
	if err := n.Manager.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := n.fs.OpenLog(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{0xff}, 70); err != nil {
		t.Fatal(err)
	}
	n.open()
	p, err := n.Partition(n.topic.ID, 0)
	if err == nil {
		_, _, err = p.Read(nil, FetchRead{MaxBytes: 1 << 20, MinOne: true, CurrentEpoch: -1, LastFetchedEpoch: -1})
	}
	var offline *OfflineError
	var corrupt *log.CorruptError
	if !errors.As(err, &offline) || !errors.As(err, &corrupt) || corrupt.File != file || corrupt.Position != 0 {
		t.Fatalf("damage gave %v, want an offline partition that names %s and byte 0", err, file)
	}
	if _, err := n.Partition(n.topic.ID, 0); !errors.Is(err, ErrOffline) {
		t.Fatalf("the partition is still in service: %v", err)
	}
	if _, err := n.Partition(other.ID, 0); err != nil {
		t.Fatalf("another partition is out of service too: %v", err)
	}
}

func TestStrayFoldersOfACrashAreRemoved(t *testing.T) {
	n := startNode(t)
	stray := n.partitionDir(metadata.TopicID{1}, 0)
	if err := n.fs.MkdirAll(stray, 0o755); err != nil {
		t.Fatal(err)
	}
	n.restart()
	names, err := n.fs.List("/data/topics")
	if err != nil || len(names) != 1 {
		t.Fatalf("folders are %v, %v; want only the topic's", names, err)
	}
}

func TestWindowSurvivesARestartAcrossTheWrap(t *testing.T) {
	n := startNode(t)
	n.append(n.batch(5, math.MaxInt32-1, rec{value: "a"}, rec{value: "b"}, rec{value: "c"}))
	n.append(n.batch(5, 1, rec{value: "d"}))
	n.idle()
	n.powerCut()
	n.wantAck(n.append(n.batch(5, 1, rec{value: "d"})), 3)
	n.append(n.batch(5, 2, rec{value: "e"}))
	n.idle()
	n.wantValues("a", "b", "c", "d", "e")
}

func TestRetryAfterARestartWaitsForItsDueNowRecords(t *testing.T) {
	n := startNode(t)
	b := n.batch(5, 0, rec{"now", at(0)})
	n.append(b)
	if err := n.CommitOnce(); err != nil {
		t.Fatal(err)
	}
	n.powerCut()
	ack := n.append(b)
	if ack.IsDone() {
		t.Fatal("the retry was answered before its due-now record can be read")
	}
	n.idle()
	n.wantAck(ack, -1)
	n.wantValues("now")
}

func TestRetentionKeepsWhatTheProducerWindowNeeds(t *testing.T) {
	n := startNode(t)
	set := map[string]*string{metadata.ConfigRetentionMs: new("1000")}
	if err := n.SetConfigs(n.topic.ID, set); err != nil {
		t.Fatal(err)
	}
	if err := n.CheckpointAll(); err != nil {
		t.Fatal(err)
	}
	b := n.batch(5, 0, rec{value: "a"})
	n.append(b)
	n.idle()
	n.clock.Advance(time.Hour)
	if err := n.Retain(); err != nil {
		t.Fatal(err)
	}
	if n.part().LogStart() != 1 {
		t.Fatal("retention deleted nothing, so the test shows nothing")
	}
	n.powerCut()
	n.wantAck(n.append(b), 0)
	gap := n.batch(5, 7, rec{value: "gap"})
	if _, err := n.try(gap, nil); !errors.Is(err, ErrOutOfOrderSequence) {
		t.Fatalf("a gap after the window's records aged out gave %v", err)
	}
	n.append(n.batch(5, 1, rec{value: "b"}))
	n.idle()
	n.wantValues("b")
}

func TestFenceCoversDueNowRecordsOfAClockThatSteppedBack(t *testing.T) {
	n := startNode(t)
	n.append(n.batch(5, 0, rec{"now", at(0)}))
	n.clock.Set(n.clock.Now().Add(-10 * time.Second))
	n.append(n.batch(6, 0, rec{"later", at(50_000)}))
	if err := n.CommitOnce(); err != nil {
		t.Fatal(err)
	}
	n.powerCut()
	n.idle()
	if _, err := n.try(n.batch(5, 1, rec{value: "plain"}), nil); !errors.Is(err, errGate) {
		t.Fatalf("a plain batch overtook a due-now record: %v", err)
	}
	n.clock.Advance(10 * time.Second)
	n.idle()
	n.append(n.batch(5, 1, rec{value: "plain"}))
	n.idle()
	n.wantValues("now", "plain")
}

// TestNothingChangesADueTime changes every config that a due time was judged by, and rebuilds the
// index: what was accepted keeps the time that it was accepted with.
func TestNothingChangesADueTime(t *testing.T) {
	n := startNode(t)
	n.append(n.batch(5, 0, rec{"a", at(5000)}, rec{"b", at(10_000)}))
	n.idle()
	set := map[string]*string{
		metadata.ConfigScheduleMaxDelay: new("1"),
		metadata.ConfigMaxMessageBytes:  new("100"),
		metadata.ConfigTimestampType:    new("LogAppendTime"),
		metadata.ConfigCompressionType:  new("zstd"),
	}
	if err := n.SetConfigs(n.topic.ID, set); err != nil {
		t.Fatal(err)
	}
	off := map[string]*string{metadata.ConfigScheduleEnable: new("false")}
	if err := n.SetConfigs(n.topic.ID, off); err != nil {
		t.Fatal(err)
	}
	n.fs = n.fs.Crash(0, rand.New(rand.NewPCG(1, 2)))
	if err := n.fs.RemoveAll("/data/index"); err != nil {
		t.Fatal(err)
	}
	n.open()
	n.clock.Advance(4999 * time.Millisecond)
	n.idle()
	n.wantValues()
	n.clock.Advance(time.Millisecond)
	n.idle()
	n.wantValues("a")
	n.clock.Advance(5 * time.Second)
	n.idle()
	n.wantValues("a", "b")
}

func TestDataOfAnotherNodeIsRefused(t *testing.T) {
	n := startNode(t)
	if err := n.Manager.Close(); err != nil {
		t.Fatal(err)
	}
	o := Options{DataDir: "/data", FS: n.fs, Clock: n.clock, Manual: true, NodeID: 7}
	if m, err := Open(o); !errors.Is(err, ErrOtherNode) {
		t.Fatalf("open under another node id = %v, %v; want ErrOtherNode", m, err)
	}
	n.open()
}
