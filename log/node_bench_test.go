package log

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/log/vfs"
)

// BenchmarkNode appends batches to a number of logs in turn, through a committer with a journal on
// the real disk, with so many bytes on their way at most as a client would have. One operation is
// one batch, until it is durable. It reports the CPU time of a gigabyte, too.
func BenchmarkNode(b *testing.B) {
	for _, logs := range []int{1, 8, 100, 1000} {
		for _, size := range []int{1 << 10, 16 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("logs=%d/bytes=%d", logs, size), func(b *testing.B) {
				benchNode(b, logs, size)
			})
		}
	}
}

func benchNode(b *testing.B, count, size int) {
	dir := b.TempDir()
	j, err := journal.Open(journal.Options{FS: vfs.OS(), Dir: dir + "/journal"})
	if err == nil {
		err = j.Recovered()
	}
	if err != nil {
		b.Fatal(err)
	}
	buffers, err := NewBuffers(BuffersOptions{})
	if err != nil {
		b.Fatal(err)
	}
	c := NewCommitter(CommitterOptions{Journal: j, Buffers: buffers, OnFailure: func(err error) { b.Error(err) }})
	var mu sync.Mutex
	flight, free := 0, sync.NewCond(&mu)
	type benched struct {
		*Log
		member  *Member
		waiting []Offset
	}
	logs := make([]*benched, count)
	for i := range logs {
		l := &benched{}
		l.Log, err = Open(fmt.Sprintf("%s/p%d", dir, i), Options{
			FS: vfs.OS(), Journal: j, Buffers: buffers, Name: fmt.Sprintf("p%d", i),
		})
		if err != nil {
			b.Fatal(err)
		}
		l.member = c.Join(l.Log, func(end Offset) {
			mu.Lock()
			defer mu.Unlock()
			for len(l.waiting) > 0 && l.waiting[0] <= end {
				l.waiting = l.waiting[1:]
				flight--
			}
			free.Signal()
		})
		logs[i] = l
	}
	batch := buildBatch(b, 1, max(size>>10, 1), min(size, 1<<10)-80, 1000)
	inFlight := max(min(16<<20/size, 2000), 1)
	b.SetBytes(int64(len(batch)))
	before := cpuTime()
	b.ResetTimer()
	for i := range b.N {
		l := logs[i%count]
		done, err := buffers.Reserve(context.Background(), len(batch))
		if err != nil {
			b.Fatal(err)
		}
		mu.Lock()
		for flight >= inFlight {
			free.Wait()
		}
		flight++
		_, end, err := l.Append(batch, 0)
		if err != nil {
			b.Fatal(err)
		}
		l.waiting = append(l.waiting, end)
		mu.Unlock()
		done()
		l.member.Dirty()
	}
	mu.Lock()
	for flight > 0 {
		free.Wait()
	}
	mu.Unlock()
	b.StopTimer()
	gb := float64(b.N) * float64(len(batch)) / 1e9
	b.ReportMetric((cpuTime()-before).Seconds()/gb, "cpu-s/GB")
	s := c.Stats()
	b.ReportMetric(float64(s.FlushedBytes)/float64(s.Commits), "B/commit")
	b.ReportMetric(float64(s.Drains)/float64(b.N), "drains/op")
	for _, l := range logs {
		l.member.Leave()
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
	}
	if err := c.Close(); err != nil {
		b.Fatal(err)
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}

// cpuTime is what this process has used of the processors.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
