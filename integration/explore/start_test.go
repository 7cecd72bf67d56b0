package explore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/vfs"
	"github.com/chronosdb/chronosdb/replication"
	"github.com/chronosdb/chronosdb/replication/metadata"
	"github.com/chronosdb/chronosdb/timer/clock"
)

const (
	startPartitions = 200
	topicsPath      = dataDir + "/topics"

	// startedAfterStop is what a start after a clean stop may read per partition. The promise is
	// 1 MiB; what is stored here is more, so that a start which reads a whole log breaks it.
	startedAfterStop = 1 << 20
	// startedPerLog is what a start may read of each log besides its tail: the note, which is
	// 2 KiB, and the leader epochs, the producer snapshot and the ends of the two tables.
	startedPerLog = 4 << 10
	// startedOfIndex is what a start may read of the index besides twice what is in its folder.
	startedOfIndex = 64 << 10
)

// starter is a node with many partitions of which the test counts what a start reads.
type starter struct {
	t     *testing.T
	fs    *vfs.Crash
	clock *clock.Manual
	m     *replication.Manager
	topic metadata.TopicID
}

func newStarter(t *testing.T) *starter {
	s := &starter{t: t, fs: vfs.NewCrash(1), clock: clock.NewManual(time.UnixMilli(startMs))}
	s.open()
	topic, err := s.m.CreateTopic(replication.TopicSpec{
		Name: "t", Partitions: startPartitions, ReplicationFactor: -1,
	}, false)
	s.must(err)
	s.topic = topic.ID
	t.Cleanup(func() { _ = s.m.Close() })
	return s
}

func (s *starter) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// reads is how many bytes of the logs and what lies next to them, of the index, and of all were read.
type reads struct{ topics, index, all int64 }

func (s *starter) reads() reads {
	return reads{
		topics: s.fs.BytesReadUnder(topicsPath), index: s.fs.BytesReadUnder(indexDir),
		all: s.fs.Stats().BytesRead,
	}
}

// open starts the node, lets it come to rest, and returns what it read.
func (s *starter) open() reads {
	s.t.Helper()
	before := s.reads()
	m, err := replication.Open(replication.Options{
		DataDir: dataDir, FS: s.fs, Clock: s.clock, Manual: true, SegmentBytes: 1 << 20,
	})
	s.must(err)
	s.m = m
	s.must(m.RunUntilIdle())
	after := s.reads()
	return reads{
		topics: after.topics - before.topics, index: after.index - before.index,
		all: after.all - before.all,
	}
}

// fill appends to every partition so many plain batches of some 64 KiB and as many small ones of
// scheduled records, of which half are due in a second and half in an hour.
func (s *starter) fill(batches int) {
	s.t.Helper()
	value := make([]byte, 64<<10)
	for i := range int32(startPartitions) {
		p, err := s.m.Partition(s.topic, i)
		s.must(err)
		for range batches {
			s.append(p, batch.RecordFields{TimestampMs: startMs, Value: value})
			for _, delay := range []string{"1s", "1h"} {
				s.append(p, batch.RecordFields{
					TimestampMs: startMs, Value: value[:1000],
					Headers: []batch.Header{{Key: batch.HeaderScheduleDelay, Value: []byte(delay)}},
				})
			}
		}
	}
	s.must(s.m.CommitOnce())
}

func (s *starter) append(p *replication.Partition, f batch.RecordFields) {
	s.t.Helper()
	o := batch.BuilderOptions{BaseTimestamp: startMs}
	builder := batch.NewBuilder(o.NoProducer())
	s.must(builder.Append(f))
	b, err := builder.Build(nil)
	s.must(err)
	_, err = p.Append(context.Background(), b, replication.AppendOptions{
		Origin: replication.NewOrigin(),
	})
	s.must(err)
}

// deliver lets what is due in a second be delivered.
func (s *starter) deliver() {
	s.t.Helper()
	s.clock.Advance(2 * time.Second)
	s.must(s.m.RunUntilIdle())
}

