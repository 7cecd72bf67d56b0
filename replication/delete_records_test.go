package replication

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log"
	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication/metadata"
)

// deleteBelow wants a deletion to leave that start.
func (n *node) deleteBelow(before, want batch.Offset) {
	n.t.Helper()
	low, err := n.part().DeleteRecords(context.Background(), before)
	if err != nil || low != want || n.part().LogStart() != want {
		n.t.Fatalf("deleting below %d: low %d, start %d, %v; want %d", before, low, n.part().LogStart(), err, want)
	}
}

// TestDeleteRecordsSurvivesPowerLoss: the start that was answered is the start for ever.
func TestDeleteRecordsSurvivesPowerLoss(t *testing.T) {
	n := startNode(t)
	large := strings.Repeat("x", 7000)
	for i := range 10 {
		n.append(n.batch(-1, -1, rec{value: large}, rec{value: fmt.Sprint(i)}))
	}
	n.idle()
	before := n.part().log.Segments()
	n.deleteBelow(9, 9) // in the middle of a batch
	if got := n.part().log.Segments(); got >= before {
		t.Fatalf("%d segments, before %d", got, before)
	}
	n.powerCut()
	if got := n.part().LogStart(); got != 9 {
		t.Fatalf("after a power cut the log starts at %d", got)
	}
	_, _, err := n.part().Read(nil, FetchRead{From: 8, MaxBytes: 1 << 20, CurrentEpoch: -1, LastFetchedEpoch: -1})
	if !errors.Is(err, log.ErrOffsetOutOfRange) {
		t.Fatalf("a read below the start gave %v", err)
	}
	n.deleteBelow(3, 9) // less is gone already
	n.deleteBelow(BeforeHighWatermark, 20)
	n.restart()
	if p := n.part(); p.LogStart() != 20 || p.LogEnd() != 20 {
		t.Fatalf("after a restart the log has %d to %d", p.LogStart(), p.LogEnd())
	}
	ack := n.append(n.batch(-1, -1, rec{value: "next"}))
	n.idle()
	n.wantAck(ack, 20)
	n.wantValues("next")
}

