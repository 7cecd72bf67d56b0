package log

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/chronosdb/chronosdb/log/journal"
)

// The shares of the bound of undrained memory at which draining begins, and down to which it goes.
const (
	drainAbove = 0.75
	drainDown  = 0.6

	// drainTogetherMax is how many logs are written before the first of them is synced. A commit
	// that writes directly to one of them waits for all.
	drainTogetherMax = 128
	// syncParallelMax is how many of them are synced at a time: the disk's flushes are shared.
	syncParallelMax = 16
)

// drain is the goroutine that writes the segments behind the journal: when memory gets short, and
// when the journal wants a file back.
func (c *Committer) drain() {
	for {
		select {
		case <-c.o.Buffers.short:
			c.drainForMemory()
		case <-c.o.Journal.Wanted():
			c.drainForJournal()
		case <-c.stop:
			return
		}
	}
}

// drainDue is one turn of drain for a committer without goroutines.
func (c *Committer) drainDue() {
	c.drainForMemory()
	for c.o.Journal.OldestFileEnd() > 0 && c.failure() == nil {
		if !c.drainForJournal() {
			return
		}
	}
}

// drainForMemory drains the logs with the most memory until enough is free.
func (c *Committer) drainForMemory() {
	for c.failure() == nil {
		excess := c.o.Buffers.excess(drainAbove, drainDown)
		if excess <= 0 {
			return
		}
		logs := c.largest(excess)
		if len(logs) == 0 {
			return // what is used is on its way already
		}
		c.drainLogs(logs, 0)
		select {
		case <-c.o.Journal.Wanted(): // it must not wait until nobody appends any more
			c.drainForJournal()
		default:
		}
	}
}

// largest returns the logs with the most undrained memory, as many as it takes for so many bytes.
func (c *Committer) largest(excess int64) []*Log {
	type use struct {
		log   *Log
		bytes int64
	}
	var all []use
	for _, l := range c.logs() {
		if n := l.undrained.Load(); n > 0 {
			all = append(all, use{l, n})
		}
	}
	slices.SortFunc(all, func(a, b use) int { return cmp.Compare(b.bytes, a.bytes) })
	var logs []*Log
	for _, u := range all {
		if excess <= 0 {
			break
		}
		logs = append(logs, u.log)
		excess -= u.bytes
	}
	return logs
}

// drainForJournal gives the oldest full file of the journal back, once no log needs it.
func (c *Committer) drainForJournal() bool {
	upTo := c.o.Journal.OldestFileEnd()
	if upTo == 0 {
		return false
	}
	var logs []*Log
	for _, l := range c.logs() {
		if l.journalNeeds(upTo) {
			logs = append(logs, l)
		}
	}
	if !c.drainLogs(logs, upTo) {
		return false
	}
	c.o.Journal.Release(upTo)
	return true
}

// logs returns the members' logs, also of members that have left, and forgets those that are
// closed and need nothing any more.
func (c *Committer) logs() []*Log {
	c.mu.Lock()
	all := slices.Clone(c.mu.members)
	c.mu.Unlock()
	gone, seen := map[*Log]bool{}, map[*Log]bool{}
	logs := all[:0]
	for _, l := range all {
		switch {
		case l.isSettled():
			gone[l] = true
		case !seen[l]: // a log may have joined twice
			seen[l] = true
			logs = append(logs, l)
		}
	}
	if len(gone) > 0 {
		c.mu.Lock()
		c.mu.members = slices.DeleteFunc(c.mu.members, func(l *Log) bool { return gone[l] })
		c.mu.Unlock()
	}
	return logs
}

// isSettled says that the log was closed cleanly.
func (l *Log) isSettled() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.settled
}

// drainLogs drains logs: for memory, or with upTo so far that no entry of the journal at or below
// it is needed. Many are written before the first is synced, because then a file system makes them
// durable in one go. It is false if one could not be drained: then nothing is given back. A write
// error is final for the committer.
func (c *Committer) drainLogs(logs []*Log, upTo journal.Sequence) bool {
	drained := true
	for some := range slices.Chunk(logs, drainTogetherMax) {
		drained = c.drainTogether(some, upTo) && drained
	}
	return drained
}

// drainTogether is drainLogs for as many logs as are written before the first is synced.
func (c *Committer) drainTogether(logs []*Log, upTo journal.Sequence) bool {
	c.draining.Lock()
	defer c.draining.Unlock()
	var failed atomic.Bool
	drains := make([]*logDrain, len(logs))
	c.each(len(logs), commitParallelMax, func(i int) {
		var err error
		drains[i], err = logs[i].drainFor(upTo)
		if c.drainFailed(logs[i], err) {
			failed.Store(true)
		}
	})
	c.each(len(logs), syncParallelMax, func(i int) {
		d := drains[i]
		if d == nil {
			return
		}
		if c.drainFailed(d.log, d.finish()) {
			failed.Store(true)
			return
		}
		c.stats.drains.Add(1)
		c.stats.drainedBytes.Add(max(d.before-d.log.undrained.Load(), 0))
	})
	return !failed.Load()
}

// each calls do for 0 to n-1, so many at a time, and waits for all.
func (c *Committer) each(n, parallel int, do func(i int)) {
	if n == 1 || c.o.Manual {
		for i := range n {
			do(i)
		}
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(n, parallel) {
		wg.Go(func() { // ends when all are taken; Wait waits for it
			for i := next.Add(1); i <= int64(n); i = next.Add(1) {
				do(int(i - 1))
			}
		})
	}
	wg.Wait()
}

// drainFailed sorts what came of a drain: a log that was closed meanwhile needs none.
func (c *Committer) drainFailed(l *Log, err error) bool {
	if err == nil || errors.Is(err, ErrClosed) && l.isSettled() {
		return false
	}
	if !errors.Is(err, ErrClosed) {
		c.fail(fmt.Errorf("drain: %w", err))
	}
	return true
}