// stored returns how many bytes are in the files below a folder whose names end like that.
func (s *starter) stored(dir, end string) (sum int64) {
	s.t.Helper()
	names, err := s.fs.List(dir)
	s.must(err)
	for _, name := range names {
		at := s.fs.PathJoin(dir, name)
		info, err := s.fs.Stat(at)
		s.must(err)
		switch {
		case info.IsDir():
			sum += s.stored(at, end)
		case strings.HasSuffix(name, end):
			sum += info.Size()
		}
	}
	return sum
}

// TestStartReadsLittleAfterStop counts, in the file system, what a start reads after a clean stop.
func TestStartReadsLittleAfterStop(t *testing.T) {
	s := newStarter(t)
	s.fill(18)
	s.deliver()
	pending := s.m.Metrics().Pending
	s.must(s.m.Close())
	stored := s.stored(topicsPath, ".log")
	if least := int64(startPartitions * startedAfterStop); stored < least {
		t.Fatalf("%d bytes are stored, with %d a start could read all", stored, least)
	}
	index := s.stored(indexDir, "")
	read := s.open()
	t.Logf("%d partitions, %d KiB of logs and %d pending records each, and %d KiB of index in all: a"+
		" start read %s", startPartitions, stored/startPartitions>>10, pending/startPartitions, index>>10, read)
	if got := s.m.Metrics().Pending; got != pending || pending == 0 {
		t.Errorf("%d records were pending, %d are now", pending, got)
	}
	if read.all >= startPartitions*startedAfterStop {
		t.Errorf("the start read %d bytes per partition, less than %d must be", read.all/startPartitions,
			startedAfterStop)
	}
	if most := int64(2 * startPartitions * startedPerLog); read.topics > most {
		t.Errorf("the start read %d bytes of the partitions' folders, at most %d may be", read.topics, most)
	}
	if most := 2*index + startedOfIndex; read.index > most {
		t.Errorf("the start read %d bytes of the index, at most %d may be", read.index, most)
	}
}

// TestStartReadsTheTailAfterKill counts, in the file system, what a start reads after the process was
// killed: what was appended behind the recovery points, at most twice, as the log checks it and the
// schedule then reads the records of its part; a constant for each log; and the index, at most
// twice and a constant.
func TestStartReadsTheTailAfterKill(t *testing.T) {
	s := newStarter(t)
	s.fill(12)
	s.deliver()
	s.must(s.m.CheckpointAll())
	recoverable := s.logBytes()
	s.fill(1)
	s.deliver()
	// Also what is in the commit journal only: a start writes it to the segments, and reads it there.
	tail := s.logBytes() - recoverable
	pending := s.m.Metrics().Pending
	dead := s.m
	s.fs = s.fs.Crash(1, rand.New(rand.NewPCG(1, 1)))
	_ = dead.Close() // it is dead: this ends its goroutines
	index := s.stored(indexDir, "")
	read := s.open()
	t.Logf("%d partitions with %d KiB of logs each, of which %d KiB lie behind the recovery points, and"+
		" %d KiB of index in all: a start read %s", startPartitions, (recoverable+tail)/startPartitions>>10,
		tail/startPartitions>>10, index>>10, read)
	if got := s.m.Metrics().Pending; got != pending || pending == 0 {
		t.Errorf("%d records were pending, %d are now", pending, got)
	}
	most := 2*tail + 2*startPartitions*startedPerLog
	if most >= recoverable {
		t.Fatalf("a start that reads all %d bytes would keep within %d", recoverable, most)
	}
	if read.topics > most {
		t.Errorf("the start read %d bytes of the partitions' folders, at most %d may be", read.topics, most)
	}
	if most := 2*index + startedOfIndex; read.index > most {
		t.Errorf("the start read %d bytes of the index, at most %d may be", read.index, most)
	}
}

// logBytes is the length of all logs, wherever their ends lie.
func (s *starter) logBytes() int64 {
	m := s.m.Metrics()
	return m.LogBytes + m.StagingBytes
}

// String gives the figures per partition.
func (r reads) String() string {
	return fmt.Sprintf("%d bytes per partition in all, %d of them of its folder and %d of the index",
		r.all/startPartitions, r.topics/startPartitions, r.index/startPartitions)
}