func TestDeleteRecordsRefuses(t *testing.T) {
	n := startNode(t)
	n.append(n.batch(-1, -1, rec{value: "a"}, rec{value: "b"}))
	// Above the high watermark, though the log has it.
	_, err := n.part().DeleteRecords(context.Background(), 1)
	want := "Cannot increment the log start offset to 1 of partition t-0 since it is larger than the " +
		"high watermark 0"
	if !errors.Is(err, log.ErrOffsetOutOfRange) || !strings.Contains(err.Error(), want) {
		t.Fatalf("got %v", err)
	}
	n.deleteBelow(BeforeHighWatermark, 0)
	n.idle()
	if _, err := n.part().DeleteRecords(context.Background(), -2); !errors.Is(err, log.ErrOffsetOutOfRange) {
		t.Fatalf("got %v", err)
	}
	n.set(metadata.ConfigCleanupPolicy, "compact")
	_, err = n.part().DeleteRecords(context.Background(), 1)
	if !errors.Is(err, ErrUndeletable) ||
		!strings.Contains(err.Error(), "Records of partition t-0 can not be deleted due to the configured policy") {
		t.Fatalf("got %v", err)
	}
	n.set(metadata.ConfigCleanupPolicy, "compact,delete")
	n.deleteBelow(1, 1)
	part := n.part()
	if err := n.DeleteTopic(n.topic.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := part.DeleteRecords(context.Background(), 2); !errors.Is(err, ErrClosed) {
		t.Fatalf("got %v", err)
	}
}

// TestDeleteRecordsSettles deletes deliveries, also half a batch of them, and then the index: what
// was delivered does not come again, and what is pending still comes.
func TestDeleteRecordsSettles(t *testing.T) {
	n := startNode(t)
	for i := range 6 {
		n.append(n.batch(5, batch.Sequence(2*i), rec{fmt.Sprint("now", i), at(10)}, rec{fmt.Sprint("later", i), at(5000)}))
	}
	n.idle()
	n.append(n.batch(5, 12, rec{value: "plain"}))
	n.idle()
	n.clock.Advance(10 * time.Millisecond)
	n.idle()
	end := n.part().LogEnd()
	if end != 7 {
		t.Fatalf("the log ends at %d", end)
	}
	n.deleteBelow(4, 4)
	if got := n.part().stage.Load().schedule.SettledTo(); got != end {
		t.Fatalf("settled to %d, the batch ends at %d", got, end)
	}
	n.deleteBelow(BeforeHighWatermark, end)
	n.fs = n.fs.Crash(0, rand.New(rand.NewPCG(1, 2)))
	if err := n.fs.RemoveAll("/data/index"); err != nil {
		t.Fatal(err)
	}
	n.open()
	n.idle()
	n.wantValues()
	n.clock.Advance(5 * time.Second)
	n.idle()
	n.wantValues("later0", "later1", "later2", "later3", "later4", "later5")
}

// TestDeleteRecordsCutShort has the disk fail at each operation of a deletion, and cuts the power
// then: the start is the old or the new one, and no delivery comes twice or is lost.
func TestDeleteRecordsCutShort(t *testing.T) {
	for cut := range 200 {
		n := startNode(t)
		n.append(n.batch(5, 0, rec{"a", at(10)}, rec{"b", at(10)}, rec{"later", at(5000)}))
		n.idle()
		n.clock.Advance(10 * time.Millisecond)
		n.idle()
		disk := vfs.NewFaulty(n.fs)
		if err := n.Close(); err != nil {
			t.Fatal(err)
		}
		m, err := Open(Options{DataDir: "/data", FS: disk, Clock: n.clock, Manual: true})
		if err != nil {
			t.Fatal(err)
		}
		n.Manager = m
		n.idle()
		disk.Add(vfs.Fault{Nth: cut + 1, Err: vfs.ErrIO})
		low, err := n.part().DeleteRecords(context.Background(), BeforeHighWatermark)
		done := err == nil && low == 2
		n.fs = n.fs.Crash(0.5, rand.New(rand.NewPCG(uint64(cut), 2)))
		if err := n.fs.RemoveAll("/data/index"); err != nil {
			t.Fatal(err)
		}
		n.open()
		n.idle()
		if start := n.part().LogStart(); start != 0 && start != 2 || done && start != 2 {
			t.Fatalf("cut %d: answered %v, the log starts at %d", cut, done, start)
		}
		n.clock.Advance(5 * time.Second)
		n.idle()
		want := "[a b later]"
		if n.part().LogStart() == 2 {
			want = "[later]"
		}
		if got := fmt.Sprint(n.values()); got != want {
			t.Fatalf("cut %d: consumers see %s, want %s", cut, got, want)
		}
		if done {
			t.Logf("the deletion takes %d operations", cut)
			return
		}
	}
	t.Fatal("the deletion never came to its end")
}

// TestDeleteRecordsInPeriodicMode: the high watermark is ahead of the disk, so the deletion waits
// for it, and retention does too, without anybody else appending.
func TestDeleteRecordsInPeriodicMode(t *testing.T) {
	m, err := Open(Options{
		DataDir: "/data", FS: vfs.NewCrash(1), FsyncMode: log.Periodic, FsyncInterval: 5 * time.Millisecond,
		OnFailure: func(err error) { t.Errorf("the data directory was given up: %v", err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	}()
	topic, err := m.CreateTopic(TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Partition(topic.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	// A staged record makes the deletion settle, too.
	b := stamped(t, time.Now(), -1, -1, rec{"due", at(0)}, rec{value: "plain"})
	if _, err := p.Append(context.Background(), b, AppendOptions{}); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for p.HighWatermark() < 2 && time.Now().Before(deadline) {
		w := NewWatcher()
		p.Watch(w, 1)
		<-w.C()
		p.Unwatch(w)
	}
	for p.LogStart() < 2 {
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		low, err := p.DeleteRecords(ctx, BeforeHighWatermark)
		cancel()
		if err != nil && !errors.Is(err, ErrNotSettled) || ctx.Err() != nil && low < 2 && time.Now().After(deadline) {
			t.Fatalf("low %d, %v", low, err)
		}
	}
}

// TestLogDirNamesWhatIsOffline: sizes count both logs, and a damaged partition is named.
func TestLogDirNamesWhatIsOffline(t *testing.T) {
	n := startNode(t)
	if _, err := n.CreateTopic(TopicSpec{Name: "u", Partitions: 2, ReplicationFactor: -1}, false); err != nil {
		t.Fatal(err)
	}
	all := func(string, int32) bool { return true }
	plain := n.batch(5, 0, rec{value: "a"})
	n.append(plain)
	n.idle()
	before := n.LogDir(all)
	if len(before.Partitions) != 3 || before.Path != "/data" || before.TotalBytes <= 0 || before.UsableBytes <= 0 ||
		before.Partitions[0].Topic != "t" || before.Partitions[0].Bytes != int64(len(plain)) {
		t.Fatalf("%+v", before)
	}
	n.append(n.batch(5, 1, rec{"later", at(1000)}))
	n.idle()
	if got := n.LogDir(all).Partitions[0]; got.Bytes <= before.Partitions[0].Bytes {
		t.Fatalf("staged bytes do not count: %+v", got)
	}
	n.part().goOffline(&log.CorruptError{File: "x", Err: batch.ErrCorrupt})
	only := n.LogDir(func(topic string, _ int32) bool { return topic == "t" })
	if len(only.Partitions) != 1 || only.Partitions[0].Offline == nil || only.Partitions[0].Bytes != -1 ||
		!strings.HasPrefix(only.Partitions[0].Path, "/data/topics/") {
		t.Fatalf("%+v", only.Partitions)
	}
}

// TestRetentionRollsWhatIsIdle: an idle partition's active segment goes when all of it has expired,
// and what is pending stays.
func TestRetentionRollsWhatIsIdle(t *testing.T) {
	n := startNode(t)
	n.set(metadata.ConfigRetentionMs, "1000")
	n.append(n.batch(5, 0, rec{value: "a"}))
	n.idle()
	n.append(n.batch(5, 1, rec{"later", at(60_000)}))
	n.idle()
	n.clock.Advance(time.Second)
	if err := n.Retain(); err != nil {
		t.Fatal(err)
	}
	n.wantValues("a")
	n.clock.Advance(time.Millisecond)
	n.set(metadata.ConfigCleanupPolicy, "compact")
	if err := n.Retain(); err != nil {
		t.Fatal(err)
	}
	n.wantValues("a")
	n.set(metadata.ConfigCleanupPolicy, "")
	if err := n.Retain(); err != nil {
		t.Fatal(err)
	}
	n.wantValues()
	if n.part().LogStart() != 1 {
		t.Fatalf("the log starts at %d", n.part().LogStart())
	}
	n.powerCut()
	n.clock.Advance(time.Minute)
	n.idle()
	n.wantValues("later")
}
