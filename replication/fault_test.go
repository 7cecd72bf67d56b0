package replication

import (
	"errors"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer/clock"
)

// startFaulty is startNode over a disk that can be told to fail.
func startFaulty(t *testing.T) (n *node, disk *vfs.Faulty, failures *[]error) {
	t.Helper()
	n = &node{t: t, fs: vfs.NewCrash(1), clock: clock.NewManual(time.UnixMilli(1_700_000_000_000))}
	disk = vfs.NewFaulty(n.fs)
	failures = new([]error)
	n.openOver(disk, failures)
	topic, err := n.CreateTopic(TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	n.topic = topic
	return n, disk, failures
}

// openOver opens the node over a disk and notes what ends the process.
func (n *node) openOver(disk vfs.FS, failures *[]error) {
	n.t.Helper()
	m, err := Open(Options{
		DataDir: "/data", FS: disk, Clock: n.clock, Manual: true,
		OnFailure: func(err error) { *failures = append(*failures, err) },
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.Manager = m
}

// restartOver closes the node and opens it again over a disk.
func (n *node) restartOver(disk vfs.FS, failures *[]error) {
	n.t.Helper()
	if err := n.Manager.Close(); err != nil {
		n.t.Fatal(err)
	}
	n.openOver(disk, failures)
}

// TestFailedFsyncIsFinal: Linux reports a failed fsync once and then claims success. Nothing may be
// acknowledged after it, whatever later calls return.
func TestFailedFsyncIsFinal(t *testing.T) {
	n, disk, failures := startFaulty(t)
	before := n.append(n.batch(5, 0, rec{value: "kept"}))
	n.idle()
	n.wantAck(before, 0)
	disk.Add(vfs.Fault{Op: vfs.OpSync, Glob: "*.journal", Times: 1, Err: vfs.ErrIO})
	lost := n.append(n.batch(5, 1, rec{value: "lost"}))
	if err := n.CommitOnce(); err == nil {
		t.Fatal("a failed fsync went unnoticed")
	}
	if len(*failures) != 1 {
		t.Fatalf("OnFailure was called %d times, want once", len(*failures))
	}
	for range 3 {
		if err := n.CommitOnce(); err == nil && lost.IsDone() {
			break
		}
	}
	if lost.IsDone() {
		t.Fatal("a batch was acknowledged after its fsync had failed")
	}
	if _, err := n.try(n.batch(5, 2, rec{value: "later"}), nil); err == nil {
		t.Fatal("a batch was taken after a failed fsync")
	}
	if hw := n.part().HighWatermark(); hw != 1 {
		t.Fatalf("the high watermark is %d, want 1", hw)
	}
	n.powerCut()
	n.wantValues("kept")
}

// filling is a value that uses up what a new log reserves of its segment, 64 KiB, but for less than
// another batch.
var filling = strings.Repeat("k", 65_400)

// TestFullDiskPasses: a full disk refuses the batch and nothing else; deliveries stay armed.
func TestFullDiskPasses(t *testing.T) {
	n, disk, failures := startFaulty(t)
	n.append(n.batch(5, 0, rec{value: filling}))
	n.append(n.batch(6, 0, rec{"due", at(100)}))
	n.idle()
	disk.SetFree(10)
	for range 2 {
		if _, err := n.try(n.batch(5, 1, rec{value: "refused"}), nil); !errors.Is(err, ErrStorage) {
			t.Fatalf("a full disk gave %v, want ErrStorage", err)
		}
	}
	n.clock.Advance(200 * time.Millisecond)
	if _, err := n.DeliverOnce(); err != nil {
		t.Fatalf("a delivery onto a full disk gave %v; it must stay armed", err)
	}
	n.wantValues(filling)
	disk.SetFree(1 << 30)
	ack := n.append(n.batch(5, 1, rec{value: "again"}))
	n.clock.Advance(10 * time.Second) // Past any wait between tries.
	n.idle()
	n.wantAck(ack, 1)
	n.wantValues(filling, "again", "due")
	if len(*failures) != 0 {
		t.Fatalf("a full disk ended the process: %v", *failures)
	}
	n.powerCut()
	n.wantValues(filling, "again", "due")
	if _, err := n.try(n.batch(5, 2, rec{value: "goes on"}), nil); err != nil {
		t.Fatal(err)
	}
}

// TestWindowIgnoresWhatWasNotAppended: a refused batch may come again with the same sequence.
func TestWindowIgnoresWhatWasNotAppended(t *testing.T) {
	n, disk, _ := startFaulty(t)
	n.append(n.batch(5, 0, rec{value: filling}))
	n.idle()
	disk.SetFree(10)
	b := n.batch(5, 1, rec{value: "1"})
	if _, err := n.try(b, nil); !errors.Is(err, ErrStorage) {
		t.Fatalf("got %v", err)
	}
	disk.SetFree(1 << 30)
	ack := n.append(b)
	n.idle()
	n.wantAck(ack, batch.Offset(1))
	n.wantValues(filling, "1")
}

// TestWantOfHandlesPasses: too many open files at a roll refuse the batch, not the data directory.
func TestWantOfHandlesPasses(t *testing.T) {
	n, disk, failures := startFaulty(t)
	set := map[string]*string{metadata.ConfigInternalSegmentBytes: new("16384")}
	if err := n.SetConfigs(n.topic.ID, set); err != nil {
		t.Fatal(err)
	}
	large := string(make([]byte, 10_000))
	n.append(n.batch(5, 0, rec{value: large}))
	n.idle()
	disk.Add(vfs.Fault{Op: vfs.OpOpen, Glob: "*.log", Err: unix.EMFILE})
	b := n.batch(5, 1, rec{value: large})
	if _, err := n.try(b, nil); !errors.Is(err, ErrStorage) {
		t.Fatalf("too many open files gave %v, want ErrStorage", err)
	}
	disk.Clear()
	ack := n.append(b)
	n.idle()
	n.wantAck(ack, 1)
	if len(*failures) != 0 {
		t.Fatalf("the data directory was given up: %v", *failures)
	}
}

// TestReadWithoutFileHandles reads segments that are not open while no file can be opened: the
// client is told to come again, and the partition stays in service.
func TestReadWithoutFileHandles(t *testing.T) {
	n, disk, failures := startFaulty(t)
	set := map[string]*string{metadata.ConfigInternalSegmentBytes: new("16384")}
	if err := n.SetConfigs(n.topic.ID, set); err != nil {
		t.Fatal(err)
	}
	for i := range batch.Sequence(6) {
		n.append(n.batch(5, i, rec{value: string(make([]byte, 10_000))}))
		n.idle()
	}
	n.restartOver(disk, failures)
	part := n.part()
	disk.Add(vfs.Fault{Op: vfs.OpOpen, Err: unix.EMFILE})
	read := FetchRead{MaxBytes: 1 << 20, MinOne: true, CurrentEpoch: -1, LastFetchedEpoch: -1}
	if _, _, err := part.Read(nil, read); !errors.Is(err, ErrStorage) {
		t.Errorf("too many open files gave %v, want ErrStorage", err)
	}
	disk.Clear()
	if _, _, err := part.Read(nil, read); err != nil {
		t.Errorf("with handles again: %v", err)
	}
	if len(*failures) != 0 {
		t.Errorf("the data directory was given up: %v", *failures)
	}
}

// TestAWriteErrorOfADeletionIsFinal: the disk refuses what the log of a deleted topic writes when it is
// closed. That ends the process at once, and not when the commit journal is full because of it.
func TestAWriteErrorOfADeletionIsFinal(t *testing.T) {
	n, disk, failures := startFaulty(t)
	n.append(n.batch(5, 0, rec{value: "in the journal only"}))
	if err := n.CommitOnce(); err != nil {
		t.Fatal(err)
	}
	disk.Add(vfs.Fault{Op: vfs.OpWrite, Glob: n.partitionDir(n.topic.ID, 0) + "/*.log", Err: vfs.ErrIO})
	_ = n.DeleteTopic(n.topic.ID) // the topic is gone for clients either way
	if len(*failures) != 1 || !errors.Is((*failures)[0], vfs.ErrIO) {
		t.Fatalf("the process was told %v", *failures)
	}
}

// TestAnAppendThatCannotReadTakesOnePartitionOffline: the first append after a start carries on the last
// block of the segment. A disk that refuses to read it takes that partition out of service and not the
// node, which would end at each start anew.
func TestAnAppendThatCannotReadTakesOnePartitionOffline(t *testing.T) {
	n, disk, failures := startFaulty(t)
	other, err := n.CreateTopic(TopicSpec{Name: "other", Partitions: 1, ReplicationFactor: -1}, false)
	if err != nil {
		t.Fatal(err)
	}
	n.append(n.batch(5, 0, rec{value: "kept"}))
	n.idle()
	n.restartOver(disk, failures)
	disk.Add(vfs.Fault{Op: vfs.OpRead, Glob: n.partitionDir(n.topic.ID, 0) + "/*.log", Err: vfs.ErrIO})
	if _, err := n.try(n.batch(5, 1, rec{value: "refused"}), nil); !errors.Is(err, ErrOffline) {
		t.Fatalf("the append gave %v, want an offline partition", err)
	}
	if _, err := n.Partition(n.topic.ID, 0); !errors.Is(err, ErrOffline) {
		t.Fatalf("the partition is still in service: %v", err)
	}
	p, err := n.Partition(other.ID, 0)
	if err != nil {
		t.Fatal(err)
	}
	ack, err := p.Append(t.Context(), n.batch(-1, -1, rec{value: "other"}), AppendOptions{})
	if err != nil {
		t.Fatal(err)
	}
	n.idle()
	n.wantAck(ack, 0)
	if len(*failures) != 0 {
		t.Fatalf("the process was told to end: %v", *failures)
	}
	n.powerCut()
	n.wantValues("kept")
}

// TestAnOfflineTopicCanBeDeleted: that, and making it anew, is what is left without a copy.
func TestAnOfflineTopicCanBeDeleted(t *testing.T) {
	for _, early := range []bool{true, false} { // offline since the start, or by a read
		n, disk, failures := startFaulty(t)
		n.append(n.batch(5, 0, rec{value: "lost"}))
		n.append(n.batch(6, 0, rec{value: "staged", delay: at(1 << 20)}))
		n.idle()
		dir := n.partitionDir(n.topic.ID, 0)
		op := vfs.Fault{Op: vfs.OpRead, Glob: dir + "/*.log", Err: vfs.ErrIO}
		if early {
			op.Glob = dir + "/recovery-point"
			disk.Add(op)
			n.restartOver(disk, failures)
		} else {
			n.restartOver(disk, failures)
			disk.Add(op)
			read := FetchRead{MaxBytes: 1 << 20, MinOne: true, CurrentEpoch: -1, LastFetchedEpoch: -1}
			if _, _, err := n.part().Read(nil, read); !errors.Is(err, ErrOffline) {
				t.Fatalf("the read gave %v", err)
			}
		}
		if _, err := n.Partition(n.topic.ID, 0); !errors.Is(err, ErrOffline) {
			t.Fatalf("the partition is in service: %v", err)
		}
		if err := n.DeleteTopic(n.topic.ID); err != nil {
			t.Fatal(err)
		}
		if names, err := n.fs.List("/data/topics"); err != nil || len(names) != 0 {
			t.Errorf("%v are left, %v", names, err)
		}
		disk.Clear()
		var err error
		n.topic, err = n.CreateTopic(TopicSpec{Name: "t", Partitions: 1, ReplicationFactor: -1}, false)
		if err != nil {
			t.Fatal(err)
		}
		n.append(n.batch(5, 0, rec{value: "anew"}))
		n.idle()
		n.wantValues("anew")
		if len(*failures) != 0 || n.Metrics().OfflinePartitions != 0 {
			t.Errorf("%v, %d partitions are offline", *failures, n.Metrics().OfflinePartitions)
		}
	}
}

// TestDeliveryWithoutFileHandles: a record falls due while the staging log's segment cannot be
// opened. It waits, and so do the checkpoints that read staged batches; the partition is served.
func TestDeliveryWithoutFileHandles(t *testing.T) {
	for _, files := range []string{"*.log", "*.index", "*"} {
		n, disk, failures := startFaulty(t)
		set := map[string]*string{metadata.ConfigInternalSegmentBytes: new("16384")}
		if err := n.SetConfigs(n.topic.ID, set); err != nil {
			t.Fatal(err)
		}
		for i := range batch.Sequence(6) {
			n.append(n.batch(5, i, rec{value: strings.Repeat(string(rune('a'+i)), 10_000), delay: at(60_000)}))
			n.idle()
		}
		n.restartOver(disk, failures)
		n.clock.Advance(time.Minute)
		disk.Add(vfs.Fault{Op: vfs.OpOpen, Glob: files, Err: unix.EMFILE})
		n.idle()
		n.clock.Advance(10 * time.Second)
		n.idle()
		if _, err := n.Partition(n.topic.ID, 0); err != nil || len(*failures) != 0 {
			t.Fatalf("without handles for %s: %v, %v", files, err, *failures)
		}
		disk.Clear()
		n.clock.Advance(10 * time.Second)
		n.idle()
		if got := len(n.values()); got != 6 {
			t.Errorf("with handles again, after none for %s: %d records were delivered, want 6", files, got)
		}
	}
}
