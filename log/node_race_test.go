package log

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/batch"
	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// TestNodeConcurrent has appends, reads, commits, drains, checkpoints and retention run side by
// side with little memory and a small journal. Every reader must find what was appended, and a
// power cut in the end must leave what was told.
func TestNodeConcurrent(t *testing.T) {
	const logs, appends = 3, 300
	disk := vfs.NewCrash(1)
	if err := makeDir(disk, "/data"); err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(journal.Options{FS: disk, Dir: "/data/journal", FileBytes: 64 << 10, FilesMax: 3})
	if err == nil {
		err = j.Recovered()
	}
	if err != nil {
		t.Fatal(err)
	}
	buffers, err := NewBuffers(BuffersOptions{UndrainedBytesMax: 16 * chunkBytesMin, RecentBytesMax: 32 << 10})
	if err != nil {
		t.Fatal(err)
	}
	c := NewCommitter(CommitterOptions{
		Journal: j, Buffers: buffers, DirectBytes: 20_000,
		OnFailure: func(err error) {
			if !errors.Is(err, vfs.ErrCrashed) { // the end of the test
				t.Errorf("failed: %v", err)
			}
		},
	})
	var all []*Log
	var told [logs]atomic.Int64
	var work, readers sync.WaitGroup
	stop := make(chan struct{})
	for i := range logs {
		l, err := Open(fmt.Sprintf("/data/p%d", i), Options{
			FS: disk, Journal: j, Buffers: buffers, Name: fmt.Sprintf("p%d", i), SegmentBytes: 100_000,
		})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
		m := c.Join(l, func(end Offset) { told[i].Store(int64(end)) })
		work.Go(func() { appendMany(t, l, m, appends) })
		readers.Go(func() { // ends when stop is closed
			for {
				select {
				case <-stop:
					return
				default:
					followLog(t, l)
				}
			}
		})
	}
	readers.Go(func() { tidyLogs(t, all, stop) })
	work.Wait()
	close(stop)
	readers.Wait()
	var low [logs]Offset
	for i := range low {
		low[i] = Offset(told[i].Load())
	}
	after := disk.Crash(0, nil)
	for i, l := range startNode(t, after, logs, 20_000).logs {
		checkDense(t, l)
		if l.End() < low[i] {
			t.Errorf("log %d ends at %d, told %d", i, l.End(), low[i])
		}
	}
	_ = c.Close() // it fails: the power is gone
	_ = j.Close()
}

// tidyLogs moves recovery points and starts until stop is closed.
func tidyLogs(t *testing.T, all []*Log, stop chan struct{}) {
	for k := 0; ; k++ {
		select {
		case <-stop:
			return
		default:
		}
		l := all[k%len(all)]
		if err := l.CheckpointTo(l.FlushedEnd()); err != nil {
			t.Errorf("checkpoint: %v", err)
		}
		if err := l.AdvanceStart(l.FlushedEnd() / 2); err != nil {
			t.Errorf("advance: %v", err)
		}
	}
}

// appendMany appends batches of many sizes, marked with their offsets.
func appendMany(t *testing.T, l *Log, m *Member, n int) {
	for i := range n {
		size := []int{10, 500, 3000, 30_000}[i%4]
		b := buildBatch(t, uint64(l.End()), 1, size, 1000)
		done, err := l.o.Buffers.Reserve(context.Background(), len(b))
		if err != nil {
			t.Errorf("reserve: %v", err)
			return
		}
		_, _, err = l.Append(b, 1)
		done()
		if err != nil {
			t.Errorf("append: %v", err)
			return
		}
		m.Dirty()
	}
}

// followLog reads the log's tail, and its whole, as it is now.
func followLog(t *testing.T, l *Log) {
	end := l.End()
	for _, from := range []Offset{l.Start(), max(l.Start(), end-5)} {
		p, err := l.Read(nil, ReadRequest{From: from, Bound: end, MaxBytes: 1 << 20})
		if err != nil && l.Start() <= from { // else retention was faster
			t.Errorf("read from %d of %d to %d: %v", from, l.Start(), end, err)
			return
		}
		for len(p) > 0 {
			b, rest, err := batch.Next(p)
			if err != nil {
				t.Errorf("read: %v", err)
				return
			}
			p = rest
			r, err := batch.NewReader(b, 1<<20)
			if err != nil {
				t.Errorf("read: %v", err)
				return
			}
			rec, _, err := r.Next()
			if mark := uint64(rec.Value[7]) | uint64(rec.Value[6])<<8; err != nil || Offset(mark) != b.BaseOffset() {
				t.Errorf("the batch at %d is marked %d, %v", b.BaseOffset(), mark, err)
			}
			r.Close()
		}
	}
}

// TestTwoDrainsDoNotWaitForEachOther: the drainer and a commit that finds the journal full drain the
// same logs, each of them many at once.
func TestTwoDrainsDoNotWaitForEachOther(t *testing.T) {
	n := startNode(t, vfs.NewCrash(1), 24, 1<<20)
	n.c.o.Manual = false // many at a time
	var back []*Log
	for i := range n.logs {
		back = append(back, n.logs[len(n.logs)-1-i])
	}
	over := make(chan struct{})
	go func() { // ends with the drains
		defer close(over)
		for range 100 {
			for i := range n.logs {
				if err := n.append(i, 100); err != nil {
					t.Error(err)
				}
			}
			var both sync.WaitGroup
			for _, logs := range [][]*Log{n.logs, back} {
				both.Go(func() {
					if !n.c.drainLogs(logs, 0) {
						t.Error("a drain failed")
					}
				})
			}
			both.Wait()
		}
	}()
	select {
	case <-over:
	case <-time.After(time.Minute):
		t.Fatal("the drains stand still")
	}
}
