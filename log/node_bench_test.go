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

// benched is a node under load.
type benched struct {
	b       *testing.B
	journal *journal.Journal
	buffers *Buffers
	c       *Committer
	logs    []*benchedLog

	mu     sync.Mutex
	flight int
	free   *sync.Cond
}

// benchedLog is one of its logs, with the ends of the batches that are on their way.
type benchedLog struct {
	*Log
	member  *Member
	waiting []Offset
}

func newBenched(b *testing.B, count int) *benched {
	n := &benched{b: b}
	n.free = sync.NewCond(&n.mu)
	dir := b.TempDir()
	var err error
	n.journal, err = journal.Open(journal.Options{FS: vfs.OS(), Dir: dir + "/journal"})
	if err == nil {
		err = n.journal.Recovered()
	}
	if err == nil {
		n.buffers, err = NewBuffers(BuffersOptions{})
	}
	if err != nil {
		b.Fatal(err)
	}
	n.c = NewCommitter(CommitterOptions{
		Journal: n.journal, Buffers: n.buffers, OnFailure: func(err error) { b.Error(err) },
	})
	for i := range count {
		l := &benchedLog{}
		l.Log, err = Open(fmt.Sprintf("%s/p%d", dir, i), Options{
			FS: vfs.OS(), Journal: n.journal, Buffers: n.buffers, Name: fmt.Sprintf("p%d", i),
		})
		if err != nil {
			b.Fatal(err)
		}
		l.member = n.c.Join(l.Log, func(end Offset) { n.told(l, end) })
		n.logs = append(n.logs, l)
	}
	return n
}

func (n *benched) told(l *benchedLog, end Offset) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for len(l.waiting) > 0 && l.waiting[0] <= end {
		l.waiting = l.waiting[1:]
		n.flight--
	}
	n.free.Signal()
}

// append appends a batch when fewer than so many are on their way.
func (n *benched) append(l *benchedLog, p []byte, most int) {
	done, err := n.buffers.Reserve(context.Background(), len(p))
	if err != nil {
		n.b.Fatal(err)
	}
	n.mu.Lock()
	for n.flight >= most {
		n.free.Wait()
	}
	n.flight++
	_, end, err := l.Append(p, 0)
	if err != nil {
		n.b.Fatal(err)
	}
	l.waiting = append(l.waiting, end)
	n.mu.Unlock()
	done()
	l.member.Dirty()
}

func (n *benched) wait() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.flight > 0 {
		n.free.Wait()
	}
}

func (n *benched) close() {
	for _, l := range n.logs {
		l.member.Leave()
		if err := l.Close(); err != nil {
			n.b.Fatal(err)
		}
	}
	if err := n.c.Close(); err != nil {
		n.b.Fatal(err)
	}
	if err := n.journal.Close(); err != nil {
		n.b.Fatal(err)
	}
}

func benchNode(b *testing.B, count, size int) {
	n := newBenched(b, count)
	p := buildBatch(b, 1, max(size>>10, 1), min(size, 1<<10)-80, 1000)
	most := max(min(16<<20/size, 2000), 1)
	for _, l := range n.logs {
		n.append(l, p, most)
	}
	n.wait()
	s := n.c.Stats()
	b.SetBytes(int64(len(p)))
	before := cpuTime()
	b.ResetTimer()
	for i := range b.N {
		n.append(n.logs[i%count], p, most)
	}
	n.wait()
	b.StopTimer()
	gb := float64(b.N) * float64(len(p)) / 1e9
	b.ReportMetric((cpuTime()-before).Seconds()/gb, "cpu-s/GB")
	e := n.c.Stats()
	b.ReportMetric(float64(e.FlushedBytes-s.FlushedBytes)/float64(e.Commits-s.Commits), "B/commit")
	b.ReportMetric(float64(e.Drains-s.Drains)/float64(b.N), "drains/op")
	n.close()
}

// cpuTime is what this process has used of the processors.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		return 0
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
