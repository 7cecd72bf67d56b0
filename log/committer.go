package log

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chronosdb/chronosdb/log/journal"
	"github.com/chronosdb/chronosdb/timer/clock"
)

const (
	// commitParallelMax is how many logs one commit flushes at a time. More would only queue at
	// the disk.
	commitParallelMax = 8
	// commitEventsMax bounds the commits that wait in EveryEvent mode. Beyond it, the newest
	// event of a log is widened instead: a commit then covers several appends.
	commitEventsMax = 1 << 16
	// directBytesDefault is CommitterOptions.DirectBytes when it is 0.
	directBytesDefault = 128 << 10
	// intervalDefault is CommitterOptions.Interval when it is 0.
	intervalDefault = 100 * time.Millisecond
	// confirmAfter is how long a journal rests before its newest record is confirmed, at least; twice
	// as long at most.
	confirmAfter = time.Second
)

// CommitterOptions configures a Committer. The zero value of each field means its default.
type CommitterOptions struct {
	Mode     Mode          // Mode says what one commit covers. Batch.
	Interval time.Duration // Interval is the time between commits in Periodic mode. 100 ms.
	Clock    clock.Clock   // Clock measures the interval. clock.Real.
	Manual   bool          // Manual starts no goroutine: tests call CommitOnce.
	// Journal makes what is appended to many logs durable with one write. Nil flushes each log. The
	// members' logs have the same one. It is not used in Periodic mode.
	Journal *journal.Journal
	// Buffers is the memory of the members' logs. With a journal it is required: the committer
	// drains them when it gets short.
	Buffers *Buffers
	// DirectBytes is how much a log must have appended for a commit to write it to its segment
	// directly, and not to the journal first. 128 KiB.
	DirectBytes int64
	// OnFailure hears, once, that a flush has failed. After that nothing is ever reported as
	// flushed: the process should end.
	OnFailure func(error)
}

// Committer is the group commit of one data directory. Whoever appends marks its log dirty; the
// committer flushes all dirty logs, several at a time, and tells each how far it is durable. While
// a commit runs the next one gathers.
type Committer struct {
	o CommitterOptions

	wake    chan struct{}  // holds one value when there may be something to commit
	stop    chan struct{}  // closed by Close
	running sync.WaitGroup // the goroutines that commit and drain

	commit sync.Mutex // one commit at a time
	notify sync.Mutex // held while onFlushed or OnFailure runs, so that none follows a failure
	// draining is held while the flushing of many logs is: two who each hold some of them and want the
	// others' would wait for ever. Locked after Log.committing and before Log.flushing.
	draining sync.Mutex
	stats    committerCounters

	mu struct { // short: never held during a flush or a callback
		sync.Mutex
		queue   []event // in the order of Dirty
		members []*Log  // with a journal: whose logs may need something of it
		closed  bool
		failed  error
	}
}

// event is a member that wants a commit.
type event struct {
	member *Member
	end    Offset  // in EveryEvent mode: what this event may report as flushed
	to     endMark // the same as a place, with a journal
}

// Member is a log that takes part in a committer.
type Member struct {
	c         *Committer
	log       *Log
	onFlushed func(end Offset)
	busy      sync.Mutex  // held while the log is being flushed and told
	left      atomic.Bool // after Leave: nothing is flushed or told any more
	queued    bool        // owned by Committer.mu: whether it is in the queue
}

// NewCommitter returns a committer and, unless Manual is set, starts its goroutine.
func NewCommitter(o CommitterOptions) *Committer {
	if o.Interval <= 0 {
		o.Interval = intervalDefault
	}
	if o.Clock == nil {
		o.Clock = clock.Real()
	}
	if o.DirectBytes <= 0 {
		o.DirectBytes = directBytesDefault
	}
	if o.Journal != nil {
		// What goes into the journal must fit a record, with the names of a few segments.
		o.DirectBytes = min(o.DirectBytes, int64(o.Journal.CommitBytesMax()/2))
	}
	c := &Committer{
		o:    o,
		wake: make(chan struct{}, 1),
		stop: make(chan struct{}),
	}
	if o.Manual {
		return c
	}
	// Close stops both by closing stop, and waits for them.
	c.running.Go(c.run)
	if o.Journal != nil {
		c.running.Go(c.drain)
	}
	return c
}

// Join makes the log a member. onFlushed is called after each commit that covered it, with the
// offset below which all is durable; calls do not overlap within a committer, must not block, and
// must not call Leave or Close.
func (c *Committer) Join(l *Log, onFlushed func(end Offset)) *Member {
	if c.o.Journal != nil {
		c.mu.Lock()
		c.mu.members = append(c.mu.members, l)
		c.mu.Unlock()
	}
	return &Member{c: c, log: l, onFlushed: onFlushed}
}

