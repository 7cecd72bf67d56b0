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

// OpenStage is what an opening is at.
type OpenStage uint8

const (
	// OpenReplay brings the logs up to what the commit journal has of them.
	OpenReplay OpenStage = iota
	// OpenPartitions opens the partitions.
	OpenPartitions
)

// String returns what is counted in the stage.
func (s OpenStage) String() string {
	switch s {
	case OpenReplay:
		return "commit journal: log"
	case OpenPartitions:
		return "partition"
	default:
		return fmt.Sprintf("OpenStage(%d)", uint8(s))
	}
}

// OpenProgress is how far a stage of the opening of a data directory has come.
type OpenProgress struct {
	Stage      OpenStage
	Done       int   // Done is how many logs or partitions are done.
	All        int   // All is how many there are.
	BytesRead  int64 // BytesRead is what was read of the partitions' logs so far.
	BytesTotal int64 // BytesTotal is what must be read of them, as their notes say.
	Elapsed    time.Duration
	Left       time.Duration // Left is an estimate; negative while nothing tells.
}

// String is for a person who waits.
func (p OpenProgress) String() string {
	const megabyte = 1 << 20
	text := fmt.Sprintf("%v %d of %d", p.Stage, min(p.Done+1, p.All), p.All)
	if p.Stage == OpenPartitions {
		text = fmt.Sprintf("%s, %d of %d MiB read", text, p.BytesRead/megabyte, p.BytesTotal/megabyte)
	}
	if p.Left < 0 {
		return text
	}
	return fmt.Sprintf("%s, about %v left", text, p.Left.Round(time.Second))
}

// openProgress watches a stage of an opening. Several goroutines may be at it.
type openProgress struct {
	o     *Options
	stage OpenStage
	all   int
	began time.Time
	// tails returns what the folders that are not done yet must read, which costs a look at each: only
	// an opening that takes long pays for it. Nil means nothing.
	tails func(done map[string]bool) int64

	read    atomic.Int64 // bytes
	pending atomic.Int64 // bytes since the last look at the clock

	mu struct { // held while a report is given
		sync.Mutex
		reported time.Time       // when the last report was given, or began
		done     map[string]bool // logs or folders, by name
		finished int64           // bytes read of those
		total    int64           // 0 until the first report
	}
}

func newOpenProgress(o *Options, stage OpenStage, all int) *openProgress {
	p := &openProgress{o: o, stage: stage, all: all, began: o.Clock.Now()}
	p.mu.reported = p.began
	p.mu.done = map[string]bool{}
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

// done counts one log or partition, of which so many bytes were read.
func (p *openProgress) done(name string, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mu.done[name] = true
	p.mu.finished += bytes
	p.lookLocked()
}

// lookLocked reports if it is time.
func (p *openProgress) lookLocked() {
	now := p.o.Clock.Now()
	if now.Sub(p.mu.reported) < openReportEvery {
		return
	}
	if p.mu.total == 0 && p.tails != nil {
		p.mu.total = p.mu.finished + p.tails(p.mu.done)
		now = p.o.Clock.Now() // The looks took time, too.
	}
	p.mu.reported = now
	r := OpenProgress{
		Stage: p.stage, Done: len(p.mu.done), All: p.all,
		BytesRead: p.read.Load(), Elapsed: now.Sub(p.began),
	}
	r.BytesTotal = max(p.mu.total, r.BytesRead)
	r.Left = estimate(r)
	p.o.Logger.Info("recovering", zap.Stringer("stage", r.Stage), zap.Int("done", r.Done),
		zap.Int("all", r.All),
		zap.Int64("bytes_read", r.BytesRead), zap.Int64("bytes_total", r.BytesTotal),
		zap.Duration("elapsed", r.Elapsed), zap.Duration("left", r.Left))
	p.o.OnOpenProgress(r)
}

// estimate says how long the rest takes if it goes on as it did: by bytes when there are some to
// read, else by how many are done.
func estimate(r OpenProgress) time.Duration {
	done, all := float64(r.BytesRead), float64(r.BytesTotal)
	if r.BytesTotal < openLookBytes {
		done, all = float64(r.Done), float64(r.All)
	}
	if done == 0 {
		return -1
	}
	return time.Duration(float64(r.Elapsed) * (all - done) / done)
}

// tailsOf sums up what the partitions in these folders must read. What cannot be looked at counts
// nothing; opening it says what is wrong.
func tailsOf(o *Options, dirs []string, done map[string]bool) (sum int64) {
	for _, dir := range dirs {
		if done[dir] {
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
