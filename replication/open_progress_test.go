package replication

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/chronosdb/chronosdb/log/vfs"
)

// slowOpen opens the node's directory on a disk that takes so long for each operation of a kind on
// files of a name, and returns the reports and the lines of the log.
func (n *node) slowOpen(fault vfs.Fault, takes time.Duration) ([]OpenProgress, *observer.ObservedLogs) {
	n.t.Helper()
	fault.Before = func(string) { n.clock.Advance(takes) }
	core, lines := observer.New(zapcore.InfoLevel)
	var reports []OpenProgress
	began := n.clock.Now()
	last := began
	m, err := Open(Options{
		DataDir: "/data", FS: vfs.NewFaulty(n.fs, fault), Clock: n.clock, Manual: true,
		Logger: zap.New(core),
		OnOpenProgress: func(p OpenProgress) {
			now := n.clock.Now()
			if since := now.Sub(last); since < time.Second {
				n.t.Errorf("a report %v after the one before", since)
			}
			if p.Elapsed > now.Sub(began) || p.Elapsed <= 0 {
				n.t.Errorf("%v elapsed of %v", p.Elapsed, now.Sub(began))
			}
			last = now
			reports = append(reports, p)
		},
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.Manager = m
	n.t.Cleanup(func() { _ = m.Close() })
	return reports, lines.FilterMessage("recovering")
}

// manyPartitions makes a second topic with so many partitions.
func (n *node) manyPartitions(count int32) {
	n.t.Helper()
	_, err := n.CreateTopic(TopicSpec{Name: "many", Partitions: count, ReplicationFactor: -1}, false)
	if err != nil {
		n.t.Fatal(err)
	}
}

func TestALongOpeningReportsEverySecond(t *testing.T) {
	n := startNode(t)
	n.manyPartitions(40)
	if err := n.Manager.Close(); err != nil {
		t.Fatal(err)
	}
	reports, lines := n.slowOpen(vfs.Fault{Op: vfs.OpOpen, Glob: "leader-epochs"}, 300*time.Millisecond)
	// 41 partitions and the metadata, 0.3 s each.
	if len(reports) < 8 || len(reports) > 13 || lines.Len() != len(reports) {
		t.Fatalf("%d reports and %d lines in about 12 s", len(reports), lines.Len())
	}
	for i, p := range reports {
		if p.All != 41 || i > 0 && p.Done <= reports[i-1].Done {
			t.Errorf("report %d: %+v after %+v", i, p, reports[max(i-1, 0)])
		}
		if want := fmt.Sprintf("partition %d of 41, ", p.Done+1); !strings.HasPrefix(p.String(), want) {
			t.Errorf("%q, want %q", p, want)
		}
		left := time.Duration(41-p.Done) * 300 * time.Millisecond
		if off := (p.Left - left).Abs(); off > time.Second {
			t.Errorf("report %d says that %v are left, it is %v", i, p.Left, left)
		}
	}
}

// TestALongReplayReportsEverySecond: what the commit journal holds of many logs is brought to them
// on a slow disk.
func TestALongReplayReportsEverySecond(t *testing.T) {
	n := startNode(t)
	n.manyPartitions(40)
	for i := range int32(40) {
		p, err := n.Partition(n.Image().Topic("many").ID, i)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Append(t.Context(), n.batch(-1, -1, rec{value: "a"}), AppendOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	n.idle()
	dead := n.Manager
	n.fs = n.fs.Crash(0, rand.New(rand.NewPCG(1, 1)))
	_ = dead.Close() // it is dead: this ends its goroutines
	reports, _ := n.slowOpen(vfs.Fault{Op: vfs.OpOpen, Glob: "recovery-point"}, 150*time.Millisecond)
	for n, p := range map[OpenStage]int{OpenReplay: 40, OpenPartitions: 41} {
		var of []OpenProgress
		for _, r := range reports {
			if r.Stage == n {
				of = append(of, r)
			}
		}
		if len(of) < 3 || of[0].All != p || of[0].Done == 0 || of[1].Done <= of[0].Done {
			t.Errorf("reports of %v: %+v", n, of)
		}
	}
	want := fmt.Sprintf("commit journal: log %d of 40, about ", reports[0].Done+1)
	if text := reports[0].String(); !strings.HasPrefix(text, want) || strings.Contains(text, "MiB") {
		t.Errorf("the first report is %q, want %q", text, want)
	}
}

func TestAShortOpeningReportsNothing(t *testing.T) {
	n := startNode(t)
	n.manyPartitions(10)
	if err := n.Manager.Close(); err != nil {
		t.Fatal(err)
	}
	reports, lines := n.slowOpen(vfs.Fault{Op: vfs.OpOpen, Glob: "leader-epochs"}, 50*time.Millisecond)
	if len(reports) != 0 || lines.Len() != 0 {
		t.Errorf("reports %v of an opening of half a second", reports)
	}
}

// TestAnOpeningReportsWithinOnePartition lets one log with much to read take long.
func TestAnOpeningReportsWithinOnePartition(t *testing.T) {
	n := startNode(t)
	n.manyPartitions(3)
	for range 20 {
		n.append(n.batch(-1, -1, rec{value: strings.Repeat("x", 500<<10)}))
	}
	n.idle()
	dead := n.Manager
	n.fs = n.fs.Crash(1, rand.New(rand.NewPCG(1, 1)))
	_ = dead.Close() // it is dead: this ends its goroutines
	reports, _ := n.slowOpen(vfs.Fault{Op: vfs.OpRead, Glob: "*.log"}, 400*time.Millisecond)
	if len(reports) < 3 {
		t.Fatalf("only %d reports", len(reports))
	}
	within := 0
	for i, p := range reports {
		if p.BytesRead > p.BytesTotal || i > 0 && p.BytesRead < reports[i-1].BytesRead {
			t.Errorf("report %d: %+v", i, p)
		}
		if p.BytesTotal < 20*500<<10 || p.BytesTotal > 11<<20 {
			t.Errorf("report %d: %d bytes in all, want some 10 MB", i, p.BytesTotal)
		}
		if p.BytesRead > 1<<20 && p.BytesRead < 9<<20 && p.Left > 0 {
			within++
		}
	}
	if within < 2 {
		t.Errorf("no reports while the one log was read: %+v", reports)
	}
}

// TestPartitionsAreOpenedSideBySide opens many partitions, of which one is damaged, with the
// goroutines of a real node.
func TestPartitionsAreOpenedSideBySide(t *testing.T) {
	n := startNode(t)
	n.manyPartitions(20)
	topic := n.Image().Topic("many")
	for i := range int32(20) {
		p, err := n.Partition(topic.ID, i)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []rec{{value: "plain"}, {value: "later", delay: at(1 << 30)}} {
			b := n.batch(-1, -1, r)
			if _, err := p.Append(t.Context(), b, AppendOptions{Origin: NewOrigin()}); err != nil {
				t.Fatal(err)
			}
		}
	}
	n.idle()
	damaged := n.partitionDir(topic.ID, 7)
	if err := n.Manager.Close(); err != nil {
		t.Fatal(err)
	}
	if err := n.fs.Remove(n.fs.PathJoin(damaged, "00000000000000000000.log")); err != nil {
		t.Fatal(err)
	}
	m, err := Open(Options{
		DataDir: "/data", FS: n.fs, Clock: n.clock, OnFailure: func(err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range int32(20) {
		p, err := m.Partition(topic.ID, i)
		if (err != nil) != (i == 7) {
			t.Errorf("partition %d: %v", i, err)
		}
		if err == nil && (p.LogEnd() != 1 || p.stage.Load() == nil) {
			t.Errorf("partition %d ends at %d", i, p.LogEnd())
		}
	}
	if got := m.Metrics(); got.OfflinePartitions != 1 || got.Pending != 19 {
		t.Errorf("%d partitions offline, %d records pending; want 1 and 19", got.OfflinePartitions, got.Pending)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
}