// Dirty asks for a commit of what has been appended so far. It never blocks on the disk.
func (m *Member) Dirty() {
	c := m.c
	e := event{member: m}
	if c.o.Mode == EveryEvent {
		e.to = m.log.endMark()
		e.end = e.to.offset
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.closed || c.mu.failed != nil || m.left.Load() {
		return
	}
	switch {
	case !m.queued, c.o.Mode == EveryEvent && len(c.mu.queue) < commitEventsMax:
		m.queued = true
		c.mu.queue = append(c.mu.queue, e)
	case c.o.Mode == EveryEvent:
		c.widenLocked(e)
	}
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// widenLocked lets the newest waiting event of a member cover e too.
func (c *Committer) widenLocked(e event) {
	for i := len(c.mu.queue) - 1; i >= 0; i-- {
		if c.mu.queue[i].member == e.member {
			c.mu.queue[i].end, c.mu.queue[i].to = e.end, e.to
			return
		}
	}
}

// Leave takes the log out and waits until no flush or onFlushed of it runs; so it is not called
// with a lock held that onFlushed takes. What was dirty is not flushed: closing the log does that.
func (m *Member) Leave() {
	m.left.Store(true)
	m.busy.Lock()
	m.busy.Unlock() //nolint:staticcheck // the empty section is the wait
}

// run commits whenever something is dirty, until Close.
func (c *Committer) run() {
	rest := c.newRest()
	defer rest.stop()
	for {
		select {
		case <-c.wake:
			rest.disturb()
		case <-rest.over:
			c.confirmAtRest(rest)
			continue
		case <-c.stop:
			return
		}
		if c.o.Mode == Periodic && !c.sleep() {
			return
		}
		// An error has been told to OnFailure, and ends nothing here: Close is still waited for.
		_, _ = c.CommitOnce()
	}
}

// sleep waits for the interval. There is a timer only while something is dirty. It is false when
// the committer is closed meanwhile.
func (c *Committer) sleep() bool {
	t := c.o.Clock.NewTimer(c.o.Interval)
	defer t.Stop()
	select {
	case <-t.C():
		return true
	case <-c.stop:
		return false
	}
}

// CommitOnce makes everything durable that is dirty now, and tells the members. It returns how
// many commits of members that were. After a failure it does nothing and returns the failure.
func (c *Committer) CommitOnce() (int, error) {
	c.commit.Lock()
	defer c.commit.Unlock()
	c.mu.Lock()
	queue, failed := c.mu.queue, c.mu.failed
	c.mu.queue = nil
	for _, e := range queue {
		e.member.queued = false
	}
	c.mu.Unlock()
	if failed != nil {
		return 0, failed
	}
	if len(queue) == 0 {
		return 0, nil
	}
	c.stats.commits.Add(1)
	c.stats.logs.Observe(int64(len(queue)))
	before := c.stats.flushedBytes.Load()
	defer func() { c.stats.bytes.Observe(c.stats.flushedBytes.Load() - before) }()
	if c.o.Journal != nil {
		return c.commitJournaled(queue)
	}
	if c.o.Mode == EveryEvent || len(queue) == 1 {
		return c.commitInOrder(queue)
	}
	return c.commitTogether(queue)
}

// commitInOrder flushes one after the other, on this goroutine.
func (c *Committer) commitInOrder(queue []event) (int, error) {
	n := 0
	for _, e := range queue {
		if c.commitEvent(e) {
			n++
		}
		if err := c.failure(); err != nil {
			return n, err
		}
	}
	return n, nil
}

// commitTogether flushes several logs at a time: their fdatasyncs share the disk's own commits.
func (c *Committer) commitTogether(queue []event) (int, error) {
	var next, done atomic.Int64
	var wg sync.WaitGroup
	for range min(commitParallelMax, len(queue)) {
		// Each ends when the queue is used up or a flush has failed; Wait below waits for it.
		wg.Go(func() {
			for i := next.Add(1); i <= int64(len(queue)) && c.failure() == nil; i = next.Add(1) {
				if c.commitEvent(queue[i-1]) {
					done.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return int(done.Load()), c.failure()
}

// commitEvent flushes one log and tells its member. It is false when nothing was told.
func (c *Committer) commitEvent(e event) bool {
	m := e.member
	m.busy.Lock()
	defer m.busy.Unlock()
	if m.left.Load() {
		return false
	}
	every := c.o.Mode == EveryEvent
	f, err := m.log.flush(drainHow{force: every})
	if errors.Is(err, ErrClosed) {
		return false // the owner has closed the log, which flushed it
	}
	if err != nil {
		c.fail(fmt.Errorf("commit: %w", err))
		return false
	}
	c.stats.flushes.Add(1)
	c.stats.fsyncs.Add(int64(f.fsyncs))
	c.stats.flushedBytes.Add(f.bytes)
	c.stats.latency.Observe(f.took)
	end := f.at.offset
	if every {
		end = min(end, e.end) // a later append waits for its own commit
	}
	return c.tell(m, end)
}

// tell calls onFlushed, unless a flush of any log has failed before.
func (c *Committer) tell(m *Member, end Offset) bool {
	c.notify.Lock()
	defer c.notify.Unlock()
	if c.failure() != nil {
		return false
	}
	m.onFlushed(end)
	return true
}

// fail makes the failure final and tells OnFailure, once.
func (c *Committer) fail(err error) {
	c.notify.Lock()
	defer c.notify.Unlock()
	c.mu.Lock()
	first := c.mu.failed == nil
	if first {
		c.mu.failed = err
	}
	c.mu.Unlock()
	if first && c.o.Buffers != nil {
		c.o.Buffers.Shut(err)
	}
	if first && c.o.OnFailure != nil {
		c.o.OnFailure(err)
	}
}

// failure returns the failure, if there was one.
func (c *Committer) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.failed
}

// Close commits what is dirty, stops the goroutine and waits for it. A second Close returns
// ErrClosed.
func (c *Committer) Close() error {
	c.mu.Lock()
	if c.mu.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	c.mu.closed = true
	c.mu.Unlock()
	close(c.stop)
	c.running.Wait()
	_, err := c.CommitOnce()
	if j := c.o.Journal; j != nil && err == nil && len(c.logs()) == 0 {
		j.Release(j.Next() - 1) // all logs are closed: the next start need not read the journal
	}
	return err
}
