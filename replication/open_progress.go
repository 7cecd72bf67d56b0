package replication

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/chronosdb/chronosdb/log"
)

const (
	// openReportEvery is how long an opening takes before it says how far it is, and how often it
	// does so from then on at most.
	openReportEvery = time.Second
	// openLookBytes is how much of a log is read between two looks at the clock.
	openLookBytes = 1 << 20
)

// OpenProgress is how far the opening of a data directory has come.
type OpenProgress struct {
	Opened     int   // Opened is how many partitions have been opened.
	Partitions int   // Partitions is how many there are.
	BytesRead  int64 // BytesRead is what was read of the logs so far.
	BytesTotal int64 // BytesTotal is what must be read of them, as their notes say.
	Elapsed    time.Duration
	Left       time.Duration // Left is an estimate; negative while nothing tells.
}

// String is for a person who waits.
func (p OpenProgress) String() string {
	const megabyte = 1 << 20
	text := fmt.Sprintf("partition %d of %d, %d of %d MiB read", min(p.Opened+1, p.Partitions),
		p.Partitions, p.BytesRead/megabyte, p.BytesTotal/megabyte)
	if p.Left < 0 {
		return text
	}
	return fmt.Sprintf("%s, about %v left", text, p.Left.Round(time.Second))
}

// openProgress watches an opening. Partitions may be opened by several goroutines.
type openProgress struct {
	o          *Options
	partitions int
	began      time.Time
	// tails returns what the partitions that are not open yet must read, which costs a look at each:
	// only an opening that takes long pays for it.
	tails func(opened map[string]bool) int64

	read    atomic.Int64 // bytes
	pending atomic.Int64 // bytes since the last look at the clock

	mu struct { // held while a report is given
		sync.Mutex
		reported time.Time       // when the last report was given, or began
		opened   map[string]bool // folders
		finished int64           // bytes read of partitions that are open
		total    int64           // 0 until the first report
	}
}

func newOpenProgress(o *Options, partitions int, tails func(map[string]bool) int64) *openProgress {
	p := &openProgress{o: o, partitions: partitions, began: o.Clock.Now(), tails: tails}
	p.mu.reported = p.began
	p.mu.opened = map[string]bool{}
	return p
}

// add counts what was read of a log.
func (p *openProgress) add(n int) {
	p.read.Add(int64(n))
	if p.pending.Add(int64(n)) < openLookBytes {
		return
	}
	p.pending.Store(0)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lookLocked()
}

// opened counts one partition, of which so many bytes were read.
func (p *openProgress) opened(dir string, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.opened[dir] = true
	p.mu.finished += bytes
	p.lookLocked()
}

// lookLocked reports if it is time.
func (p *openProgress) lookLocked() {
	now := p.o.Clock.Now()
	if now.Sub(p.mu.reported) < openReportEvery {
		return
	}
	if p.mu.total == 0 {
		p.mu.total = p.mu.finished + p.tails(p.mu.opened)
	}
	p.mu.reported = now
	r := OpenProgress{
		Opened: len(p.mu.opened), Partitions: p.partitions,
		BytesRead: p.read.Load(), Elapsed: now.Sub(p.began),
	}
	r.BytesTotal = max(p.mu.total, r.BytesRead)
	r.Left = estimate(r)
	p.o.Logger.Info("recovering", zap.Int("opened", r.Opened), zap.Int("partitions", r.Partitions),
		zap.Int64("bytes_read", r.BytesRead), zap.Int64("bytes_total", r.BytesTotal),
		zap.Duration("elapsed", r.Elapsed), zap.Duration("left", r.Left))
	p.o.OnOpenProgress(r)
}

// estimate says how long the rest takes if it goes on as it did: by bytes when there are some to
// read, else by partitions.
func estimate(r OpenProgress) time.Duration {
	done, all := float64(r.BytesRead), float64(r.BytesTotal)
	if r.BytesTotal < openLookBytes {
		done, all = float64(r.Opened), float64(r.Partitions)
	}
	if done == 0 {
		return -1
	}
	return time.Duration(float64(r.Elapsed) * (all - done) / done)
}

// tailsOf sums up what the partitions in these folders must read. What cannot be looked at counts
// nothing; opening it says what is wrong.
func tailsOf(o *Options, dirs []string, opened map[string]bool) (sum int64) {
	for _, dir := range dirs {
		if opened[dir] {
			continue
		}
		for _, folder := range []string{dir, o.FS.PathJoin(dir, stagingDir)} {
			if n, err := log.InspectTail(o.FS, folder); err == nil {
				sum += n
			}
		}
	}
	return sum
}

// partitionRead counts what is read of one partition. Nil counts nothing: what is made while the
// node serves is not part of an opening.
type partitionRead struct {
	all   *openProgress
	bytes int64 // by the goroutine that opens the partition
}

func (r *partitionRead) add(n int) {
	if r != nil {
		r.bytes += int64(n)
		r.all.add(n)
	}
}
